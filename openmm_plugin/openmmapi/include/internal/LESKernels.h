// Kernel of a LESForce on a platform whose arrays the engine can use where they are: the interface between LESForceImpl
// and the platform's own library, which is there if it was built.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "LESForce.h"
#include "internal/LESExport.h"
#include "les/engine.h"
#include "les/system.h"
#include "openmm/KernelImpl.h"
#include "openmm/Platform.h"

namespace LESPlugin {

/** What LESForce acts on, as the engine wants it. */
struct LESParticles {
    std::vector<int> atoms;               ///< (n,), index in the System of every atom of the model
    std::vector<std::int32_t> types;      ///< (n,), types of these atoms
    std::vector<int> externals;           ///< (m,), index in the System of every external charge that is not 0
    std::vector<double> externalCharges;  ///< (m,), e
};

/** What an evaluation is asked for beside energy, forces and charges. */
struct LESRequest {
    std::array<double, 3> field{};  ///< electric field, V/angstrom
    bool polarization = false;      ///< where it is defined
    bool current = false;           ///< polarization current of `velocities`
    bool bornCharges = false;
    std::vector<double> velocities;  ///< (n, 3), angstrom/ps, for the current
};

class LES_OPENMM_EXPORT CalcLESForceKernel : public OpenMM::KernelImpl {
public:
    static const std::string& Name();

    CalcLESForceKernel(const std::string& name, const OpenMM::Platform& platform) : KernelImpl(name, platform) {}
    ~CalcLESForceKernel() override;

    /** Throws OpenMMException for a model, device or option that cannot be used. */
    virtual void initialize(const LESForce& force, const les::EngineOptions& options,
                            const LESParticles& particles) = 0;

    /**
     * Starts an evaluation at the present positions and box in `field` (V/angstrom); forces times `lambda`, and the
     * energy where it is asked for, reach the Context at the end of its own computation, before forces of virtual sites
     * are passed on. So do derivatives in global parameters, if the force has any.
     */
    virtual void execute(bool includeForces, bool includeEnergy, double lambda, const std::array<double, 3>& field) = 0;

    /** Results on the host in the engine's units, of an evaluation of its own at the present positions and box. */
    virtual les::Results results(const LESRequest& request) = 0;

    virtual std::string longRangeDescription() const = 0;
    virtual std::vector<std::string> takeWarnings() = 0;
};

}  // namespace LESPlugin
