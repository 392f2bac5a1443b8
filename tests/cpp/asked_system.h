// A system that is asked for everything: in a field, with velocities, unwrapped positions, external charges and the
// wish for virials of the atoms, Born charges and current. For tests on the CPU, on the emulated device and on a GPU.
#pragma once

#include <array>
#include <random>
#include <vector>

#include "case.h"

struct AskedSystem {
    les::System system;
    std::vector<double> velocities, unwrapped, external_positions, external_charges;

    explicit AskedSystem(const Case& example, bool with_external_charges = true) : system(example.system) {
        std::mt19937 generator(7);
        std::normal_distribution<double> normal;
        const auto n = static_cast<std::size_t>(system.n_local);
        for (std::size_t x = 0; x < 3 * n; ++x) velocities.push_back(normal(generator));
        // the second atom has gone through a face of the cell
        unwrapped = example.positions;
        for (std::size_t x = 0; system.periodic && n > 1 && x < 3; ++x) unwrapped[3 + x] += system.cell[0][x];
        system.field = {0.2, 0.1, -0.4};
        if (example.json.has("field")) {
            const std::vector<double> field = example.numbers("field");
            std::copy(field.begin(), field.end(), system.field.begin());
        }
        system.velocities = velocities.data();
        system.unwrapped_positions = unwrapped.data();
        system.atom_virials = system.born_charges = system.polarization_current = true;
        if (!with_external_charges) return;
        for (int j = 0; j < 7; ++j) {
            for (std::size_t x = 0; x < 3; ++x)
                external_positions.push_back(example.positions[x] + 2.5 + 1.5 * normal(generator));
            external_charges.push_back(j == 3 ? 0.0 : 0.4 * normal(generator));
        }
        system.n_external = 7;
        system.external_positions = external_positions.data();
        system.external_charges = external_charges.data();
    }
    AskedSystem(const AskedSystem&) = delete;
};
