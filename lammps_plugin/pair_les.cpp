// The pair style step by step: settings and model on the way in, one collective engine call a step, results out. What
// it refuses is in pair_les_checks.cpp.

#include "pair_les.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <vector>

#include "atom.h"
#include "citeme.h"
#include "collective.h"
#include "comm.h"
#include "domain.h"
#include "error.h"
#include "exceptions.h"
#include "force.h"
#include "memory.h"
#include "neighbor.h"
#include "pair_les_implementation.h"
#include "update.h"
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

void PairLES::Implementation::AtomRows::resize(std::size_t n_atoms) {
    if (values.size() >= n_atoms * static_cast<std::size_t>(columns)) return;
    values.resize(n_atoms * static_cast<std::size_t>(columns), 0.0);
    rows.resize(n_atoms);
    for (std::size_t i = 0; i < n_atoms; ++i) rows[i] = values.data() + i * static_cast<std::size_t>(columns);
}

void* PairLES::Implementation::AtomRows::pointer() {
    return columns == 1 ? static_cast<void*>(values.data()) : static_cast<void*>(rows.data());
}

PairLES::Implementation::Implementation(LAMMPS* lammps, Pair* pair)
    : communicator(std::make_shared<les_lammps::MpiCommunicator>(lammps, pair, system)) {}

les_lammps::ModelRange PairLES::Implementation::range() const {
    return {file->metadata().cutoff, file->metadata().n_layers};
}

PairLES::PairLES(LAMMPS* lmp) : Pair(lmp), implementation_(std::make_unique<Implementation>(lmp, this)) {
    single_enable = 0;
    restartinfo = 0;
    one_coeff = 1;
    manybody_flag = 1;
    no_virial_fdotr_compute = 1;
    centroidstressflag = CENTROID_NOTAVAIL;
    // Under a hybrid style LAMMPS reads these before the model is known.
    ghostneigh = 1;
    comm_forward = comm_reverse = les_lammps::MpiCommunicator::largest_width;
    // Every long-range solver may ask for `cut_coul`, where it is refused with the reason.
    ewaldflag = pppmflag = msmflag = dispersionflag = 1;
    nextra = 2;
    pvector = new double[2]{0.0, 0.0};
}

PairLES::~PairLES() {
    delete[] pvector;
    pvector = nullptr;
    if (allocated) {
        memory->destroy(setflag);
        memory->destroy(cutsq);
        memory->destroy(cutghost);
    }
}

void PairLES::allocate() {
    const int n = atom->ntypes + 1;
    allocated = 1;
    memory->create(setflag, n, n, "pair:setflag");
    memory->create(cutsq, n, n, "pair:cutsq");
    memory->create(cutghost, n, n, "pair:cutghost");
    for (int i = 0; i < n; ++i)
        for (int j = 0; j < n; ++j) {
            setflag[i][j] = 0;
            cutsq[i][j] = cutghost[i][j] = 0.0;
        }
}

bool PairLES::is_hybrid() const { return force->pair_style && utils::strmatch(force->pair_style, "^hybrid"); }

void PairLES::print(const std::string& line) const {
    if (comm->me == 0) utils::logmesg(lmp, "pair_style les: " + line + "\n");
}

