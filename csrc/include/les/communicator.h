// How domains talk to each other. The engine knows this interface only; MPI lives in the LAMMPS plugin. Every method is
// collective: all domains call it in the same order, those without atoms too.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

namespace les {

class Communicator {
public:
    virtual ~Communicator() = default;

    virtual int rank() const = 0;
    virtual int size() const = 0;

    /// Whether domains have ghosts, so that rows can be copied between these and their owners; the same on all domains.
    virtual bool has_ghosts() const = 0;

    /// Replaces `values` on every domain by the sum over domains.
    virtual void allreduce_sum(double* values, std::int64_t count) = 0;

    /// Concatenates the `values` of all domains in rank order, on every domain.
    virtual std::vector<double> allgather(const std::vector<double>& values) = 0;

    /// Sends `sent_bytes[r]` bytes to every rank r, one after the other from `sent`, and receives `received_bytes[r]`
    /// from each into `received`. Both sides know the numbers; most are zero.
    virtual void exchange(const void* sent, const std::vector<std::int64_t>& sent_bytes, void* received,
                          const std::vector<std::int64_t>& received_bytes) = 0;

    /// Adds the rows of ghosts to the rows of their owners; `rows` is (n_all, width), ghost rows keep their values.
    virtual void ghosts_to_owners(double* rows, int width) = 0;

    /// Copies the rows of owners to their ghosts; `rows` is (n_all, width).
    virtual void owners_to_ghosts(double* rows, int width) = 0;
};

/// One domain that owns every atom: sums are what they are, and there are no ghosts.
class SingleProcess final : public Communicator {
public:
    int rank() const override { return 0; }
    int size() const override { return 1; }
    bool has_ghosts() const override { return false; }
    void allreduce_sum(double*, std::int64_t) override {}
    std::vector<double> allgather(const std::vector<double>& values) override { return values; }
    void exchange(const void* sent, const std::vector<std::int64_t>& sent_bytes, void* received,
                  const std::vector<std::int64_t>&) override {
        std::memcpy(received, sent, static_cast<std::size_t>(sent_bytes[0]));
    }
    void ghosts_to_owners(double*, int) override {}
    void owners_to_ghosts(double*, int) override {}
};

}  // namespace les
