// The end of an evaluation: what network, long-range sum and field give, gathered into Results.
#pragma once

#include <vector>

#include "embedding.h"
#include "les/communicator.h"
#include "les/long_range.h"
#include "les/neighbor_list.h"
#include "les/network.h"
#include "les/system.h"
#include "polarization.h"

namespace les {

void collect_energies_and_charges(const Network& network, const std::vector<double>& latent_charges,
                                  const LongRangeResult& long_range, const EmbeddingResult& embedding,
                                  const PolarizationResult& polar, Results& results);

/// Of a domain whose network is on a device: `results` has the energies of the atoms, and forces and virial of the
/// edges.
void collect_device_results(const std::vector<double>& latent_charges, const LongRangeResult& long_range,
                            Results& results);

/// `edge_gradients` (n_edges, 3) is dE/d(edge vector) of all that goes through the network.
void collect_forces_and_virial(const System& system, const Edges& edges, const std::vector<double>& edge_gradients,
                               const LongRangeResult& long_range, const EmbeddingResult& embedding,
                               const PolarizationResult& polar, Results& results);

/// Nothing unless the system wants them. Collective.
void collect_atom_virials(const System& system, const Edges& edges, const std::vector<double>& edge_gradients,
                          const LongRangeResult& long_range, const EmbeddingResult& embedding,
                          const PolarizationResult& polar, Communicator& communicator, Results& results);

}  // namespace les
