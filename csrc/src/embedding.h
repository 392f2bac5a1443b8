// Electrostatic embedding: the charges of the model in the potential of fixed charges outside it, those of a classical
// force field. X = sum_i Q_i phi_i, Q_i the latent charges of atom i summed over channels and phi_i the potential of
// the external charges by the long-range kernel of the model. External charges do not act on each other here.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "les/communicator.h"
#include "les/long_range.h"
#include "les/model_file.h"
#include "les/system.h"

namespace les {

struct EmbeddingResult {
    double energy = 0.0;                  ///< eV
    std::vector<double> potentials;       ///< (n_local,), V, of the external charges; empty without any
    std::vector<double> forces;           ///< (n_local, 3), eV/angstrom, at fixed charges; empty without any
    std::vector<double> external_forces;  ///< (n_external, 3), eV/angstrom
    Matrix3 virial{};                     ///< eV, -dX/d(strain) at fixed charges, of all positions and the cell
};

/// Throws les::Error for external charges that are not finite, and for systems of several domains.
void check_external_charges(const System& system, const Communicator& communicator);

class Embedding {
public:
    /// `options` are those of the model's own sum.
    Embedding(const Metadata& metadata, const LongRangeOptions& options);

    /// `charges` (n_local, n_channels) in e. Nothing is computed for a system without external charges. Throws
    /// les::Error for a model without charges, external charges that are not finite, and systems of several domains.
    const EmbeddingResult& compute(const System& system, const std::vector<double>& charges,
                                   Communicator& communicator);

    /// The sum of the last evaluation in words; empty before the first with external charges.
    std::string description() const;
    std::vector<std::string> take_warnings();

private:
    void find_points(const System& system, const std::vector<double>& charges);
    void add_periodic(const System& system, Communicator& communicator);
    void add_isolated(const System& system);
    void add_half(double weight, const System& points, Communicator& communicator);

    std::optional<LongRangeParameters> parameters_;
    LongRangeOptions options_;
    std::size_t channels_;
    std::unique_ptr<LongRangeSolver> solver_;  // periodic
    std::string isolated_description_;
    EmbeddingResult result_;
    std::vector<std::size_t> charged_;     // external charges that are not zero
    std::vector<double> atom_charges_;     // (n_local,), e, Q_i
    std::vector<double> points_, values_;  // atoms, then charged_: (n_points, 3), angstrom, and (n_points,), e
    std::vector<double> atom_virials_;
};

}  // namespace les
