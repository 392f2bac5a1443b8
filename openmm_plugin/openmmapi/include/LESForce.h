// LESForce: a trained LES model as an OpenMM force. It holds the bytes of the exported file, the elements of the
// particles it acts on and how to run the model; the evaluation itself is in internal/LESForceImpl.h.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "internal/LESExport.h"
#include "les/long_range.h"
#include "les/model_file.h"
#include "openmm/Context.h"
#include "openmm/Force.h"
#include "openmm/Vec3.h"

namespace LESPlugin {

class LESForceImpl;

/**
 * Energy and forces of particles of a System, all of them unless setParticles() was called, from a model file made by
 * les-export. Each of them is an atom of the model; the rest of the System is not seen by it. The file is read once, by
 * the constructor. Settings are read when a Context is created: after a change call Context::reinitialize().
 */
class LES_OPENMM_EXPORT LESForce : public OpenMM::Force {
public:
    /**
     * @param modelFile   path of the exported model, for instance model.les.pt
     * @param symbols     chemical symbol of every particle the force acts on
     * @param periodic    true: periodic in all directions with the box vectors of the Context; false: isolated
     * Throws OpenMMException in one sentence if the file cannot be used or the model does not know an element.
     */
    LESForce(const std::string& modelFile, const std::vector<std::string>& symbols, bool periodic = true);
    /** The same with a model that has been read already. */
    LESForce(const les::ModelFile& model, const std::vector<std::string>& symbols, bool periodic = true);

    const les::ModelFile& getModel() const { return *model; }

    /** Number of particles the force acts on. */
    int getNumParticles() const { return static_cast<int>(symbols.size()); }
    /** Chemical symbols of the particles the force acts on, in the order of getParticles(). */
    const std::vector<std::string>& getParticleSymbols() const { return symbols; }
    /** Throws OpenMMException naming the first element the model does not know. */
    void setParticleSymbols(const std::vector<std::string>& symbols);

    /** Indices in the System of the particles the force acts on; empty: all particles of the System. */
    const std::vector<int>& getParticles() const { return particles; }
    /** Throws OpenMMException for a negative or repeated index. */
    void setParticles(const std::vector<int>& particles);

    /**
     * Fixed charges in e of all particles of the System, those of the particles the force acts on being 0, for
     * electrostatic embedding: they act on the latent charges of the model by the long-range kernel of the model, with
     * forces on both, and not on each other. Empty, the default: mechanical embedding, the rest is not seen.
     */
    const std::vector<double>& getExternalCharges() const { return externalCharges; }
    /** Throws OpenMMException for a charge that is not finite, and for a model without charges. */
    void setExternalCharges(const std::vector<double>& charges);

    /**
     * Declares two particles of the System, wherever the model acts, as parts of one molecule, as Force classes with
     * bonds do: OpenMM moves a molecule as a whole into the periodic box, and barostats scale it as a whole. There is
     * no energy in it. A force that is not periodic is one molecule without this.
     */
    int addBond(int particle1, int particle2);
    const std::vector<std::pair<int, int>>& getBonds() const { return bonds; }

    bool usesPeriodicBoundaryConditions() const override { return periodic; }
    void setUsesPeriodicBoundaryConditions(bool periodic) { this->periodic = periodic; }

    /** Where the network runs, "cpu" by default, whatever the Platform of the Context is. */
    const std::string& getDevice() const { return device; }
    void setDevice(const std::string& device) { this->device = device; }

    /** Threads of the network and the long-range sums; none leaves torch's setting. */
    std::optional<int> getThreads() const { return threads; }
    void setThreads(std::optional<int> threads) { this->threads = threads; }

    /** Total charge in e, for models that neutralize, instead of their own, and for models that take it as input. */
    std::optional<double> getTotalCharge() const { return totalCharge; }
    void setTotalCharge(std::optional<double> totalCharge) { this->totalCharge = totalCharge; }

    /** Spin multiplicity 2S + 1, for models that take it as input. */
    std::optional<double> getSpin() const { return spin; }
    void setSpin(std::optional<double> spin) { this->spin = spin; }

