// Chooses the inner loops of the mesh for the processor at hand, and packs window tables for them.
#include <cstdlib>
#include <string>

#include "instruction_set.h"
#include "les/error.h"
#include "mesh_loops.h"

namespace les {

namespace baseline {
template <class Real>
const MeshLoops<Real>& loops(int nodes);
}
#ifdef LES_X86_LOOPS
namespace avx2 {
template <class Real>
const MeshLoops<Real>& loops(int nodes);
}
namespace avx512 {
template <class Real>
const MeshLoops<Real>& loops(int nodes);
}
#endif

namespace {

InstructionSet best_of_processor() {
#ifdef LES_X86_LOOPS
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw")) {
        return InstructionSet::avx512;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return InstructionSet::avx2;
#endif
    return InstructionSet::baseline;
}

}  // namespace

InstructionSet instruction_set() {
    static const InstructionSet chosen = [] {
        const InstructionSet best = best_of_processor();
        const char* wish = std::getenv("LES_SIMD");
        if (wish == nullptr) return best;
        const std::string name = wish;
        if (name != "baseline" && name != "avx2" && name != "avx512")
            throw Error("LES_SIMD must be baseline, avx2 or avx512, got " + name);
        const InstructionSet asked = name == "avx512" ? InstructionSet::avx512
                                     : name == "avx2" ? InstructionSet::avx2
                                                      : InstructionSet::baseline;
        if (asked > best) throw Error("LES_SIMD is " + name + ", which this processor does not have");
        return asked;
    }();
    return chosen;
}

const char* mesh_instruction_set() {
    switch (instruction_set()) {
        case InstructionSet::avx512:
            return "AVX-512";
        case InstructionSet::avx2:
            return "AVX2";
        default:
            return "baseline";
    }
}

template <class Real>
const MeshLoops<Real>& mesh_loops(int nodes) {
#ifdef LES_X86_LOOPS
    if (instruction_set() == InstructionSet::avx512) return avx512::loops<Real>(nodes);
    if (instruction_set() == InstructionSet::avx2) return avx2::loops<Real>(nodes);
#endif
    return baseline::loops<Real>(nodes);
}

template <class Real>
WindowTable<Real> window_table(const Window& window) {
    WindowTable<Real> table;
    const int unit = 32 / static_cast<int>(sizeof(Real));
    table.nodes = window.nodes();
    table.padded_nodes = (window.nodes() + unit - 1) / unit * unit;
    table.degree = window.degree();
    const auto width = static_cast<std::size_t>(table.padded_nodes);
    table.coefficients.assign(static_cast<std::size_t>(table.degree + 1) * width, Real(0));
    for (int power = 0; power <= table.degree; ++power) {
        for (int node = 0; node < table.nodes; ++node) {
            table
                .coefficients[static_cast<std::size_t>(table.degree - power) * width + static_cast<std::size_t>(node)] =
                static_cast<Real>(window.coefficient(power, node));
        }
    }
    return table;
}

template const MeshLoops<float>& mesh_loops<float>(int);
template const MeshLoops<double>& mesh_loops<double>(int);
template WindowTable<float> window_table<float>(const Window&);
template WindowTable<double> window_table<double>(const Window&);

}  // namespace les
