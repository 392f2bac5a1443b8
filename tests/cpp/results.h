// Comparison of whole results of an evaluation, for tests on the CPU, on the emulated device and on a GPU.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "check.h"
#include "les/system.h"

/// All numbers to `tolerance` times the largest one expected.
inline void check_all(const std::vector<double>& got, const std::vector<double>& expected, double tolerance,
                      const std::string& what) {
    CHECK(got.size() == expected.size());
    double scale = 1e-3;
    for (const double value : expected) scale = std::max(scale, std::abs(value));
    for (std::size_t i = 0; i < got.size(); ++i) check_close(got[i], expected[i], tolerance, scale, what);
}

inline std::vector<double> flat(const les::Matrix3& matrix) {
    std::vector<double> out;
    for (const auto& row : matrix) out.insert(out.end(), row.begin(), row.end());
    return out;
}

/// Everything: energies, forces, virial, charges and potentials, polarization, and what was asked for.
inline void check_same(const les::Results& got, const les::Results& expected, double tolerance,
                       const std::string& what) {
    const double scale = std::abs(expected.short_range_energy) + std::abs(expected.long_range_energy) + 1.0;
    check_close(got.short_range_energy, expected.short_range_energy, tolerance, scale, what + " short-range energy");
    check_close(got.long_range_energy, expected.long_range_energy, tolerance, scale, what + " long-range energy");
    check_all(got.forces, expected.forces, tolerance, what + " forces");
    check_all(flat(got.virial), flat(expected.virial), tolerance, what + " virial");
    check_all(got.node_energies, expected.node_energies, tolerance, what + " energies of the atoms");
    check_all(got.latent_charges, expected.latent_charges, tolerance, what + " charges");
    check_all(got.potentials, expected.potentials, tolerance, what + " potentials");
    check_close(got.field_energy, expected.field_energy, tolerance, scale, what + " field energy");
    check_close(got.embedding_energy, expected.embedding_energy, tolerance, scale, what + " embedding energy");
    const auto check_vector = [&](const std::array<double, 3>& a, const std::array<double, 3>& b, const char* name) {
        check_all({a.begin(), a.end()}, {b.begin(), b.end()}, tolerance, what + name);
    };
    check_vector(got.polarization, expected.polarization, " polarization");
    check_vector(got.polarization_current, expected.polarization_current, " current");
    check_all(got.born_charges, expected.born_charges, tolerance, what + " Born charges");
    check_all(got.field_energies, expected.field_energies, tolerance, what + " field energies of the atoms");
    check_all(got.atom_virials, expected.atom_virials, tolerance, what + " virials of the atoms");
    check_all(got.external_potentials, expected.external_potentials, tolerance, what + " external potentials");
    check_all(got.external_forces, expected.external_forces, tolerance, what + " external forces");
}
