// The model file: a TorchScript archive with a JSON record. This header holds what the record says; reading it needs
// no network evaluation, so hosts can check elements, cutoff and ghost range first.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

namespace les {

inline constexpr int newest_format_version = 2;

/// Long-range kernel as trained; energies in eV, lengths in angstrom.
struct LongRangeParameters {
    double smearing = 1.0;                 ///< sigma of exp(-sigma^2 k^2 / 2), angstrom
    std::optional<double> k_cutoff;        ///< largest |k| of the trained sum, 1/angstrom; none: converged
    double coulomb_constant = 14.3996390;  ///< 1/(4 pi eps0) the model was trained with, eV angstrom / e^2
    bool remove_self_interaction = true;
    bool neutralize = false;           ///< q_i -= (sum q - total_charge) / N per channel
    std::vector<double> total_charge;  ///< (n_channels,), e; used when `neutralize`
};

struct Metadata {
    int format_version = 0;
    std::string les_md_version;
    std::string torch_version;
    std::vector<std::string> symbols;  ///< chemical symbols in type order
    double cutoff = 0.0;               ///< angstrom
    int n_layers = 1;                  ///< message-passing layers; 1 is strictly local
    double receptive_field = 0.0;      ///< angstrom, n_layers * cutoff
    bool layer_entry = false;          ///< the network can be evaluated layer by layer, with messages exchanged between
    bool rows_entry = false;           ///< the network can be evaluated without making a host wait for a device
    std::string dtype;                 ///< "float32" or "float64": precision of the network
    int n_channels = 0;                ///< charge channels; 0 for a short-range-only model
    bool ghost_charges = false;        ///< true if the network puts charge contributions on ghosts
    /// (n_types,), e, latent, summed over channels: constant part of charges that are transfers along edges. Empty for
    /// charges that are predicted as they are.
    std::vector<double> element_charges;
    std::optional<LongRangeParameters> long_range;
    bool charge_input = false, spin_input = false;  ///< the network is told the total charge, the spin multiplicity
    std::optional<std::array<double, 2>> state;     ///< both, for hosts that give none; none: neutral singlet
    double eps_inf = 1.0;
    double atomic_charge_scale = 1.0;  ///< hosts write this times the sum over channels as the atomic charge
    std::string content_hash;          ///< "sha256:..." of parameters and record
    std::string json;                  ///< the whole record, for printing

    /// How many layers of edges a host with ghosts gives: around owned atoms, their neighbours, and so on. Ghosts are
    /// needed up to this times the cutoff.
    int edge_layers() const { return layer_entry ? 1 : n_layers; }
    /// Charges are transfers along edges: the polarization of a periodic cell is defined.
    bool charge_flux() const { return !element_charges.empty(); }
    /// The network has inputs that belong to the whole system.
    bool has_state() const { return charge_input || spin_input; }
};

/// The bytes of a model file and its record.
/// Throws les::Error, one sentence each: missing file, not TorchScript, no LES record, newer format version.
class ModelFile {
public:
    static ModelFile from_path(const std::string& path);
    /// `name` stands for the file in messages.
    static ModelFile from_bytes(std::string bytes, const std::string& name);

    const Metadata& metadata() const { return metadata_; }
    const std::string& bytes() const { return bytes_; }
    const std::string& name() const { return name_; }

    /// Types of `symbols`; throws les::Error naming the first symbol the model does not know.
    std::vector<int> types_of(const std::vector<std::string>& symbols) const;

private:
    std::string bytes_, name_;
    Metadata metadata_;
};

/// Whole file as bytes; throws les::Error if it cannot be read.
std::string read_file(const std::string& path);

}  // namespace les
