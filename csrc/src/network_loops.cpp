// Inner loops of the network for one instruction set, named LES_INSTRUCTION_SET by the build; see network_loops.h. The
// innermost loops run over monomials or over blocks of channels whose number is known to the compiler.
#include "network_loops.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <vector>

#include "invariant_loops.h"

namespace les {

namespace LES_INSTRUCTION_SET {

namespace {

/// Monomials x^a y^b z^c of degree <= l_max by degree, as one multiplication each, and their derivatives.
template <int l_max>
struct MonomialTable {
    static constexpr int n = n_monomials(l_max);
    std::array<int, n> parent{}, axis{};                 // monomial = parent * coordinate
    std::array<std::array<int, n>, 3> lower{}, power{};  // derivative along an axis = power * lower
    std::array<int, l_max + 2> first{};                  // of each degree

    MonomialTable() {
        std::array<std::array<int, 3>, n> all{};
        int count = 0;
        for (int degree = 0; degree <= l_max; ++degree) {
            first[static_cast<std::size_t>(degree)] = count;
            for (int x = degree; x >= 0; --x) {
                for (int y = degree - x; y >= 0; --y) all[static_cast<std::size_t>(count++)] = {x, y, degree - x - y};
            }
        }
        first[l_max + 1] = count;
        const auto place = [&](const std::array<int, 3>& m) {
            return static_cast<int>(std::find(all.begin(), all.end(), m) - all.begin());
        };
        for (std::size_t m = 0; m < static_cast<std::size_t>(n); ++m) {
            for (std::size_t a = 3; a-- > 0;) {
                power[a][m] = all[m][a];
                if (all[m][a] == 0) continue;
                std::array<int, 3> below = all[m];
                --below[a];
                lower[a][m] = place(below);
                parent[m] = lower[a][m];
                axis[m] = static_cast<int>(a);
            }
        }
    }
};

template <int l_max>
const MonomialTable<l_max>& monomial_table() {
    static const MonomialTable<l_max> table;
    return table;
}

/// Unit vector of an edge, monomials of it and their derivatives with respect to its components.
template <class Real, int l_max>
struct Direction {
    static constexpr int n = n_monomials(l_max);
    Real unit[3], inverse_length;
    Real value[n], slope[3][n];

    explicit Direction(const Real* vector) {
        const auto& table = monomial_table<l_max>();
        inverse_length = 1 / std::sqrt(vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2]);
        for (int a = 0; a < 3; ++a) unit[a] = vector[a] * inverse_length;
        value[0] = 1;
        for (std::size_t m = 1; m < n; ++m) value[m] = value[table.parent[m]] * unit[table.axis[m]];
        for (std::size_t a = 0; a < 3; ++a) {
            for (std::size_t m = 0; m < n; ++m)
                slope[a][m] = static_cast<Real>(table.power[a][m]) * value[table.lower[a][m]];
        }
    }
};

template <class Real>
struct Radial {
    const Real *value, *slope;
    Radial(const EdgeTable<Real>& edges, std::int64_t edge)
        : value(edges.radial + edge * 2 * edges.n_radial), slope(value + edges.n_radial) {}
};

template <class Real, int l_max>
struct Sums {
    static constexpr int n = n_monomials(l_max);
    using Buffer = std::vector<Real>;

    static void forward(const EdgeTable<Real>& edges, std::int64_t begin, std::int64_t end, Real* sums) {
        const int block = edges.n_radial * n;
        Buffer product(static_cast<std::size_t>(block));
        for (std::int64_t e = begin; e < end; ++e) {
            const Direction<Real, l_max> direction(edges.vectors + 3 * e);
            outer_product(edges.n_radial, Radial<Real>(edges, e).value, direction.value, product.data());
            const Real* embedding = edges.embedding + edges.neighbours[e] * edges.n_embedding;
            Real* to = sums + edges.centres[e] * edges.n_embedding * block;
            for (int b = 0; b < edges.n_embedding; ++b, to += block) add(block, embedding[b], product.data(), to);
        }
    }

