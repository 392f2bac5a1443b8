// The network between device arrays, by libtorch on the stream that the kernels use: rows of edges in, energies and
// charges out, and one backward pass to gradients on the edges. Needs no CUDA to compile, and runs on the CPU as well,
// which is how it is tested.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "les/communicator.h"
#include "les/model_file.h"

namespace les {

/// Edges in slots, `slots` for each centre, all arrays on the device. Empty slots hold a vector of the length of the
/// cutoff.
struct NetworkRows {
    std::int64_t n_atoms = 0;  ///< with ghosts; centres come first
    std::int64_t n_centres = 0;
    std::int64_t slots = 0;
    const std::int64_t* types = nullptr;       ///< (n_atoms,)
    const std::int32_t* neighbours = nullptr;  ///< (n_centres, slots)
    const double* vectors = nullptr;           ///< (n_centres, slots, 3), angstrom
    const std::int64_t* order = nullptr;       ///< (n_centres,), centres sorted by element
    std::vector<std::int64_t> runs;            ///< centres of each element
};

struct DeviceNetworkOptions {
    bool deterministic = false;  ///< torch is asked for operations that give the same bits every time
    /// Share of the free memory that an evaluation may take; where it would take more, centres go in blocks.
    double memory_share = 0.6;
    std::int64_t most_centres = 0;  ///< of a block, 0: as memory allows
};

/// Torch's part for a device, which hosts without Python have not loaded yet. Throws les::Error if it cannot be used.
void load_torch_device(const std::string& device);

class DeviceNetwork {
public:
    /// `device` is "cuda:N" or "cpu", `stream` a cudaStream_t (null for the default stream, and on the CPU). Throws
    /// les::Error if device or model cannot be used.
    DeviceNetwork(const ModelFile& file, const std::string& device, void* stream, const DeviceNetworkOptions& options);
    ~DeviceNetwork();

    /// Total charge (e) and spin multiplicity, for models that take them as inputs.
    void set_state(double total_charge, double spin);

    /// While a step is captured, centres are not divided further if memory runs out: that is an error then.
    void set_captured(bool captured);

    /// Evaluates energies and charges; `rows` must stay as they are until behind `backward`. `domains`, the same in all
    /// passes: several domains, which exchange the messages between the layers of a network, so that the passes are
    /// collective; null: one domain.
    void forward(const NetworkRows& rows, Communicator* domains = nullptr);
    /// Gradient (n_centres, slots, 3) in eV/angstrom of sum(node_energies) + sum(cotangents * latent_charges) +
    /// dipole_cotangent . sum(transfer_dipoles), on the device; `cotangents` is (n_atoms, n_channels), V, on the
    /// device, or null, `dipole_cotangent` is V/angstrom.
    const double* backward(const double* cotangents, const std::array<double, 3>& dipole_cotangent = {},
                           Communicator* domains = nullptr);
    /// The same without the energies and before `backward`, as often as wanted; there until the next call of either.
    const double* charge_gradient(const double* cotangents, const std::array<double, 3>& dipole_cotangent,
                                  Communicator* domains = nullptr);

    /// Another number whenever results are in other memory than before: what was captured is of no use then.
    std::int64_t generation() const;

    /// Where the last `backward` has put its result.
    const double* gradients() const;
    /// Makes NaN of all results, on the device.
    void clear();

    const double* node_energies() const;  ///< (n_centres,), eV, with offsets
    double* latent_charges() const;       ///< (n_atoms, n_channels), e, contributions on ghosts included
    /// (n_centres, 3), e angstrom, summed over channels; null without charge transfers.
    const double* transfer_dipoles() const;

    /// Blocks that the last evaluation was made in.
    std::int64_t n_blocks() const;
    /// One sentence for the user, returned once, when centres go in blocks; else empty.
    std::string take_note();

private:
    struct Implementation;
    std::unique_ptr<Implementation> implementation_;
};

}  // namespace les
