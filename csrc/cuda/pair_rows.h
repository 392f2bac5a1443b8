// The sum over pairs of an isolated system on a device: of all atoms, or of those of one domain with the atoms of all.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "../src/shared_failure.h"
#include "../src/smeared_pair.h"
#include "growing_array.h"
#include "les/long_range.h"
#include "pair_sum.cuh"

namespace les::cuda {

template <class Backend>
class PairRows {
    template <class T>
    using Array = GrowingArray<typename Backend::template Array<T>>;

public:
    PairRows(const Backend& backend, const LongRangeParameters& parameters, int n_channels)
        : backend_(backend), parameters_(parameters), n_channels_(n_channels) {
        summary_.reserve(1);
    }

    /// Of atoms first ... first + n_rows - 1 with all others, from device arrays (n_atoms, 3) and (n_atoms,
    /// n_channels).
    void compute(const double* positions, const double* charges, std::int64_t n_atoms, std::int64_t first,
                 std::int64_t n_rows) {
        const int blocks = static_cast<int>((n_rows + SumPairs::threads - 1) / SumPairs::threads);
        potentials_.reserve(n_rows * n_channels_);
        forces_.reserve(3 * n_rows);
        totals_.reserve(static_cast<std::int64_t>(blocks) * n_pair_sums);
        const double self = parameters_.remove_self_interaction ? 0.0 : 2.0 * self_energy_of_unit_charge(parameters_);
        backend_.launch(SumPairs{positions, charges, n_atoms, first, n_rows, n_channels_,
                                 1.0 / (std::sqrt(2.0) * parameters_.smearing), parameters_.coulomb_constant, self,
                                 potentials_.data(), forces_.data(), totals_.data()},
                        blocks, "the sum over pairs");
        backend_.launch(ClosePairs{totals_.data(), blocks, summary_.data()}, 1, "the sum over pairs");
    }

    /// On the device; the same arrays until more rows than before are summed.
    const double* potentials() const { return potentials_.data(); }  // (n_rows, n_channels), V
    const double* forces() const { return forces_.data(); }          // (n_rows, 3), eV/angstrom
    const Summary* summary() const { return summary_.data(); }       // energy and virial are those of the rows

private:
    const Backend& backend_;
    LongRangeParameters parameters_;
    int n_channels_;
    Array<double> potentials_, forces_, totals_;
    Array<Summary> summary_;
};

/// Each domain sums the pairs of its own atoms on its own device, with the positions and charges of all.
template <class Backend>
class IsolatedRows final : public LongRangeSolver {
    template <class T>
    using Array = GrowingArray<typename Backend::template Array<T>>;

public:
    IsolatedRows(const Backend& backend, const LongRangeParameters& parameters, int n_channels)
        : backend_(backend),
          n_channels_(static_cast<std::size_t>(n_channels)),
          pairs_(backend, parameters, n_channels) {}

    const LongRangeResult& compute(const System& system, const std::vector<double>& charges,
                                   Communicator& communicator) override {
        const auto n_rows = static_cast<std::size_t>(system.n_local);
        const std::vector<double> counts = communicator.allgather({static_cast<double>(n_rows)});
        std::int64_t first = 0;
        for (std::size_t rank = 0; rank < static_cast<std::size_t>(communicator.rank()); ++rank)
            first += static_cast<std::int64_t>(counts[rank]);
        const std::vector<double> positions =
            communicator.allgather({system.positions, system.positions + 3 * system.n_local});
        const std::vector<double> all_charges = communicator.allgather(charges);
        n_atoms_ = static_cast<std::int64_t>(positions.size() / 3);
        n_domains_ = communicator.size();
        result_.potentials.assign(n_rows * n_channels_, 0.0);
        result_.forces.assign(3 * n_rows, 0.0);
        result_.energy = 0.0;
        result_.virial = {};
        failure_.attempt([&] {
            if (n_rows > 0) sum(positions, all_charges, first);
        });
        failure_.check(communicator);
        return result_;
    }

    std::string description() const override {
        return "direct sum over all pairs of " + std::to_string(n_atoms_) +
               " isolated atoms, on the GPU, divided among " + std::to_string(n_domains_) + " domains";
    }

private:
    const Backend& backend_;
    std::size_t n_channels_;
    PairRows<Backend> pairs_;
    SharedFailure failure_;
    Array<double> positions_, charges_;
    std::int64_t n_atoms_ = 0;
    int n_domains_ = 1;
    LongRangeResult result_;

    void sum(const std::vector<double>& positions, const std::vector<double>& charges, std::int64_t first) {
        const auto copy = [&](Array<double>& to, const std::vector<double>& from) {
            to.reserve(static_cast<std::int64_t>(from.size()));
            backend_.to_device(to.data(), from.data(), from.size() * sizeof(double));
            return to.data();
        };
        const auto n_rows = static_cast<std::int64_t>(result_.forces.size() / 3);
        pairs_.compute(copy(positions_, positions), copy(charges_, charges), n_atoms_, first, n_rows);
        Summary summary{};
        backend_.to_host(result_.potentials.data(), pairs_.potentials(), result_.potentials.size() * sizeof(double));
        backend_.to_host(result_.forces.data(), pairs_.forces(), result_.forces.size() * sizeof(double));
        backend_.to_host(&summary, pairs_.summary(), sizeof(summary));
        backend_.wait();
        if (summary.status != 0.0) throw Error(coincident_in_sum);
        result_.energy = summary.energy;
        for (std::size_t a = 0; a < 3; ++a) {
            for (std::size_t b = 0; b < 3; ++b) result_.virial[a][b] = summary.virial[a][b];
        }
    }
};

}  // namespace les::cuda
