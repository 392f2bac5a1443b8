// Bytes as text (RFC 4648 base64 with padding), for the model inside XML.
#pragma once

#include <string>

namespace LESPlugin {

std::string base64FromBytes(const std::string& bytes);

/// Throws OpenMMException if `text` is not base64.
std::string bytesFromBase64(const std::string& text);

}  // namespace LESPlugin
