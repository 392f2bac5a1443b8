// A GPU for an Engine whose arrays are on the host: positions up, forces down. With one domain the whole evaluation is
// on the device; with several the charges come down in between, for the domains exchange them, and the long-range sum
// is divided among the devices of all.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "les/engine.h"
#include "les/long_range.h"
#include "les/system.h"

namespace les {

class DeviceDomain {
public:
    virtual ~DeviceDomain() = default;

    /// All of an evaluation, of the owned atoms of `system` alone: hosts of one domain carry no ghosts that the cell
    /// does not give.
    virtual void compute(const System& system, Results& results) = 0;
    /// (n_local, 3), e angstrom, of the last `forward`; empty without charge transfers.
    virtual const std::vector<double>& transfer_dipoles() const = 0;

    /// Energies (n_local,) and charges (n_all, n_channels) from the owned atoms and their ghosts.
    virtual void forward(const System& system, std::vector<double>& node_energies, std::vector<double>& charges) = 0;
    /// Forces (n_all, 3) and virial of the network from cotangents (n_all, n_channels), or none.
    virtual void backward(const std::vector<double>& cotangents, std::vector<double>& forces, Matrix3& virial) = 0;

    /// The periodic long-range sum of several domains, on the devices of all of them; must not outlive this object.
    virtual std::unique_ptr<LongRangeSolver> make_distributed_mesh(const LongRangeParameters& parameters,
                                                                   int n_channels, const LongRangeOptions& options,
                                                                   bool deterministic) = 0;

    virtual std::string long_range_description() const = 0;
    virtual std::vector<std::string> take_warnings() = 0;
};

/// `device` is "cuda" or "cuda:N", see device_index_of. Throws les::Error for a build without CUDA.
std::unique_ptr<DeviceDomain> make_device_domain(const ModelFile& file, const EngineOptions& options);

}  // namespace les
