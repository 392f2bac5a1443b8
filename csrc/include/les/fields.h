// Names of the fields that cross the layers; shapes, units and meanings are in python/les_md/fields.py, their twin.
#pragma once

namespace les::fields {

inline constexpr const char* types = "types";
inline constexpr const char* edge_index = "edge_index";
inline constexpr const char* edge_vectors = "edge_vectors";
inline constexpr const char* neighbours = "neighbours";  // of the entry `rows`, see python/les_md/network/backbone.py
inline constexpr const char* atoms = "atoms";
inline constexpr const char* messages = "messages";
inline constexpr const char* node_energies = "node_energies";
inline constexpr const char* offset_energies = "offset_energies";
inline constexpr const char* latent_charges = "latent_charges";
inline constexpr const char* transfer_dipoles = "transfer_dipoles";
inline constexpr const char* metadata_record = "les_metadata.json";

}  // namespace les::fields
