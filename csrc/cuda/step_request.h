// What an evaluation on the device is asked for beside energy and forces; arrays on the device.
#pragma once

#include <array>
#include <cstdint>

namespace les::cuda {

struct StepRequest {
    std::array<double, 3> field{};         // V/angstrom
    const double* moments_from = nullptr;  // (n_owned, 3), angstrom, unwrapped positions; null: the positions
    const double* velocities = nullptr;    // (n_owned, 3), angstrom/ps, for the current alone
    bool polarization = false, current = false, born_charges = false, atom_virials = false;
    std::int64_t n_external = 0;  // external charges
    const double *external_positions = nullptr, *external_charges = nullptr;

    /// Nothing but the polarization is asked for.
    bool is_plain() const { return !has_field() && !current && !born_charges && !atom_virials && n_external == 0; }
    bool has_field() const { return field != std::array<double, 3>{}; }
};

}  // namespace les::cuda
