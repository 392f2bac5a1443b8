// Bindings of the operations behind les_md.network.kernels, for float32 and float64 arrays. Shapes are checked here, so
// that no wrong array reaches the loops; gradients that are not wanted come as None.
#include "../src/network_kernels.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <string>
#include <vector>

#include "les/error.h"

namespace py = pybind11;

namespace {

template <class Real>
using Array = py::array_t<Real, py::array::c_style>;
using Indices = py::array_t<std::int64_t, py::array::c_style>;
using Terms = py::array_t<std::int32_t, py::array::c_style>;

void check_shape(const char* name, const py::array& array, const std::vector<py::ssize_t>& wanted) {
    if (array.ndim() == static_cast<py::ssize_t>(wanted.size()) &&
        std::equal(wanted.begin(), wanted.end(), array.shape()))
        return;
    std::string text = std::string("`") + name + "` must have shape (";
    for (const py::ssize_t length : wanted) text += std::to_string(length) + ",";
    throw les::Error(text + ")");
}

void check_range(const char* name, const Indices& indices, py::ssize_t count) {
    const std::int64_t *first = indices.data(), *last = first + indices.size();
    if (std::any_of(first, last, [count](std::int64_t index) { return index < 0 || index >= count; }))
        throw les::Error(std::string("`") + name + "` must be from 0 to " + std::to_string(count - 1));
}

void check_degree(int l_max) {
    if (l_max < 0 || l_max > les::highest_degree)
        throw les::Error("`l_max` must be 0 to " + std::to_string(les::highest_degree) + ", got " +
                         std::to_string(l_max));
}

template <class Real>
Array<Real> zeros(const std::vector<py::ssize_t>& shape) {
    Array<Real> array(shape);
    std::fill_n(array.mutable_data(), array.size(), Real(0));
    return array;
}

template <class Real>
struct Edges {
    Indices centres, neighbours;
    Array<Real> vectors, radial, embedding;
    les::EdgeTable<Real> table;

    Edges(const Indices& centres_, const Indices& neighbours_, const Array<Real>& vectors_, const Array<Real>& radial_,
          const Array<Real>& embedding_, int l_max)
        : centres(centres_), neighbours(neighbours_), vectors(vectors_), radial(radial_), embedding(embedding_) {
        check_degree(l_max);
        const py::ssize_t n_edges = centres.size();
        if (embedding.ndim() != 2 || radial.ndim() != 3)
            throw les::Error("`embedding` must have 2 dimensions and `radial` 3");
        check_shape("vectors", vectors, {n_edges, 3});
        check_shape("neighbours", neighbours, {n_edges});
        check_shape("radial", radial, {n_edges, 2, radial.shape(2)});
        check_range("neighbours", neighbours, embedding.shape(0));
        check_range("centres", centres, embedding.shape(0));
        if (!std::is_sorted(centres.data(), centres.data() + n_edges)) throw les::Error("`centres` must not decrease");
        table = {n_edges,
                 centres.data(),
                 neighbours.data(),
                 vectors.data(),
                 radial.data(),
                 embedding.data(),
                 l_max,
                 static_cast<int>(radial.shape(2)),
                 static_cast<int>(embedding.shape(1))};
    }
    std::vector<py::ssize_t> sums_shape(py::ssize_t n_rows) const {
        if (table.n_edges > 0 && n_rows <= table.centres[table.n_edges - 1])
            throw les::Error("`centres` must be below the number of rows");
        return {n_rows, table.n_embedding * table.n_radial, les::n_monomials(table.l_max)};
    }
    std::vector<py::ssize_t> edge_shape() const { return {table.n_edges, table.n_embedding}; }

