// Reads the record of a model file without running or even loading the network.
#include "les/model_file.h"

#include <caffe2/serialize/inline_container.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <utility>

#include "json.h"
#include "les/error.h"
#include "les/fields.h"

namespace les {

namespace {

using Kind = json::Value::Kind;

std::string record_text(const std::string& bytes, const std::string& name) {
    std::unique_ptr<caffe2::serialize::PyTorchStreamReader> reader;
    try {
        std::istringstream stream(bytes);
        reader = std::make_unique<caffe2::serialize::PyTorchStreamReader>(&stream);
        if (!reader->hasRecord("constants.pkl")) throw Error("");
        const std::string record = std::string("extra/") + fields::metadata_record;
        if (reader->hasRecord(record)) {
            const auto data = reader->getRecord(record);
            return std::string(static_cast<const char*>(std::get<0>(data).get()), std::get<1>(data));
        }
    } catch (const std::exception& error) {
        if (std::string(error.what()).find("maximum supported version") != std::string::npos) {
            throw Error("model file " + name +
                        " was made with a newer torch than the one in use; update torch or make the "
                        "file again with this one by `les-export model.pt`");
        }
        throw Error("model file " + name + " is not a TorchScript archive; make it with `les-export model.pt`");
    }
    throw Error("model file " + name + " has no LES record; make it with `les-export model.pt`");
}

std::vector<double> numbers(const json::Value& list) {
    std::vector<double> values;
    for (const auto& item : list.array) values.push_back(item.number);
    return values;
}

LongRangeParameters long_range_parameters(const json::Value& record) {
    LongRangeParameters parameters;
    parameters.smearing = record.at("smearing", Kind::number).number;
    if (!record.at("k_cutoff").is_null()) parameters.k_cutoff = record.at("k_cutoff", Kind::number).number;
    parameters.coulomb_constant = record.at("coulomb_constant", Kind::number).number;
    parameters.remove_self_interaction = record.at("remove_self_interaction", Kind::boolean).boolean;
    parameters.neutralize = record.at("neutrality", Kind::boolean).boolean;
    parameters.total_charge = numbers(record.at("total_charge", Kind::array));
    return parameters;
}

/// A record may name features this library does not know; running without them would be wrong.
void check_understood(const json::Value& record, const std::string& name) {
    static const std::vector<std::string> known = {fields::node_energies, fields::offset_energies,
                                                   fields::latent_charges, fields::transfer_dipoles};
    for (const auto& output : record.at("outputs", Kind::array).array) {
        if (std::find(known.begin(), known.end(), output.string) == known.end()) {
            throw Error("model file " + name + " needs `" + output.string +
                        "`, which this les-md does not know; update it with `pip install -U les-md`");
        }
    }
}

/// Files of earlier versions have none.
void read_state(const json::Value& record, Metadata& metadata, const std::string& name) {
    if (!record.has("state_inputs")) return;
    for (const auto& input : record.at("state_inputs", Kind::array).array) {
        if (input.string != "total_charge" && input.string != "spin") {
            throw Error("model file " + name + " needs the input `" + input.string +
                        "`, which this les-md does not know; update it with `pip install -U les-md`");
        }
        (input.string == "spin" ? metadata.spin_input : metadata.charge_input) = true;
    }
    if (record.at("state").is_null()) return;
    const json::Value& state = record.at("state", Kind::object);
    metadata.state = {state.at("total_charge", Kind::number).number, state.at("spin", Kind::number).number};
}

Metadata parse_metadata(const std::string& text, const std::string& name) {
    const json::Value record = json::parse(text);
    Metadata metadata;
    metadata.json = text;
    metadata.format_version = static_cast<int>(record.at("format_version", Kind::number).number);
    if (metadata.format_version > newest_format_version) {
        throw Error("model file " + name + " has format version " + std::to_string(metadata.format_version) +
                    ", this les-md reads up to " + std::to_string(newest_format_version) +
                    "; update it with `pip install -U les-md`");
    }
    check_understood(record, name);
    metadata.les_md_version = record.at("les_md_version", Kind::string).string;
    metadata.torch_version = record.at("torch_version", Kind::string).string;
    for (const auto& symbol : record.at("symbols", Kind::array).array) metadata.symbols.push_back(symbol.string);
    metadata.cutoff = record.at("cutoff", Kind::number).number;
    metadata.n_layers = static_cast<int>(record.at("n_layers", Kind::number).number);
    metadata.receptive_field = record.at("receptive_field", Kind::number).number;
    // files of earlier versions have neither of these entries
    if (record.has("layer_entry")) metadata.layer_entry = record.at("layer_entry", Kind::boolean).boolean;
    if (record.has("rows_entry")) metadata.rows_entry = record.at("rows_entry", Kind::boolean).boolean;
    metadata.dtype = record.at("dtype", Kind::string).string;
    if (metadata.dtype != "float32" && metadata.dtype != "float64") {
        throw Error("model file " + name + ": `dtype` must be float32 or float64, got " + metadata.dtype);
    }
    metadata.n_channels = static_cast<int>(record.at("n_channels", Kind::number).number);
    metadata.ghost_charges = record.at("ghost_charges", Kind::boolean).boolean;
    // files of earlier versions have no charge transfers
    if (record.has("element_charges")) metadata.element_charges = numbers(record.at("element_charges", Kind::array));
    if (metadata.charge_flux() && metadata.element_charges.size() != metadata.symbols.size()) {
        throw Error("model file " + name + ": `element_charges` must have one number per element (" +
                    std::to_string(metadata.symbols.size()) + "), got " +
                    std::to_string(metadata.element_charges.size()));
    }
    if (!record.at("long_range").is_null()) metadata.long_range = long_range_parameters(record.at("long_range"));
    read_state(record, metadata, name);
    metadata.eps_inf = record.at("eps_inf", Kind::number).number;
    metadata.atomic_charge_scale = record.at("atomic_charge", Kind::object).at("scale", Kind::number).number;
    metadata.content_hash = record.at("content_hash", Kind::string).string;
    return metadata;
}

}  // namespace

std::string read_file(const std::string& path) {
    std::ifstream stream(path, std::ios::binary);
    std::ostringstream bytes;
    if (!stream || !(bytes << stream.rdbuf())) throw Error("model file " + path + " cannot be read; check the path");
    return bytes.str();
}

ModelFile ModelFile::from_path(const std::string& path) { return from_bytes(read_file(path), path); }

ModelFile ModelFile::from_bytes(std::string bytes, const std::string& name) {
    ModelFile file;
    file.metadata_ = parse_metadata(record_text(bytes, name), name);
    file.bytes_ = std::move(bytes);
    file.name_ = name;
    return file;
}

std::vector<int> ModelFile::types_of(const std::vector<std::string>& symbols) const {
    std::vector<int> types;
    for (const auto& symbol : symbols) {
        const auto found = std::find(metadata_.symbols.begin(), metadata_.symbols.end(), symbol);
        if (found == metadata_.symbols.end()) {
            std::string known;
            for (const auto& name : metadata_.symbols) known += " " + name;
            throw Error("element " + symbol + " is not in model file " + name_ + ", which knows" + known);
        }
        types.push_back(static_cast<int>(found - metadata_.symbols.begin()));
    }
    return types;
}

}  // namespace les
