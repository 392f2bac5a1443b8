// The module of a model file on a device of torch: shared by the network of hosts' arrays and that of device arrays.
#pragma once

#include <torch/script.h>

#include <string>

#include "les/model_file.h"

namespace les {

/// `name` is "cpu", "cuda" or "cuda:N", see device_index_of; loads torch's CUDA part if need be. Throws les::Error if
/// there is none.
torch::Device usable_device(const std::string& name);

/// In evaluation mode, parameters without gradients. Throws les::Error, one sentence.
torch::jit::Module load_module(const ModelFile& file, const torch::Device& device);

/// Total charge (e) and spin multiplicity of a module that takes them as inputs. Throws les::Error for another one.
void set_state(const torch::jit::Module& module, double total_charge, double spin);

}  // namespace les