void PairLES::settings(int narg, char** arg) {
    les::EngineOptions options;
    options.threads = 1;  // ranks share the cores
    for (int i = 0; i < narg; i += 2) {
        const Keyword* keyword = find_keyword(arg[i]);
        if (!keyword)
            error->all(FLERR, std::string("pair_style les: unknown keyword ") + arg[i] + ", expected one of " +
                                  keyword_names());
        if (i + 1 == narg)
            error->all(FLERR, std::string("pair_style les: keyword ") + arg[i] + " must be followed by " +
                                  keyword->expected);
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
        error->all(FLERR, "pair_coeff of style les must name a chemical symbol for at least one atom type, got only NULL");

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

void PairLES::init_style() {
    check_host();
    implementation_->units = *les_lammps::units_of_style(update->unit_style);
    make_engine();
    request_neighbours();
}

void PairLES::make_engine() {
    auto& self = *implementation_;
    if (self.engine) return;
    les_lammps::run_on_all_ranks(
        lmp, [&] { self.engine = std::make_unique<les::Engine>(*self.file, self.options, self.communicator); });
    self.described = false;
}

void PairLES::request_neighbours() {
    const les::Metadata& metadata = implementation_->file->metadata();
    if (metadata.n_layers == 1) {
        neighbor->add_request(this, NeighConst::REQ_FULL);
        return;
    }
    neighbor->add_request(this, NeighConst::REQ_FULL | NeighConst::REQ_GHOST);
    if (comm->mode != Comm::SINGLE)
        error->all(FLERR,
                   "pair_style les: a model with message passing needs ghost atoms inside one cutoff for all types; "
                   "use comm_modify mode single");
    const double cutoff =
        metadata.receptive_field / implementation_->units.angstrom_per_length + neighbor->skin;
    if (comm->cutghostuser >= cutoff) return;
    std::string keyword = "cutoff", value = fmt::format("{:.17g}", cutoff);
    char* arguments[] = {keyword.data(), value.data()};
    comm->modify_params(2, arguments);
    print(fmt::format("communication cutoff raised to {:.4g} angstrom, the receptive field of {} message-passing "
                      "layers and the neighbour skin",
                      cutoff * implementation_->units.angstrom_per_length, metadata.n_layers));
}

double PairLES::init_one(int i, int j) {
    const auto& map = implementation_->type_map;
    if (map[static_cast<std::size_t>(i)] < 0 || map[static_cast<std::size_t>(j)] < 0) return 0.0;
    const double cutoff = implementation_->file->metadata().cutoff / implementation_->units.angstrom_per_length;
    cutghost[i][j] = cutghost[j][i] = cutoff;
    return cutoff;
}

void PairLES::compute(int eflag, int vflag) {
    auto& self = *implementation_;
    ev_init(eflag, vflag);
    if (vflag_atom)
        error->all(FLERR,
                   "pair_style les has no per-atom stress yet; leave the pair part out, as in `compute ID all "
                   "stress/atom NULL ke`");

    self.system.update(*atom, *domain, *list, self.type_map, self.range(), self.units.angstrom_per_length);
    try {
        self.results = &self.engine->compute(self.system.system(), self.system.edges());
    } catch (const LAMMPSException&) {
        throw;
    } catch (const std::exception& exception) {
        error->one(FLERR, les_lammps::first_line(exception.what()));
    }
    add_forces();
    tally_energy_and_virial();
    store_charges();

    if (self.described) return;
    self.described = true;
    print("long-range energy: " + self.engine->long_range_description());
}

void PairLES::add_forces() {
    const auto& self = *implementation_;
    const std::vector<int>& atoms = self.system.atoms();
    double** const f = atom->f;
    for (std::size_t i = 0; i < atoms.size(); ++i)
        for (std::size_t axis = 0; axis < 3; ++axis)
            f[atoms[i]][axis] +=
                self.results->forces[3 * i + axis] * self.units.energy_per_ev * self.units.angstrom_per_length;
}

void PairLES::tally_energy_and_virial() {
    const auto& self = *implementation_;
    const les::Results& results = *self.results;
    const double energy_per_ev = self.units.energy_per_ev;

    // Shares of this rank; LAMMPS sums them.
    pvector[0] = results.short_range_energy * energy_per_ev;
    pvector[1] = results.long_range_energy * energy_per_ev;
    if (eflag_global) {
        eng_vdwl += pvector[0];
        eng_coul += pvector[1];
    }
    if (eflag_atom) {
        const std::vector<int>& atoms = self.system.atoms();
        for (std::int64_t i = 0; i < self.system.system().n_local; ++i)
            eatom[atoms[static_cast<std::size_t>(i)]] += results.atom_energy(i) * energy_per_ev;
    }
    if (vflag_global) {
        const les::Matrix3& w = results.virial;
        const double voigt[6] = {w[0][0], w[1][1], w[2][2], w[0][1], w[0][2], w[1][2]};
        for (int component = 0; component < 6; ++component) virial[component] += voigt[component] * energy_per_ev;
    }
}

void PairLES::store_charges() {
    auto& self = *implementation_;
    const les::Results& results = *self.results;
    const std::size_t n_channels = static_cast<std::size_t>(self.charges.columns);
    if (n_channels == 0) return;

    const double scale = self.file->metadata().atomic_charge_scale;
    for (auto* rows : {&self.charges, &self.potentials, &self.atomic_charges}) {
        rows->resize(static_cast<std::size_t>(atom->nmax));
        std::fill(rows->values.begin(), rows->values.end(), 0.0);  // for atoms left out of the model
    }
    const std::vector<int>& atoms = self.system.atoms();
    for (std::size_t i = 0; i < static_cast<std::size_t>(self.system.system().n_local); ++i) {
        const std::size_t a = static_cast<std::size_t>(atoms[i]);
        std::copy_n(results.latent_charges.data() + i * n_channels, n_channels, self.charges.rows[a]);
        std::copy_n(results.potentials.data() + i * n_channels, n_channels, self.potentials.rows[a]);
        self.atomic_charges.values[a] = results.atomic_charge(static_cast<std::int64_t>(i), scale);
        if (atom->q_flag) atom->q[a] = self.atomic_charges.values[a];
    }
}

void* PairLES::extract(const char* name, int& dimensions) {
    dimensions = 0;
    if (std::strcmp(name, "cut_coul") == 0) check_no_kspace();
    for (const char* flag : {"latent_charges_flag", "potentials_flag", "q_flag"})
        if (std::strcmp(name, flag) == 0) return &implementation_->trigger;
    return nullptr;
}

void* PairLES::extract_peratom(const char* name, int& columns) {
    auto& self = *implementation_;
    const struct {
        const char* name;
        Implementation::AtomRows& rows;
    } table[] = {{"latent_charges", self.charges}, {"potentials", self.potentials}, {"q", self.atomic_charges}};
    for (const auto& entry : table) {
        if (std::strcmp(name, entry.name) != 0) continue;
        if (!self.file)
            error->all(FLERR, std::string("pair_style les knows its ") + name + " after pair_coeff only; move it up");
        if (self.charges.columns == 0)
            error->all(FLERR, "pair_style les: model " + self.file->name() + " is short-range only and has no " + name);
        entry.rows.resize(static_cast<std::size_t>(atom->nmax));
        columns = entry.rows.columns == 1 ? 0 : entry.rows.columns;
        return entry.rows.pointer();
    }
    return nullptr;
}

double PairLES::memory_usage() {
    const auto& self = *implementation_;
    double bytes = Pair::memory_usage() + self.system.memory_usage() + self.communicator->memory_usage();
    for (const auto* rows : {&self.charges, &self.potentials, &self.atomic_charges})
        bytes += static_cast<double>(rows->values.capacity() * sizeof(double) + rows->rows.capacity() * sizeof(double*));
    return bytes;
}

int PairLES::pack_forward_comm(int count, int* atoms, double* buffer, int, int*) {
    return implementation_->communicator->pack_owners(count, atoms, buffer);
}

void PairLES::unpack_forward_comm(int count, int first, double* buffer) {
    implementation_->communicator->unpack_ghosts(count, first, buffer);
}

int PairLES::pack_reverse_comm(int count, int first, double* buffer) {
    return implementation_->communicator->pack_ghosts(count, first, buffer);
}

void PairLES::unpack_reverse_comm(int count, int* atoms, double* buffer) {
    implementation_->communicator->unpack_owners(count, atoms, buffer);
}

}  // namespace LAMMPS_NS
