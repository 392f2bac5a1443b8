// The engine's communicator on the ranks of one LAMMPS partition. Sums and exchanges use MPI on LAMMPS' `world`; rows
// of atoms travel by LAMMPS' own ghost communication, which asks the pair style to pack and unpack them, and it asks
// here.
#pragma once

#include <cstdint>
#include <vector>

#include "lammps.h"
#include "les/communicator.h"

namespace LAMMPS_NS {
class Pair;
}

namespace les_lammps {

class LammpsSystem;

class MpiCommunicator final : public les::Communicator {
public:
    /// Numbers of one atom that travel at once; `pair` announces it to LAMMPS, which sizes its buffers by it.
    static constexpr int largest_width = 8;

    MpiCommunicator(LAMMPS_NS::LAMMPS* lammps, LAMMPS_NS::Pair* pair, const LammpsSystem& system);

    int rank() const override;
    int size() const override;
    bool has_ghosts() const override { return true; }
    void allreduce_sum(double* values, std::int64_t count) override;
    std::vector<double> allgather(const std::vector<double>& values) override;
    void exchange(const void* sent, const std::vector<std::int64_t>& sent_bytes, void* received,
                  const std::vector<std::int64_t>& received_bytes) override;
    void ghosts_to_owners(double* rows, int width) override;
    void owners_to_ghosts(double* rows, int width) override;

    // What the pair style passes on: `atoms` are LAMMPS indices, the result is the count of numbers packed.
    int pack_owners(int count, const int* atoms, double* buffer) const;
    void unpack_ghosts(int count, int first, const double* buffer);
    int pack_ghosts(int count, int first, double* buffer) const;
    void unpack_owners(int count, const int* atoms, const double* buffer);

    double memory_usage() const;

private:
    /// Runs `exchange` for every group of at most `largest_width` columns of the (n_all, width) array `rows`, and
    /// copies back the rows [first, last) of the model's atoms.
    template <typename Exchange>
    void for_column_groups(double* rows, int width, std::int64_t first, std::int64_t last, const Exchange& exchange);

    LAMMPS_NS::LAMMPS* lammps_;
    LAMMPS_NS::Pair* pair_;
    const LammpsSystem& system_;
    std::vector<double> columns_;  // (all atoms of LAMMPS, width_)
    int width_ = 0;
    std::vector<MPI_Request> requests_;
};

}  // namespace les_lammps
