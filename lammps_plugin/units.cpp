#include "units.h"

#include "utils.h"

namespace les_lammps {

std::optional<Units> units_of_style(const std::string& style) {
    using namespace LAMMPS_NS::utils;
    const struct {
        const char* style;
        Units units;
    } table[] = {
        {"metal", {1.0, 1.0, 1.0}},
        {"real", {1.0, get_conversion_factor(ENERGY, METAL2REAL), 1e-3}},
    };
    for (const auto& row : table)
        if (style == row.style) return row.units;
    return std::nullopt;
}

}  // namespace les_lammps
