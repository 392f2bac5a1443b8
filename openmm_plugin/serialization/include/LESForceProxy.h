// LESForce to XML and back. The XML holds the whole model, so that it can be used where the model file is not.
#pragma once

#include "openmm/serialization/SerializationProxy.h"

namespace LESPlugin {

class LESForceProxy : public OpenMM::SerializationProxy {
public:
    LESForceProxy();
    void serialize(const void* object, OpenMM::SerializationNode& node) const override;
    /**
     * Accepts the `model` that serialize() writes (base64), or the path of a model file as `modelFile`.
     * Throws OpenMMException in one sentence for a newer version, a damaged model, or both or none of the two given.
     */
    void* deserialize(const OpenMM::SerializationNode& node) const override;
};

}  // namespace LESPlugin