    static void gradient(const EdgeTable<Real>& edges, std::int64_t begin, std::int64_t end, const Real* sums_gradient,
                         Real* vectors_gradient, Real* embedding_gradient) {
        const int n_radial = edges.n_radial, block = n_radial * n;
        Buffer weighted(static_cast<std::size_t>(block));
        for (std::int64_t e = begin; e < end; ++e) {
            const Direction<Real, l_max> direction(edges.vectors + 3 * e);
            const Radial<Real> radial(edges, e);
            const Real* embedding = edges.embedding + edges.neighbours[e] * edges.n_embedding;
            const Real* from = sums_gradient + edges.centres[e] * edges.n_embedding * block;
            std::fill(weighted.begin(), weighted.end(), Real(0));
            for (int b = 0; b < edges.n_embedding; ++b, from += block) {
                add(block, embedding[b], from, weighted.data());
                if (embedding_gradient == nullptr) continue;
                Real by_monomial[n];
                contract(n_radial, from, radial.value, by_monomial);
                embedding_gradient[e * edges.n_embedding + b] = dot(by_monomial, direction.value);
            }
            Real by_value[n], by_slope[n];
            contract(n_radial, weighted.data(), radial.value, by_value);
            contract(n_radial, weighted.data(), radial.slope, by_slope);
            const Real along = dot(by_slope, direction.value);
            const Real turn[3] = {dot(by_value, direction.slope[0]), dot(by_value, direction.slope[1]),
                                  dot(by_value, direction.slope[2])};
            const Real* u = direction.unit;
            const Real parallel = u[0] * turn[0] + u[1] * turn[1] + u[2] * turn[2];
            for (int a = 0; a < 3; ++a) {
                vectors_gradient[3 * e + a] = u[a] * along + (turn[a] - u[a] * parallel) * direction.inverse_length;
            }
        }
    }

    static void second(const EdgeTable<Real>& edges, std::int64_t begin, std::int64_t end, const Real* sums_gradient,
                       const Real* vectors_step, const Real* embedding_step, Real* sums_step, Real* embedding_second) {
        const int n_radial = edges.n_radial, block = n_radial * n;
        Buffer product(static_cast<std::size_t>(block)), product_step(static_cast<std::size_t>(block));
        for (std::int64_t e = begin; e < end; ++e) {
            const Direction<Real, l_max> direction(edges.vectors + 3 * e);
            const Radial<Real> radial(edges, e);
            // change of R_n Y_m along the step
            const Real *u = direction.unit, *step = vectors_step + 3 * e;
            const Real along = u[0] * step[0] + u[1] * step[1] + u[2] * step[2];
            Real turn[3], value_step[n];
            for (int a = 0; a < 3; ++a) turn[a] = (step[a] - u[a] * along) * direction.inverse_length;
            for (int m = 0; m < n; ++m) {
                value_step[m] =
                    direction.slope[0][m] * turn[0] + direction.slope[1][m] * turn[1] + direction.slope[2][m] * turn[2];
            }
            for (int k = 0; k < n_radial; ++k) {
                const Real change = radial.slope[k] * along, value = radial.value[k];
                Real* to = product_step.data() + k * n;
                for (int m = 0; m < n; ++m) to[m] = change * direction.value[m] + value * value_step[m];
            }
            if (embedding_step != nullptr) outer_product(n_radial, radial.value, direction.value, product.data());

            const Real* embedding = edges.embedding + edges.neighbours[e] * edges.n_embedding;
            Real* to = sums_step + edges.centres[e] * edges.n_embedding * block;
            const Real* from = sums_gradient + edges.centres[e] * edges.n_embedding * block;
            for (int b = 0; b < edges.n_embedding; ++b, to += block, from += block) {
                add(block, embedding[b], product_step.data(), to);
                if (embedding_step != nullptr)
                    add(block, embedding_step[e * edges.n_embedding + b], product.data(), to);
                if (embedding_second != nullptr) {
                    Real by_monomial[n] = {};
                    for (int k = 0; k < n_radial; ++k) {
                        for (int m = 0; m < n; ++m) by_monomial[m] += from[k * n + m] * product_step[k * n + m];
                    }
                    Real sum = 0;
                    for (int m = 0; m < n; ++m) sum += by_monomial[m];
                    embedding_second[e * edges.n_embedding + b] = sum;
                }
            }
        }
    }

private:
    static void outer_product(int n_radial, const Real* radial, const Real* angular, Real* product) {
        for (int k = 0; k < n_radial; ++k) {
            for (int m = 0; m < n; ++m) product[k * n + m] = radial[k] * angular[m];
        }
    }
    static void add(int count, Real factor, const Real* from, Real* to) {
        if (factor == 0) return;  // embeddings of elements are mostly zeros
        for (int i = 0; i < count; ++i) to[i] += factor * from[i];
    }
    static void contract(int n_radial, const Real* matrix, const Real* radial, Real* by_monomial) {
        Real sums[n] = {};
        for (int k = 0; k < n_radial; ++k) {
            for (int m = 0; m < n; ++m) sums[m] += matrix[k * n + m] * radial[k];
        }
        std::copy(sums, sums + n, by_monomial);
    }
    static Real dot(const Real* a, const Real* b) {
        Real sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int m = 0; m < n; ++m) sum += a[m] * b[m];
        return sum;
    }
};

template <class Real, int l_max>
struct Mixing {
    static constexpr int n = n_monomials(l_max);