    Array<Real> sums(py::ssize_t n_rows) const {
        Array<Real> result = zeros<Real>(sums_shape(n_rows));
        Real* to = result.mutable_data();
        py::gil_scoped_release release;
        les::NetworkKernels<Real>::neighbour_sums(table, to);
        return result;
    }
    py::tuple gradient(const Array<Real>& sums_gradient, bool of_embedding) const {
        check_shape("sums_gradient", sums_gradient, sums_shape(sums_gradient.shape(0)));
        Array<Real> of_vectors(std::vector<py::ssize_t>{table.n_edges, 3});
        Array<Real> of_edges(of_embedding ? edge_shape() : std::vector<py::ssize_t>{0, 0});
        const Real* from = sums_gradient.data();
        Real *to = of_vectors.mutable_data(), *further = of_embedding ? of_edges.mutable_data() : nullptr;
        {
            py::gil_scoped_release release;
            les::NetworkKernels<Real>::neighbour_sums_gradient(table, from, to, further);
        }
        return py::make_tuple(of_vectors, of_embedding ? py::object(of_edges) : py::none());
    }
    py::tuple second(const Array<Real>& sums_gradient, const Array<Real>& vectors_step,
                     const py::object& embedding_step, bool of_embedding) const {
        const auto shape = sums_shape(sums_gradient.shape(0));
        check_shape("sums_gradient", sums_gradient, shape);
        check_shape("vectors_step", vectors_step, {table.n_edges, 3});
        Array<Real> sums_step = zeros<Real>(shape), step_of_edges;
        if (!embedding_step.is_none()) {
            step_of_edges = embedding_step.cast<Array<Real>>();
            check_shape("embedding_step", step_of_edges, edge_shape());
        }
        Array<Real> of_edges(of_embedding ? edge_shape() : std::vector<py::ssize_t>{0, 0});
        const Real *from = sums_gradient.data(), *step = vectors_step.data();
        const Real* further_step = embedding_step.is_none() ? nullptr : step_of_edges.data();
        Real *to = sums_step.mutable_data(), *further = of_embedding ? of_edges.mutable_data() : nullptr;
        {
            py::gil_scoped_release release;
            les::NetworkKernels<Real>::neighbour_sums_second(table, from, step, further_step, to, further);
        }
        return py::make_tuple(sums_step, of_embedding ? py::object(of_edges) : py::none());
    }
};

les::MixingShape mixing_shape(const Indices& types, int l_max, py::ssize_t n_sources, py::ssize_t channels,
                              py::ssize_t n_types) {
    check_degree(l_max);
    check_range("types", types, n_types);
    return {types.size(), l_max, static_cast<int>(n_sources), static_cast<int>(channels), static_cast<int>(n_types),
            types.data()};
}

template <class Real>
Array<Real> mix(const Indices& types, int l_max, const Array<Real>& sums, const Array<Real>& weights) {
    if (weights.ndim() != 4 || sums.ndim() != 3) throw les::Error("`weights` must have 4 dimensions and `sums` 3");
    const auto shape = mixing_shape(types, l_max, weights.shape(2), weights.shape(3), weights.shape(0));
    check_shape("weights", weights, {weights.shape(0), l_max + 1, weights.shape(2), weights.shape(3)});
    check_shape("sums", sums, {types.size(), weights.shape(2), les::n_monomials(l_max)});
    Array<Real> basis({types.size(), static_cast<py::ssize_t>(les::n_monomials(l_max)), weights.shape(3)});
    Real* to = basis.mutable_data();
    py::gil_scoped_release release;
    les::NetworkKernels<Real>::mix(shape, sums.data(), weights.data(), to);
    return basis;
}

template <class Real>
Array<Real> mix_transposed(const Indices& types, int l_max, const Array<Real>& basis, const Array<Real>& transposed) {
    if (transposed.ndim() != 4 || basis.ndim() != 3)
        throw les::Error("`transposed` must have 4 dimensions and `basis` 3");
    const auto shape = mixing_shape(types, l_max, transposed.shape(3), transposed.shape(2), transposed.shape(0));
    check_shape("transposed", transposed, {transposed.shape(0), l_max + 1, transposed.shape(2), transposed.shape(3)});
    check_shape("basis", basis, {types.size(), les::n_monomials(l_max), transposed.shape(2)});
    Array<Real> sums({types.size(), transposed.shape(3), static_cast<py::ssize_t>(les::n_monomials(l_max))});
    Real* to = sums.mutable_data();
    py::gil_scoped_release release;
    les::NetworkKernels<Real>::mix_transposed(shape, basis.data(), transposed.data(), to);
    return sums;
}

template <class Real>
Array<Real> mix_weights(const Indices& types, int l_max, const Array<Real>& sums, const Array<Real>& basis,
                        int n_types) {
    if (basis.ndim() != 3 || sums.ndim() != 3) throw les::Error("`basis` and `sums` must have 3 dimensions");
    const auto shape = mixing_shape(types, l_max, sums.shape(1), basis.shape(2), n_types);
    check_shape("sums", sums, {types.size(), sums.shape(1), les::n_monomials(l_max)});
    check_shape("basis", basis, {types.size(), les::n_monomials(l_max), basis.shape(2)});
    Array<Real> weights = zeros<Real>({n_types, l_max + 1, sums.shape(1), basis.shape(2)});
    Real* to = weights.mutable_data();
    py::gil_scoped_release release;
    les::NetworkKernels<Real>::mix_weights(shape, sums.data(), basis.data(), to);
    return weights;
}

template <class Real>
struct Invariants {
    Terms terms;
    Array<Real> weights;
    les::PolynomialTable<Real> table;

