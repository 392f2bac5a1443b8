// Unit styles of LAMMPS that the style supports, with the factors between them and the engine (angstrom, eV, e). One
// table, and the numbers are LAMMPS' own, so that both unit styles of one input agree to the last digit.
#pragma once

#include <optional>
#include <string>

namespace les_lammps {

struct Units {
    double angstrom_per_length = 1.0;  ///< angstrom in one LAMMPS length
    double energy_per_ev = 1.0;        ///< LAMMPS energy in one eV; forces and virial use it too
    double ps_per_time = 1.0;          ///< ps in one LAMMPS time; fields are V/angstrom in both unit styles
};

/// Factors of LAMMPS unit style `style`; none if it is not supported.
std::optional<Units> units_of_style(const std::string& style);

}  // namespace les_lammps
