"""The settings of a LESForce: getters and setters in OpenMM's style, lengths with OpenMM's units.

They are read when a Context is created.
"""
# ruff: noqa: N802  methods are named as OpenMM names its own

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from les_md.engine import check_graphs, long_range_option
from les_md.errors import LESError
from les_md.openmm.plugin import _openmm, openmm
from les_md.openmm.topology import charges_of, indices_of

_EV = 1 * openmm.unit.elementary_charge * openmm.unit.volt * openmm.unit.AVOGADRO_CONSTANT_NA
KILOJOULE_PER_MOLE_PER_EV: float = _EV.value_in_unit(openmm.unit.kilojoule_per_mole)


def _in_nanometre(value: Any) -> Any:
    return value.value_in_unit(openmm.unit.nanometer) if openmm.unit.is_quantity(value) else value


def field_in_md_units(field: Any) -> list[float]:
    """Electric field (3,) in kJ/mol/nm/e of a Quantity or of numbers in this unit; LESError for anything else."""
    unit = openmm.unit
    try:
        if unit.is_quantity(field):
            per_length = unit.volt / unit.nanometer
            if field.unit.is_compatible(per_length):
                field = field.value_in_unit(per_length) * np.array(KILOJOULE_PER_MOLE_PER_EV)
            else:
                field = field.value_in_unit(unit.kilojoule_per_mole / unit.nanometer / unit.elementary_charge)
        components = [float(component) for component in field]
    except (TypeError, ValueError):
        components = []
    if len(components) != 3 or not np.isfinite(components).all():
        raise LESError(
            "an electric field must be three finite numbers in kJ/mol/nm/e, or a Quantity such as "
            f"[0.0, 0.0, 0.1] * volt / nanometer, got {field!r:.60}"
        )
    return components


