// Bytes that each stage of the mesh on the GPU must move between memory and processors at least: every array once in
// and once out, transforms one pass for each axis. Divided by the bandwidth of the device this is the floor of the
// time.
#pragma once

#include <array>

#include "cuda/mesh_shape.cuh"

struct Stage {
    const char* name;
    double bytes;
};

/// `real` is the size of a number on the mesh, `n` the number of atoms.
inline std::array<Stage, 7> traffic(const les::cuda::MeshShape& mesh, double real, double n, bool deterministic) {
    const double channels = mesh.channels, on_mesh = real * static_cast<double>(mesh.channel()) * channels;
    const double influence = real * mesh.n_modes();
    const double record = 12.0 + 3.0 * real + real * channels;  // first nodes, places behind them, charges
    const double position = 24.0, charge = 8.0 * channels, force = 24.0, tile = 8.0;
    const double count = position + tile;
    const double place = tile + position + charge + record + 4.0 + (deterministic ? tile + 8.0 : 0.0);
    const double spread = deterministic ? on_mesh : 3.0 * on_mesh;  // cleared, read and written
    return {{{"count", n * count},
             {"place", n * place},
             {"points_to_mesh", n * record + spread},
             {"transforms", 12.0 * on_mesh},
             {"kspace_filter", 2.0 * on_mesh + influence},
             {"mesh_to_points", on_mesh + n * (record + 4.0 + 2.0 * charge + force)},
             {"net force", n * 2.0 * force}}};
}
