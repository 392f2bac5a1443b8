// Times of whole evaluations on a GPU, positions to forces, for boxes of water of 10^3 atoms and more, with the share
// of the mesh. Atoms move, so that neighbours are searched anew once in 15 steps. Prints a table in Markdown. Needs a
// model file for H and O (water_model.py writes one of default size). A folder gets step_times.jsonl, for run.py.
//     step_times model.les.pt [largest number of atoms, 1000000 [folder]]
#include <cuda_runtime.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "cuda/device_array.h"
#include "cuda/mesh_solver.h"
#include "les/device_engine.h"
#include "les/les.h"

namespace {

using les::cuda::check;
using les::cuda::DeviceArray;

/// Molecules on a cubic lattice at the density of water, turned at random.
struct Water {
    les::Matrix3 cell{};
    std::vector<double> positions;
    std::vector<std::int32_t> types;

    Water(const les::ModelFile& file, std::int64_t wanted) {
        const int edge = std::max(4, static_cast<int>(std::lround(std::cbrt(static_cast<double>(wanted) / 3.0))));
        constexpr double spacing = 3.104;
        for (std::size_t a = 0; a < 3; ++a) cell[a][a] = spacing * edge;
        const std::vector<int> of = file.types_of({"O", "H", "H"});
        std::mt19937 engine(1);
        std::normal_distribution<double> normal;
        for (int m = 0; m < edge * edge * edge; ++m) {
            double u[2][3];
            for (auto& v : u) {
                double length = 0.0;
                for (double& x : v) {
                    x = normal(engine);
                    length += x * x;
                }
                for (double& x : v) x *= 0.97 / std::sqrt(length);
            }
            const double r[3] = {spacing * (m % edge), spacing * (m / edge % edge), spacing * (m / edge / edge)};
            for (int atom = 0; atom < 3; ++atom) {
                for (int x = 0; x < 3; ++x)
                    positions.push_back(r[x] + (atom == 0 ? 0.0 : u[atom - 1][x]) + 0.05 * normal(engine));
                types.push_back(of[static_cast<std::size_t>(atom)]);
            }
        }
    }
    std::int64_t n_atoms() const { return static_cast<std::int64_t>(types.size()); }
};

/// Steps after which the fastest atom has moved by half the skin.
constexpr int steps_of_search = 15;

/// Positions of a simulation, on the device: every atom goes its own way at a constant velocity, from frame to frame
/// and then back to the first. A search is due at the first frame and in the middle of the way.
class Frames {
public:
    static constexpr int count = 2 * steps_of_search;

    Frames(const Water& water, double skin) : size_(3 * water.n_atoms()) {
        std::mt19937 engine(2);
        std::normal_distribution<double> normal;
        std::vector<double> step(water.positions.size()), frame = water.positions;
        double fastest = 0.0;
        for (std::size_t i = 0; i < step.size(); i += 3) {
            const double light = i % 9 == 0 ? 1.0 : 4.0;  // square root of the ratio of the masses of O and H
            double squared = 0.0;
            for (std::size_t x = 0; x < 3; ++x) {
                step[i + x] = light * normal(engine);
                squared += step[i + x] * step[i + x];
            }
            fastest = std::max(fastest, squared);
        }
        const double scale = 0.5 * skin / (steps_of_search * std::sqrt(fastest));
        positions.reserve(size_);
        frames_.reserve(count * size_);
        for (int f = 0; f < count; ++f) {
            check(cudaMemcpy(frames_.data() + f * size_, frame.data(), bytes(1), cudaMemcpyHostToDevice), "a frame");
            for (std::size_t i = 0; i < step.size(); ++i) frame[i] += scale * step[i];
        }
        check(cudaDeviceSynchronize(), "the frames");  // another stream reads them
    }

    /// Puts the next positions into place, on the stream.
    void move(cudaStream_t stream) {
        check(cudaMemcpyAsync(positions.data(), frames_.data() + next_ * size_, bytes(1), cudaMemcpyDeviceToDevice,
                              stream),
              "new positions");
        next_ = (next_ + 1) % count;
    }

    /// Of `n` frames.
    std::size_t bytes(int n) const { return static_cast<std::size_t>(n * size_) * sizeof(double); }

