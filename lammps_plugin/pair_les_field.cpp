// The external electric field, and polarization and current as values of `compute pair`.

#include <array>
#include <string>
#include <utility>

#include "atom.h"
#include "domain.h"
#include "error.h"
#include "input.h"
#include "modify.h"
#include "pair_les.h"
#include "pair_les_implementation.h"
#include "update.h"
#include "utils.h"
#include "variable.h"

namespace LAMMPS_NS {

/// Values of `compute pair` in the order of the manual page; those not asked for are left out.
void PairLES::list_global_values() {
    const auto& options = implementation_->options;
    std::string names = "1 short-range energy, 2 long-range energy";
    nextra = 2;
    if (!options.field.empty()) names += fmt::format(", {} field energy", ++nextra);
    for (const auto& [wanted, name] :
         {std::pair(options.polarization, "polarization"), std::pair(options.current, "current")}) {
        if (!wanted) continue;
        names += fmt::format(", {} to {} {}", nextra + 1, nextra + 3, name);
        nextra += 3;
    }
    delete[] pvector;
    pvector = new double[static_cast<std::size_t>(nextra)]();
    if (nextra > 2) print("values of compute pair: " + names);
}

void PairLES::find_field_variables() {
    auto& self = *implementation_;
    for (std::size_t axis = 0; axis < self.options.field.size(); ++axis) {
        const std::string& word = self.options.field[axis];
        self.field[axis] = {};
        if (word.rfind("v_", 0) != 0) {
            self.field[axis].value = utils::numeric(FLERR, word, false, lmp);
            continue;
        }
        const std::string name = word.substr(2);
        const int variable = input->variable->find(name.c_str());
        if (variable < 0)
            error->all(FLERR, "pair_style les: variable " + name +
                                  " of keyword field does not exist; define it with `variable " + name + " equal ...`");
        if (!input->variable->equalstyle(variable))
            error->all(FLERR, "pair_style les: variable " + name +
                                  " of keyword field must be equal-style; define it with `variable " + name +
                                  " equal ...`");
        self.field[axis].variable = variable;
    }
}

void PairLES::check_polarization() const {
    const auto& self = *implementation_;
    const les::Metadata& metadata = self.file->metadata();
    if ((!self.options.field.empty() || self.options.polarization || self.options.current) && metadata.n_channels == 0)
        error->all(FLERR,
                   "pair_style les: model " + self.file->name() +
                       " is short-range only; keywords field, polarization and current need a model with charges");
    if (self.options.polarization && domain->xperiodic && !metadata.charge_flux())
        error->all(FLERR,
                   "pair_style les: the polarization of a periodic box is defined for models trained with "
                   "`charge_flux` only; use `current yes`, which every model with charges has");
}

/// Field of this step, and positions that polarizations are of.
void PairLES::take_field() {
    auto& self = *implementation_;
    std::array<double, 3> field{};
    if (!self.options.field.empty()) {
        bool asked = false;
        for (const auto& component : self.field) asked = asked || component.variable >= 0;
        if (asked) modify->clearstep_compute();
        for (std::size_t axis = 0; axis < 3; ++axis)
            field[axis] = self.field[axis].variable < 0 ? self.field[axis].value
                                                        : input->variable->compute_equal(self.field[axis].variable);
        if (asked) modify->addstep_compute(update->ntimestep + 1);
    }
    self.system.set_field(field);
    self.system.unwrap_positions(*atom, *domain, self.units.angstrom_per_length);
}

/// Shares of this rank; LAMMPS sums them.
void PairLES::tally_polarization() {
    const auto& self = *implementation_;
    const les::Results& results = *self.results;
    const double length = 1.0 / self.units.angstrom_per_length;
    double* value = pvector + 2;
    if (!self.options.field.empty()) *value++ = results.field_energy * self.units.energy_per_ev;
    if (self.options.polarization)
        for (const double component : results.polarization) *value++ = component * length;
}

void PairLES::sum_current() {
    auto& self = *implementation_;
    if (!self.options.current || self.results == nullptr || eflag_global == 0) return;
    const double per_velocity = self.units.angstrom_per_length / self.units.ps_per_time;
    double* value = pvector + nextra - 3;
    for (const double component : self.results->current_of(self.system.velocities(*atom, per_velocity).data()))
        *value++ = component / per_velocity;
}

}  // namespace LAMMPS_NS
