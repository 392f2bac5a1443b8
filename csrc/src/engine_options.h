// What an engine makes of its options and the cell it is given, for the CPU and for a GPU.
#pragma once

#include <cmath>
#include <string>

#include "les/engine.h"
#include "les/error.h"

namespace les {

inline bool sets_more_than_solver(const LongRangeOptions& options) {
    LongRangeOptions plain;
    plain.solver = options.solver;
    return options != plain;
}

inline double graph_memory_of(const EngineOptions& options) {
    if (!(options.graph_memory >= 0.0))
        throw Error("`graph_memory` must be a number of GB, 0 or more, got " + std::to_string(options.graph_memory));
    return 1e9 * options.graph_memory;
}

inline void check_graphs(const std::string& graphs) {
    if (graphs != "auto" && graphs != "on" && graphs != "off")
        throw Error("`graphs` must be auto, on or off, got " + graphs);
}

/// A float32 network asks for no more than a float32 mesh gives, unless the user does.
inline LongRangeOptions long_range_options(const Metadata& metadata, const EngineOptions& options) {
    LongRangeOptions periodic = options.long_range;
    if (periodic.dtype.empty()) periodic.dtype = periodic.accuracy < 1e-6 ? "float64" : metadata.dtype;
    return periodic;
}

inline constexpr const char* options_without_long_range =
    "this model has no long-range energy: options of the long-range sum have no effect";
inline constexpr const char* response_without_charges =
    "an electric field, Born effective charges and currents need a model with charges, this one is short-range only";
inline constexpr const char* current_without_velocities =
    "`velocities` must be given for the polarization current, got none";
inline constexpr const char* embedding_without_charges =
    "external charges need a model with charges, this one is short-range only; use mechanical embedding";
inline constexpr const char* external_charge_at_atom =
    "an external charge must not coincide with an atom of the model; check the structure";
inline constexpr const char* warning_of_field =
    "the field acts by Born effective charges of this model, so energy is not conserved, and energy and virial have no "
    "share of the field; models trained with `charge_flux` have an exact polarization";
inline constexpr const char* warning_of_deterministic =
    "deterministic has no effect on a network that alone is on the GPU, see docs/gpu.md: results may differ in their "
    "last digits from run to run";
inline constexpr const char* graphs_on_cpu =
    "`graphs` on is for device cuda, where steps can be captured, got device cpu; leave `graphs` at auto, or off";
inline constexpr const char* warning_of_graphs_alone =
    "graphs has no effect on a network that alone is on the GPU, see docs/gpu.md: no step is captured";
inline constexpr const char* warning_of_graphs_divided =
    "graphs has no effect on several processes: their steps are not captured";
inline constexpr const char* results_not_finite =
    "energy and forces must be finite, got NaN or infinity; atoms may be too close, reduce the time step";

inline Error position_not_finite(std::int64_t atom) {
    return Error("`positions` must be finite, atom " + std::to_string(atom) +
                 " (counted from 0) is not; reduce the time step or check the structure");
}

/// Throws les::Error unless the cell of a periodic system has a volume.
inline void check_cell(const Matrix3& c) {
    double lengths = 1.0;
    for (const auto& row : c) lengths *= std::sqrt(row[0] * row[0] + row[1] * row[1] + row[2] * row[2]);
    const double volume =
        std::abs(c[0][0] * (c[1][1] * c[2][2] - c[1][2] * c[2][1]) - c[0][1] * (c[1][0] * c[2][2] - c[1][2] * c[2][0]) +
                 c[0][2] * (c[1][0] * c[2][1] - c[1][1] * c[2][0]));
    if (!std::isfinite(lengths) || !(volume > 1e-6 * lengths)) {
        throw Error("`cell` of a periodic system must be finite and have a volume, got a volume of " +
                    std::to_string(volume) + " cubic angstrom");
    }
}

}  // namespace les
