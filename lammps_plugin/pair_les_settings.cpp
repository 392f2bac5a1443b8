// Commands of the input script that set up pair style les: pair_style with its keywords, pair_coeff with the model.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "atom.h"
#include "citeme.h"
#include "collective.h"
#include "error.h"
#include "pair_les.h"
#include "pair_les_implementation.h"
#include "utils.h"

namespace LAMMPS_NS {
namespace {

constexpr const char* citation =
    "pair style les: doi:10.1038/s41524-025-01577-7\n\n"
    "@Article{Cheng2025,\n"
    " author =  {B. Cheng},\n"
    " title =   {Latent {E}wald Summation for Machine Learning of Long-Range Interactions},\n"
    " journal = {npj Comput.\\ Mater.},\n"
    " year =    2025,\n"
    " volume =  11,\n"
    " pages =   {80}\n"
    "}\n\n";

/// Whole of `text` as a finite number.
std::optional<double> number_in(const std::string& text) {
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0' || !std::isfinite(value)) return std::nullopt;
    return value;
}

/// Whole of `text` as a whole number of at most nine digits.
std::optional<int> whole_number_in(const std::string& text) {
    const std::optional<double> value = number_in(text);
    if (!value || std::abs(*value) >= 1e9 || *value != std::floor(*value)) return std::nullopt;
    return static_cast<int>(*value);
}

using Values = std::vector<std::string>;
using Options = PairLES::Implementation::Options;

struct Keyword {
    const char* name;
    std::size_t n_values;
    const char* expected;
    bool (*apply)(Options& options, const Values& values);  ///< false: values not as expected
};

// What a number or word may be is known to the engine, which says so for every host; here they are only read.
constexpr Keyword keywords[] = {
    {"device", 1, "cpu, cuda or cuda:N",
     [](Options& options, const Values& values) {
         options.engine.device = values[0];
         return values[0] == "cpu" || values[0] == "cuda" || values[0].rfind("cuda:", 0) == 0;
     }},
    {"threads", 1, "a whole number of torch threads a rank, at least 1",
     [](Options& options, const Values& values) {
         options.engine.threads = whole_number_in(values[0]);
         return options.engine.threads && *options.engine.threads >= 1 && *options.engine.threads <= 4096;
     }},
    {"graph_memory", 1, "a number of GB a rank",
     [](Options& options, const Values& values) {
         const std::optional<double> memory = number_in(values[0]);
         options.engine.graph_memory = memory.value_or(-1.0);
         return memory && *memory >= 0.0;
     }},
    {"total_charge", 1, "a number of elementary charges",
     [](Options& options, const Values& values) {
         options.engine.total_charge = number_in(values[0]);
         return options.engine.total_charge.has_value();
     }},
    {"solver", 1, "auto, mesh or direct",
     [](Options& options, const Values& values) {
         options.engine.long_range.solver = values[0];
         return true;
     }},
    {"accuracy", 1, "a relative force error such as 1e-4",
     [](Options& options, const Values& values) {
         const std::optional<double> accuracy = number_in(values[0]);
         options.engine.long_range.accuracy = accuracy.value_or(0.0);
         return accuracy.has_value();
     }},
    {"mesh", 3, "three whole numbers of mesh points",
     [](Options& options, const Values& values) {
         std::array<int, 3> points{};
         for (std::size_t axis = 0; axis < 3; ++axis) {
             const std::optional<int> count = whole_number_in(values[axis]);
             if (!count) return false;
             points[axis] = *count;
         }
         options.engine.long_range.mesh = points;
         return true;
     }},
    {"mesh_spacing", 1, "a number of angstrom",
     [](Options& options, const Values& values) {
         options.engine.long_range.mesh_spacing = number_in(values[0]);
         return options.engine.long_range.mesh_spacing.has_value();
     }},
    {"interpolation_nodes", 1, "a whole number of mesh points an axis",
     [](Options& options, const Values& values) {
         options.engine.long_range.interpolation_nodes = whole_number_in(values[0]);
         return options.engine.long_range.interpolation_nodes.has_value();
     }},
    {"window", 1, "kaiser_bessel or b_spline",
     [](Options& options, const Values& values) {
         options.engine.long_range.window = values[0];
         return true;
     }},
    {"mesh_dtype", 1, "float32 or float64",
     [](Options& options, const Values& values) {
         options.engine.long_range.dtype = values[0];
         return true;
     }},
    {"freeze_k_set", 1, "yes or no",
     [](Options& options, const Values& values) {
         options.engine.long_range.freeze_k_set = values[0] == "yes";
         return values[0] == "yes" || values[0] == "no";
     }},
    {"spin", 1, "a spin multiplicity 2S + 1",
     [](Options& options, const Values& values) {
         options.engine.spin = number_in(values[0]);
         return options.engine.spin.has_value();
     }},
    {"deterministic", 1, "yes or no",
     [](Options& options, const Values& values) {
         options.engine.deterministic = values[0] == "yes";
         return values[0] == "yes" || values[0] == "no";
     }},
    {"graphs", 1, "auto, on or off",
     [](Options& options, const Values& values) {
         options.engine.graphs = values[0];
         return values[0] == "auto" || values[0] == "on" || values[0] == "off";
     }},
    {"field", 3, "three numbers in V/angstrom, each of which may be v_name of an equal-style variable",
     [](Options& options, const Values& values) {
         options.field = values;
         return std::all_of(values.begin(), values.end(), [](const std::string& value) {
             return number_in(value) || (value.rfind("v_", 0) == 0 && value.size() > 2);
         });
     }},
    {"polarization", 1, "yes or no",
     [](Options& options, const Values& values) {
         options.polarization = values[0] == "yes";
         return values[0] == "yes" || values[0] == "no";
     }},
    {"current", 1, "yes or no",
     [](Options& options, const Values& values) {
         options.current = values[0] == "yes";
         return values[0] == "yes" || values[0] == "no";
     }},
};

const Keyword* find_keyword(const std::string& name) {
    for (const Keyword& keyword : keywords)
        if (name == keyword.name) return &keyword;
    return nullptr;
}

std::string keyword_names() {
    std::string names;
    for (const Keyword& keyword : keywords) names += (names.empty() ? "" : ", ") + std::string(keyword.name);
    return names;
}

}  // namespace

void PairLES::settings(int narg, char** arg) {
    Options options;
    options.engine.threads = 1;  // ranks share the cores
    for (int i = 0; i < narg;) {
        const Keyword* keyword = find_keyword(arg[i]);
        if (!keyword)
            error->all(FLERR, std::string("pair_style les: unknown keyword ") + arg[i] + ", expected one of " +
                                  keyword_names());
        const int next = std::min(narg, i + 1 + static_cast<int>(keyword->n_values));
        const Values values(arg + i + 1, arg + next);
        if (values.size() < keyword->n_values || !keyword->apply(options, values)) {
            std::string got;
            for (const std::string& value : values) got += " " + value;
            error->all(FLERR, std::string("pair_style les: keyword ") + arg[i] + " must be followed by " +
                                  keyword->expected + ", got" + (got.empty() ? " nothing" : got));
        }
        i = next;
    }
    implementation_->options = options;
    implementation_->engine.reset();  // made again with the new options when the next run starts
    implementation_->results = nullptr;
    list_global_values();
}

void PairLES::coeff(int narg, char** arg) {
    auto& self = *implementation_;
    const int ntypes = atom->ntypes;
    if (narg != 3 + ntypes || std::strcmp(arg[0], "*") != 0 || std::strcmp(arg[1], "*") != 0)
        error->all(FLERR, "pair_coeff of style les must be `* * model_file` and one chemical symbol for each of the " +
                              std::to_string(ntypes) + " atom types, got " + std::to_string(std::max(0, narg - 3)) +
                              " symbols");
    const std::vector<std::string> symbols(arg + 3, arg + narg);
    if (!is_hybrid() && std::find(symbols.begin(), symbols.end(), "NULL") != symbols.end())
        error->all(FLERR,
                   "pair_coeff of style les takes NULL under pair_style hybrid or hybrid/overlay only, where another "
                   "style acts on those atoms");
    check_no_kspace();

    const std::string name = arg[2], found = utils::get_potential_file_path(name);
    const std::string bytes = les_lammps::read_on_first_rank(lmp, found.empty() ? name : found);
    std::vector<int> type_map(static_cast<std::size_t>(ntypes + 1), -1);
    std::optional<les::ModelFile> file;
    les_lammps::run_on_all_ranks(lmp, [&] {
        file = les::ModelFile::from_bytes(bytes, name);
        for (std::size_t type = 1; type < type_map.size(); ++type)
            if (symbols[type - 1] != "NULL") type_map[type] = file->types_of({symbols[type - 1]})[0];
    });
    if (*std::max_element(type_map.begin(), type_map.end()) < 0)
        error->all(FLERR,
                   "pair_coeff of style les must name a chemical symbol for at least one atom type, got only NULL");

    self.file = std::move(file);
    self.type_map = type_map;
    self.engine.reset();
    self.results = nullptr;
    self.charges = self.potentials = self.atomic_charges = self.born_charges = {};
    self.charges.columns = self.potentials.columns = self.file->metadata().n_channels;
    self.atomic_charges.columns = 1;
    self.born_charges.columns = 9;
    self.born_wanted = self.born_by_trigger = false;

    if (self.options.current && self.current_fix == nullptr) self.current_fix = FixLESCurrent::add(lmp, this);

    if (!allocated) allocate();
    for (int i = 1; i <= ntypes; ++i)
        for (int j = i; j <= ntypes; ++j)
            setflag[i][j] = type_map[static_cast<std::size_t>(i)] >= 0 && type_map[static_cast<std::size_t>(j)] >= 0;

    const les::Metadata& metadata = self.file->metadata();
    std::string mapping;
    for (int i = 1; i <= ntypes; ++i)
        mapping += (i > 1 ? ", " : "") + std::to_string(i) + " " + symbols[static_cast<std::size_t>(i - 1)];
    print(fmt::format("model {}, atom types {}, cutoff {:.4g} angstrom, {} on {}, {} torch thread(s) a rank", name,
                      mapping, metadata.cutoff, metadata.dtype, self.options.engine.device,
                      *self.options.engine.threads));
    if (lmp->citeme) lmp->citeme->add(citation);
}

}  // namespace LAMMPS_NS
