// Invariants of the atomic basis as a sparse polynomial, with gradient and derivative of the gradient. Part of
// network_loops.cpp, which is compiled once for each instruction set. One block of channels is one or two registers
// wide; a term multiplies whole blocks.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "network_loops.h"

namespace les {

namespace LES_INSTRUCTION_SET {

namespace {

template <class Real>
struct Polynomial {
    static constexpr int block = 64 / static_cast<int>(sizeof(Real));
    struct Row {
        Real v[block];
    };
    using Rows = std::vector<Row>;

    /// Calls f(c0, width) for each block of the channels of each atom.
    template <class Function>
    static void for_blocks(int channels, std::int64_t begin, std::int64_t end, const Function& f) {
        for (std::int64_t i = begin; i < end; ++i) {
            for (int c0 = 0; c0 < channels; c0 += block) f(i, c0, std::min(block, channels - c0));
        }
    }
    /// Rows of the array (n_atoms, rows, channels) of one atom, filled up with zeros.
    static void load(const Real* array, std::int64_t atom, int channels, int c0, int width, Rows& rows) {
        const auto count = static_cast<std::int64_t>(rows.size());
        for (std::int64_t k = 0; k < count; ++k) {
            Real* to = rows[static_cast<std::size_t>(k)].v;
            const Real* from = array + (atom * count + k) * channels + c0;
            std::fill(std::copy(from, from + width, to), to + block, Real(0));
        }
    }
    static void store(const Rows& rows, std::int64_t atom, int channels, int c0, int width, Real* array) {
        const auto count = static_cast<std::int64_t>(rows.size());
        for (std::int64_t k = 0; k < count; ++k) {
            const Real* from = rows[static_cast<std::size_t>(k)].v;
            std::copy(from, from + width, array + (atom * count + k) * channels + c0);
        }
    }
    static void clear(Rows& rows) { std::fill(rows.begin(), rows.end(), Row{}); }
    static Rows rows(int count) { return Rows(static_cast<std::size_t>(count)); }

    static void values(const PolynomialTable<Real>& table, int channels, std::int64_t begin, std::int64_t end,
                       const Real* basis, Real* values) {
        Rows x = rows(table.n_monomials), p = rows(table.n_invariants);
        for_blocks(channels, begin, end, [&](std::int64_t i, int c0, int width) {
            load(basis, i, channels, c0, width, x);
            clear(p);
            for (int t = 0; t < table.n_terms; ++t) {
                const std::int32_t* term = table.terms + 6 * t;
                const Real w = table.weights[t];
                Real* to = p[term[0]].v;
                const Real *a = x[term[2]].v, *b = x[term[3]].v, *c = x[term[4]].v, *d = x[term[5]].v;
                switch (term[1]) {
                    case 1:
                        for (int k = 0; k < block; ++k) to[k] += w * a[k];
                        break;
                    case 2:
                        for (int k = 0; k < block; ++k) to[k] += w * a[k] * b[k];
                        break;
                    case 3:
                        for (int k = 0; k < block; ++k) to[k] += w * a[k] * b[k] * c[k];
                        break;
                    default:
                        for (int k = 0; k < block; ++k) to[k] += w * (a[k] * b[k]) * (c[k] * d[k]);
                }
            }
            store(p, i, channels, c0, width, values);
        });
    }

    static void gradient(const PolynomialTable<Real>& table, int channels, std::int64_t begin, std::int64_t end,
                         const Real* basis, const Real* values_gradient, Real* basis_gradient) {
        Rows x = rows(table.n_monomials), y = rows(table.n_monomials), g = rows(table.n_invariants);
        for_blocks(channels, begin, end, [&](std::int64_t i, int c0, int width) {
            load(basis, i, channels, c0, width, x);
            load(values_gradient, i, channels, c0, width, g);
            clear(y);
            for (int t = 0; t < table.n_terms; ++t) {
                const std::int32_t* term = table.terms + 6 * t;
                const Real w = table.weights[t];
                const Real* from = g[term[0]].v;
                const Real *a = x[term[2]].v, *b = x[term[3]].v, *c = x[term[4]].v, *d = x[term[5]].v;
                // the factors of a term may be the same monomial, so each part is added by itself
                Row part[highest_factors];
                switch (term[1]) {
                    case 1:
                        for (int k = 0; k < block; ++k) part[0].v[k] = w * from[k];
                        break;
                    case 2:
                        for (int k = 0; k < block; ++k) {
                            const Real h = w * from[k];
                            part[0].v[k] = h * b[k], part[1].v[k] = h * a[k];
                        }
                        break;
                    case 3:
                        for (int k = 0; k < block; ++k) {
                            const Real h = w * from[k];
                            part[0].v[k] = h * b[k] * c[k], part[1].v[k] = h * a[k] * c[k],
                            part[2].v[k] = h * a[k] * b[k];
                        }
                        break;
                    default:
                        for (int k = 0; k < block; ++k) {
                            const Real ab = w * from[k] * a[k] * b[k], cd = w * from[k] * c[k] * d[k];
                            part[0].v[k] = b[k] * cd, part[1].v[k] = a[k] * cd, part[2].v[k] = ab * d[k],
                            part[3].v[k] = ab * c[k];
                        }
                }
                for (int f = 0; f < term[1]; ++f) add(part[f], y[term[2 + f]]);
            }
            store(y, i, channels, c0, width, basis_gradient);
        });
    }

