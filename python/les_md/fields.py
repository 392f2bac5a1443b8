"""Names of the fields that cross the layers, with shape, unit and meaning. The C++ twin is csrc/include/les/fields.h.

Conventions: `cell` has lattice vectors as rows; `edge_index[0]` is the centre i and `edge_index[1]` the neighbour j;
`edge_vectors = positions[j] - positions[i] + cell_shifts @ cell`; `virial = -dE/d(strain)`.
"""

from __future__ import annotations

# Input of the network
POSITIONS = "positions"  # (n_atoms, 3), angstrom, float64
TYPES = "types"  # (n_atoms,), index into the model's symbols, from 0
CELL = "cell"  # (n_systems, 3, 3), angstrom, rows are lattice vectors, float64
PERIODIC = "periodic"  # (n_systems,), bool: periodic in all directions, or isolated
SYSTEM_IDX = "system_idx"  # (n_atoms,), which system an atom belongs to
N_ATOMS = "n_atoms"  # (n_systems,)
TOTAL_CHARGE = "total_charge"  # (n_systems,), e; NaN: that of the model's settings, 0 as an input of the network
SPIN = "spin"  # (n_systems,), multiplicity 2S + 1; NaN: 1
EDGE_INDEX = "edge_index"  # (2, n_edges), sorted by centre
CELL_SHIFTS = "cell_shifts"  # (n_edges, 3), whole multiples of the cell rows, stored as float64
EDGE_VECTORS = "edge_vectors"  # (n_edges, 3), angstrom

# Between the layers of the network
MESSAGES = "messages"  # (n_centre, n_messages) out of a layer, (n_all, n_messages) into the next
FEATURES = "features"  # (n_centre, n_features), of the layers up to now

# Output of the network
NODE_ENERGIES = "node_energies"  # (n_centre,), eV, without element offsets
OFFSET_ENERGIES = "offset_energies"  # (n_centre,), eV, element offsets, float64
LATENT_CHARGES = "latent_charges"  # (n_all, n_channels), e, contributions on ghosts included

TRANSFER_DIPOLES = "transfer_dipoles"  # (n_centre, 3), e angstrom, of the charge transfers; latent, all channels

# Output of an evaluation
ENERGY = "energy"  # (n_systems,), eV, float64
SHORT_RANGE_ENERGY = "short_range_energy"  # (n_systems,), eV
LONG_RANGE_ENERGY = "long_range_energy"  # (n_systems,), eV
FORCES = "forces"  # (n_atoms, 3), eV/angstrom
VIRIAL = "virial"  # (n_systems, 3, 3), eV
POLARIZATION = "polarization"  # (n_systems, 3), e angstrom, of physical charges; of the cell if periodic
BORN_CHARGES = "born_charges"  # (n_atoms, 3, 3), e, d(polarization_a)/d(r_ib)
POTENTIALS = "potentials"  # (n_atoms, n_channels), V, dE_lr/dq

#: Name of the JSON record inside a model file.
METADATA_RECORD = "les_metadata.json"
