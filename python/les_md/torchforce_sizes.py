"""Fixed numbers of the self-contained entry, in a module of their own because TorchScript reads globals only so."""

#: Systems up to this size are one autograd graph with the direct sum. Fixed by the atom list, so no run changes over.
SMALL_SYSTEM = 500
#: Atoms whose network is evaluated together in larger systems; bounds the memory and keeps shapes the same.
ATOMS_AT_ONCE = 1024

#: Mesh points per axis that one charge is spread on.
MESH_NODES = 8
#: Modes with smearing * |k| beyond are left out of the mesh, and the mean of their self energy is added.
LARGEST_WAVE = 5.28
#: Most mesh points, 0.8 GB a mesh.
LARGEST_MESH = 1e8
#: Atoms whose MESH_NODES^3 mesh points are looked at together; bounds the memory.
MESH_ATOMS_AT_ONCE = 1024

#: Pairs looked at together in neighbour search and isolated sum; bounds the memory.
PAIRS_AT_ONCE = 1 << 20
#: Columns of the neighbour search along one axis at most, so that column number plus height is exact enough in float64.
MOST_COLUMNS = 1024
#: Widening of the neighbour search by rounding errors, in fractions of the whole extent.
SEARCH_MARGIN = 1e-9
