// Results of the engine onto LAMMPS: forces, energies, virials, charges, what other commands may ask for, and the line
// of times at the end of a run.

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "force.h"
#include "pair_les.h"
#include "pair_les_implementation.h"
#include "timer.h"
#include "utils.h"

namespace LAMMPS_NS {

void PairLES::Implementation::AtomRows::resize(std::size_t n_atoms) {
    if (values.size() >= n_atoms * static_cast<std::size_t>(columns)) return;
    values.resize(n_atoms * static_cast<std::size_t>(columns), 0.0);
    rows.resize(n_atoms);
    for (std::size_t i = 0; i < n_atoms; ++i) rows[i] = values.data() + i * static_cast<std::size_t>(columns);
}

void* PairLES::Implementation::AtomRows::pointer() {
    return columns == 1 ? static_cast<void*>(values.data()) : static_cast<void*>(rows.data());
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
        eng_coul += pvector[1] + results.field_energy * energy_per_ev;
    }
    if (vflag_global) {
        const les::Matrix3& w = results.virial;
        const double voigt[6] = {w[0][0], w[1][1], w[2][2], w[0][1], w[0][2], w[1][2]};
        for (int component = 0; component < 6; ++component) virial[component] += voigt[component] * energy_per_ev;
    }
}

void PairLES::tally_atoms() {
    const auto& self = *implementation_;
    const les::Results& results = *self.results;
    const std::vector<int>& atoms = self.system.atoms();
    const double energy_per_ev = self.units.energy_per_ev;
    if (eflag_atom) {
        for (std::int64_t i = 0; i < self.system.system().n_local; ++i)
            eatom[atoms[static_cast<std::size_t>(i)]] += results.atom_energy(i) * energy_per_ev;
    }
    if (vflag_atom) {
        // xx yy zz xy xz yz of a 3x3 matrix; computes add the rows of ghosts to their owners
        constexpr std::array<std::size_t, 6> voigt{0, 4, 8, 1, 2, 5};
        for (std::size_t i = 0; i < atoms.size(); ++i)
            for (std::size_t component = 0; component < 6; ++component)
                vatom[atoms[i]][component] += results.atom_virials[9 * i + voigt[component]] * energy_per_ev;
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
    if (!results.born_charges.empty()) {
        self.born_charges.resize(static_cast<std::size_t>(atom->nmax));
        std::fill(self.born_charges.values.begin(), self.born_charges.values.end(), 0.0);
        for (std::size_t i = 0; i < static_cast<std::size_t>(self.system.system().n_local); ++i)
            std::copy_n(results.born_charges.data() + 9 * i, 9,
                        self.born_charges.rows[static_cast<std::size_t>(atoms[i])]);
    }
    for (std::size_t i = 0; i < static_cast<std::size_t>(self.system.system().n_local); ++i) {
        const std::size_t a = static_cast<std::size_t>(atoms[i]);
        std::copy_n(results.latent_charges.data() + i * n_channels, n_channels, self.charges.rows[a]);
        std::copy_n(results.potentials.data() + i * n_channels, n_channels, self.potentials.rows[a]);
        self.atomic_charges.values[a] = results.atomic_charge(static_cast<std::int64_t>(i), scale);
        if (writes_q()) atom->q[a] = self.atomic_charges.values[a];
    }
}

void PairLES::count_time(double seconds) {
    auto& times = implementation_->times;
    if (!times.counting) {
        times = {};
        times.counting = true;
        implementation_->engine->reset_stage_times();
        return;
    }
    times.all += seconds;
    ++times.evaluations;
}

/// LAMMPS calls it at the end of every run, before its own table of times.
void PairLES::finish() {
    auto& self = *implementation_;
    if (self.times.evaluations > 0 && timer->has_normal()) {
        const les::StageTimes stages = self.engine->stage_times();
        std::array<double, 6> mine{self.times.taking_over + stages.neighbours,
                                   stages.network_forward,
                                   stages.long_range,
                                   stages.network_backward,
                                   stages.communication,
                                   self.times.all};
        std::array<double, 6> sum{};
        MPI_Reduce(mine.data(), sum.data(), static_cast<int>(mine.size()), MPI_DOUBLE, MPI_SUM, 0, world);
        constexpr std::array<const char*, 5> names{"neighbours and edges", "network forward", "long-range sum",
                                                   "network backward", "communication"};
        const double percent = sum[5] > 0.0 ? 100.0 / sum[5] : 0.0;
        std::string line = fmt::format("{} evaluations of {:.4g} ms:", self.times.evaluations,
                                       1e3 * sum[5] / comm->nprocs / self.times.evaluations);
        double rest = sum[5];
        for (std::size_t stage = 0; stage < names.size(); ++stage) {
            line += fmt::format(" {} {:.1f} %,", names[stage], sum[stage] * percent);
            rest -= sum[stage];
        }
        print(line + fmt::format(" rest {:.1f} %", rest * percent));
    }
    // `run ... pre no` goes on without a setup
    if (self.engine) self.engine->reset_stage_times();
    self.times.evaluations = 0;
    self.times.all = self.times.taking_over = 0.0;
}

/// A long-range solver of another style works with `q`: latent charges there would be counted twice.
bool PairLES::writes_q() const { return atom->q_flag && !force->kspace; }

void* PairLES::extract(const char* name, int& dimensions) {
    dimensions = 0;
    if (std::strcmp(name, "cut_coul") == 0) check_no_kspace();
    for (const char* flag : {"latent_charges_flag", "potentials_flag", "q_flag"})
        if (std::strcmp(name, flag) == 0) return &implementation_->trigger;
    if (std::strcmp(name, "born_charges_flag") == 0) {
        implementation_->born_by_trigger = true;
        return &implementation_->born_trigger;
    }
    return nullptr;
}

void* PairLES::extract_peratom(const char* name, int& columns) {
    auto& self = *implementation_;
    const struct {
        const char* name;
        Implementation::AtomRows& rows;
    } table[] = {{"latent_charges", self.charges},
                 {"potentials", self.potentials},
                 {"q", self.atomic_charges},
                 {"born_charges", self.born_charges}};
    for (const auto& entry : table) {
        if (std::strcmp(name, entry.name) != 0) continue;
        if (!self.file)
            error->all(FLERR, std::string("pair_style les knows its ") + name + " after pair_coeff only; move it up");
        if (self.charges.columns == 0)
            error->all(FLERR, "pair_style les: model " + self.file->name() + " is short-range only and has no " + name);
        if (&entry.rows == &self.born_charges) self.born_wanted = true;
        entry.rows.resize(static_cast<std::size_t>(atom->nmax));
        columns = entry.rows.columns == 1 ? 0 : entry.rows.columns;
        return entry.rows.pointer();
    }
    return nullptr;
}

}  // namespace LAMMPS_NS
