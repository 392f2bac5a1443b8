// DeviceEngine: the evaluation on one GPU, from positions on the device to forces on the device, all of it on one
// stream. Engine with device "cuda" uses it for hosts whose arrays are on the CPU; hosts with device arrays of their
// own call it as it is. A build without CUDA has the class too, and its constructor says so.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "les/engine.h"
#include "les/model_file.h"
#include "les/system.h"

namespace les {

/// All atoms of a system; the arrays are on the device and must stay as they are until the stream has passed `compute`.
struct DeviceSystem {
    std::int64_t n_atoms = 0;
    const double* positions = nullptr;            ///< device, (n_atoms, 3), angstrom, need not be wrapped into the cell
    const std::int32_t* types = nullptr;          ///< device, (n_atoms,), index into Metadata::symbols, from 0
    Matrix3 cell{};                               ///< host, rows are lattice vectors, angstrom; ignored unless periodic
    bool periodic = false;                        ///< periodic in all three directions, or isolated
    std::array<double, 3> field{};                ///< external electric field, V/angstrom
    const double* unwrapped_positions = nullptr;  ///< device, (n_atoms, 3), angstrom, followed through periodic
                                                  ///< boundaries; null: `positions`. Read for the polarization alone
    const double* velocities = nullptr;           ///< device, (n_atoms, 3), angstrom/ps; read for the current alone
    std::int64_t n_external = 0;                  ///< fixed charges outside the model, as in System
    const double* external_positions = nullptr;   ///< device, (n_external, 3), angstrom
    const double* external_charges = nullptr;     ///< device, (n_external,), e
    bool atom_virials = false, polarization = false, polarization_current = false, born_charges = false;  ///< wanted
};

/// Places in DeviceEngine::summary().
struct DeviceSummary {
    double short_range_energy, long_range_energy, field_energy, embedding_energy;  ///< eV, the energy is their sum
    double virial[9];                ///< eV, -dE/d(strain), row by row, symmetric
    double polarization[3];          ///< e angstrom; 0 unless asked for and defined
    double polarization_current[3];  ///< e angstrom/ps; 0 unless asked for
    double status;                   ///< 0, or not: `copy_results` says what is wrong

    double energy() const { return short_range_energy + long_range_energy + field_energy + embedding_energy; }
};
static_assert(sizeof(DeviceSummary) == 20 * sizeof(double), "hosts read it as 20 numbers");

class DeviceEngine {
public:
    /// `device_index` counts CUDA devices from 0; `stream` is a cudaStream_t of that device, null for the default
    /// stream; it must outlive the engine, and the device's primary context be current. `options.device`, `threads` and
    /// `graph_memory` are not read. Throws les::Error, one sentence, for a build
    /// without CUDA, a device, model or option that cannot be used.
    DeviceEngine(const ModelFile& file, const EngineOptions& options, int device_index, void* stream);
    ~DeviceEngine();
    DeviceEngine(DeviceEngine&&) noexcept;
    DeviceEngine& operator=(DeviceEngine&&) noexcept;

    const Metadata& metadata() const;

    /// Puts an evaluation on the stream. Waits for the neighbour search alone, behind which the network's work is
    /// queued by then, to see that every array was large enough; else it enlarges them and starts again. Throws
    /// les::Error for positions that are not finite and atoms that coincide.
    void compute(const DeviceSystem& system);

    /// On the device, valid behind `compute` on the stream and until the next one.
    const double* forces() const;           ///< (n_atoms, 3), eV/angstrom
    const double* summary() const;          ///< a DeviceSummary
    const double* node_energies() const;    ///< (n_atoms,), eV, short-range energy with element offsets
    const double* latent_charges() const;   ///< (n_atoms, n_channels), e, after the neutrality option
    const double* potentials() const;       ///< (n_atoms, n_channels), V, dE_lr/dq; zeros without a long-range energy
    const double* external_forces() const;  ///< (n_external, 3), eV/angstrom, or null
    const double* born_charges() const;     ///< (n_atoms, 3, 3), e, or null unless asked for
    const double* atom_virials() const;     ///< (n_atoms, 3, 3), eV, or null unless asked for

    /// Waits for the stream and copies to the host. Throws les::Error if energy or forces are not finite.
    Results copy_results();

    /// As those of Engine.
    std::string long_range_description() const;
    std::vector<std::string> take_warnings();

private:
    struct Implementation;
    std::unique_ptr<Implementation> implementation_;
};

/// Whether this build of the library has the kernels.
bool has_device_engine();

/// Number of the CUDA device for `device`, "cuda" or "cuda:N": N, or the rank of this process on its machine, as the
/// launchers of MPI say in the environment, modulo `n_devices`; 0 without one. Throws les::Error for a name or number
/// that cannot be used.
int device_index_of(const std::string& device, int n_devices);

}  // namespace les