    /**
     * True: on a GPU, every bit of energy and forces is the same whenever positions are. On the CPU it is so anyway
     * with the same number of threads. On the CUDA platform its property DeterministicForces asks for it as well.
     */
    bool getDeterministic() const { return deterministic; }
    void setDeterministic(bool deterministic) { this->deterministic = deterministic; }

    /**
     * On a GPU: whole steps are captured as CUDA graphs and are one launch each, "auto" (up to 10^4 atoms), "on" or
     * "off". "on" is refused on the CPU, when a Context is created, as are other words.
     */
    const std::string& getGraphs() const { return graphs; }
    void setGraphs(const std::string& graphs) { this->graphs = graphs; }

    /**
     * How the long-range energy of a periodic system is summed: "mesh", "direct", or "auto", the default, which takes
     * the one expected to be faster. Words and numbers that cannot be used are refused when a Context is created.
     */
    const std::string& getSolver() const { return longRange.solver; }
    void setSolver(const std::string& solver) { longRange.solver = solver; }

    /** Rms force error of the mesh over the rms force of the same charges placed at random, 1e-4 by default. */
    double getAccuracy() const { return longRange.accuracy; }
    void setAccuracy(double accuracy) { longRange.accuracy = accuracy; }

    /** Window that spreads charges on the mesh, "kaiser_bessel" by default, or "b_spline". */
    const std::string& getWindow() const { return longRange.window; }
    void setWindow(const std::string& window) { longRange.window = window; }

    /** Mesh points per axis that one charge is spread on; none: chosen from the accuracy. */
    std::optional<int> getInterpolationNodes() const { return longRange.interpolation_nodes; }
    void setInterpolationNodes(std::optional<int> nodes) { longRange.interpolation_nodes = nodes; }

    /** Largest distance of mesh points along a box vector in nm; none: chosen from the accuracy. */
    std::optional<double> getMeshSpacing() const { return meshSpacing; }
    void setMeshSpacing(std::optional<double> spacing) { meshSpacing = spacing; }

    /** Mesh points along the three box vectors; none: chosen from the spacing. */
    std::optional<std::array<int, 3>> getMesh() const { return longRange.mesh; }
    void setMesh(std::optional<std::array<int, 3>> mesh) { longRange.mesh = mesh; }

    /** Precision of mesh and transforms, "float32" or "float64"; none: that of the network where it is enough. */
    std::optional<std::string> getMeshDtype() const;
    void setMeshDtype(std::optional<std::string> dtype) { longRange.dtype = dtype.value_or(""); }

    /** True: a model with a k-space cutoff keeps the wave vectors of the first box while the box changes. */
    bool getFreezeKSet() const { return longRange.freeze_k_set; }
    void setFreezeKSet(bool freeze) { longRange.freeze_k_set = freeze; }

    /** The eight long-range settings above, in the units of the engine. */
    les::LongRangeOptions getLongRangeOptions() const;

    /** True, the default: XML holds the whole model; false: its path, and the file must be the same one on reading. */
    bool getEmbedModel() const { return embedModel; }
    void setEmbedModel(bool embed) { embedModel = embed; }

    /** Name of the global parameter of a Context that energy and forces are multiplied by, LESForceLambda by default.
     */
    const std::string& getLambdaName() const { return lambdaName; }
    void setLambdaName(const std::string& name);
    double getDefaultLambda() const { return defaultLambda; }
    void setDefaultLambda(double lambda) { defaultLambda = lambda; }

    /**
     * Names of the global parameters of a Context that hold an external electric field in kJ/mol/nm/e (1 V/nm
     * is 96.485): LESForceFieldX, LESForceFieldY, LESForceFieldZ. All LESForces of a System feel the same field.
     */
    static const std::array<std::string, 3>& getElectricFieldNames();
    /** The field of a new Context, zero by default. */
    const OpenMM::Vec3& getDefaultElectricField() const { return defaultElectricField; }
    void setDefaultElectricField(const OpenMM::Vec3& field) { defaultElectricField = field; }

