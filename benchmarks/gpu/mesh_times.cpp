// Times of the mesh on a GPU for 10^3 to 10^7 atoms, beside what the bandwidth of the device allows. Prints a table in
// Markdown. Options: the largest number of atoms, the precision (float32 or float64), the accuracy.
//     mesh_times [10000000 [float32 [1e-4]]]
//     mesh_times traffic [float32 [1e-4]]     bytes an atom of each stage; needs no GPU
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
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

struct Atoms {
    les::Matrix3 cell;
    DeviceArray<double> positions, charges;

    /// Neutral random charges.
    explicit Atoms(std::int64_t n) : cell(cube(n)) {
        std::mt19937_64 engine(1);
        std::uniform_real_distribution<double> uniform(0.0, cell[0][0]);
        std::vector<double> r(static_cast<std::size_t>(3 * n)), q(static_cast<std::size_t>(n));
        for (double& x : r) x = uniform(engine);
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

void times(std::int64_t largest, const les::LongRangeOptions& options, cudaStream_t stream) {
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
            check_same(solver->copy_results().energy, energy, n);
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
        times(argc > 1 ? std::atoll(argv[1]) : 10000000, options, stream);
        check(cudaStreamDestroy(stream), "the stream");
    } catch (const les::Error& error) {
        std::fprintf(stderr, "mesh_times: error: %s\n", error.what());
        return 1;
    }
    return 0;
}
