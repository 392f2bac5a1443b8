// Reader for the JSON record of a model file: strings, numbers, booleans, null, arrays and objects of RFC 8259.
// No wheel or system package of the required set ships a C++ JSON library, and the record is small.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace les::json {

struct Value {
    enum class Kind { null, boolean, number, string, array, object };
    Kind kind = Kind::null;
    bool boolean = false;
    double number = 0.0;
    std::string string;
    std::vector<Value> array;
    std::map<std::string, Value> object;

    bool is_null() const { return kind == Kind::null; }
    bool has(const std::string& key) const { return object.count(key) > 0; }
    /// Member `key`; throws les::Error naming the key if it is missing or not of `kind`.
    const Value& at(const std::string& key, Kind kind) const;
    const Value& at(const std::string& key) const;
};

/// Parses a whole document; throws les::Error with the byte position of a fault.
Value parse(const std::string& text);

}  // namespace les::json
