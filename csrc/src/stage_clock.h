// Measuring where the time of an evaluation goes: a clock that gives each stage its time, and a communicator that
// measures its own, so that exchange and waiting inside a stage do not count as work of that stage.
#pragma once

#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "les/communicator.h"

namespace les {

inline double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Passes every call on and adds up the time until it returns.
class TimedCommunicator final : public Communicator {
public:
    explicit TimedCommunicator(std::shared_ptr<Communicator> domains) : domains_(std::move(domains)) {}

    double seconds() const { return seconds_; }

    int rank() const override { return domains_->rank(); }
    int size() const override { return domains_->size(); }
    bool has_ghosts() const override { return domains_->has_ghosts(); }
    void allreduce_sum(double* values, std::int64_t count) override {
        timed([&] { domains_->allreduce_sum(values, count); });
    }
    std::vector<double> allgather(const std::vector<double>& values) override {
        std::vector<double> all;
        timed([&] { all = domains_->allgather(values); });
        return all;
    }
    void exchange(const void* sent, const std::vector<std::int64_t>& sent_bytes, void* received,
                  const std::vector<std::int64_t>& received_bytes) override {
        timed([&] { domains_->exchange(sent, sent_bytes, received, received_bytes); });
    }
    void ghosts_to_owners(double* rows, int width) override {
        timed([&] { domains_->ghosts_to_owners(rows, width); });
    }
    void owners_to_ghosts(double* rows, int width) override {
        timed([&] { domains_->owners_to_ghosts(rows, width); });
    }

private:
    template <class Call>
    void timed(const Call& call) {
        const auto start = std::chrono::steady_clock::now();
        call();
        seconds_ += seconds_since(start);
    }

    std::shared_ptr<Communicator> domains_;
    double seconds_ = 0.0;
};

/// Gives each stage the time since the end of the one before it, less the time in `communicator`.
class StageClock {
public:
    explicit StageClock(const TimedCommunicator& communicator)
        : communicator_(communicator), communication_(communicator.seconds()) {}

    void end_of(double& stage) {
        stage += seconds_since(start_) - (communicator_.seconds() - communication_);
        start_ = std::chrono::steady_clock::now();
        communication_ = communicator_.seconds();
    }

private:
    const TimedCommunicator& communicator_;
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
    double communication_;
};

}  // namespace les
