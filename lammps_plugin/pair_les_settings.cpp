// Commands of the input script that set up pair style les: pair_style with its keywords, pair_coeff with the model.

#include <algorithm>
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

struct Keyword {
    const char* name;
    const char* expected;
    bool (*apply)(les::EngineOptions& options, const std::string& value);  ///< false: value not as expected
};

constexpr Keyword keywords[] = {
    {"device", "cpu, cuda or cuda:N",
     [](les::EngineOptions& options, const std::string& value) {
         options.device = value;
         return value == "cpu" || value == "cuda" || value.rfind("cuda:", 0) == 0;
     }},
    {"threads", "a whole number of torch threads a rank, at least 1",
     [](les::EngineOptions& options, const std::string& value) {
         const std::optional<double> threads = number_in(value);
         if (!threads || *threads < 1 || *threads > 4096 || *threads != std::floor(*threads)) return false;
         options.threads = static_cast<int>(*threads);
         return true;
     }},
    {"total_charge", "a number of elementary charges",
     [](les::EngineOptions& options, const std::string& value) {
         options.total_charge = number_in(value);
         return options.total_charge.has_value();
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
    les::EngineOptions options;
    options.threads = 1;  // ranks share the cores
    for (int i = 0; i < narg; i += 2) {
        const Keyword* keyword = find_keyword(arg[i]);
        if (!keyword)
            error->all(FLERR, std::string("pair_style les: unknown keyword ") + arg[i] + ", expected one of " +
                                  keyword_names());
        if (i + 1 == narg)
            error->all(FLERR,
                       std::string("pair_style les: keyword ") + arg[i] + " must be followed by " + keyword->expected);
        if (!keyword->apply(options, arg[i + 1]))
            error->all(FLERR, std::string("pair_style les: keyword ") + arg[i] + " must be followed by " +
                                  keyword->expected + ", got " + arg[i + 1]);
    }
    implementation_->options = options;
    implementation_->engine.reset();  // made again with the new options when the next run starts
    implementation_->results = nullptr;
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
    self.charges = self.potentials = self.atomic_charges = {};
    self.charges.columns = self.potentials.columns = self.file->metadata().n_channels;
    self.atomic_charges.columns = 1;

    if (!allocated) allocate();
    for (int i = 1; i <= ntypes; ++i)
        for (int j = i; j <= ntypes; ++j)
            setflag[i][j] = type_map[static_cast<std::size_t>(i)] >= 0 && type_map[static_cast<std::size_t>(j)] >= 0;

    const les::Metadata& metadata = self.file->metadata();
    std::string mapping;
    for (int i = 1; i <= ntypes; ++i)
        mapping += (i > 1 ? ", " : "") + std::to_string(i) + " " + symbols[static_cast<std::size_t>(i - 1)];
    print(fmt::format("model {}, atom types {}, cutoff {:.4g} angstrom, {} on {}, {} torch thread(s) a rank", name,
                      mapping, metadata.cutoff, metadata.dtype, self.options.device, *self.options.threads));
    if (lmp->citeme) lmp->citeme->add(citation);
}

}  // namespace LAMMPS_NS
