// Polarization, electric field and Born effective charges on the device, each kernel a loop over atoms; the order of
// the launches is in device_response.h, the equations are those of csrc/src/polarization.cpp.
#pragma once

#include "edge_forces.cuh"

namespace les::cuda {

/// Sums over atoms: polarization, energy in the field, virial of the field.
constexpr int moment_sum = 0, field_energy_sum = 3, field_virial_sum = 4, n_field_sums = 13;

/// Charges that move with their atoms, their moments and the field on them: P = sum q r + sum D, H = E - field . P.
struct SumMoments {
    static constexpr int threads = 128;
    struct Shared {
        double scratch[block_sum_bytes(n_field_sums, threads) / sizeof(double)];
    };
    std::int64_t n_atoms;
    int n_channels;
    double scale;  // of latent charges to physical ones
    bool is_defined, has_field;
    double field[3];                // V/angstrom
    const double* positions;        // (n_atoms, 3), angstrom, that moments are taken from
    const double* charges;          // (n_atoms, n_channels), e
    const std::int64_t* types;      // (n_atoms,)
    const double* element_charges;  // (n_types,), e, of charge transfers, or null
    const double* dipoles;          // (n_atoms, 3), e angstrom, of charge transfers, or null
    double* fixed_charges;          // (n_atoms,), e, physical
    double *energies, *forces;      // (n_atoms,), (n_atoms, 3), of the field, written if that has an energy
    double* potentials;             // (n_atoms, n_channels), V, written if the energy depends on latent charges
    double* totals;                 // (blocks, n_field_sums)

    LES_DEVICE void operator()(const Block<threads>& block, Shared& shared) const {
        PerThread<Sums<n_field_sums>, threads> sums;
        block.each([&](int thread) {
            for (int s = 0; s < n_field_sums; ++s) sums[thread].v[s] = 0.0;
        });
        each_item(block, n_atoms, [&](std::int64_t i, int thread) {
            double charge = 0.0;
            if (element_charges != nullptr) {
                charge = element_charges[types[i]];
            } else {
                for (int c = 0; c < n_channels; ++c) charge += charges[i * n_channels + c];
            }
            charge *= scale;
            fixed_charges[i] = charge;
            if (is_defined) add_atom(i, charge, sums[thread].v);
        });
        block_sum(block, sums, shared.scratch, totals + block.index * n_field_sums);
    }

    LES_DEVICE void add_atom(std::int64_t i, double charge, double* sum) const {
        const double* r = positions + 3 * i;
        double along = 0.0, energy = 0.0;
        LES_UNROLL
        for (int a = 0; a < 3; ++a) {
            const double dipole = dipoles != nullptr ? scale * dipoles[3 * i + a] : 0.0;
            sum[moment_sum + a] += charge * r[a] + dipole;
            along += field[a] * r[a];
            energy -= field[a] * dipole;
        }
        if (!has_field) return;
        energy -= charge * along;
        energies[i] = energy;
        sum[field_energy_sum] += energy;
        if (potentials != nullptr)
            for (int c = 0; c < n_channels; ++c) potentials[i * n_channels + c] = -scale * along;
        LES_UNROLL
        for (int a = 0; a < 3; ++a) {
            forces[3 * i + a] = charge * field[a];
            LES_UNROLL
            for (int b = 0; b < 3; ++b)
                sum[field_virial_sum + 3 * a + b] += 0.5 * charge * (field[a] * r[b] + field[b] * r[a]);
        }
    }
};

struct CloseMoments {
    static constexpr int threads = close_threads;
    struct Shared {
        double partial[threads], sums[n_field_sums];
    };
    const double* totals;
    int n_blocks;
    ResponseSums* response;

    LES_DEVICE void operator()(const Block<threads>& block, Shared& shared) const {
        add_blocks<n_field_sums>(block, shared.partial, totals, n_blocks, shared.sums);
        block.each([&](int thread) {
            if (thread < 3) {
                response->polarization[thread] = shared.sums[moment_sum + thread];
                response->current[thread] = 0.0;
            }
            if (thread < 9) response->virial[thread] = shared.sums[field_virial_sum + thread];
            if (thread == 0) response->field_energy = shared.sums[field_energy_sum];
        });
    }
};

enum class Weight : int { coordinate, sine, cosine };

/// What the network's charges are weighted with: scale w(direction . r_i), the same for all channels of an atom.
struct WeightAtoms {
    static constexpr int threads = 128;
    struct Shared {};
    Weight weight;
    double direction[3];
    double scale;
    const double* positions;
    std::int64_t n_atoms;
    int n_channels;
    double* rows;  // (n_atoms, n_channels)

