// The XML of a LESForce, version 3: settings as properties, particles as ranges, their symbols and external charges
// with repetitions counted, the model file in base64 or its path, with checksum and content hash, which are checked on
// reading. Version 2 has no `particles` (all of the System), version 1 no settings of the long-range solver either;
// both are read with defaults.
#include "LESForceProxy.h"

#include <array>
#include <charconv>
#include <cstdint>
#include <memory>
#include <sstream>
#include <utility>

#include "Base64.h"
#include "LESForce.h"
#include "internal/LESErrors.h"
#include "openmm/serialization/SerializationNode.h"

using OpenMM::OpenMMException;
using OpenMM::SerializationNode;

namespace LESPlugin {

namespace {

constexpr int newestVersion = 6;
constexpr const char* fieldProperties[] = {"defaultFieldX", "defaultFieldY", "defaultFieldZ"};  // kJ/mol/nm/e

/// "O H*2 O H*2" for O H H O H H.
std::string textFromSymbols(const std::vector<std::string>& symbols) {
    std::string text;
    for (std::size_t first = 0, next; first < symbols.size(); first = next) {
        next = first + 1;
        while (next < symbols.size() && symbols[next] == symbols[first]) ++next;
        if (!text.empty()) text += ' ';
        text += symbols[first];
        if (next - first > 1) text += '*' + std::to_string(next - first);
    }
    return text;
}

std::vector<std::string> symbolsFromText(const std::string& text) {
    std::vector<std::string> symbols;
    std::istringstream words(text);
    for (std::string word; words >> word;) {
        const std::size_t star = word.find('*');
        std::size_t count = 1;
        if (star != std::string::npos) {
            const char* end = word.data() + word.size();
            const auto parsed = std::from_chars(word.data() + star + 1, end, count);
            if (parsed.ec != std::errc() || parsed.ptr != end || count < 1) {
                throw OpenMMException("LESForce: `symbols` must be symbols or symbol*count, got " + word);
            }
        }
        symbols.insert(symbols.end(), count, word.substr(0, star));
    }
    return symbols;
}

/// "0*3 -0.8 0.4*2" for 0 0 0 -0.8 0.4 0.4; digits enough to read the same numbers back.
std::string textFromCharges(const std::vector<double>& charges) {
    std::ostringstream text;
    text.precision(17);
    for (std::size_t first = 0, next; first < charges.size(); first = next) {
        next = first + 1;
        while (next < charges.size() && charges[next] == charges[first]) ++next;
        text << (first > 0 ? " " : "") << charges[first];
        if (next - first > 1) text << '*' << next - first;
    }
    return text.str();
}

std::vector<double> chargesFromText(const std::string& text) {
    std::vector<double> charges;
    std::istringstream words(text);
    for (std::string word; words >> word;) {
        const char* end = word.data() + word.size();
        double charge = 0.0;
        std::size_t count = 1;
        auto parsed = std::from_chars(word.data(), end, charge);
        if (parsed.ec == std::errc() && parsed.ptr != end && *parsed.ptr == '*') {
            parsed = std::from_chars(parsed.ptr + 1, end, count);
        }
        if (parsed.ec != std::errc() || parsed.ptr != end || count < 1) {
            throw OpenMMException("LESForce: `externalCharges` must be charges or charge*count, got " + word);
        }
        charges.insert(charges.end(), count, charge);
    }
    return charges;
}

/// "0-2 7" for 0 1 2 7.
std::string textFromParticles(const std::vector<int>& particles) {
    std::string text;
    for (std::size_t first = 0, next; first < particles.size(); first = next) {
        next = first + 1;
        while (next < particles.size() && particles[next] == particles[next - 1] + 1) ++next;
        if (!text.empty()) text += ' ';
        text += std::to_string(particles[first]);
        if (next - first > 1) text += '-' + std::to_string(particles[next - 1]);
    }
    return text;
}

std::vector<int> particlesFromText(const std::string& text) {
    std::vector<int> particles;
    std::istringstream words(text);
    for (std::string word; words >> word;) {
        const char* end = word.data() + word.size();
        int first = 0, last = 0;
        auto parsed = std::from_chars(word.data(), end, first);
        last = first;
        if (parsed.ec == std::errc() && parsed.ptr != end && *parsed.ptr == '-') {
            parsed = std::from_chars(parsed.ptr + 1, end, last);
        }
        if (parsed.ec != std::errc() || parsed.ptr != end || first < 0 || last < first) {
            throw OpenMMException("LESForce: `particles` must be indices or first-last, got " + word);
        }
        for (std::int64_t particle = first; particle <= last; ++particle)
            particles.push_back(static_cast<int>(particle));
    }
    return particles;
}

/// FNV-1a hash of 64 bits: a changed character of the model text would else be a model with another weight.
std::string checksum(const std::string& bytes) {
    std::uint64_t hash = 0xcbf29ce484222325u;
    for (const char byte : bytes) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3u;
    std::ostringstream text;
    text << std::hex << hash;
    return text.str();
}

/// Checks `got` against the property `name`, where the XML has it.
void checkProperty(const SerializationNode& node, const std::string& name, const std::string& got,
                   const std::string& where, const std::string& remedy) {
    const std::string expected = node.getStringProperty(name, got);
    if (got == expected) return;
    throw OpenMMException("LESForce: the `" + name + "` of " + where + " must be " + expected + ", got " + got + "; " +
                          remedy);
}

les::ModelFile modelFromNode(const SerializationNode& node) {
    const bool embedded = node.hasProperty("model");
    if (embedded == node.hasProperty("modelFile")) {
        throw OpenMMException(std::string("LESForce: the XML must hold either `model` or `modelFile`, got ") +
                              (embedded ? "both" : "none"));
    }
    if (!embedded) {
        const std::string path = node.getStringProperty("modelFile");
        les::ModelFile model = les::ModelFile::from_path(path);
        const std::string remedy = "the XML was written with another file, put that one back or make the System again";
        checkProperty(node, "contentHash", model.metadata().content_hash, "model file " + path, remedy);
        checkProperty(node, "modelChecksum", checksum(model.bytes()), "model file " + path, remedy);
        return model;
    }
    const std::string remedy = "the XML is damaged, write it again with XmlSerializer.serialize";
    std::string bytes = bytesFromBase64(node.getStringProperty("model"));
    checkProperty(node, "modelChecksum", checksum(bytes), "the model in the XML", remedy);
    les::ModelFile model = les::ModelFile::from_bytes(std::move(bytes), node.getStringProperty("modelName"));
    checkProperty(node, "contentHash", model.metadata().content_hash, "the model in the XML", remedy);
    return model;
}

/// The model itself, or the path it was read from, once it is sure that the same model is still there.
void writeModel(const LESForce& force, SerializationNode& node) {
    const les::ModelFile& model = force.getModel();
    node.setStringProperty("contentHash", model.metadata().content_hash);
    node.setStringProperty("modelChecksum", checksum(model.bytes()));
    if (force.getEmbedModel()) {
        node.setStringProperty("modelName", model.name());
        node.setStringProperty("model", base64FromBytes(model.bytes()));
        return;
    }
    if (withOpenMMErrors([&] { return les::read_file(model.name()); }) != model.bytes()) {
        throw OpenMMException("LESForce: model file " + model.name() +
                              " must be the one the force was made from, got another; put that one back or write XML "
                              "with the model in it");
    }
    node.setStringProperty("modelFile", model.name());
}

void writeBonds(const LESForce& force, SerializationNode& node) {
    if (force.getBonds().empty()) return;
    SerializationNode& bonds = node.createChildNode("Bonds");
    for (const auto& [first, second] : force.getBonds()) {
        bonds.createChildNode("Bond").setIntProperty("p1", first).setIntProperty("p2", second);
    }
}

void readBonds(const SerializationNode& node, LESForce& force) {
    for (const SerializationNode& list : node.getChildren()) {
        if (list.getName() != "Bonds") continue;
        for (const SerializationNode& bond : list.getChildren()) {
            force.addBond(bond.getIntProperty("p1"), bond.getIntProperty("p2"));
        }
    }
}

void writeGlobalParameters(const LESForce& force, SerializationNode& node) {
    node.setStringProperty("lambdaName", force.getLambdaName());
    node.setDoubleProperty("defaultLambda", force.getDefaultLambda());
    for (int axis = 0; axis < 3; ++axis) {
        node.setDoubleProperty(fieldProperties[axis], force.getDefaultElectricField()[axis]);
    }
    if (force.getNumEnergyParameterDerivatives() == 0) return;
    SerializationNode& derivatives = node.createChildNode("EnergyParameterDerivatives");
    for (int i = 0; i < force.getNumEnergyParameterDerivatives(); ++i) {
        derivatives.createChildNode("Parameter").setStringProperty("name", force.getEnergyParameterDerivativeName(i));
    }
}

void readGlobalParameters(const SerializationNode& node, LESForce& force) {
    force.setLambdaName(node.getStringProperty("lambdaName", force.getLambdaName()));
    force.setDefaultLambda(node.getDoubleProperty("defaultLambda", force.getDefaultLambda()));
    OpenMM::Vec3 field;
    for (int axis = 0; axis < 3; ++axis) field[axis] = node.getDoubleProperty(fieldProperties[axis], 0.0);
    force.setDefaultElectricField(field);
    for (const SerializationNode& list : node.getChildren()) {
        if (list.getName() != "EnergyParameterDerivatives") continue;
        for (const SerializationNode& parameter : list.getChildren()) {
            force.addEnergyParameterDerivative(parameter.getStringProperty("name"));
        }
    }
}

std::array<int, 3> meshFromText(const std::string& text) {
    std::array<int, 3> mesh{};
    std::istringstream numbers(text);
    for (int& points : mesh) numbers >> points;
    std::string rest;
    if (!numbers || numbers >> rest) {
        throw OpenMMException("LESForce: `mesh` must be three whole numbers, got " + text);
    }
    return mesh;
}

void writeLongRangeOptions(const LESForce& force, SerializationNode& node) {
    node.setStringProperty("solver", force.getSolver());
    node.setDoubleProperty("accuracy", force.getAccuracy());
    node.setStringProperty("window", force.getWindow());
    if (force.getInterpolationNodes()) node.setIntProperty("interpolationNodes", *force.getInterpolationNodes());
    if (force.getMeshSpacing()) node.setDoubleProperty("meshSpacing", *force.getMeshSpacing());
    if (const auto mesh = force.getMesh()) {
        node.setStringProperty(
            "mesh", std::to_string((*mesh)[0]) + ' ' + std::to_string((*mesh)[1]) + ' ' + std::to_string((*mesh)[2]));
    }
    if (force.getMeshDtype()) node.setStringProperty("meshDtype", *force.getMeshDtype());
    node.setBoolProperty("freezeKSet", force.getFreezeKSet());
}

void readLongRangeOptions(const SerializationNode& node, LESForce& force) {
    force.setSolver(node.getStringProperty("solver", force.getSolver()));
    force.setAccuracy(node.getDoubleProperty("accuracy", force.getAccuracy()));
    force.setWindow(node.getStringProperty("window", force.getWindow()));
    if (node.hasProperty("interpolationNodes")) force.setInterpolationNodes(node.getIntProperty("interpolationNodes"));
    if (node.hasProperty("meshSpacing")) force.setMeshSpacing(node.getDoubleProperty("meshSpacing"));
    if (node.hasProperty("mesh")) force.setMesh(meshFromText(node.getStringProperty("mesh")));
    if (node.hasProperty("meshDtype")) force.setMeshDtype(node.getStringProperty("meshDtype"));
    force.setFreezeKSet(node.getBoolProperty("freezeKSet", force.getFreezeKSet()));
}

}  // namespace

LESForceProxy::LESForceProxy() : SerializationProxy("LESForce") {}

void LESForceProxy::serialize(const void* object, SerializationNode& node) const {
    const LESForce& force = *reinterpret_cast<const LESForce*>(object);
    // version 4 is 3 with a spin multiplicity, version 5 is deterministic, version 6 has graphs other than auto
    const bool hasGraphs = force.getGraphs() != "auto";
    node.setIntProperty("version", hasGraphs ? 6 : force.getDeterministic() ? 5 : force.getSpin() ? 4 : 3);
    node.setIntProperty("forceGroup", force.getForceGroup());
    node.setStringProperty("name", force.getName());
    node.setBoolProperty("usesPeriodic", force.usesPeriodicBoundaryConditions());
    node.setStringProperty("symbols", textFromSymbols(force.getParticleSymbols()));
    if (!force.getParticles().empty()) node.setStringProperty("particles", textFromParticles(force.getParticles()));
    if (!force.getExternalCharges().empty())
        node.setStringProperty("externalCharges", textFromCharges(force.getExternalCharges()));
    node.setStringProperty("device", force.getDevice());
    if (force.getThreads()) node.setIntProperty("threads", *force.getThreads());
    if (force.getTotalCharge()) node.setDoubleProperty("totalCharge", *force.getTotalCharge());
    if (force.getSpin()) node.setDoubleProperty("spin", *force.getSpin());
    if (force.getDeterministic()) node.setBoolProperty("deterministic", true);
    if (hasGraphs) node.setStringProperty("graphs", force.getGraphs());
    writeLongRangeOptions(force, node);
    writeGlobalParameters(force, node);
    writeBonds(force, node);
    writeModel(force, node);
}

void* LESForceProxy::deserialize(const SerializationNode& node) const {
    const int version = node.getIntProperty("version");
    if (version < 1 || version > newestVersion) {
        throw OpenMMException("LESForce: the XML has version " + std::to_string(version) +
                              ", this les-md reads up to " + std::to_string(newestVersion) +
                              "; update les-md with `pip install -U les-md`");
    }
    auto force = withOpenMMErrors([&] {
        return std::make_unique<LESForce>(modelFromNode(node), symbolsFromText(node.getStringProperty("symbols")),
                                          node.getBoolProperty("usesPeriodic"));
    });
    force->setForceGroup(node.getIntProperty("forceGroup", 0));
    force->setName(node.getStringProperty("name", force->getName()));
    force->setParticles(particlesFromText(node.getStringProperty("particles", "")));
    force->setExternalCharges(chargesFromText(node.getStringProperty("externalCharges", "")));
    force->setDevice(node.getStringProperty("device", force->getDevice()));
    if (node.hasProperty("threads")) force->setThreads(node.getIntProperty("threads"));
    if (node.hasProperty("totalCharge")) force->setTotalCharge(node.getDoubleProperty("totalCharge"));
    if (node.hasProperty("spin")) force->setSpin(node.getDoubleProperty("spin"));
    force->setDeterministic(node.getBoolProperty("deterministic", false));
    force->setGraphs(node.getStringProperty("graphs", "auto"));
    force->setEmbedModel(node.hasProperty("model"));
    readLongRangeOptions(node, *force);
    readGlobalParameters(node, *force);
    readBonds(node, *force);
    return force.release();
}

}  // namespace LESPlugin