    /**
     * Asks for the derivative of the energy in a global parameter of this force, for
     * State::getEnergyParameterDerivatives().
     */
    void addEnergyParameterDerivative(const std::string& name);
    int getNumEnergyParameterDerivatives() const { return static_cast<int>(energyParameterDerivatives.size()); }
    const std::string& getEnergyParameterDerivativeName(int index) const;

    /** Charge channels of the model, 0 for a short-range-only model. */
    int getNumChannels() const { return model->metadata().n_channels; }

    /** Latent charges (numParticles, numChannels) by rows, in e, at the present positions and box of `context`. */
    std::vector<double> getLatentCharges(OpenMM::Context& context) const;
    /** Energy of the network with its element offsets in kJ/mol, at the present positions and box, for a lambda of 1.
     */
    double getShortRangeEnergy(OpenMM::Context& context) const;
    /** Long-range energy in kJ/mol, at the present positions and box of `context`, for a lambda of 1. */
    double getLongRangeEnergy(OpenMM::Context& context) const;
    /** Energy in the electric field in kJ/mol, for a lambda of 1; 0 for a model whose periodic polarization is not
     * known. */
    double getFieldEnergy(OpenMM::Context& context) const;
    /** Physical charge of every particle in e, the sum over channels times the record's scale. */
    std::vector<double> getCharges(OpenMM::Context& context) const;
    /**
     * Polarization, or dipole moment, in e nm. Periodic systems need a model with charge transfers. It follows the
     * atoms through the faces of the box as far as the positions of the Context do.
     */
    OpenMM::Vec3 getPolarization(OpenMM::Context& context) const;
    /** Polarization current sum Z* v in e nm/ps of the present positions and velocities; any model with charges. */
    OpenMM::Vec3 getPolarizationCurrent(OpenMM::Context& context) const;
    /** Born effective charges (numParticles, 3, 3) by rows, in e: the derivative of component a of the polarization in
     *  coordinate b of a particle; any model with charges. */
    std::vector<double> getBornCharges(OpenMM::Context& context) const;
    /** Energy of the latent charges in the potential of the external ones in kJ/mol, for a lambda of 1. */
    double getEmbeddingEnergy(OpenMM::Context& context) const;
    /** Virial -dE/d(strain) by rows, in kJ/mol, at the present positions and box of `context`, for a lambda of 1. */
    std::vector<OpenMM::Vec3> getVirial(OpenMM::Context& context) const;
    /** How the long-range energy is computed at the present positions and box of `context`, in words. */
    std::string getLongRangeDescription(OpenMM::Context& context) const;
    /** Where the time of all evaluations in `context` went: seconds of "neighbours", "network" and "long_range". */
    std::map<std::string, double> getStageTimes(OpenMM::Context& context) const;

protected:
    OpenMM::ForceImpl* createImpl() const override;

private:
    LESForceImpl& getImpl(OpenMM::Context& context) const;
    void checkSymbols(const std::vector<std::string>& symbols) const;

    std::shared_ptr<const les::ModelFile> model;
    std::vector<std::string> symbols;
    std::vector<int> particles;
    std::vector<double> externalCharges;
    std::vector<std::pair<int, int>> bonds;
    bool periodic = true;
    std::string device = "cpu";
    std::optional<int> threads;
    std::optional<double> totalCharge, spin;
    bool deterministic = false;
    std::string graphs = "auto";
    les::LongRangeOptions longRange;    // without the spacing
    std::optional<double> meshSpacing;  // nm
    bool embedModel = true;
    std::string lambdaName = "LESForceLambda";
    double defaultLambda = 1.0;
    OpenMM::Vec3 defaultElectricField;  // kJ/mol/nm/e
    std::vector<std::string> energyParameterDerivatives;
};

/** Throws OpenMMException in one sentence unless the loaded OpenMM and torch are those the plugin was built with. */
LES_OPENMM_EXPORT void checkVersions();

}  // namespace LESPlugin
