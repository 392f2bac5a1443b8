// The loops over edges that end the passes of the network, from gradients on edges to rows of atoms; see
// domain_network.h. Everywhere v = r_j - r_i.
#include "cpu_domain.h"

namespace les {

void CpuDomain::find_edges(const System& system, const EdgeList* of_host) {
    edges_ = of_host != nullptr ? &neighbor_list_.accept(system, *of_host) : &neighbor_list_.build(system);
    n_all_ = static_cast<std::size_t>(system.n_all);
}

void CpuDomain::forward(const System& system, Communicator& communicator) {
    network_.forward(system, *edges_, communicator);
}

const std::vector<double>& CpuDomain::charge_gradient(const std::vector<double>& cotangents,
                                                      const std::array<double, 3>& dipole_cotangent,
                                                      Communicator& communicator) {
    const std::vector<double>& of_edges = network_.charge_gradient(cotangents, dipole_cotangent, communicator);
    gradient_.assign(3 * n_all_, 0.0);
    for (std::size_t e = 0; e < static_cast<std::size_t>(edges_->n_edges); ++e) {
        const auto i = static_cast<std::size_t>(edges_->centres[e]),
                   j = static_cast<std::size_t>(edges_->neighbours[e]);
        for (std::size_t a = 0; a < 3; ++a) {
            gradient_[3 * i + a] -= of_edges[3 * e + a];
            gradient_[3 * j + a] += of_edges[3 * e + a];
        }
    }
    return gradient_;
}

namespace {

/// w = -(dE/dv (x) v + v (x) dE/dv) / 2, one half to either end.
void collect_atom_virials(const Edges& edges, const std::vector<double>& gradients, std::vector<double>& virials) {
    for (std::size_t e = 0; e < static_cast<std::size_t>(edges.n_edges); ++e) {
        const double* gradient = gradients.data() + 3 * e;
        const double* vector = edges.vectors.data() + 3 * e;
        double* centre = virials.data() + 9 * edges.centres[e];
        double* neighbour = virials.data() + 9 * edges.neighbours[e];
        for (std::size_t a = 0; a < 3; ++a) {
            for (std::size_t b = 0; b < 3; ++b) {
                const double half = -0.25 * (gradient[a] * vector[b] + gradient[b] * vector[a]);
                centre[3 * a + b] += half;
                neighbour[3 * a + b] += half;
            }
        }
    }
}

}  // namespace

/// F_i += dE/dv, F_j -= dE/dv, W -= dE/dv (x) v.
void CpuDomain::backward(const System& system, const std::vector<double>& cotangents,
                         const std::array<double, 3>& dipole_cotangent, Communicator& communicator, Results& results) {
    const std::vector<double>& gradients = network_.backward(cotangents, dipole_cotangent, communicator);
    results.forces.assign(3 * n_all_, 0.0);
    results.atom_virials.assign(system.atom_virials ? 9 * n_all_ : 0, 0.0);
    Matrix3 virial{};
    for (std::size_t e = 0; e < static_cast<std::size_t>(edges_->n_edges); ++e) {
        const double* gradient = gradients.data() + 3 * e;
        const double* vector = edges_->vectors.data() + 3 * e;
        double* centre = results.forces.data() + 3 * edges_->centres[e];
        double* neighbour = results.forces.data() + 3 * edges_->neighbours[e];
        for (std::size_t a = 0; a < 3; ++a) {
            centre[a] += gradient[a];
            neighbour[a] -= gradient[a];
            for (std::size_t b = 0; b < 3; ++b) virial[a][b] -= gradient[a] * vector[b];
        }
    }
    for (std::size_t a = 0; a < 3; ++a) {
        for (std::size_t b = 0; b < 3; ++b) results.virial[a][b] = 0.5 * (virial[a][b] + virial[b][a]);
    }
    if (system.atom_virials) collect_atom_virials(*edges_, gradients, results.atom_virials);
}

}  // namespace les
