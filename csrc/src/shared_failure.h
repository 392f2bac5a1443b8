// What fails on one domain between two exchanges: the domain goes on with the exchanges, so that no other waits for it
// for ever, and then all of them throw the same sentence.
#pragma once

#include <cstdint>
#include <exception>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "les/communicator.h"
#include "les/error.h"

namespace les {

/// What is thrown on all domains.
class SharedError final : public Error {
public:
    using Error::Error;
};

class SharedFailure {
public:
    /// Runs `step`, unless one before it failed; keeps the first line of what it throws, unless all throw that.
    template <class Step>
    void attempt(const Step& step) {
        if (happened()) return;
        try {
            step();
        } catch (const SharedError&) {
            throw;
        } catch (const std::bad_alloc&) {
            text_ = "out of memory in the evaluation; use more MPI ranks or fewer atoms";
        } catch (const std::exception& exception) {
            const std::string text = exception.what();
            text_ = text.substr(0, text.find('\n'));
            if (text_.empty()) text_ = "an error without a text";
        }
    }
    bool happened() const { return !text_.empty(); }

    /// Collective: throws les::Error on all domains if something failed on one.
    void check(Communicator& communicator) {
        double failed = happened() ? 1.0 : 0.0;
        communicator.allreduce_sum(&failed, 1);
        if (failed > 0.0) raise(communicator);
    }

    /// Collective, where all domains know that something failed: throws the sentence of the first such domain.
    [[noreturn]] void raise(Communicator& communicator) {
        std::vector<double> mine;
        for (const char letter : std::exchange(text_, {})) mine.push_back(static_cast<double>(letter));
        if (!mine.empty()) mine.push_back(0.0);
        std::string text;
        for (const double letter : communicator.allgather(mine)) {
            if (letter == 0.0) break;
            text.push_back(static_cast<char>(letter));
        }
        throw SharedError(text);
    }

private:
    std::string text_;
};

/// For steps that exchange rows of ghosts: before each exchange it is known whether all domains have come so far.
class CheckedCommunicator final : public Communicator {
public:
    CheckedCommunicator(Communicator& domains, SharedFailure& failure) : domains_(domains), failure_(failure) {}

    int rank() const override { return domains_.rank(); }
    int size() const override { return domains_.size(); }
    bool has_ghosts() const override { return domains_.has_ghosts(); }
    void allreduce_sum(double* values, std::int64_t count) override {
        failure_.check(domains_);
        domains_.allreduce_sum(values, count);
    }
    std::vector<double> allgather(const std::vector<double>& values) override {
        failure_.check(domains_);
        return domains_.allgather(values);
    }
    void exchange(const void* sent, const std::vector<std::int64_t>& sent_bytes, void* received,
                  const std::vector<std::int64_t>& received_bytes) override {
        failure_.check(domains_);
        domains_.exchange(sent, sent_bytes, received, received_bytes);
    }
    void ghosts_to_owners(double* rows, int width) override {
        failure_.check(domains_);
        domains_.ghosts_to_owners(rows, width);
    }
    void owners_to_ghosts(double* rows, int width) override {
        failure_.check(domains_);
        domains_.owners_to_ghosts(rows, width);
    }

private:
    Communicator& domains_;
    SharedFailure& failure_;
};

}  // namespace les
