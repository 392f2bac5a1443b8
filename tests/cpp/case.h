// A reference case of tests/data as C++ arrays.
#pragma once

#include <string>
#include <vector>

#include "json.h"
#include "les/les.h"

struct Case {
    les::json::Value json;
    std::vector<std::string> symbols;
    std::vector<double> positions;
    std::vector<std::int32_t> types;
    les::System system;

    Case(const std::string& path, const les::ModelFile& file) : json(les::json::parse(les::read_file(path))) {
        for (const auto& symbol : json.at("symbols").array) symbols.push_back(symbol.string);
        for (const int type : file.types_of(symbols)) types.push_back(type);
        positions = numbers("positions");
        system.n_local = system.n_all = static_cast<std::int64_t>(symbols.size());
        system.positions = positions.data();
        system.types = types.data();
        system.periodic = !json.at("cell").is_null();
        if (system.periodic) {
            const auto cell = numbers("cell");
            for (std::size_t i = 0; i < 9; ++i) system.cell[i / 3][i % 3] = cell[i];
        }
    }
    Case(const Case&) = delete;

    /// All numbers of a nested list, row by row.
    std::vector<double> numbers(const std::string& key) const {
        std::vector<double> out;
        collect(json.at(key), out);
        return out;
    }

    /// Sum of the element energies, the same constant on both sides of every comparison.
    double offsets() const {
        double sum = 0.0;
        for (const auto type : types)
            sum += json.at("model").at("network").at("e0").array[static_cast<std::size_t>(type)].number;
        return sum;
    }

private:
    static void collect(const les::json::Value& value, std::vector<double>& out) {
        if (value.kind == les::json::Value::Kind::number) out.push_back(value.number);
        for (const auto& item : value.array) collect(item, out);
    }
};
