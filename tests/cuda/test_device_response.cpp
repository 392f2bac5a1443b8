// What an evaluation on the device is asked for beside energy and forces, on the CPU and against the engine: fields,
// polarization, Born charges, currents, virials of the atoms, external charges, and what of it is refused.
#include <algorithm>
#include <cmath>

#include "../cpp/asked_system.h"
#include "../cpp/case.h"
#include "../cpp/check.h"
#include "../cpp/results.h"
#include "emulated_step.h"

namespace {

/// Field, polarization, Born charges, current, virials of the atoms and external charges against the CPU engine; atoms
/// move, so that what a step leaves behind would show.
void check_all_quantities(const Files& files, const std::string& name, const std::string& box, std::int64_t blocks,
                          const std::string& dtype = "float64") {
    const les::ModelFile file = files.model(name, dtype);
    Case moving(files.json(box), file);
    Device device(file, mesh_options(1e-8), blocks);
    les::Engine engine(file, mesh_options(1e-8));
    const double tolerance = dtype == "float64" ? 1e-9 : 2e-5;
    const std::string what = name + " " + dtype + " in " + box + (blocks > 0 ? ", in blocks" : "");
    for (const bool external : {true, false, true}) {
        const AskedSystem asked(moving, external);
        check_same(device.compute(asked.system), engine.compute(asked.system), tolerance, what);
        for (int wish = 0; wish < 5 && !external; ++wish) {  // each alone
            les::System one = moving.system;
            if (wish == 0) one.field = {0.0, 0.0, 0.3};
            one.atom_virials = wish == 1;
            one.born_charges = wish == 2;
            one.polarization_current = wish == 3;
            one.velocities = asked.velocities.data();
            if (wish == 4) one.field = asked.system.field, one.atom_virials = true;
            check_same(device.compute(one), engine.compute(one), tolerance, what + ", wish " + std::to_string(wish));
        }
        for (std::size_t x = 0; x < moving.positions.size(); ++x)
            moving.positions[x] += 0.01 * std::sin(static_cast<double>(x));
    }
    const auto warnings = device.step.take_warnings(), expected = engine.take_warnings();
    CHECK(warnings == expected);
    const bool has_polarization = !moving.system.periodic || file.metadata().charge_flux();
    CHECK(warnings.size() == (has_polarization ? 0 : 1));
    const std::string description = device.step.description();
    CHECK(description.find("; external charges: ") != std::string::npos);
}

/// Against the numbers of the reference files.
void check_field_case(const Files& files, const std::string& name, const std::string& dtype) {
    const les::ModelFile file = files.model(name, dtype);
    const Case example(files.json(name), file);
    les::System system = example.system;
    const std::vector<double> field = example.numbers("field");
    std::copy(field.begin(), field.end(), system.field.begin());
    system.born_charges = true;
    Device device(file, mesh_options(1e-8));
    const les::Results& got = device.compute(system);
    const double tolerance = dtype == "float64" ? 1e-6 : 1e-4;
    const std::string what = name + " " + dtype + " reference ";
    check_all(got.forces, example.numbers("forces"), tolerance, what + "forces");
    check_all(flat(got.virial), example.numbers("virial"), tolerance, what + "virial");
    check_all(got.born_charges, example.numbers("born_charges"), tolerance, what + "Born charges");
    check_all({got.polarization.begin(), got.polarization.end()}, example.numbers("polarization"), tolerance,
              what + "polarization");
    const double energy = example.json.at("energy").number;
    check_close(got.energy(), energy, tolerance, std::abs(energy), what + "energy");
    check_close(got.field_energy, example.json.at("field_energy").number, tolerance, 1.0, what + "field energy");
}

void check_refusals(const Files& files) {
    const les::ModelFile file = files.model("triclinic");
    const Case example(files.json("triclinic"), file);
    Device device(file, mesh_options());
    les::System wrong = example.system;
    wrong.polarization_current = true;
    check_error([&] { device.compute(wrong); }, "`velocities` must be given for the polarization current, got none");
    const les::ModelFile short_range = files.model("short_range");
    Device without_charges(short_range, les::EngineOptions{});
    const AskedSystem asked(example), no_external(example, false);
    check_error([&] { without_charges.compute(no_external.system); }, "currents need a model with charges");
    wrong = example.system;
    wrong.n_external = 1;
    wrong.external_positions = example.positions.data();
    wrong.external_charges = asked.external_charges.data();
    check_error([&] { without_charges.compute(wrong); }, "external charges need a model with charges");
    wrong.periodic = false;
    check_error([&] { device.compute(wrong); }, "an external charge must not coincide with an atom of the model");
    const double nan[] = {std::nan("")};
    wrong.external_charges = nan;
    check_error([&] { device.compute(wrong); }, "those of external charge 0 (counted from 0) are not");
}

}  // namespace

int main(int, char** arguments) {
    const Files files{arguments[1], arguments[2]};
    for (const char* name : {"field_isolated", "field_periodic", "field_transfers"}) {
        for (const char* dtype : {"float64", "float32"}) check_field_case(files, name, dtype);
        for (const std::int64_t blocks : {0, 5}) check_all_quantities(files, name, name, blocks);
    }
    for (const char* name : {"triclinic", "neutralized", "two_channels", "charge_transfers", "one_atom", "net_charge"})
        check_all_quantities(files, name, name, 0);
    for (const char* name : {"one_layer", "two_layers", "transfers"}) {
        for (const char* box : {"periodic", "isolated"}) check_all_quantities(files, name, box, 0);
        check_all_quantities(files, name, "periodic", 5);
    }
    check_all_quantities(files, "one_layer", "isolated", 0, "float32");
    check_refusals(files);
    std::puts("the response of the device agrees with the engine");
}
