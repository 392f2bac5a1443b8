// Kernel of a LESForce on a platform whose arrays the engine can use where they are: the interface between LESForceImpl
// and the platform's own library, which is there if it was built.
#pragma once

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

class LES_OPENMM_EXPORT CalcLESForceKernel : public OpenMM::KernelImpl {
public:
    static const std::string& Name();

    CalcLESForceKernel(const std::string& name, const OpenMM::Platform& platform) : KernelImpl(name, platform) {}
    ~CalcLESForceKernel() override;

    /**
     * @param particles   (n,), index in the System of every atom of the model
     * @param types       (n,), types of these atoms
     * Throws OpenMMException for a model, device or option that cannot be used.
     */
    virtual void initialize(const LESForce& force, const les::EngineOptions& options, const std::vector<int>& particles,
                            const std::vector<std::int32_t>& types) = 0;

    /**
     * Starts an evaluation at the present positions and box; forces times `lambda`, and the energy where it is asked
     * for, reach the Context at the end of its own computation, before forces of virtual sites are passed on.
     */
    virtual void execute(bool includeForces, bool includeEnergy, double lambda) = 0;

    /** Results on the host in the engine's units, of an evaluation of its own at the present positions and box. */
    virtual les::Results results() = 0;

    virtual std::string longRangeDescription() const = 0;
    virtual std::vector<std::string> takeWarnings() = 0;
};

}  // namespace LESPlugin
