// Engine: positions in, energy, forces, virial and latent charges out. The page to read first is Engine::compute in
// engine.cpp; every step of the method is one named call there.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "les/communicator.h"
#include "les/long_range.h"
#include "les/model_file.h"
#include "les/system.h"

namespace les {

struct EngineOptions {
    /// "cpu"; "cuda" or "cuda:N": the whole evaluation where this library was built with CUDA, else the network alone
    /// if torch has CUDA. The number is that of device_index_of.
    std::string device = "cpu";
    std::optional<int> threads;  ///< threads of the network and the sums; none: leave torch's setting
    /// e, for models that neutralize, instead of their own, and for models that take it as input
    std::optional<double> total_charge;
    /// GB for the values that a network of one layer keeps from its forward to its backward pass; systems that would
    /// need more have them computed again, block by block.
    double graph_memory = 2.0;
    double skin = 0.5;            ///< angstrom, reuse of the engine's own neighbour list
    LongRangeOptions long_range;  ///< solver of periodic systems
    std::optional<double> spin;   ///< multiplicity 2S + 1, for models that take it as input
    /// On a GPU: every bit of the result is the same whenever the input is. On the CPU it is so anyway.
    bool deterministic = false;
    /// On a GPU: whole steps are captured as CUDA graphs and are one launch from then on: "auto" (systems of up to 10^4
    /// atoms), "on" or "off". Needs a model file with the entry `rows`. "on" is refused on the CPU.
    std::string graphs = "auto";
};

/// Where the time of the evaluations since the last reset went, seconds of this domain.
struct StageTimes {
    double neighbours = 0.0;  ///< edges from the host's neighbour list, or the engine's own search
    double network_forward = 0.0, network_backward = 0.0;  ///< all stages that a GPU has had in a row are in the former
    double long_range = 0.0;                               ///< charges to potentials and explicit forces
    double communication = 0.0;  ///< between domains, with the waiting for others; in none of the other stages
};

class Engine {
public:
    /// Throws les::Error if the model, the device or an option cannot be used.
    explicit Engine(const ModelFile& file, const EngineOptions& options = {},
                    std::shared_ptr<Communicator> communicator = std::make_shared<SingleProcess>());
    ~Engine();
    Engine(Engine&&) noexcept;
    Engine& operator=(Engine&&) noexcept;

    const Metadata& metadata() const;

    /// Evaluates with the engine's own neighbour list; every atom must be owned (n_local == n_all).
    const Results& compute(const System& system);
    /// Evaluates with the neighbours of the host; centres may be any atom inside the receptive field.
    const Results& compute(const System& system, const EdgeList& edges);

    /// One line on the long-range sum of the last evaluation, for the host to print once: solver, mesh, window,
    /// accuracy.
    std::string long_range_description() const;

    /// Sentences the user should see once, such as that the wave vectors of a model change with the cell; each is
    /// returned by one call only. Hosts ask after every evaluation.
    std::vector<std::string> take_warnings();

    StageTimes stage_times() const;
    void reset_stage_times();

private:
    struct Implementation;
    std::unique_ptr<Implementation> implementation_;
};

}  // namespace les
