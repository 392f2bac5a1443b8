// The engine against every reference case, in both precisions.
#include <algorithm>

#include "case.h"
#include "check.h"
#include "results.h"

namespace {

void run(const std::string& name, const std::string& cases, const std::string& models, const std::string& dtype) {
    const double tolerance = dtype == "float64" ? 1e-6 : 1e-4;
    const auto file = les::ModelFile::from_path(models + "/" + name + "_" + dtype + ".les.pt");
    const Case reference(cases + "/" + name + ".json", file);
    les::Engine engine(file);
    CHECK(engine.metadata().dtype == dtype);
    les::System system = reference.system;
    const bool in_field = reference.json.has("field");
    if (in_field) {
        const std::vector<double> field = reference.numbers("field");
        std::copy(field.begin(), field.end(), system.field.begin());
        system.born_charges = true;
    }
    const les::Results& results = engine.compute(system);
    const double short_range = reference.json.at("short_range_energy").number,
                 long_range = reference.json.at("long_range_energy").number;
    const double scale = std::abs(short_range - reference.offsets()) + std::abs(long_range);
    check_close(results.energy(), reference.json.at("energy").number, tolerance, scale, name + " energy");
    check_close(results.short_range_energy, short_range, tolerance, scale, name + " short-range energy");
    check_close(results.long_range_energy, long_range, tolerance, scale, name + " long-range energy");
    check_all(results.forces, reference.numbers("forces"), tolerance, name + " forces");
    check_all(results.latent_charges, reference.numbers("latent_charges"), tolerance, name + " charges");
    std::vector<double> virial;
    for (const auto& row : results.virial) virial.insert(virial.end(), row.begin(), row.end());
    check_all(virial, reference.numbers("virial"), tolerance, name + " virial");
    if (in_field) {
        check_all(results.born_charges, reference.numbers("born_charges"), tolerance, name + " Born charges");
        check_all({results.polarization.begin(), results.polarization.end()}, reference.numbers("polarization"),
                  tolerance, name + " polarization");
        check_close(results.field_energy, reference.json.at("field_energy").number, tolerance, scale,
                    name + " field energy");
    }
    double sum = 0.0;
    for (std::int64_t i = 0; i < reference.system.n_local; ++i) sum += results.atom_energy(i);
    check_close(sum, results.energy(), 1e-12, std::abs(results.energy()), name + " sum of atomic energies");
}

}  // namespace

int main(int, char** arguments) {
    for (const char* name :
         {"periodic", "triclinic", "isolated", "one_atom", "two_elements", "net_charge", "neutralized", "two_channels",
          "charge_transfers", "field_isolated", "field_periodic", "field_transfers"}) {
        for (const char* dtype : {"float64", "float32"}) run(name, arguments[1], arguments[2], dtype);
    }
    std::puts("12 reference cases agree in float64 and float32");
}