    static void forward(const MixingShape& shape, std::int64_t begin, std::int64_t end, const Real* sums,
                        const Real* weights, Real* basis) {
        const std::int64_t map = static_cast<std::int64_t>(shape.n_sources) * shape.channels;
        for (std::int64_t i = begin; i < end; ++i) {
            const Real* from = sums + i * shape.n_sources * n;
            const Real* of_type = weights + shape.types[i] * (l_max + 1) * map;
            for (int l = 0; l <= l_max; ++l) {
                for (int m = degree(l); m < degree(l + 1); ++m)
                    row_times_matrix(shape.n_sources, shape.channels, from + m, n, of_type + l * map,
                                     basis + (i * n + m) * shape.channels);
            }
        }
    }

    static void transposed(const MixingShape& shape, std::int64_t begin, std::int64_t end, const Real* basis,
                           const Real* weights, Real* sums) {
        const std::int64_t map = static_cast<std::int64_t>(shape.n_sources) * shape.channels;
        std::vector<Real> rows(static_cast<std::size_t>(n * shape.n_sources));
        for (std::int64_t i = begin; i < end; ++i) {
            const Real* of_type = weights + shape.types[i] * (l_max + 1) * map;
            for (int l = 0; l <= l_max; ++l) {
                for (int m = degree(l); m < degree(l + 1); ++m)
                    row_times_matrix(shape.channels, shape.n_sources, basis + (i * n + m) * shape.channels, 1,
                                     of_type + l * map, rows.data() + m * shape.n_sources);
            }
            Real* to = sums + i * shape.n_sources * n;
            for (int s = 0; s < shape.n_sources; ++s) {
                for (int m = 0; m < n; ++m) to[s * n + m] = rows[static_cast<std::size_t>(m * shape.n_sources + s)];
            }
        }
    }

    static void of_weights(const MixingShape& shape, std::int64_t begin, std::int64_t end, const Real* sums,
                           const Real* basis, Real* weights) {
        for (std::int64_t i = 0; i < shape.n_atoms; ++i) {
            const Real *from = sums + i * shape.n_sources * n, *rows = basis + i * n * shape.channels;
            for (int l = 0; l <= l_max; ++l) {
                Real* to = weights + ((shape.types[i] * (l_max + 1) + l) * shape.n_sources + begin) * shape.channels;
                for (std::int64_t s = begin; s < end; ++s, to += shape.channels) {
                    for (int c0 = 0; c0 < shape.channels; c0 += block) {
                        const int width = std::min(block, shape.channels - c0);
                        Real sum[block] = {};
                        for (int m = degree(l); m < degree(l + 1); ++m) {
                            const Real factor = from[s * n + m];
                            const Real* row = rows + m * shape.channels + c0;
                            if (width == block) {
                                for (int c = 0; c < block; ++c) sum[c] += factor * row[c];
                            } else {
                                for (int c = 0; c < width; ++c) sum[c] += factor * row[c];
                            }
                        }
                        for (int c = 0; c < width; ++c) to[c0 + c] += sum[c];
                    }
                }
            }
        }
    }

private:
    static constexpr int block = 64 / static_cast<int>(sizeof(Real));
    static constexpr int degree(int l) { return l == 0 ? 0 : n_monomials(l - 1); }

    /// result (columns,) = row (rows, with a stride) times matrix (rows, columns)
    static void row_times_matrix(int rows, int columns, const Real* row, int stride, const Real* matrix, Real* result) {
        for (int c0 = 0; c0 < columns; c0 += block) {
            const int width = std::min(block, columns - c0);
            Real sum[block] = {};
            for (int k = 0; k < rows; ++k) {
                const Real factor = row[k * stride];
                const Real* from = matrix + static_cast<std::int64_t>(k) * columns + c0;
                if (width == block) {
                    for (int c = 0; c < block; ++c) sum[c] += factor * from[c];
                } else {
                    for (int c = 0; c < width; ++c) sum[c] += factor * from[c];
                }
            }
            std::copy(sum, sum + width, result + c0);
        }
    }
};

}  // namespace

namespace {

template <class Real, int l_max>
NetworkLoops<Real> loops_of() {
    return {Sums<Real, l_max>::forward,   Sums<Real, l_max>::gradient,     Sums<Real, l_max>::second,
            Mixing<Real, l_max>::forward, Mixing<Real, l_max>::transposed, Mixing<Real, l_max>::of_weights,
            Polynomial<Real>::values,     Polynomial<Real>::gradient,      Polynomial<Real>::second};
}

}  // namespace

template <class Real>
const NetworkLoops<Real>& network_loops(int l_max) {
    static const std::array<NetworkLoops<Real>, highest_degree + 1> all = {
        loops_of<Real, 0>(), loops_of<Real, 1>(), loops_of<Real, 2>(), loops_of<Real, 3>(),
        loops_of<Real, 4>(), loops_of<Real, 5>(), loops_of<Real, 6>()};
    return all[static_cast<std::size_t>(l_max)];
}

template const NetworkLoops<float>& network_loops<float>(int);
template const NetworkLoops<double>& network_loops<double>(int);

}  // namespace LES_INSTRUCTION_SET

}  // namespace les
