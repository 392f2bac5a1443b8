// The pair style step by step: making the engine, one collective call of it a step, passing its communication on. The
// other files of the class: pair_les_settings (commands in), pair_les_checks (refusals), pair_les_field (electric
// field, polarization, current), pair_les_output (results out).

#include "pair_les.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <thread>

#include "atom.h"
#include "collective.h"
#include "comm.h"
#include "domain.h"
#include "error.h"
#include "exceptions.h"
#include "force.h"
#include "memory.h"
#include "modify.h"
#include "neighbor.h"
#include "pair_les_implementation.h"
#include "platform.h"
#include "update.h"
#include "utils.h"

namespace LAMMPS_NS {

PairLES::Implementation::Implementation(LAMMPS* lammps, Pair* pair)
    : communicator(std::make_shared<les_lammps::MpiCommunicator>(lammps, pair, system)) {}

les_lammps::ModelRange PairLES::Implementation::range() const {
    return {file->metadata().cutoff, file->metadata().edge_layers()};
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
    // Long-range solvers go on to ask for `cut_coul`, where they are refused with the reason.
    ewaldflag = pppmflag = msmflag = 1;
    list_global_values();
}

PairLES::~PairLES() {
    if (implementation_->current_fix != nullptr) modify->delete_fix(implementation_->current_fix->id);
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

void PairLES::init_style() {
    check_host();
    implementation_->units = *les_lammps::units_of_style(update->unit_style);
    find_field_variables();
    check_polarization();
    make_engine();
    request_neighbours();
    implementation_->described = false;
    implementation_->times = {};
    if (atom->q_flag && !writes_q())
        print(std::string("the charges q are left to kspace_style ") + force->kspace_style +
              "; fix pair has the latent charges");
}

void PairLES::make_engine() {
    auto& self = *implementation_;
    if (self.engine) return;
    les_lammps::run_on_all_ranks(
        lmp, [&] { self.engine = std::make_unique<les::Engine>(*self.file, self.options.engine, self.communicator); });
    self.printed_description.clear();
}

void PairLES::request_neighbours() {
    const les::Metadata& metadata = implementation_->file->metadata();
    if (metadata.edge_layers() == 1) {
        neighbor->add_request(this, NeighConst::REQ_FULL);
        return;
    }
    neighbor->add_request(this, NeighConst::REQ_FULL | NeighConst::REQ_GHOST);
    if (comm->mode != Comm::SINGLE)
        error->all(FLERR,
                   "pair_style les: this model file cannot exchange messages between its layers and needs ghost atoms "
                   "inside one cutoff for all types; use comm_modify mode single, or make the file again with "
                   "`les-export`");
    const double cutoff = metadata.receptive_field / implementation_->units.angstrom_per_length + neighbor->skin;
    if (comm->cutghostuser >= cutoff) return;
    std::string keyword = "cutoff", value = fmt::format("{:.17g}", cutoff);
    char* arguments[] = {keyword.data(), value.data()};
    comm->modify_params(2, arguments);
    print(
        fmt::format("communication cutoff raised to {:.4g} angstrom, the receptive field of {} message-passing "
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
    const double start = platform::walltime();
    ev_init(eflag, vflag);
    evaluate();
    add_forces();
    tally_energy_and_virial();
    tally_polarization();
    tally_atoms();
    store_charges();
    print_long_range();
    count_time(platform::walltime() - start);
}

void PairLES::evaluate() {
    auto& self = *implementation_;
    try {
        const double start = platform::walltime();
        self.system.update(*atom, *domain, *list, self.type_map, self.range(), self.units.angstrom_per_length);
        self.system.want_atom_virials(vflag_atom != 0);
        const bool asked_for = self.born_by_trigger ? self.born_trigger != 0 : self.born_wanted;
        self.system.want_born_charges(asked_for || (self.options.current && eflag_global != 0));
        take_field();
        self.times.taking_over += platform::walltime() - start;
        self.results = &self.engine->compute(self.system.system(), self.system.edges());
    } catch (const LAMMPSException&) {
        throw;
    } catch (const std::exception& exception) {
        stop_all_ranks(les_lammps::first_line(exception.what()));
    }
}

/// For a failure of this rank, while others may wait for it in a sum: error->one ends them all. Where several ranks
/// fail in the same step the higher ones hold back, so that one error line is printed; mpiexec gets time to pass it on,
/// because it drops what it has not read yet when a rank aborts.
void PairLES::stop_all_ranks(const std::string& text) const {
    constexpr std::chrono::milliseconds TIME_TO_PASS_ON{200};
    constexpr std::chrono::milliseconds HOLD_BACK{500};  // a rank; longer than the lower rank needs to end the run
    std::this_thread::sleep_for(HOLD_BACK * std::min(comm->me, 10));
    try {
        error->one(FLERR, text);
    } catch (const LAMMPSException&) {
        std::this_thread::sleep_for(TIME_TO_PASS_ON);
        throw;
    }
}

/// Warnings as they come; the solver in the first step of a run, if it is not the one printed last.
void PairLES::print_long_range() {
    auto& self = *implementation_;
    for (const std::string& sentence : self.engine->take_warnings())
        if (comm->me == 0) error->warning(FLERR, "pair_style les: " + sentence);

    if (self.described) return;
    self.described = true;
    const std::string description = self.engine->long_range_description();
    if (description == self.printed_description) return;
    self.printed_description = description;
    print("long-range energy: " + description);
}

double PairLES::memory_usage() {
    const auto& self = *implementation_;
    double bytes = Pair::memory_usage() + self.system.memory_usage() + self.communicator->memory_usage();
    for (const auto* rows : {&self.charges, &self.potentials, &self.atomic_charges, &self.born_charges})
        bytes +=
            static_cast<double>(rows->values.capacity() * sizeof(double) + rows->rows.capacity() * sizeof(double*));
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
