// The instruction set for which the inner loops are taken, decided once when the program runs (mesh_dispatch.cpp).
#pragma once

namespace les {

enum class InstructionSet { baseline, avx2, avx512 };

/// The best of the processor at hand, or that of the environment variable LES_SIMD (baseline, avx2, avx512).
InstructionSet instruction_set();

}  // namespace les
