#include "mpi_communicator.h"

#include <algorithm>
#include <climits>
#include <string>

#include "atom.h"
#include "comm.h"
#include "lammps_system.h"
#include "les/error.h"
#include "pair.h"

namespace les_lammps {
namespace {

/// Start of each block when blocks of these lengths follow each other, and the total at the end.
std::vector<int> offsets_of(const std::vector<int>& counts) {
    std::vector<int> offsets(counts.size() + 1, 0);
    std::int64_t total = 0;
    for (std::size_t i = 0; i < counts.size(); ++i) {
        total += counts[i];
        if (total > INT_MAX)
            throw les::Error("the long-range exchange must stay below 2^31 numbers a rank; use more MPI ranks");
        offsets[i + 1] = static_cast<int>(total);
    }
    return offsets;
}

}  // namespace

MpiCommunicator::MpiCommunicator(LAMMPS_NS::LAMMPS* lammps, LAMMPS_NS::Pair* pair, const LammpsSystem& system)
    : lammps_(lammps), pair_(pair), system_(system) {}

int MpiCommunicator::rank() const { return lammps_->comm->me; }

int MpiCommunicator::size() const { return lammps_->comm->nprocs; }

void MpiCommunicator::allreduce_sum(double* values, std::int64_t count) {
    // MPI counts are int: long arrays go in pieces.
    constexpr std::int64_t largest = std::int64_t{1} << 27;
    for (std::int64_t begin = 0; begin < count; begin += largest)
        MPI_Allreduce(MPI_IN_PLACE, values + begin, static_cast<int>(std::min(largest, count - begin)), MPI_DOUBLE,
                      MPI_SUM, lammps_->world);
}

std::vector<double> MpiCommunicator::allgather(const std::vector<double>& values) {
    const int mine = static_cast<int>(values.size());
    std::vector<int> counts(static_cast<std::size_t>(size()));
    MPI_Allgather(&mine, 1, MPI_INT, counts.data(), 1, MPI_INT, lammps_->world);
    const std::vector<int> offsets = offsets_of(counts);
    std::vector<double> all(static_cast<std::size_t>(offsets.back()));
    MPI_Allgatherv(values.data(), mine, MPI_DOUBLE, all.data(), counts.data(), offsets.data(), MPI_DOUBLE,
                   lammps_->world);
    return all;
}

void MpiCommunicator::exchange(const void* sent, const std::vector<std::int64_t>& sent_bytes, void* received,
                               const std::vector<std::int64_t>& received_bytes) {
    // messages between the pairs that have something to say: most ranks share no part of the mesh
    constexpr int tag = 733;
    const auto me = static_cast<std::size_t>(rank());
    const auto check = [](std::int64_t bytes) {
        if (bytes > INT_MAX)
            throw les::Error("a message of the mesh must stay below 2 GiB, got " + std::to_string(bytes) +
                             " bytes; use more MPI ranks");
        return static_cast<int>(bytes);
    };
    requests_.clear();
    const char* from = static_cast<const char*>(sent);
    char* to = static_cast<char*>(received);
    const char* own_from = nullptr;
    char* own_to = nullptr;
    for (std::size_t r = 0; r < received_bytes.size(); to += received_bytes[r], ++r) {
        if (r == me) {
            own_to = to;
        } else if (received_bytes[r] > 0) {
            requests_.emplace_back();
            MPI_Irecv(to, check(received_bytes[r]), MPI_BYTE, static_cast<int>(r), tag, lammps_->world,
                      &requests_.back());
        }
    }
    for (std::size_t r = 0; r < sent_bytes.size(); from += sent_bytes[r], ++r) {
        if (r == me) {
            own_from = from;
        } else if (sent_bytes[r] > 0) {
            requests_.emplace_back();
            MPI_Isend(from, check(sent_bytes[r]), MPI_BYTE, static_cast<int>(r), tag, lammps_->world,
                      &requests_.back());
        }
    }
    if (sent_bytes[me] > 0) std::copy_n(own_from, sent_bytes[me], own_to);
    MPI_Waitall(static_cast<int>(requests_.size()), requests_.data(), MPI_STATUSES_IGNORE);
}

template <typename Exchange>
void MpiCommunicator::for_column_groups(double* rows, int width, std::int64_t first, std::int64_t last,
                                        const Exchange& exchange) {
    const std::vector<int>& atoms = system_.atoms();
    const std::size_t n_lammps = static_cast<std::size_t>(lammps_->atom->nlocal + lammps_->atom->nghost);
    for (int begin = 0; begin < width; begin += largest_width) {
        width_ = std::min(largest_width, width - begin);
        columns_.assign(n_lammps * static_cast<std::size_t>(width_), 0.0);
        for (std::size_t i = 0; i < atoms.size(); ++i)
            std::copy_n(rows + i * width + begin, width_, columns_.data() + atoms[i] * width_);
        exchange();
        for (std::int64_t i = first; i < last; ++i)
            std::copy_n(columns_.data() + atoms[i] * width_, width_, rows + i * width + begin);
    }
}

void MpiCommunicator::ghosts_to_owners(double* rows, int width) {
    for_column_groups(rows, width, 0, system_.system().n_local, [this] { lammps_->comm->reverse_comm(pair_, width_); });
}

void MpiCommunicator::owners_to_ghosts(double* rows, int width) {
    for_column_groups(rows, width, system_.system().n_local, system_.system().n_all,
                      [this] { lammps_->comm->forward_comm(pair_, width_); });
}

int MpiCommunicator::pack_owners(int count, const int* atoms, double* buffer) const {
    for (int i = 0; i < count; ++i) std::copy_n(columns_.data() + atoms[i] * width_, width_, buffer + i * width_);
    return count * width_;
}

void MpiCommunicator::unpack_ghosts(int count, int first, const double* buffer) {
    std::copy_n(buffer, count * width_, columns_.data() + first * width_);
}

int MpiCommunicator::pack_ghosts(int count, int first, double* buffer) const {
    std::copy_n(columns_.data() + first * width_, count * width_, buffer);
    return count * width_;
}

void MpiCommunicator::unpack_owners(int count, const int* atoms, const double* buffer) {
    for (int i = 0; i < count; ++i)
        for (int column = 0; column < width_; ++column)
            columns_[static_cast<std::size_t>(atoms[i] * width_ + column)] += buffer[i * width_ + column];
}

double MpiCommunicator::memory_usage() const { return static_cast<double>(columns_.capacity() * sizeof(double)); }

}  // namespace les_lammps
