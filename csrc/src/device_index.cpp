// Which GPU a process takes: the one it names, or by its rank among the processes of its machine.
#include <cstdlib>
#include <string>

#include "les/device_engine.h"
#include "les/error.h"

namespace les {

namespace {

/// Number of this process on its machine as launchers of MPI tell it; 0 without one.
int local_rank() {
    for (const char* name : {"MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_RANK",
                             "PMI_LOCAL_RANK", "SLURM_LOCALID"}) {
        const char* value = std::getenv(name);
        if (value == nullptr || *value == '\0') continue;
        char* end = nullptr;
        const long rank = std::strtol(value, &end, 10);
        if (*end == '\0' && rank >= 0) return static_cast<int>(rank % 1048576);
    }
    return 0;
}

}  // namespace

int device_index_of(const std::string& device, int n_devices) {
    const std::string number = device.rfind("cuda:", 0) == 0 ? device.substr(5) : "";
    const bool is_number = !number.empty() && number.find_first_not_of("0123456789") == std::string::npos;
    if (device != "cuda" && (!is_number || number.size() > 4))
        throw Error("`device` must be cpu, cuda or cuda:N, got " + device);
    if (n_devices < 1) throw Error("device " + device + " was asked for, but no GPU is found; use device cpu");
    if (!is_number) return local_rank() % n_devices;
    const int index = std::stoi(number);
    if (index >= n_devices)
        throw Error("device " + device + " was asked for, but there are " + std::to_string(n_devices) +
                    " GPUs, counted from 0");
    return index;
}

}  // namespace les
