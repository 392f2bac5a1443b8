// Chooses the inner loops of the network for the processor at hand and shares their work among torch's threads.
#include "network_kernels.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "instruction_set.h"

namespace les {

namespace baseline {
template <class Real>
const NetworkLoops<Real>& network_loops(int l_max);
}
#ifdef LES_X86_LOOPS
namespace avx2 {
template <class Real>
const NetworkLoops<Real>& network_loops(int l_max);
}
namespace avx512 {
template <class Real>
const NetworkLoops<Real>& network_loops(int l_max);
}
#endif

template <class Real>
const NetworkLoops<Real>& network_loops(int l_max) {
#ifdef LES_X86_LOOPS
    if (instruction_set() == InstructionSet::avx512) return avx512::network_loops<Real>(l_max);
    if (instruction_set() == InstructionSet::avx2) return avx2::network_loops<Real>(l_max);
#endif
    return baseline::network_loops<Real>(l_max);
}

namespace {

constexpr std::int64_t atoms_per_thread = 64;

/// Calls f(begin, end) for ranges of edges that share no centre.
template <class Real, class Function>
void for_edges(const EdgeTable<Real>& edges, const Function& f) {
    if (edges.n_edges == 0) return;
    const std::int64_t *first = edges.centres, *last = edges.centres + edges.n_edges;
    at::parallel_for(0, *(last - 1) + 1, atoms_per_thread, [&](std::int64_t begin, std::int64_t end) {
        f(std::lower_bound(first, last, begin) - first, std::lower_bound(first, last, end) - first);
    });
}

}  // namespace

template <class Real>
void NetworkKernels<Real>::neighbour_sums(const EdgeTable<Real>& edges, Real* sums) {
    const auto loop = network_loops<Real>(edges.l_max).neighbour_sums;
    for_edges(edges, [&](std::int64_t begin, std::int64_t end) { loop(edges, begin, end, sums); });
}

template <class Real>
void NetworkKernels<Real>::neighbour_sums_gradient(const EdgeTable<Real>& edges, const Real* sums_gradient,
                                                   Real* vectors_gradient, Real* embedding_gradient) {
    const auto loop = network_loops<Real>(edges.l_max).neighbour_sums_gradient;
    for_edges(edges, [&](std::int64_t begin, std::int64_t end) {
        loop(edges, begin, end, sums_gradient, vectors_gradient, embedding_gradient);
    });
}

template <class Real>
void NetworkKernels<Real>::neighbour_sums_second(const EdgeTable<Real>& edges, const Real* sums_gradient,
                                                 const Real* vectors_step, const Real* embedding_step, Real* sums_step,
                                                 Real* embedding_second) {
    const auto loop = network_loops<Real>(edges.l_max).neighbour_sums_second;
    for_edges(edges, [&](std::int64_t begin, std::int64_t end) {
        loop(edges, begin, end, sums_gradient, vectors_step, embedding_step, sums_step, embedding_second);
    });
}

template <class Real>
void NetworkKernels<Real>::mix(const MixingShape& shape, const Real* sums, const Real* weights, Real* basis) {
    const auto loop = network_loops<Real>(shape.l_max).mix;
    at::parallel_for(0, shape.n_atoms, atoms_per_thread,
                     [&](std::int64_t begin, std::int64_t end) { loop(shape, begin, end, sums, weights, basis); });
}

template <class Real>
void NetworkKernels<Real>::mix_transposed(const MixingShape& shape, const Real* basis, const Real* transposed,
                                          Real* sums) {
    const auto loop = network_loops<Real>(shape.l_max).mix_transposed;
    at::parallel_for(0, shape.n_atoms, atoms_per_thread,
                     [&](std::int64_t begin, std::int64_t end) { loop(shape, begin, end, basis, transposed, sums); });
}

template <class Real>
void NetworkKernels<Real>::mix_weights(const MixingShape& shape, const Real* sums, const Real* basis, Real* weights) {
    const auto loop = network_loops<Real>(shape.l_max).mix_weights;
    // threads share the sources, so that each weight has one writer
    at::parallel_for(0, shape.n_sources, 8,
                     [&](std::int64_t begin, std::int64_t end) { loop(shape, begin, end, sums, basis, weights); });
}

template <class Real>
void NetworkKernels<Real>::invariants(const PolynomialTable<Real>& table, std::int64_t n_atoms, int channels,
                                      const Real* basis, Real* values) {
    const auto loop = network_loops<Real>(0).invariants;
    at::parallel_for(0, n_atoms, atoms_per_thread,
                     [&](std::int64_t begin, std::int64_t end) { loop(table, channels, begin, end, basis, values); });
}

template <class Real>
void NetworkKernels<Real>::invariants_gradient(const PolynomialTable<Real>& table, std::int64_t n_atoms, int channels,
                                               const Real* basis, const Real* values_gradient, Real* basis_gradient) {
    const auto loop = network_loops<Real>(0).invariants_gradient;
    at::parallel_for(0, n_atoms, atoms_per_thread, [&](std::int64_t begin, std::int64_t end) {
        loop(table, channels, begin, end, basis, values_gradient, basis_gradient);
    });
}

template <class Real>
void NetworkKernels<Real>::invariants_second(const PolynomialTable<Real>& table, std::int64_t n_atoms, int channels,
                                             const Real* basis, const Real* values_gradient, const Real* step,
                                             Real* values_step, Real* basis_second) {
    const auto loop = network_loops<Real>(0).invariants_second;
    at::parallel_for(0, n_atoms, atoms_per_thread, [&](std::int64_t begin, std::int64_t end) {
        loop(table, channels, begin, end, basis, values_gradient, step, values_step, basis_second);
    });
}

template struct NetworkKernels<float>;
template struct NetworkKernels<double>;

}  // namespace les
