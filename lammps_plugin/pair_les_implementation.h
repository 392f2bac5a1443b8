// State of the pair style that LAMMPS does not see, shared by the two files of the class.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fix_les_current.h"
#include "lammps_system.h"
#include "les/les.h"
#include "mpi_communicator.h"
#include "pair_les.h"
#include "units.h"

namespace LAMMPS_NS {

struct PairLES::Implementation {
    /// Numbers of owned atoms for other LAMMPS commands: one row of `columns` numbers for every LAMMPS atom.
    struct AtomRows {
        std::vector<double> values;
        std::vector<double*> rows;
        int columns = 0;

        void resize(std::size_t n_atoms);
        /// As Pair::extract_peratom gives it: a vector for one column, rows for more.
        void* pointer();
    };

    /// Seconds of this rank in the style, for the line at the end of a run. The first evaluation after the setup of a
    /// run does not count, as in LAMMPS' own table: torch prepares itself in it.
    struct RunTimes {
        bool counting = false;
        int evaluations = 0;
        double all = 0.0;
        double taking_over = 0.0;  ///< atoms and neighbour list of LAMMPS
    };

    /// What pair_style was given.
    struct Options {
        les::EngineOptions engine;
        /// Numbers in V/angstrom or v_name of equal-style variables; three or none.
        std::vector<std::string> field;
        bool polarization = false, current = false;
    };

    /// One component of the field: the number, or the variable to ask for it.
    struct FieldComponent {
        double value = 0.0;
        int variable = -1;
    };

    Implementation(LAMMPS* lammps, Pair* pair);
    les_lammps::ModelRange range() const;

    std::shared_ptr<les_lammps::MpiCommunicator> communicator;
    les_lammps::LammpsSystem system;
    les_lammps::Units units;
    Options options;
    std::array<FieldComponent, 3> field;
    std::optional<les::ModelFile> file;
    std::vector<int> type_map;  ///< (ntypes + 1,) model type of every LAMMPS type, -1 for NULL
    std::unique_ptr<les::Engine> engine;
    const les::Results* results = nullptr;  ///< of the last step, owned by the engine
    bool described = false;                 ///< the long-range solver has been looked at in this run
    std::string printed_description;        ///< of the long-range solver, what the user has seen last
    RunTimes times;
    AtomRows charges, potentials, atomic_charges, born_charges;
    int trigger = 0;       ///< fix pair may set it; the values are there after every step anyway
    int born_trigger = 0;  ///< fix pair sets it for the steps in which it wants Born charges
    bool born_wanted = false, born_by_trigger = false;
    FixLESCurrent* current_fix = nullptr;  ///< owned by LAMMPS
};

}  // namespace LAMMPS_NS
