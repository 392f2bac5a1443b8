// Domains without MPI: threads of a test program stand for ranks.
#pragma once

#include <condition_variable>
#include <cstring>
#include <mutex>
#include <vector>

#include "check.h"
#include "les/communicator.h"

/// What the ranks of one run share.
struct Board {
    explicit Board(int n) : size(n), addresses(static_cast<std::size_t>(n)) {}
    int size, waiting = 0, round = 0;
    std::mutex mutex;
    std::condition_variable arrived;
    std::vector<const void*> addresses;  // what each rank shows the others

    void wait() {
        std::unique_lock lock(mutex);
        const int mine = round;
        if (++waiting == size) {
            waiting = 0;
            ++round;
            arrived.notify_all();
        } else {
            arrived.wait(lock, [&] { return round != mine; });
        }
    }
};

class ThreadCommunicator : public les::Communicator {
public:
    ThreadCommunicator(Board& board, int rank) : board_(board), rank_(rank) {}
    int rank() const override { return rank_; }
    int size() const override { return board_.size; }
    bool has_ghosts() const override { return false; }

    void allreduce_sum(double* values, std::int64_t count) override {
        std::vector<double> sum(static_cast<std::size_t>(count), 0.0);
        show(values, [&](const void* data) {
            for (std::int64_t i = 0; i < count; ++i)
                sum[static_cast<std::size_t>(i)] += static_cast<const double*>(data)[i];
        });
        std::copy(sum.begin(), sum.end(), values);
        board_.wait();
    }
    std::vector<double> allgather(const std::vector<double>& values) override {
        std::vector<double> all;
        show(&values, [&](const void* data) {
            const auto& theirs = *static_cast<const std::vector<double>*>(data);
            all.insert(all.end(), theirs.begin(), theirs.end());
        });
        board_.wait();
        return all;
    }
    void exchange(const void* sent, const std::vector<std::int64_t>& sent_bytes, void* received,
                  const std::vector<std::int64_t>& received_bytes) override {
        struct Message {
            const char* data;
            const std::vector<std::int64_t>* bytes;
        } mine{static_cast<const char*>(sent), &sent_bytes};
        char* to = static_cast<char*>(received);
        std::size_t source = 0;
        show(&mine, [&](const void* data) {
            const auto& message = *static_cast<const Message*>(data);
            const char* from = message.data;
            for (int r = 0; r < rank_; ++r) from += (*message.bytes)[static_cast<std::size_t>(r)];
            const std::int64_t bytes = (*message.bytes)[static_cast<std::size_t>(rank_)];
            CHECK(bytes == received_bytes[source]);
            std::memcpy(to, from, static_cast<std::size_t>(bytes));
            to += bytes;
            ++source;
        });
        board_.wait();
    }
    void ghosts_to_owners(double*, int) override {}
    void owners_to_ghosts(double*, int) override {}

private:
    Board& board_;
    int rank_;

    template <class Look>
    void show(const void* mine, const Look& look) {
        board_.addresses[static_cast<std::size_t>(rank_)] = mine;
        board_.wait();
        for (const void* data : board_.addresses) look(data);
        board_.wait();
    }
};
