// A system dealt out to domains as a host would do it, each with its ghosts, and the results of all put together again.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <mutex>
#include <vector>

#include "../cpp/asked_system.h"
#include "ghost_communicator.h"
#include "les/les.h"

inline std::mutex putting_together;

/// The atoms of one domain: dealt out in turn to all but the last, which has none. Other atoms and images are ghosts if
/// they are not further than `cutoff` from one of them.
struct DomainPart {
    std::shared_ptr<GhostCommunicator> communicator;
    std::vector<double> positions, unwrapped, velocities;
    std::vector<std::int32_t> types;
    les::System system;

    DomainPart(const les::System& whole, double cutoff, Board& board, int rank)
        : communicator(std::make_shared<GhostCommunicator>(board, rank)), system(whole) {
        const auto owner = [&](std::int64_t i) { return board.size == 1 ? 0 : static_cast<int>(i % (board.size - 1)); };
        for (std::int64_t i = 0; i < whole.n_local; ++i) {
            if (owner(i) != rank) continue;
            add(whole, i, 0, 0, 0);
            for (int x = 0; x < 3; ++x) {
                if (whole.unwrapped_positions != nullptr) unwrapped.push_back(whole.unwrapped_positions[3 * i + x]);
                if (whole.velocities != nullptr) velocities.push_back(whole.velocities[3 * i + x]);
            }
        }
        communicator->n_local = communicator->atoms.size();
        const int reach = whole.periodic ? 2 : 0;
        for (std::int64_t i = 0; i < whole.n_local; ++i)
            for (int a = -reach; a <= reach; ++a)
                for (int b = -reach; b <= reach; ++b)
                    for (int c = -reach; c <= reach; ++c)
                        if (owner(i) != rank || a != 0 || b != 0 || c != 0) add_ghost(whole, cutoff, i, a, b, c);
        system.n_local = static_cast<std::int64_t>(communicator->n_local);
        system.n_all = static_cast<std::int64_t>(types.size());
        system.positions = positions.data();
        system.types = types.data();
        if (whole.unwrapped_positions != nullptr) system.unwrapped_positions = unwrapped.data();
        if (whole.velocities != nullptr) system.velocities = velocities.data();
    }
    DomainPart(const DomainPart&) = delete;

    /// Number of owned atom `k` in the whole system.
    std::size_t atom(std::size_t k) const { return static_cast<std::size_t>(communicator->atoms[k]); }

    /// Adds what this domain has of `results` to those of the whole system. Collective.
    void add_to(les::Results& whole, les::Results results, std::size_t n) const {
        const auto channels = static_cast<std::size_t>(results.n_channels);
        communicator->ghosts_to_owners(results.forces.data(), 3);
        if (system.atom_virials) communicator->ghosts_to_owners(results.atom_virials.data(), 9);
        const std::lock_guard lock(putting_together);
        whole.n_channels = results.n_channels;
        whole.short_range_energy += results.short_range_energy;
        whole.long_range_energy += results.long_range_energy;
        whole.field_energy += results.field_energy;
        for (std::size_t a = 0; a < 3; ++a) {
            whole.polarization[a] += results.polarization[a];
            whole.polarization_current[a] += results.polarization_current[a];
            for (std::size_t b = 0; b < 3; ++b) whole.virial[a][b] += results.virial[a][b];
        }
        put(whole.node_energies, results.node_energies, n, 1);
        put(whole.forces, results.forces, n, 3);
        put(whole.latent_charges, results.latent_charges, n, channels);
        put(whole.potentials, results.potentials, n, channels);
        put(whole.born_charges, results.born_charges, n, 9);
        put(whole.atom_virials, results.atom_virials, n, 9);
        put(whole.field_energies, results.field_energies, n, 1);
    }

private:
    void add(const les::System& whole, std::int64_t i, int a, int b, int c) {
        communicator->atoms.push_back(i);
        types.push_back(whole.types[i]);
        for (std::size_t x = 0; x < 3; ++x)
            positions.push_back(whole.positions[static_cast<std::size_t>(3 * i) + x] + a * whole.cell[0][x] +
                                b * whole.cell[1][x] + c * whole.cell[2][x]);
    }

    void add_ghost(const les::System& whole, double cutoff, std::int64_t i, int a, int b, int c) {
        add(whole, i, a, b, c);
        const double* ghost = positions.data() + positions.size() - 3;
        for (std::size_t k = 0; k < communicator->n_local; ++k) {
            const double* own = positions.data() + 3 * k;
            if (std::hypot(ghost[0] - own[0], ghost[1] - own[1], ghost[2] - own[2]) <= cutoff) return;
        }
        communicator->atoms.pop_back();
        types.pop_back();
        positions.resize(positions.size() - 3);
    }

    /// Rows of owned atoms to their places; nothing where the domain has no such quantity.
    void put(std::vector<double>& whole, const std::vector<double>& rows, std::size_t n, std::size_t width) const {
        if (rows.empty()) return;
        whole.resize(n * width, 0.0);
        for (std::size_t k = 0; k < communicator->n_local; ++k)
            std::copy_n(rows.data() + k * width, width, whole.data() + atom(k) * width);
    }
};
