// Times of the mesh on a GPU for 10^3 to 10^7 atoms, beside what the bandwidth of the device allows. Prints a table in
// Markdown. Options: the largest number of atoms, the precision (float32 or float64), the accuracy, and a folder for
// what run.py reads: mesh_times.jsonl, one line for each size, and forces-N.bin of up to 10^6 atoms.
//     mesh_times [10000000 [float32 [1e-4 [folder]]]]
//     mesh_times traffic [float32 [1e-4]]     bytes an atom of each stage; needs no GPU
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "cuda/device_array.h"
#include "cuda/mesh_setup.h"
#include "cuda/mesh_solver.h"
#include "traffic.h"

namespace {

using les::cuda::check;
using les::cuda::DeviceArray;

/// Microseconds of one call of `run` on the stream, the median of several measurements.
template <class Run>
double microseconds(cudaStream_t stream, const Run& run) {
    cudaEvent_t begin, end;
    check(cudaEventCreate(&begin), "an event");
    check(cudaEventCreate(&end), "an event");
    for (int i = 0; i < 3; ++i) run();
    check(cudaStreamSynchronize(stream), "the warm-up");
    std::vector<double> times;
    int calls = 1;
    while (times.size() < 7) {
        check(cudaEventRecord(begin, stream), "an event");
        for (int i = 0; i < calls; ++i) run();
        check(cudaEventRecord(end, stream), "an event");
        check(cudaEventSynchronize(end), "an event");
        float milliseconds = 0.0f;
        check(cudaEventElapsedTime(&milliseconds, begin, end), "an event");
        if (milliseconds < 20.0f && calls < 4096) {
            calls *= 2;
            continue;
        }
        times.push_back(1e3 * milliseconds / calls);
    }
    check(cudaEventDestroy(begin), "an event");
    check(cudaEventDestroy(end), "an event");
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
}

/// Bytes a second of a copy within the device, read and write counted.
double bandwidth(cudaStream_t stream) {
    constexpr std::int64_t size = std::int64_t{1} << 28;
    DeviceArray<double> from, to;
    from.reserve(size / 8);
    to.reserve(size / 8);
    const double time = microseconds(stream, [&] {
        check(cudaMemcpyAsync(to.data(), from.data(), size, cudaMemcpyDeviceToDevice, stream), "a copy");
    });
    return 2.0 * size / (1e-6 * time);
}

constexpr double density = 0.1;  // atoms per cubic angstrom

les::Matrix3 cube(std::int64_t n) {
    les::Matrix3 cell{};
    for (std::size_t a = 0; a < 3; ++a) cell[a][a] = std::cbrt(static_cast<double>(n) / density);
    return cell;
}

/// Random number `index` in [0, 1), by splitmix64: boxes.py has the same, so that peers get the same atoms.
double uniform(std::uint64_t index) {
    std::uint64_t z = (index + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return std::ldexp(static_cast<double>((z ^ (z >> 31)) >> 11), -53);
}

struct Atoms {
    les::Matrix3 cell;
    DeviceArray<double> positions, charges;

    /// Neutral charges at random.
    explicit Atoms(std::int64_t n) : cell(cube(n)) {
        std::vector<double> r(static_cast<std::size_t>(3 * n)), q(static_cast<std::size_t>(n));
        for (std::size_t i = 0; i < r.size(); ++i) r[i] = cell[0][0] * uniform(i);
        for (std::size_t i = 0; i < q.size(); ++i) q[i] = i % 2 == 0 ? 0.4 : -0.4;
        positions.reserve(3 * n);
        charges.reserve(n);
        check(cudaMemcpy(positions.data(), r.data(), r.size() * sizeof(double), cudaMemcpyHostToDevice), "the input");
        check(cudaMemcpy(charges.data(), q.data(), q.size() * sizeof(double), cudaMemcpyHostToDevice), "the input");
    }
};

/// Bytes an atom of each stage, collected, and of all of them both ways.
void print_traffic(const les::LongRangeOptions& options) {
    std::printf("%s, accuracy %.0e, one channel, %.1f atoms per cubic angstrom; bytes an atom\n\n",
                options.dtype.c_str(), options.accuracy, density);
    std::printf("| atoms | mesh | nodes | mesh points an atom |");
    for (const Stage& stage : traffic({}, 4.0, 1.0, true)) std::printf(" %s |", stage.name);
    std::puts(" all | all, scattered |\n|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for (std::int64_t n = 1000; n <= 10000000; n *= 10) {
        les::cuda::MeshSetup setup({}, 1, options);
        setup.set_cell(cube(n), n);
        const auto& mesh = setup.report().mesh;
        const double atoms = static_cast<double>(n), real = setup.single() ? 4.0 : 8.0;
        const double points = static_cast<double>(mesh[0]) * mesh[1] * mesh[2];
        std::printf("| %lld | %d x %d x %d | %d | %.1f |", static_cast<long long>(n), mesh[0], mesh[1], mesh[2],
                    setup.nodes(), points / atoms);
        double all = 0.0, scattered = 0.0;
        for (const Stage& stage : traffic(setup.shape(), real, atoms, true)) {
            std::printf(" %.0f |", stage.bytes / atoms);
            all += stage.bytes / atoms;
        }
        for (const Stage& stage : traffic(setup.shape(), real, atoms, false)) scattered += stage.bytes / atoms;
        std::printf(" %.0f | %.0f |\n", all, scattered);
    }
}

/// What is timed must agree: collected, scattered, and as a graph. scripts/gpu_check.sh compares with the CPU.
void check_same(double energy, double& before, std::int64_t n) {
    if (std::isnan(before)) before = energy;
    if (std::abs(energy - before) <= 1e-5 * static_cast<double>(n)) return;  // self energies are 0.9 eV an atom
    throw les::Error("the energy of " + std::to_string(n) + " atoms is " + std::to_string(energy) + " eV, " +
                     std::to_string(before) + " eV another way");
}

constexpr std::int64_t largest_forces = 1000000;  // atoms; beyond it run.py has no reference

/// One size as a line of JSON.
void write_line(std::ofstream& lines, const les::cuda::MeshSetup& setup, std::int64_t n, double energy, double plain,
                double graph, double scattered, double floor) {
    char line[512];
    const auto& mesh = setup.report().mesh;
    std::snprintf(line, sizeof(line),
                  "{\"atoms\": %lld, \"mesh\": [%d, %d, %d], \"nodes\": %d, \"energy\": %.12g, \"plain_us\": %.4g, "
                  "\"graph_us\": %.4g, \"scattered_us\": %.4g, \"floor_us\": %.4g}",
                  static_cast<long long>(n), mesh[0], mesh[1], mesh[2], setup.nodes(), energy, plain, graph, scattered,
                  floor);
    lines << line << std::endl;
    if (!lines) throw les::Error("mesh_times.jsonl cannot be written; is the disk full?");
}

/// (n, 3) eV/angstrom as raw float64.
void write_forces(const std::string& folder, const std::vector<double>& forces, std::int64_t n) {
    std::ofstream file(folder + "/forces-" + std::to_string(n) + ".bin", std::ios::binary);
    file.write(reinterpret_cast<const char*>(forces.data()),
               static_cast<std::streamsize>(forces.size() * sizeof(double)));
    if (!file.flush()) throw les::Error("the forces cannot be written to " + folder + "; is the disk full?");
}

void times(std::int64_t largest, const les::LongRangeOptions& options, const std::string& folder, cudaStream_t stream) {
    std::ofstream lines;
    if (!folder.empty()) {
        lines.open(folder + "/mesh_times.jsonl");
        if (!lines) throw les::Error("mesh_times.jsonl cannot be written to " + folder + "; does the folder exist?");
    }
    const double bytes_per_second = bandwidth(stream);
    cudaDeviceProp device{};
    check(cudaGetDeviceProperties(&device, 0), "the device");
    std::printf("%s, %.0f GB/s copying within the device, %s, accuracy %.0e\n\n", device.name, 1e-9 * bytes_per_second,
                options.dtype.c_str(), options.accuracy);
    std::puts(
        "| atoms | mesh | nodes | collected: us a call | ... as a graph | ns an atom | scattered, as a graph: us | ns "
        "an "
        "atom | kB an atom | bandwidth floor: us | collected / floor |");
    std::puts(
        "|"
        "---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    const les::LongRangeParameters parameters;
    for (std::int64_t n = 1000; n <= largest; n *= 10) {
        const Atoms atoms(n);
        double energy = NAN;
        const auto time = [&](bool deterministic, bool graphs) {
            const auto solver = les::cuda::make_mesh_solver(parameters, 1, options, {deterministic, graphs}, stream);
            solver->set_cell(atoms.cell, n);
            const double found =
                microseconds(stream, [&] { solver->compute(atoms.positions.data(), atoms.charges.data(), n); });
            const les::LongRangeResult result = solver->copy_results();
            check_same(result.energy, energy, n);
            if (!folder.empty() && !deterministic && n <= largest_forces) write_forces(folder, result.forces, n);
            return found;
        };
        les::cuda::MeshSetup setup(parameters, 1, options);
        setup.set_cell(atoms.cell, n);
        double bytes = 0.0;
        for (const Stage& stage : traffic(setup.shape(), setup.single() ? 4.0 : 8.0, static_cast<double>(n), true))
            bytes += stage.bytes;
        const double plain = time(true, false), graph = time(true, true), scattered = time(false, true);
        const double floor = 1e6 * bytes / bytes_per_second, by_n = 1.0 / static_cast<double>(n);
        const auto& mesh = setup.report().mesh;
        std::printf("| %lld | %d x %d x %d | %d | %.1f | %.1f | %.2f | %.1f | %.2f | %.2f | %.1f | %.1f |\n",
                    static_cast<long long>(n), mesh[0], mesh[1], mesh[2], setup.nodes(), plain, graph,
                    1e3 * graph * by_n, scattered, 1e3 * scattered * by_n, 1e-3 * bytes * by_n, floor, graph / floor);
        std::fflush(stdout);
        if (!folder.empty()) write_line(lines, setup, n, energy, plain, graph, scattered, floor);
    }
}

}  // namespace

int main(int argc, char** argv) {
    const bool only_traffic = argc > 1 && std::string(argv[1]) == "traffic";
    int devices = 0;
    if (!only_traffic && (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0)) {
        std::fputs("mesh_times: error: there is no GPU here\n", stderr);
        return 2;
    }
    try {
        les::LongRangeOptions options;
        options.solver = "mesh";
        options.dtype = argc > 2 ? argv[2] : "float32";
        options.accuracy = argc > 3 ? std::atof(argv[3]) : 1e-4;
        if (only_traffic) {
            print_traffic(options);
            return 0;
        }
        cudaStream_t stream = nullptr;
        check(cudaStreamCreate(&stream), "a stream");
        times(argc > 1 ? std::atoll(argv[1]) : 10000000, options, argc > 4 ? argv[4] : "", stream);
        check(cudaStreamDestroy(stream), "the stream");
    } catch (const les::Error& error) {
        std::fprintf(stderr, "mesh_times: error: %s\n", error.what());
        return 1;
    }
    return 0;
}
