// The device arrays of a whole mesh: of the mesh, of its atoms and of sums, and whether they fit into memory.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "device_array.h"
#include "kspace_filter.cuh"
#include "mesh_setup.h"

namespace les::cuda {

template <class Real>
struct MeshArrays {
    DeviceArray<CellTerms> cell_terms;
    DeviceArray<SelfTerms> self_terms;
    DeviceArray<Summary> summary;
    DeviceArray<double> tables, filter_sums, point_sums, influence_sums;
    DeviceArray<double> potentials, forces;  // (atoms, channels), (atoms, 3)
    DeviceArray<Real> mesh, influence;       // of all channels; of the modes
    DeviceArray<Real> t, charges;            // of sorted points, as the next two
    DeviceArray<std::int32_t> first, atom;
    DeviceArray<std::int32_t> counts, begin;               // of tiles
    DeviceArray<std::int32_t> tile_and_number, unordered;  // of atoms
    DeviceArray<std::int32_t> status;

    MeshArrays() {
        cell_terms.reserve(1);
        self_terms.reserve(1);
        summary.reserve(1);
        status.reserve(1);
        filter_sums.reserve(most_filter_blocks * n_filter_sums);
        point_sums.reserve(most_gather_blocks * n_point_sums);
        influence_sums.reserve(most_influence_blocks * n_self_sums);
    }

    SortedPoints<Real> points() const { return {first.data(), t.data(), charges.data(), atom.data(), begin.data()}; }

    /// For the mesh of `setup`, with its tables; the stream is idle. Throws les::Error if it does not fit into memory.
    void resize(const MeshSetup& setup, cudaStream_t stream) {
        const MeshShape& shape = setup.shape();
        const std::int64_t reals = shape.channel() * shape.channels;
        mesh.release();
        influence.release();
        // mesh, work space of the transforms (as much again, at most twice), influence function
        check_memory((3.0 * static_cast<double>(reals) + static_cast<double>(shape.n_modes())) * sizeof(Real),
                     setup.report().mesh);
        mesh.reserve(reals);
        influence.reserve(shape.n_modes());
        counts.reserve(shape.n_tiles());
        begin.reserve(shape.n_tiles() + std::int64_t{1});
        check(
            cudaMemsetAsync(counts.data(), 0, static_cast<std::size_t>(shape.n_tiles()) * sizeof(std::int32_t), stream),
            "clearing the counts");
        const std::vector<double> of_window = setup.tables();
        tables.reserve(setup.table_size());
        check(cudaMemcpyAsync(tables.data(), of_window.data(), of_window.size() * sizeof(double),
                              cudaMemcpyHostToDevice, stream),
              "the tables of the window");
        check(cudaStreamSynchronize(stream), "the tables of the window");
    }

    /// Throws les::Error for more atoms than one GPU takes.
    bool needs_room(std::int64_t n_atoms) const {
        if (n_atoms > INT32_MAX / 4)
            throw Error("one GPU takes at most " + std::to_string(INT32_MAX / 4) + " atoms, got " +
                        std::to_string(n_atoms));
        return n_atoms > capacity_;
    }

    /// With a sixteenth to spare; the stream is idle.
    void reserve_atoms(std::int64_t n_atoms, int n_channels, bool deterministic) {
        const std::int64_t room = n_atoms + n_atoms / 16, values = room * n_channels;
        capacity_ = 0;  // until there is memory for all
        for (DeviceArray<double>* array : {&potentials, &forces}) array->release();
        potentials.reserve(values);
        forces.reserve(3 * room);
        first.reserve(3 * room);
        t.reserve(3 * room);
        charges.reserve(values);
        atom.reserve(room);
        tile_and_number.reserve(2 * room);
        if (deterministic) unordered.reserve(room);
        capacity_ = room;
    }

private:
    std::int64_t capacity_ = 0;  // atoms

    static void check_memory(double bytes, const std::array<int, 3>& mesh) {
        std::size_t free = 0, total = 0;
        check(cudaMemGetInfo(&free, &total), "the memory of the GPU");
        if (bytes <= static_cast<double>(free)) return;
        char text[300];
        std::snprintf(
            text, sizeof(text),
            "the mesh of %d x %d x %d points needs %.3g GB, and %.3g GB of the GPU's memory are free; choose a "
            "smaller cell, a larger accuracy value or mesh_spacing, or float32 for the mesh",
            mesh[0], mesh[1], mesh[2], 1e-9 * bytes, 1e-9 * static_cast<double>(free));
        throw Error(text);
    }
};

}  // namespace les::cuda
