// Domains of threads whose ghosts know the atoms they are copies of.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <vector>

#include "../cpp/thread_communicator.h"

/// Rows of ghosts and their owners by the numbers of the atoms in the whole system.
class GhostCommunicator final : public ThreadCommunicator {
public:
    using ThreadCommunicator::ThreadCommunicator;
    std::vector<std::int64_t> atoms;  // of all rows
    std::size_t n_local = 0;

    bool has_ghosts() const override { return true; }
    void ghosts_to_owners(double* rows, int width) override {
        exchange_rows(rows, width, n_local, atoms.size(), [&](std::size_t own, const double* theirs) {
            if (own >= n_local) return;
            for (int w = 0; w < width; ++w) rows[own * static_cast<std::size_t>(width) + w] += theirs[w];
        });
    }
    void owners_to_ghosts(double* rows, int width) override {
        exchange_rows(rows, width, 0, n_local, [&](std::size_t own, const double* theirs) {
            if (own >= n_local) std::copy_n(theirs, width, rows + own * static_cast<std::size_t>(width));
        });
    }

private:
    /// Shows rows first ... last - 1 to all, and calls take(own row, their row) for those of the same atoms.
    void exchange_rows(const double* rows, int width, std::size_t first, std::size_t last,
                       const std::function<void(std::size_t, const double*)>& take) {
        std::vector<double> mine;
        const auto w = static_cast<std::size_t>(width);
        for (std::size_t n = first; n < last; ++n) {
            mine.push_back(static_cast<double>(atoms[n]));
            mine.insert(mine.end(), rows + n * w, rows + (n + 1) * w);
        }
        const std::vector<double> all = allgather(mine);
        std::multimap<std::int64_t, std::size_t> places;
        for (std::size_t n = 0; n < atoms.size(); ++n) places.emplace(atoms[n], n);
        for (std::size_t n = 0; n < all.size(); n += w + 1) {
            const auto [begin, end] = places.equal_range(static_cast<std::int64_t>(all[n]));
            for (auto place = begin; place != end; ++place) take(place->second, all.data() + n + 1);
        }
    }
};
