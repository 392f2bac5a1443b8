// The inner loops of the atomic cluster expansion for training: sums over neighbours, mixing of channels and
// invariants, each with its gradient and the derivative of that gradient, in closed form. They are compiled once for
// each instruction set (network_loops.cpp) and chosen when the program runs. Ranges let threads share the work.
#pragma once

#include <cstdint>

namespace les {

/// Edges sorted by centre, with their radial functions and the embedding of the neighbours.
template <class Real>
struct EdgeTable {
    std::int64_t n_edges = 0;
    const std::int64_t* centres = nullptr;     // (n_edges,), not decreasing
    const std::int64_t* neighbours = nullptr;  // (n_edges,)
    const Real* vectors = nullptr;             // (n_edges, 3), angstrom
    const Real* radial = nullptr;              // (n_edges, 2, n_radial): R_n and dR_n/dr
    const Real* embedding = nullptr;           // (n_atoms, n_embedding)
    int l_max = 0, n_radial = 0, n_embedding = 0;
};

/// One linear map for each element and degree, between sums (n_atoms, n_sources, n_monomials) and the atomic basis
/// (n_atoms, n_monomials, channels).
struct MixingShape {
    std::int64_t n_atoms = 0;
    int l_max = 0, n_sources = 0, channels = 0, n_types = 0;
    const std::int64_t* types = nullptr;  // (n_atoms,)
};

/// Invariants as a sparse polynomial: weight times the product of 1 to 4 monomials of the basis, added to one
/// invariant.
template <class Real>
struct PolynomialTable {
    int n_terms = 0, n_monomials = 0, n_invariants = 0;
    const std::int32_t* terms = nullptr;  // (n_terms, 6): invariant, number of factors, monomials of the factors
    const Real* weights = nullptr;        // (n_terms,)
};

template <class Real>
struct NetworkLoops {
    /// sums[i, (b n), m] += embedding[j, b] R_n Y_m over edges begin ... end; sums (n_rows, n_sources, n_monomials).
    void (*neighbour_sums)(const EdgeTable<Real>&, std::int64_t begin, std::int64_t end, Real* sums);
    /// From the gradient of some f in the sums: its gradients in the vectors (n_edges, 3) and, unless null, in the
    /// embedding at each edge (n_edges, n_embedding).
    void (*neighbour_sums_gradient)(const EdgeTable<Real>&, std::int64_t begin, std::int64_t end,
                                    const Real* sums_gradient, Real* vectors_gradient, Real* embedding_gradient);
    /// Derivative of the gradients above along `vectors_step` and `embedding_step` (edges; may be null), as a function
    /// of the sums' gradient (added to `sums_step`) and of the embedding (at each edge; may be null).
    void (*neighbour_sums_second)(const EdgeTable<Real>&, std::int64_t begin, std::int64_t end,
                                  const Real* sums_gradient, const Real* vectors_step, const Real* embedding_step,
                                  Real* sums_step, Real* embedding_second);

    /// basis[i, m, c] = sum_s sums[i, s, m] weights[t_i, l(m), s, c], atoms begin ... end.
    void (*mix)(const MixingShape&, std::int64_t begin, std::int64_t end, const Real* sums, const Real* weights,
                Real* basis);
    /// sums[i, s, m] = sum_c basis[i, m, c] weights[t_i, l(m), s, c], with `transposed` weights (.., channels,
    /// sources).
    void (*mix_transposed)(const MixingShape&, std::int64_t begin, std::int64_t end, const Real* basis,
                           const Real* transposed, Real* sums);
    /// weights[t_i, l(m), s, c] += sum_i sums[i, s, m] basis[i, m, c] for sources begin ... end.
    void (*mix_weights)(const MixingShape&, std::int64_t begin, std::int64_t end, const Real* sums, const Real* basis,
                        Real* weights);

    /// Invariants (n_atoms, n_invariants, channels) of the basis (n_atoms, n_monomials, channels), atoms begin ... end.
    void (*invariants)(const PolynomialTable<Real>&, int channels, std::int64_t begin, std::int64_t end,
                       const Real* basis, Real* values);
    /// Gradient in the basis from that in the invariants.
    void (*invariants_gradient)(const PolynomialTable<Real>&, int channels, std::int64_t begin, std::int64_t end,
                                const Real* basis, const Real* values_gradient, Real* basis_gradient);
    /// Derivative of that gradient along `step` of it: with respect to the invariants' gradient and to the basis.
    void (*invariants_second)(const PolynomialTable<Real>&, int channels, std::int64_t begin, std::int64_t end,
                              const Real* basis, const Real* values_gradient, const Real* step, Real* values_step,
                              Real* basis_second);
};

/// The loops for the processor at hand, 0 <= l_max <= highest_degree.
template <class Real>
const NetworkLoops<Real>& network_loops(int l_max);

/// Highest angular degree and number of factors of the loops.
constexpr int highest_degree = 6, highest_factors = 4;

/// Number of monomials of degree <= l_max.
constexpr int n_monomials(int l_max) { return (l_max + 1) * (l_max + 2) * (l_max + 3) / 6; }

}  // namespace les