    DeviceArray<double> positions;  ///< what an engine reads

private:
    std::int64_t size_;
    DeviceArray<double> frames_;
    int next_ = 0;
};

/// Milliseconds of one call of `run` with its end on the device, the median of several; each goes through all frames.
template <class Run>
double milliseconds(cudaStream_t stream, const Run& run) {
    for (int i = 0; i < 3; ++i) run();
    check(cudaStreamSynchronize(stream), "the warm-up");
    std::vector<double> times;
    for (int sample = 0; sample < 5; ++sample) {
        int calls = 0;
        const auto start = std::chrono::steady_clock::now();
        double passed = 0.0;
        while (passed < 0.05 || calls % Frames::count != 0) {
            run();
            check(cudaStreamSynchronize(stream), "an evaluation");
            ++calls;
            passed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        }
        times.push_back(1e3 * passed / calls);
    }
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
}

/// Above it launches do not decide, and the memory of a graph counts.
constexpr std::int64_t largest_graph = 30000;

/// Milliseconds of a step that is one launch.
double time_of_graph(const les::ModelFile& file, const les::DeviceSystem& system, Frames& frames, cudaStream_t stream) {
    les::EngineOptions options;
    options.graphs = "on";
    les::DeviceEngine engine(file, options, 0, stream);
    const auto step = [&] {
        frames.move(stream);
        engine.compute(system);
    };
    for (int i = 0; i < 5; ++i) step();  // capture and check
    const double found = milliseconds(stream, step);
    for (const std::string& text : engine.take_warnings()) std::fprintf(stderr, "%s\n", text.c_str());
    return found;
}

void times(const les::ModelFile& file, std::int64_t largest, const std::string& folder, cudaStream_t stream) {
    std::ofstream lines;
    if (!folder.empty()) {
        lines.open(folder + "/step_times.jsonl");
        if (!lines) throw les::Error("step_times.jsonl cannot be written to " + folder + "; does the folder exist?");
    }
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, 0), "the device");
    std::printf("%s, %s network, accuracy 1e-4\n\n", properties.name, file.metadata().dtype.c_str());
    std::puts("| atoms | ms a step | ms as a graph | ns an atom | mesh: ms | share of the mesh | memory in use: GB |");
    std::puts("|---:|---:|---:|---:|---:|---:|---:|");
    for (std::int64_t wanted = 1000; wanted <= largest; wanted *= 10) {
        const Water water(file, wanted);
        const std::int64_t n = water.n_atoms();
        les::EngineOptions options;
        options.graphs = "off";
        Frames frames(water, options.skin);
        DeviceArray<std::int32_t> types;
        types.reserve(n);
        check(cudaMemcpy(types.data(), water.types.data(), water.types.size() * sizeof(std::int32_t),
                         cudaMemcpyHostToDevice),
              "the types");
        check(cudaDeviceSynchronize(), "the input");  // another stream reads it
        les::DeviceEngine engine(file, options, 0, stream);
        const les::DeviceSystem system{n, frames.positions.data(), types.data(), water.cell, true, {}};
        const double step = milliseconds(stream, [&] {
            frames.move(stream);
            engine.compute(system);
        });
        const double graph = n <= largest_graph ? time_of_graph(file, system, frames, stream) : 0.0;
        for (const std::string& text : engine.take_warnings()) std::fprintf(stderr, "%s\n", text.c_str());
        double mesh = 0.0;
        if (file.metadata().long_range) {
            les::LongRangeOptions of_mesh;
            of_mesh.dtype = file.metadata().dtype;
            const auto solver = les::cuda::make_mesh_solver(*file.metadata().long_range, file.metadata().n_channels,
                                                            of_mesh, {}, stream);
            solver->set_cell(water.cell, n);
            mesh = milliseconds(stream, [&] { solver->compute(frames.positions.data(), engine.latent_charges(), n); });
        }
        std::size_t free = 0, total = 0;
        check(cudaMemGetInfo(&free, &total), "the memory of the GPU");
        char captured[32] = "-";
        if (graph > 0.0) std::snprintf(captured, sizeof(captured), "%.3f", graph);
        std::printf("| %lld | %.3f | %s | %.1f | %.3f | %.1f %% | %.2f |\n", static_cast<long long>(n), step, captured,
                    1e6 * step / static_cast<double>(n), mesh, 100.0 * mesh / step,
                    1e-9 * static_cast<double>(total - free - frames.bytes(Frames::count)));
        std::fflush(stdout);
        if (folder.empty()) continue;
        char line[256];
        std::snprintf(line, sizeof(line), "{\"atoms\": %lld, \"plain_ms\": %.4g, \"graph_ms\": %s, \"mesh_ms\": %.4g}",
                      static_cast<long long>(n), step, graph > 0.0 ? captured : "null", mesh);
        lines << line << std::endl;
        if (!lines) throw les::Error("step_times.jsonl cannot be written; is the disk full?");
    }
}

}  // namespace

int main(int argc, char** argv) {
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
        std::fputs("step_times: error: there is no GPU here\n", stderr);
        return 2;
    }
    if (argc < 2) {
        std::fputs("step_times: error: usage: step_times model.les.pt [largest number of atoms [folder]]\n", stderr);
        return 2;
    }
    try {
        cudaStream_t stream = nullptr;
        check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "a stream");
        times(les::ModelFile::from_path(argv[1]), argc > 2 ? std::atoll(argv[2]) : 1000000, argc > 3 ? argv[3] : "",
              stream);
        check(cudaStreamDestroy(stream), "the stream");
    } catch (const les::Error& error) {
        std::fprintf(stderr, "step_times: error: %s\n", error.what());
        return 1;
    }
    return 0;
}
