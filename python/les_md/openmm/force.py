"""The class `LESForce`: an openmm.Force that evaluates an exported LES model.

An object of ours becomes one of OpenMM's SWIG classes by way of its XML; its methods are those of the C++ class, its
settings are in `les_md.openmm.settings`.
"""
# ruff: noqa: N802  methods are named as OpenMM names its own

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np

from les_md.errors import LESError
from les_md.openmm.plugin import _openmm, openmm
from les_md.openmm.settings import LESForceSettings, field_in_md_units
from les_md.openmm.topology import indices_of, symbols_and_periodic

_DIPOLE = openmm.unit.elementary_charge * openmm.unit.nanometer


def _context_address(context: Any) -> int:
    if not isinstance(context, openmm.Context):
        raise LESError(
            f"`context` must be an openmm.Context (of a Simulation: simulation.context), got {context!r:.60}"
        )
    return int(context.this)


def _in_kilojoule_per_mole(value: Any) -> Any:
    return openmm.unit.Quantity(value, openmm.unit.kilojoule_per_mole)


class LESForce(LESForceSettings):
    """Energy and forces of particles of a System from an exported LES model.

    The model runs on `device` whatever the platform of the Context is. Settings are read when a Context is created:
    after a change call `context.reinitialize(preserveState=True)`. Methods that take a Context evaluate at its present
    positions and box vectors; if energy or forces were asked for there, they cost nothing more.

    After the first evaluation in a Context one line on stderr says how the long-range energy is summed and how
    accurately; `getLongRangeDescription` has it at any time. Warnings come on stderr too, each once.

    Args:
        model: path of a file of les-export, or its bytes.
        symbols_or_topology: chemical symbols of the particles the force acts on, or the System's openmm.app.Topology.
        periodic: periodic in all directions with the Context's box vectors, or isolated. None: as the topology, which
            is periodic if it has box vectors; a plain list of symbols is periodic.
        device: "cpu", or "cuda" with a CUDA build.
        threads: threads of the network and the long-range sums; None leaves torch's setting.
        total_charge: e, instead of the model's own; only for models that neutralize or take it as input.
        solver: how the long-range energy of a periodic system is summed: "mesh", "direct", or "auto", whichever is
            expected to be faster for the first box.
        accuracy: rms force error of the mesh over the rms force of the same charges placed at random, 1e-8 to 1e-2.
        window: what spreads charges on the mesh, "kaiser_bessel" or "b_spline".
        interpolation_nodes: mesh points per axis that one charge is spread on; None chooses them.
        mesh_spacing: largest distance of mesh points along a box vector, a Quantity or a number in nm; None chooses it.
        mesh: three numbers of mesh points along the box vectors; None takes them from the spacing.
        mesh_dtype: precision of mesh and transforms, "float32" or "float64"; None takes that of the network, or
            float64 where the accuracy needs it.
        freeze_k_set: True keeps the wave vectors of the first box for a model with a `k_cutoff`.
        particles: indices in the System of the particles the force acts on; None: all of them. The others are not seen
            by the model and get no force from it.
        external_charges: fixed charges in e of all particles of the System, 0 for those of the model: electrostatic
            embedding. They act on the latent charges of the model, with forces on both; None: mechanical embedding.
        spin: multiplicity 2S + 1; only for models that take it as input.
        deterministic: True: on a GPU, the same bits in every run, as with the property DeterministicForces of the CUDA
            platform; on the CPU that is so anyway with the same `threads`.
        graphs: on a GPU, whole steps as CUDA graphs, one launch each: "auto" (up to 10^4 atoms), "on" or "off"; "on" is
            refused on the CPU.
        embed_model: True: XML holds the whole model; False: its path, and the file must be the same one on reading.

    Raises:
        LESError: the file, an element or an index cannot be used. Problems that show up with the System, as a wrong
            number of particles, are raised by openmm.Context as openmm.OpenMMException.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | bytes,
        symbols_or_topology: Any,
        periodic: bool | None = None,
        device: str = "cpu",
        threads: int | None = None,
        total_charge: float | None = None,
        *,
        solver: str = "auto",
        accuracy: float = 1e-4,
        window: str = "kaiser_bessel",
        interpolation_nodes: int | None = None,
        mesh_spacing: Any = None,
        mesh: Iterable[int] | None = None,
        mesh_dtype: str | None = None,
        freeze_k_set: bool = False,
        particles: Iterable[int] | None = None,
        external_charges: Iterable[float] | None = None,
        embed_model: bool = True,
        spin: float | None = None,
        deterministic: bool = False,
        graphs: str = "auto",
    ) -> None:
        indices = indices_of(particles)
        symbols, is_periodic = symbols_and_periodic(symbols_or_topology, periodic, indices)
        self.this = _deserialized(_model_attributes(model), is_periodic).this
        self.setParticleSymbols(symbols)
        self.setParticles(indices)
        self.setDevice(device)
        self.setThreads(threads)
        self.setTotalCharge(total_charge)
        self.setSpin(spin)
        self.setDeterministic(deterministic)
        self.setGraphs(graphs)
        self.setSolver(solver)
        self.setAccuracy(accuracy)
        self.setWindow(window)
        self.setInterpolationNodes(interpolation_nodes)
        self.setMeshSpacing(mesh_spacing)
        self.setMesh(mesh)
        self.setMeshDtype(mesh_dtype)
        self.setFreezeKSet(freeze_k_set)
        self.setExternalCharges(external_charges)
        self.setEmbedModel(embed_model)

    @staticmethod
    def isinstance(force: Any) -> bool:
        """True if `force` is a LESForce, also one that came back from a System as an openmm.Force."""
        return isinstance(force, openmm.Force) and _openmm.is_les_force(int(force.this))

    @staticmethod
    def cast(force: Any) -> LESForce:
        """The openmm.Force `force`, for instance of system.getForce(i), as the LESForce it is; shares the object."""
        if not LESForce.isinstance(force):
            raise LESError(f"the force must be a LESForce, got {force!r:.80}")
        cast = LESForce.__new__(LESForce)
        cast.this = force.this
        cast._source = force  # keeps a C++ object that `force` owns
        return cast

    def getModelName(self) -> str:
        """Path the model was read from."""
        return str(_openmm.model_name(int(self.this)))

    def getMetadata(self) -> dict[str, Any]:
        """The record of the model file: cutoff, elements, long-range parameters, training summary and so on."""
        metadata: dict[str, Any] = json.loads(_openmm.metadata_json(int(self.this)))
        return metadata

    def getLatentCharges(self, context: Any) -> np.ndarray:
        """Latent charges (n_atoms, n_channels) in e."""
        charges: np.ndarray = _openmm.latent_charges(*self._in(context))
        return charges

    def getCharges(self, context: Any) -> Any:
        """Physical charges (n_atoms,), a Quantity in e: latent charges summed over channels and scaled."""
        return openmm.unit.Quantity(_openmm.charges(*self._in(context)), openmm.unit.elementary_charge)

    def getBornCharges(self, context: Any) -> Any:
        """Born effective charges (n_atoms, 3, 3), a Quantity in e: [i, a, b] is the derivative of component a of the
        polarization in coordinate b of atom i. The model must have latent charges."""
        return openmm.unit.Quantity(_openmm.born_charges(*self._in(context)), openmm.unit.elementary_charge)

    def getPolarization(self, context: Any) -> Any:
        """Polarization, or dipole moment (3,), a Quantity in e nm; periodic systems need a model with `charge_flux`.

        It follows the atoms through the faces of the box as the positions of the Context do. Positions that were put
        back into the box change it by charges of atoms times box vectors.
        """
        return openmm.unit.Quantity(_openmm.polarization(*self._in(context)), _DIPOLE)

    def getPolarizationCurrent(self, context: Any) -> Any:
        """Rate of the polarization (3,), sum of Born charges times velocities of the Context, a Quantity in e nm/ps.

        The model must have latent charges. One more evaluation, whether energy or forces were asked for or not.
        """
        current = _openmm.polarization_current(*self._in(context))
        return openmm.unit.Quantity(current, _DIPOLE / openmm.unit.picosecond)

    def getFieldEnergy(self, context: Any) -> Any:
        """Energy in the electric field, a Quantity in kJ/mol, for a lambda of 1; zero where the polarization of a
        periodic system is not known and the field acts by Born charges."""
        return _in_kilojoule_per_mole(_openmm.field_energy(*self._in(context)))

    def setElectricField(self, context: Any, field: Any) -> None:
        """Sets the field that all LESForces of `context` feel.

        Args:
            field: (3,), a Quantity such as [0.0, 0.0, 0.1] * volt / nanometer, or numbers in kJ/mol/nm/e, which is what
                the global parameters LESForceFieldX, Y and Z hold: 96.485 for 1 V/nm.
        """
        _context_address(context)
        for name, value in zip(_openmm.electric_field_names(), field_in_md_units(field), strict=True):
            context.setParameter(name, value)

    def getShortRangeEnergy(self, context: Any) -> Any:
        """Energy of the network with its element offsets, a Quantity in kJ/mol, for a lambda of 1."""
        return _in_kilojoule_per_mole(_openmm.short_range_energy(*self._in(context)))

    def getLongRangeEnergy(self, context: Any) -> Any:
        """Long-range energy, a Quantity in kJ/mol, for a lambda of 1."""
        return _in_kilojoule_per_mole(_openmm.long_range_energy(*self._in(context)))

    def getEmbeddingEnergy(self, context: Any) -> Any:
        """Energy of the latent charges in the potential of the external charges, a Quantity in kJ/mol."""
        return _in_kilojoule_per_mole(_openmm.embedding_energy(int(self.this), _context_address(context)))

    def getVirial(self, context: Any) -> Any:
        """Virial -dE/d(strain) (3, 3), a Quantity in kJ/mol, for a lambda of 1."""
        return _in_kilojoule_per_mole(_openmm.virial(*self._in(context)))

    def getLongRangeDescription(self, context: Any) -> str:
        """One line on how the long-range energy is summed: solver, mesh, window, accuracy."""
        return str(_openmm.long_range_description(*self._in(context)))

    def _in(self, context: Any) -> tuple[int, int]:
        """Addresses of the force and of `context` for `les_md._openmm`."""
        return int(self.this), _context_address(context)

    def getStageTimes(self, context: Any) -> dict[str, float]:
        """Where the time of all evaluations in a Context went: seconds of "neighbours", "network" and "long_range"."""
        return dict(_openmm.stage_times(int(self.this), _context_address(context)))


def _model_attributes(model: str | os.PathLike[str] | bytes) -> str:
    """XML attributes that hold or name the model."""
    if isinstance(model, bytes):
        return f'model="{base64.b64encode(model).decode()}" modelName="bytes"'
    return f"modelFile={quoteattr(os.fspath(model))}"


def _deserialized(model_attributes: str, periodic: bool) -> Any:
    """A new C++ LESForce without particles, wrapped as openmm.Force."""
    xml = f'<Force type="LESForce" version="3" symbols="" usesPeriodic="{int(periodic)}" {model_attributes}/>'
    try:
        return openmm.XmlSerializer.deserialize(xml)
    except openmm.OpenMMException as error:
        raise LESError(str(error)) from None
