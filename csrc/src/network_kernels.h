// The operations of `network_loops.h` on whole arrays, on all threads. Training calls them from Python
// (les_md.network.kernels).
#pragma once

#include "network_loops.h"

namespace les {

/// Arrays and meaning as in `NetworkLoops`; what is added to must hold zeros or earlier sums.
template <class Real>
struct NetworkKernels {
    static void neighbour_sums(const EdgeTable<Real>& edges, Real* sums);
    static void neighbour_sums_gradient(const EdgeTable<Real>& edges, const Real* sums_gradient, Real* vectors_gradient,
                                        Real* embedding_gradient);
    static void neighbour_sums_second(const EdgeTable<Real>& edges, const Real* sums_gradient, const Real* vectors_step,
                                      const Real* embedding_step, Real* sums_step, Real* embedding_second);

    static void mix(const MixingShape& shape, const Real* sums, const Real* weights, Real* basis);
    static void mix_transposed(const MixingShape& shape, const Real* basis, const Real* transposed, Real* sums);
    static void mix_weights(const MixingShape& shape, const Real* sums, const Real* basis, Real* weights);

    static void invariants(const PolynomialTable<Real>& table, std::int64_t n_atoms, int channels, const Real* basis,
                           Real* values);
    static void invariants_gradient(const PolynomialTable<Real>& table, std::int64_t n_atoms, int channels,
                                    const Real* basis, const Real* values_gradient, Real* basis_gradient);
    static void invariants_second(const PolynomialTable<Real>& table, std::int64_t n_atoms, int channels,
                                  const Real* basis, const Real* values_gradient, const Real* step, Real* values_step,
                                  Real* basis_second);
};

}  // namespace les
