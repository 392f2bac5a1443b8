// The CUDA part of torch in hosts that start without Python: it is loaded for device cuda, and one that comes too late
// is told from one that is missing. LD_LIBRARY_PATH leads to stand_in_torch_cuda, or there is none.
//     test_torch_cuda_part CASES_DIR MODELS_DIR {loaded|late|missing}
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "../cpp/check.h"
#include "les/device_engine.h"
#include "les/les.h"

namespace {

void evaluate_on_cpu(const les::ModelFile& file) {
    const std::vector<double> positions = {0.0, 0.0, 0.0, 1.0, 0.0, 0.0};
    const std::vector<std::int32_t> types = {0, 1};
    les::System system;
    system.n_local = system.n_all = 2;
    system.positions = positions.data();
    system.types = types.data();
    les::Engine(file).compute(system);
}

}  // namespace

int main(int, char** arguments) {
    const auto file = les::ModelFile::from_path(std::string(arguments[2]) + "/periodic_float64.les.pt");
    const std::string how = arguments[3];
    les::EngineOptions cuda;
    cuda.device = "cuda";
    if (how == "late") evaluate_on_cpu(file);
    const auto on_gpu = [&] { les::Engine engine(file, cuda); };
    // the stand-in has no operators, so that the model cannot go there
    if (how == "loaded") check_error(on_gpu, "cannot be loaded on cuda:0 by torch");
    if (how == "late") check_error(on_gpu, "this process has used a model on the CPU before the CUDA part of torch");
    if (how == "missing") check_error(on_gpu, "this build of torch has no CUDA; use device cpu");
    std::printf("the CUDA part of torch is %s, as it must be\n", how.c_str());
    return 0;
}