    LES_DEVICE void operator()(const Block<threads>& block, Shared&) const {
        each_item(block, n_atoms, [&](std::int64_t i, int) {
            const double* r = positions + 3 * i;
            const double u = direction[0] * r[0] + direction[1] * r[1] + direction[2] * r[2];
            const double w = weight == Weight::coordinate ? u : weight == Weight::sine ? sin(u) : cos(u);
            for (int c = 0; c < n_channels; ++c) rows[i * n_channels + c] = scale * w;
        });
    }
};

/// Gradients with respect to positions from those of edges; v = r_j - r_i. The tables are those of CollectForces.
struct GatherGradients {
    static constexpr int threads = 128;
    struct Shared {};
    NeighborArrays list;
    EdgeRows rows;
    const double* gradients;  // (n_centres, slots, 3)
    double* of_atoms;         // (n_atoms, 3)

    LES_DEVICE void operator()(const Block<threads>& block, Shared&) const {
        each_item(block, list.n_atoms, [&](std::int64_t i, int) {
            double sum[3] = {0.0, 0.0, 0.0};
            each_edge_of(list, rows, i, [&](std::int64_t edge, bool outgoing) {
                LES_UNROLL
                for (int x = 0; x < 3; ++x) sum[x] += (outgoing ? -1.0 : 1.0) * gradients[3 * edge + x];
            });
            LES_UNROLL
            for (int x = 0; x < 3; ++x) of_atoms[3 * i + x] = sum[x];
        });
    }
};

/// Z*_{i,a,b} = q_i delta_ab + d(sum_j D_ja)/dr_ib, or + sum_j r_ja dq_j/dr_ib, for one a.
struct AddBornRow {
    static constexpr int threads = 128;
    struct Shared {};
    int a;
    std::int64_t n_atoms;
    const double *gradient, *fixed_charges;  // (n_atoms, 3), (n_atoms,)
    double* born_charges;                    // (n_atoms, 3, 3)

    LES_DEVICE void operator()(const Block<threads>& block, Shared&) const {
        each_item(block, n_atoms, [&](std::int64_t i, int) {
            LES_UNROLL
            for (int b = 0; b < 3; ++b)
                born_charges[9 * i + 3 * a + b] = gradient[3 * i + b] + (a == b ? fixed_charges[i] : 0.0);
        });
    }
};

/// The share of one fractional direction in Born charges and in forces in a field, see Polarization on the CPU:
/// t_ib = [cos(u_i) d(sum_j q_j sin u_j)/dr_ib - sin(u_i) d(sum_j q_j cos u_j)/dr_ib] / 2 pi + q_i ds_i/dr_ib.
struct AddFractional {
    static constexpr int threads = 128;
    struct Shared {};
    double vector[3], reciprocal[3];  // lattice vector and its reciprocal one, with 2 pi
    double along;                     // field . vector
    double scale;
    bool first;  // nothing there to add to yet
    std::int64_t n_atoms;
    const double *positions, *of_sine, *of_cosine, *fixed_charges;
    double *born_charges, *forces;  // (n_atoms, 3, 3) and (n_atoms, 3), or null

    LES_DEVICE void operator()(const Block<threads>& block, Shared&) const {
        constexpr double two_pi = 6.283185307179586476925;
        each_item(block, n_atoms, [&](std::int64_t i, int) {
            const double* r = positions + 3 * i;
            const double u = reciprocal[0] * r[0] + reciprocal[1] * r[1] + reciprocal[2] * r[2];
            const double s = sin(u), c = cos(u);
            LES_UNROLL
            for (int b = 0; b < 3; ++b) {
                const double t =
                    (scale * (c * of_sine[3 * i + b] - s * of_cosine[3 * i + b]) + fixed_charges[i] * reciprocal[b]) /
                    two_pi;
                if (forces != nullptr) forces[3 * i + b] = (first ? 0.0 : forces[3 * i + b]) + along * t;
                if (born_charges == nullptr) continue;
                LES_UNROLL
                for (int a = 0; a < 3; ++a) {
                    double& born = born_charges[9 * i + 3 * a + b];
                    born = (first ? 0.0 : born) + vector[a] * t;
                }
            }
        });
    }
};

/// dP/dt = sum_i Z*_i v_i; one block, in a fixed order.
struct SumCurrent {
    static constexpr int threads = 256;
    struct Shared {
        double scratch[block_sum_bytes(3, threads) / sizeof(double)];
    };
    const double *born_charges, *velocities;  // (n_atoms, 3, 3), e, and (n_atoms, 3), angstrom/ps
    std::int64_t n_atoms;
    double* current;  // (3,), e angstrom/ps

    LES_DEVICE void operator()(const Block<threads>& block, Shared& shared) const {
        PerThread<Sums<3>, threads> sums;
        block.each([&](int thread) {
            double* sum = sums[thread].v;
            for (int a = 0; a < 3; ++a) sum[a] = 0.0;
            for (std::int64_t i = thread; i < n_atoms; i += threads) {
                LES_UNROLL
                for (int ab = 0; ab < 9; ++ab) sum[ab / 3] += born_charges[9 * i + ab] * velocities[3 * i + ab % 3];
            }
        });
        block_sum(block, sums, shared.scratch, current);
    }
};

}  // namespace les::cuda