    static void second(const PolynomialTable<Real>& table, int channels, std::int64_t begin, std::int64_t end,
                       const Real* basis, const Real* values_gradient, const Real* step, Real* values_step,
                       Real* basis_second) {
        Rows x = rows(table.n_monomials), dx = rows(table.n_monomials), y = rows(table.n_monomials);
        Rows g = rows(table.n_invariants), dp = rows(table.n_invariants);
        for_blocks(channels, begin, end, [&](std::int64_t i, int c0, int width) {
            load(basis, i, channels, c0, width, x);
            load(step, i, channels, c0, width, dx);
            load(values_gradient, i, channels, c0, width, g);
            clear(y);
            clear(dp);
            for (int t = 0; t < table.n_terms; ++t) {
                const std::int32_t* term = table.terms + 6 * t;
                const Real w = table.weights[t];
                const Real* from = g[term[0]].v;
                Real* to = dp[term[0]].v;
                const Real *a = x[term[2]].v, *b = x[term[3]].v, *c = x[term[4]].v, *d = x[term[5]].v;
                const Real *da = dx[term[2]].v, *db = dx[term[3]].v, *dc = dx[term[4]].v, *dd = dx[term[5]].v;
                Row part[highest_factors];
                switch (term[1]) {
                    case 1:
                        for (int k = 0; k < block; ++k) to[k] += w * da[k], part[0].v[k] = 0;
                        break;
                    case 2:
                        for (int k = 0; k < block; ++k) {
                            const Real h = w * from[k];
                            to[k] += w * (da[k] * b[k] + a[k] * db[k]);
                            part[0].v[k] = h * db[k], part[1].v[k] = h * da[k];
                        }
                        break;
                    case 3:
                        for (int k = 0; k < block; ++k) {
                            const Real h = w * from[k], ab = da[k] * b[k] + a[k] * db[k];
                            to[k] += w * (ab * c[k] + a[k] * b[k] * dc[k]);
                            part[0].v[k] = h * (db[k] * c[k] + b[k] * dc[k]);
                            part[1].v[k] = h * (da[k] * c[k] + a[k] * dc[k]);
                            part[2].v[k] = h * ab;
                        }
                        break;
                    default:
                        for (int k = 0; k < block; ++k) {
                            const Real h = w * from[k], ab = a[k] * b[k], cd = c[k] * d[k];
                            const Real dab = da[k] * b[k] + a[k] * db[k], dcd = dc[k] * d[k] + c[k] * dd[k];
                            to[k] += w * (dab * cd + ab * dcd);
                            part[0].v[k] = h * (db[k] * cd + b[k] * dcd);
                            part[1].v[k] = h * (da[k] * cd + a[k] * dcd);
                            part[2].v[k] = h * (dab * d[k] + ab * dd[k]);
                            part[3].v[k] = h * (dab * c[k] + ab * dc[k]);
                        }
                }
                for (int f = 0; f < term[1]; ++f) add(part[f], y[term[2 + f]]);
            }
            store(y, i, channels, c0, width, basis_second);
            store(dp, i, channels, c0, width, values_step);
        });
    }

private:
    static void add(const Row& part, Row& sum) {
        for (int k = 0; k < block; ++k) sum.v[k] += part.v[k];
    }
};

}  // namespace

}  // namespace LES_INSTRUCTION_SET

}  // namespace les