class LESForceSettings(openmm.Force):  # type: ignore[name-defined]
    """What a LESForce acts on and how it is evaluated."""

    def getNumParticles(self) -> int:
        """Number of particles the force acts on."""
        return len(self.getParticleSymbols())

    def getParticleSymbols(self) -> list[str]:
        """Chemical symbols of the particles the force acts on, in the order of `getParticles`."""
        return list(_openmm.particle_symbols(int(self.this)))

    def setParticleSymbols(self, symbols: list[str]) -> None:
        """Sets the chemical symbol of every particle; raises LESError for an element the model does not know."""
        _openmm.set_particle_symbols(int(self.this), list(symbols))

    def getParticles(self) -> list[int] | None:
        """Indices in the System of the particles the force acts on; None: all of them."""
        return list(_openmm.particles(int(self.this))) or None

    def setParticles(self, particles: Iterable[int] | None) -> None:
        """Sets the indices of the particles the force acts on; raises LESError for a negative or repeated index."""
        _openmm.set_particles(int(self.this), indices_of(particles) or [])

    def getExternalCharges(self) -> list[float] | None:
        """Fixed charges of all particles of the System in e; None: mechanical embedding."""
        return list(_openmm.external_charges(int(self.this))) or None

    def setExternalCharges(self, charges: Any) -> None:
        """Sets fixed charges of all particles of the System, 0 for those of the model, or None.

        With them embedding is electrostatic: they act on the latent charges of the model by its long-range kernel, with
        forces on both, and not on each other. A list in e, a Quantity, or a list of Quantities. Raises LESError for a
        charge that is not finite and for a model without charges.
        """
        _openmm.set_external_charges(int(self.this), charges_of(charges) or [])

    def getEmbedding(self) -> str:
        """How the model and the rest of the System act on each other by charges in this force: "electrostatic" with
        external charges, else "mechanical", which is not at all."""
        return "mechanical" if self.getExternalCharges() is None else "electrostatic"

    def setUsesPeriodicBoundaryConditions(self, periodic: bool) -> None:
        """Periodic with the Context's box vectors, or isolated."""
        _openmm.set_periodic(int(self.this), bool(periodic))

    def getDevice(self) -> str:
        """Where the model runs."""
        return str(_openmm.device(int(self.this)))

    def setDevice(self, device: str) -> None:
        """Sets where the model runs: "cpu" or "cuda"."""
        _openmm.set_device(int(self.this), device)

    def getThreads(self) -> int | None:
        """Threads of the network and the long-range sums; None: torch's setting."""
        return _openmm.threads(int(self.this))

    def setThreads(self, threads: int | None) -> None:
        """Sets the threads of the network and the long-range sums."""
        _openmm.set_threads(int(self.this), threads)

    def getTotalCharge(self) -> float | None:
        """Total charge in e that replaces the model's own; None: the model's."""
        return _openmm.total_charge(int(self.this))

    def setTotalCharge(self, total_charge: float | None) -> None:
        """Sets the total charge in e; only for models that neutralize or take it as input."""
        _openmm.set_total_charge(int(self.this), total_charge)

    def getSpin(self) -> float | None:
        """Spin multiplicity 2S + 1; None: that of the file, 1 by default."""
        return _openmm.spin(int(self.this))

    def setSpin(self, spin: float | None) -> None:
        """Sets the spin multiplicity; only for models that take it as input."""
        _openmm.set_spin(int(self.this), spin)

    def getDeterministic(self) -> bool:
        """Whether a GPU is asked for the same bits whenever positions are the same."""
        return bool(_openmm.deterministic(int(self.this)))

    def setDeterministic(self, deterministic: bool) -> None:
        """Sets whether a GPU gives the same bits whenever positions are the same; on the CPU it is so anyway."""
        if not isinstance(deterministic, bool):
            raise LESError(f"`deterministic` must be True or False, got {deterministic!r:.60}")
        _openmm.set_deterministic(int(self.this), deterministic)

    def getGraphs(self) -> str:
        """Whether a GPU gets whole steps as CUDA graphs: "auto", "on" or "off"."""
        return str(_openmm.graphs(int(self.this)))

    def setGraphs(self, graphs: str) -> None:
        """Sets whether a GPU gets whole steps as CUDA graphs, one launch each; "on" is refused on the CPU."""
        check_graphs(graphs)
        _openmm.set_graphs(int(self.this), graphs)

    def getSolver(self) -> str:
        """How the long-range energy of a periodic system is summed: "auto", "mesh" or "direct"."""
        return str(_openmm.solver(int(self.this)))

    def setSolver(self, solver: str) -> None:
        """Sets how the long-range energy of a periodic system is summed."""
        _openmm.set_solver(int(self.this), long_range_option("solver", solver))

    def getAccuracy(self) -> float:
        """Rms force error of the mesh over the rms force of the same charges placed at random."""
        return float(_openmm.accuracy(int(self.this)))

    def setAccuracy(self, accuracy: float) -> None:
        """Sets the accuracy of the mesh, 1e-8 to 1e-2."""
        _openmm.set_accuracy(int(self.this), long_range_option("accuracy", accuracy))

    def getWindow(self) -> str:
        """What spreads charges on the mesh: "kaiser_bessel" or "b_spline"."""
        return str(_openmm.window(int(self.this)))

    def setWindow(self, window: str) -> None:
        """Sets what spreads charges on the mesh."""
        _openmm.set_window(int(self.this), long_range_option("window", window))

    def getInterpolationNodes(self) -> int | None:
        """Mesh points per axis that one charge is spread on; None: chosen from the accuracy."""
        return _openmm.interpolation_nodes(int(self.this))

    def setInterpolationNodes(self, interpolation_nodes: int | None) -> None:
        """Sets the mesh points per axis that one charge is spread on."""
        value = long_range_option("interpolation_nodes", interpolation_nodes)
        _openmm.set_interpolation_nodes(int(self.this), value)

    def getMeshSpacing(self) -> Any:
        """Largest distance of mesh points along a box vector, a Quantity in nm; None: chosen from the accuracy."""
        spacing = _openmm.mesh_spacing(int(self.this))
        return None if spacing is None else openmm.unit.Quantity(spacing, openmm.unit.nanometer)

    def setMeshSpacing(self, mesh_spacing: Any) -> None:
        """Sets the largest distance of mesh points along a box vector, a Quantity or a number in nm."""
        value = long_range_option("mesh_spacing", _in_nanometre(mesh_spacing))
        _openmm.set_mesh_spacing(int(self.this), value)

    def getMesh(self) -> tuple[int, int, int] | None:
        """Mesh points along the box vectors; None: taken from the spacing."""
        mesh = _openmm.mesh(int(self.this))
        return None if mesh is None else (mesh[0], mesh[1], mesh[2])

    def setMesh(self, mesh: Iterable[int] | None) -> None:
        """Sets the three numbers of mesh points along the box vectors."""
        _openmm.set_mesh(int(self.this), long_range_option("mesh", mesh))

    def getMeshDtype(self) -> str | None:
        """Precision of mesh and transforms; None: that of the network, or float64 where the accuracy needs it."""
        return _openmm.mesh_dtype(int(self.this))

    def setMeshDtype(self, mesh_dtype: str | None) -> None:
        """Sets the precision of mesh and transforms, "float32" or "float64"."""
        _openmm.set_mesh_dtype(int(self.this), long_range_option("mesh_dtype", mesh_dtype))

    def getFreezeKSet(self) -> bool:
        """Whether a model with a `k_cutoff` keeps the wave vectors of the first box."""
        return bool(_openmm.freeze_k_set(int(self.this)))

    def setFreezeKSet(self, freeze_k_set: bool) -> None:
        """Sets whether a model with a `k_cutoff` keeps the wave vectors of the first box."""
        _openmm.set_freeze_k_set(int(self.this), long_range_option("freeze_k_set", freeze_k_set))

    def addBond(self, particle1: int, particle2: int) -> int:
        """Declares two particles of the System as parts of one molecule; returns the index of the bond.

        OpenMM moves a molecule as a whole into the periodic box, and barostats scale it as a whole. There is no energy
        in it. A force that is not periodic is one molecule without this.
        """
        return int(_openmm.add_bond(int(self.this), operator.index(particle1), operator.index(particle2)))

    def getBonds(self) -> list[tuple[int, int]]:
        """Pairs of particles given to `addBond`."""
        return list(_openmm.bonds(int(self.this)))

    def getEmbedModel(self) -> bool:
        """Whether XML holds the whole model or the path of its file."""
        return bool(_openmm.embed_model(int(self.this)))

    def setEmbedModel(self, embed_model: bool) -> None:
        """Sets whether XML holds the whole model or the path of its file, which must be the same one on reading."""
        _openmm.set_embed_model(int(self.this), bool(embed_model))

    def getLambdaName(self) -> str:
        """Name of the global parameter of a Context that energy and forces are multiplied by."""
        return str(_openmm.lambda_name(int(self.this)))

    def setLambdaName(self, name: str) -> None:
        """Sets the name of that parameter, "LESForceLambda" by default; forces of the same name share the parameter."""
        _openmm.set_lambda_name(int(self.this), name)

    def getDefaultLambda(self) -> float:
        """Value of that parameter in a new Context."""
        return float(_openmm.default_lambda(int(self.this)))

    def setDefaultLambda(self, value: float) -> None:
        """Sets the value of that parameter in a new Context, 1 by default."""
        _openmm.set_default_lambda(int(self.this), float(value))

    @staticmethod
    def getElectricFieldNames() -> tuple[str, str, str]:
        """Names of the global parameters of a Context that hold the electric field in kJ/mol/nm/e."""
        x, y, z = _openmm.electric_field_names()
        return x, y, z

    def getDefaultElectricField(self) -> Any:
        """Field of a new Context (3,), a Quantity in kJ/mol/nm/e."""
        field = np.array(_openmm.default_electric_field(int(self.this)))
        return field * (openmm.unit.kilojoule_per_mole / openmm.unit.nanometer / openmm.unit.elementary_charge)

    def setDefaultElectricField(self, field: Any) -> None:
        """Sets the field of a new Context: a Quantity such as [0, 0, 0.1] * volt / nanometer, or kJ/mol/nm/e."""
        _openmm.set_default_electric_field(int(self.this), field_in_md_units(field))

    def addEnergyParameterDerivative(self, name: str) -> None:
        """Asks for the derivative of the energy in the global parameter `name` of this force: lambda or the field.

        `context.getState(parameterDerivatives=True)` has it, and `deriv(energy, name)` of an openmm.CustomIntegrator.
        """
        _openmm.add_energy_parameter_derivative(int(self.this), name)

    def getNumEnergyParameterDerivatives(self) -> int:
        """Number of derivatives asked for."""
        return int(_openmm.num_energy_parameter_derivatives(int(self.this)))

    def getEnergyParameterDerivativeName(self, index: int) -> str:
        """Name of the parameter of derivative `index`."""
        return str(_openmm.energy_parameter_derivative_name(int(self.this), index))
