// The whole evaluation on a GPU against the engine on the CPU: reference cases through device arrays and through
// Engine, boxes that change, the deterministic mode, fields and all that can be asked for, steps captured as graphs,
// errors. Run by scripts/gpu_check.sh; needs a GPU.
//     check_step CASES_DIR MODELS_DIR [few | NAME]
#include <cuda_runtime.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "../cpp/asked_system.h"
#include "../cpp/case.h"
#include "../cpp/check.h"
#include "../cpp/results.h"
#include "cuda/device_array.h"
#include "les/device_engine.h"

namespace {

using les::cuda::check;
using les::cuda::DeviceArray;

/// A case on the device.
struct DeviceCase {
    DeviceArray<double> positions;
    DeviceArray<std::int32_t> types;
    les::DeviceSystem system;

    void copy(const Case& from) {
        const auto n = from.system.n_local;
        positions.reserve(3 * n);
        types.reserve(n);
        check(cudaMemcpy(positions.data(), from.positions.data(), from.positions.size() * sizeof(double),
                         cudaMemcpyHostToDevice),
              "the positions");
        check(cudaMemcpy(types.data(), from.types.data(), from.types.size() * sizeof(std::int32_t),
                         cudaMemcpyHostToDevice),
              "the types");
        check(cudaDeviceSynchronize(), "the input");  // another stream reads it
        system = {n, positions.data(), types.data(), from.system.cell, from.system.periodic, {}};
        system.polarization = true;
    }
};

les::EngineOptions options_on(const std::string& device, double accuracy) {
    les::EngineOptions options;
    options.device = device;
    options.long_range.solver = "mesh";
    options.long_range.accuracy = accuracy;
    return options;
}

void check_case(const std::string& cases, const std::string& models, const std::string& name, const std::string& dtype,
                bool deterministic, cudaStream_t stream) {
    const auto file = les::ModelFile::from_path(models + "/" + name + "_" + dtype + ".les.pt");
    Case moving(cases + "/" + name + ".json", file);
    les::EngineOptions options = options_on("cuda:0", 1e-8);
    options.deterministic = deterministic;
    les::Engine cpu(file, options_on("cpu", 1e-8)), with_copies(file, options);
    les::DeviceEngine device(file, options, 0, stream);
    const double tolerance = dtype == "float64" ? 1e-9 : 1e-5;
    const std::string what = name + " " + dtype + (deterministic ? " deterministic" : "");
    DeviceCase on_device;
    std::mt19937 generator(4);
    std::normal_distribution<double> normal;
    for (int step = 0; step < 6; ++step) {
        on_device.copy(moving);
        device.compute(on_device.system);
        const les::Results got = device.copy_results();
        check_same(got, cpu.compute(moving.system), tolerance, what);
        check_same(with_copies.compute(moving.system), got, deterministic ? 0.0 : tolerance, what + " with copies");
        const AskedSystem asked(moving, step % 2 == 0);
        check_same(with_copies.compute(asked.system), cpu.compute(asked.system), dtype == "float64" ? 1e-9 : 1e-4,
                   what + " with all that can be asked for");
        for (double& x : moving.positions) x += 0.03 * normal(generator);
        if (step == 3)
            for (auto& row : moving.system.cell)
                for (double& x : row) x *= 1.002;
    }
    moving.positions[1] = std::nan("");
    on_device.copy(moving);
    check_error([&] { device.compute(on_device.system); }, "`positions` must be finite, atom 0 (counted from 0)");
}

/// The network of this package: steps captured as a graph against steps that are not, and against the CPU; nothing may
/// be said of a capture that failed. Another cell, another order of the atoms, fewer atoms.
void check_graphs(const std::string& cases, const std::string& models, const std::string& name,
                  const std::string& dtype, bool deterministic, cudaStream_t stream) {
    const auto file = les::ModelFile::from_path(models + "/" + name + "_" + dtype + ".les.pt");
    const std::string what = name + " " + dtype + (deterministic ? " deterministic, " : ", ");
    for (const std::string box : {"periodic", "isolated"}) {
        Case moving(cases + "/" + box + ".json", file);
        les::EngineOptions options = name == "short_range" ? les::EngineOptions{} : options_on("cuda:0", 1e-6);
        options.deterministic = deterministic;
        options.graphs = "off";
        les::DeviceEngine without(file, options, 0, stream);
        options.graphs = "on";
        les::DeviceEngine with(file, options, 0, stream);
        les::Engine cpu(file, name == "short_range" ? les::EngineOptions{} : options_on("cpu", 1e-6));
        const double tolerance = dtype == "float64" ? 1e-9 : 5e-5;
        DeviceCase on_device;
        std::mt19937 generator(5);
        std::normal_distribution<double> normal;
        for (int step = 0; step < 24; ++step) {
            on_device.copy(moving);
            without.compute(on_device.system);
            const les::Results plain = without.copy_results();
            with.compute(on_device.system);
            check_same(with.copy_results(), plain, deterministic ? 0.0 : tolerance, what + box + " as a graph");
            check_same(plain, cpu.compute(moving.system), tolerance, what + box);
            for (double& x : moving.positions) x += 0.02 * normal(generator);
            if (step == 8)
                for (auto& row : moving.system.cell)
                    for (double& x : row) x *= 1.0005;
            if (step == 12) std::swap(moving.types[0], moving.types[1]);
            if (step == 16) moving.system.n_local = moving.system.n_all = 3;
        }
        for (const std::string& text : with.take_warnings()) {
            std::fprintf(stderr, "check_step: %s\n", text.c_str());
            CHECK(text.find("graph") == std::string::npos);
        }
    }
}

}  // namespace

