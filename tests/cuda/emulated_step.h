// The step of the device on the CPU as the tests of it want it: evaluations of host arrays, and models and cases by
// name.
#pragma once

#include <string>

#include "../cpp/case.h"
#include "cuda/device_evaluation.h"
#include "emulated_backend.h"

using les::cuda::EmulatedBackend;

/// An evaluation of host arrays by the device's step.
struct Device {
    EmulatedBackend backend;
    les::DeviceNetwork network;
    les::cuda::DeviceStep<EmulatedBackend> step;
    les::cuda::HostArrays<EmulatedBackend> arrays;
    les::Results results;

    Device(const les::ModelFile& file, const les::EngineOptions& options, std::int64_t most_centres = 0)
        : network(file, "cpu", nullptr, {options.deterministic, 0.6, most_centres}),
          step(backend, file.metadata(), options, network),
          arrays(backend, file.metadata(), options, network, step) {}

    const les::Results& compute(const les::System& system) {
        arrays.compute(system, results);
        return results;
    }
};

inline les::EngineOptions mesh_options(double accuracy = 1e-6) {
    les::EngineOptions options;
    options.long_range.solver = "mesh";
    options.long_range.accuracy = accuracy;
    return options;
}

struct Files {
    std::string cases, models;
    les::ModelFile model(const std::string& name, const std::string& dtype = "float64") const {
        return les::ModelFile::from_path(models + "/" + name + "_" + dtype + ".les.pt");
    }
    std::string json(const std::string& name) const { return cases + "/" + name + ".json"; }
};
