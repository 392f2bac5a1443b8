#include "model_state.h"

#include <cmath>

#include "les/error.h"

namespace les {

std::array<double, 2> model_state(const Metadata& metadata, const EngineOptions& options,
                                  std::vector<std::string>& warnings) {
    const bool neutralizes = metadata.long_range && metadata.long_range->neutralize;
    if (options.total_charge && !neutralizes && !metadata.charge_input) {
        throw Error(
            "total_charge needs a model trained with `neutrality: true` or `charge_embedding: true`, this one has no "
            "use for it; remove the option");
    }
    if (options.spin && !metadata.spin_input)
        throw Error("spin needs a model trained with `spin_embedding: true`, this one has no use for it; remove it");
    if (options.spin && !(*options.spin >= 1.0 && std::isfinite(*options.spin)))
        throw Error("spin must be a multiplicity 2S + 1, at least 1, got " + std::to_string(*options.spin));
    if (options.total_charge && !std::isfinite(*options.total_charge))
        throw Error("total_charge must be a finite number of elementary charges");
    std::array<double, 2> state = metadata.state.value_or(std::array<double, 2>{0.0, 1.0});
    std::string missing;
    if (!metadata.state) {
        if (metadata.charge_input && !options.total_charge) missing = "total_charge";
        if (metadata.spin_input && !options.spin) missing += missing.empty() ? "spin" : " and spin";
    }
    if (!missing.empty()) {
        warnings.push_back(
            "this model takes " + missing + " as input, which was not given: a " +
            (metadata.charge_input && !options.total_charge ? "total charge of 0" : "multiplicity of 1") +
            (missing == "total_charge and spin" ? " and a multiplicity of 1 are used" : " is used"));
    }
    if (options.total_charge) state[0] = *options.total_charge;
    if (options.spin) state[1] = *options.spin;
    return state;
}

std::vector<double> neutral_charges(const Metadata& metadata, const EngineOptions& options) {
    if (!metadata.long_range || !metadata.long_range->neutralize) return {};
    std::vector<double> total = metadata.long_range->total_charge;
    const bool given_by_file = metadata.charge_input && metadata.state;
    if (options.total_charge || given_by_file) {
        total.assign(total.size(), 0.0);
        total[0] = options.total_charge ? *options.total_charge : (*metadata.state)[0];
    }
    return total;
}

}  // namespace les
