// Base64: three bytes are four characters of six bits; the end is padded with `=`.
#include "Base64.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "openmm/OpenMMException.h"

namespace LESPlugin {

namespace {

constexpr char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::array<int, 256> valuesOfCharacters() {
    std::array<int, 256> values;
    values.fill(-1);
    for (int value = 0; value < 64; ++value) values[static_cast<unsigned char>(alphabet[value])] = value;
    return values;
}

}  // namespace

std::string base64FromBytes(const std::string& bytes) {
    std::string text;
    text.reserve((bytes.size() + 2) / 3 * 4);
    for (std::size_t start = 0; start < bytes.size(); start += 3) {
        const std::size_t count = std::min<std::size_t>(3, bytes.size() - start);
        std::uint32_t group = 0;
        for (std::size_t i = 0; i < 3; ++i) {
            group = (group << 8) | (i < count ? static_cast<unsigned char>(bytes[start + i]) : 0u);
        }
        for (std::size_t i = 0; i < 4; ++i) text.push_back(i <= count ? alphabet[(group >> (18 - 6 * i)) & 63u] : '=');
    }
    return text;
}

std::string bytesFromBase64(const std::string& text) {
    static const std::array<int, 256> values = valuesOfCharacters();
    const OpenMM::OpenMMException damaged("LESForce: the `model` in the XML is not base64 text; the XML is damaged");
    if (text.size() % 4 != 0) throw damaged;
    std::size_t length = text.size();
    while (length > 0 && text.size() - length < 2 && text[length - 1] == '=') --length;

    std::string bytes;
    bytes.reserve(text.size() / 4 * 3);
    std::uint32_t group = 0;
    int bits = 0;
    for (std::size_t i = 0; i < length; ++i) {
        const int value = values[static_cast<unsigned char>(text[i])];
        if (value < 0) throw damaged;
        group = (group << 6) | static_cast<std::uint32_t>(value);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            bytes.push_back(static_cast<char>((group >> bits) & 255u));
        }
    }
    return bytes;
}

}  // namespace LESPlugin