    Invariants(const Terms& terms_, const Array<Real>& weights_, int n_monomials, int n_invariants)
        : terms(terms_), weights(weights_) {
        check_shape("terms", terms, {weights.size(), 6});
        for (py::ssize_t t = 0; t < weights.size(); ++t) {
            const std::int32_t* term = terms.data(t, 0);
            const bool inside = std::all_of(term + 2, term + 6, [=](int m) { return m >= 0 && m < n_monomials; });
            if (term[0] < 0 || term[0] >= n_invariants || term[1] < 1 || term[1] > les::highest_factors || !inside)
                throw les::Error("`terms` has a term of unknown invariants or monomials");
        }
        table = {static_cast<int>(weights.size()), n_monomials, n_invariants, terms.data(), weights.data()};
    }
    Array<Real> values(const Array<Real>& basis) const {
        check_basis("basis", basis);
        Array<Real> result({basis.shape(0), static_cast<py::ssize_t>(table.n_invariants), basis.shape(2)});
        Real* to = result.mutable_data();
        py::gil_scoped_release release;
        les::NetworkKernels<Real>::invariants(table, basis.shape(0), channels(basis), basis.data(), to);
        return result;
    }
    Array<Real> gradient(const Array<Real>& basis, const Array<Real>& values_gradient) const {
        check_basis("basis", basis);
        check_shape("values_gradient", values_gradient, {basis.shape(0), table.n_invariants, basis.shape(2)});
        Array<Real> result({basis.shape(0), basis.shape(1), basis.shape(2)});
        Real* to = result.mutable_data();
        py::gil_scoped_release release;
        les::NetworkKernels<Real>::invariants_gradient(table, basis.shape(0), channels(basis), basis.data(),
                                                       values_gradient.data(), to);
        return result;
    }
    py::tuple second(const Array<Real>& basis, const Array<Real>& values_gradient, const Array<Real>& step) const {
        check_basis("basis", basis);
        check_shape("values_gradient", values_gradient, {basis.shape(0), table.n_invariants, basis.shape(2)});
        check_shape("step", step, {basis.shape(0), basis.shape(1), basis.shape(2)});
        Array<Real> of_values({basis.shape(0), static_cast<py::ssize_t>(table.n_invariants), basis.shape(2)});
        Array<Real> of_basis({basis.shape(0), basis.shape(1), basis.shape(2)});
        Real *to = of_values.mutable_data(), *further = of_basis.mutable_data();
        {
            py::gil_scoped_release release;
            les::NetworkKernels<Real>::invariants_second(table, basis.shape(0), channels(basis), basis.data(),
                                                         values_gradient.data(), step.data(), to, further);
        }
        return py::make_tuple(of_values, of_basis);
    }

private:
    static int channels(const Array<Real>& basis) { return static_cast<int>(basis.shape(2)); }
    void check_basis(const char* name, const Array<Real>& basis) const {
        if (basis.ndim() != 3) throw les::Error("`basis` must have 3 dimensions");
        check_shape(name, basis, {basis.shape(0), table.n_monomials, basis.shape(2)});
    }
};

template <class Real>
void bind(py::module_& module, const std::string& dtype) {
    py::class_<Edges<Real>>(module, ("Edges_" + dtype).c_str())
        .def(
            py::init<const Indices&, const Indices&, const Array<Real>&, const Array<Real>&, const Array<Real>&, int>())
        .def("sums", &Edges<Real>::sums)
        .def("gradient", &Edges<Real>::gradient)
        .def("second", &Edges<Real>::second);
    py::class_<Invariants<Real>>(module, ("Invariants_" + dtype).c_str())
        .def(py::init<const Terms&, const Array<Real>&, int, int>())
        .def("values", &Invariants<Real>::values)
        .def("gradient", &Invariants<Real>::gradient)
        .def("second", &Invariants<Real>::second);
    module.def(("mix_" + dtype).c_str(), &mix<Real>);
    module.def(("mix_transposed_" + dtype).c_str(), &mix_transposed<Real>);
    module.def(("mix_weights_" + dtype).c_str(), &mix_weights<Real>);
}

}  // namespace

void bind_network_kernels(py::module_& module) {
    bind<float>(module, "float32");
    bind<double>(module, "float64");
}
