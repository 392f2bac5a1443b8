// The end of an evaluation: what long-range sum, external charges and field give is added to what the network has left
// in Results.
#pragma once

#include <vector>

#include "domain_network.h"
#include "embedding.h"
#include "les/communicator.h"
#include "les/long_range.h"
#include "les/system.h"
#include "polarization.h"

namespace les {

void collect_energies_and_charges(const DomainNetwork& network, const std::vector<double>& latent_charges,
                                  const LongRangeResult& long_range, const EmbeddingResult& embedding,
                                  const PolarizationResult& polar, Results& results);

void add_forces_and_virial(const LongRangeResult& long_range, const EmbeddingResult& embedding,
                           const PolarizationResult& polar, Results& results);

/// Nothing unless the system wants them. Collective.
void add_atom_virials(const System& system, const LongRangeResult& long_range, const EmbeddingResult& embedding,
                      const PolarizationResult& polar, Communicator& communicator, Results& results);

}  // namespace les