int main(int argc, char** arguments) {
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
        std::fputs("check_step: error: there is no GPU here\n", stderr);
        return 2;
    }
    if (argc < 3) {
        std::fputs("check_step: error: usage: check_step CASES_DIR MODELS_DIR [few | name of a case]\n", stderr);
        return 2;
    }
    const std::string only = argc > 3 ? arguments[3] : "";
    const auto wanted = [&](const std::string& name, const std::vector<std::string>& few) {
        return only.empty() || only == name || (only == "few" && std::count(few.begin(), few.end(), name) > 0);
    };
    cudaStream_t stream = nullptr;
    check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "a stream");
    {  // the GPU before the first model on the CPU, as torch wants it (csrc/src/torch_module.cpp)
        const auto file = les::ModelFile::from_path(std::string(arguments[2]) + "/periodic_float64.les.pt");
        const les::DeviceEngine loads_the_cuda_part_of_torch(file, {}, 0, stream);
    }
    int checked = 0;
    for (const std::string name :
         {"periodic", "triclinic", "isolated", "one_atom", "two_elements", "net_charge", "neutralized", "two_channels",
          "charge_transfers", "field_isolated", "field_periodic", "field_transfers"}) {
        if (!wanted(name, {"triclinic", "isolated", "neutralized", "field_transfers"})) continue;
        for (const std::string dtype : {"float64", "float32"}) {
            for (const bool deterministic : {false, true}) {
                check_case(arguments[1], arguments[2], name, dtype, deterministic, stream);
                ++checked;
            }
        }
    }
    for (const std::string name : {"one_layer", "two_layers", "transfers", "short_range"}) {
        if (!wanted(name, {"one_layer"})) continue;
        for (const std::string dtype : {"float64", "float32"}) {
            for (const bool deterministic : {false, true}) {
                check_graphs(arguments[1], arguments[2], name, dtype, deterministic, stream);
                ++checked;
            }
        }
    }
    if (wanted("default_stream", {"default_stream"})) {
        check_case(arguments[1], arguments[2], "triclinic", "float64", false, nullptr);
        ++checked;
    }
    check(cudaStreamDestroy(stream), "the stream");
    CHECK(checked > 0);
    std::printf("the evaluation on the GPU agrees with the engine on the CPU in %d cases\n", checked);
    return 0;
}
