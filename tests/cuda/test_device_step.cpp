// The whole evaluation of the device on the CPU, from positions to forces, against the engine: all reference cases,
// boxes that change, tables that grow, blocks of atoms, several domains, input that is refused.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <random>

#include "../cpp/asked_system.h"
#include "../cpp/case.h"
#include "../cpp/check.h"
#include "../cpp/results.h"
#include "emulated_step.h"
#include "limited_memory.h"

namespace {

/// Against the CPU engine with the same mesh, and against the reference with the allowed differences.
void check_reference_case(const Files& files, const std::string& name, const std::string& dtype, bool deterministic) {
    const les::ModelFile file = files.model(name, dtype);
    const Case example(files.json(name), file);
    const std::string what = name + " " + dtype;
    les::EngineOptions options = mesh_options(1e-8);
    options.deterministic = deterministic;
    Device device(file, options);
    device.backend.backwards = deterministic;
    const les::Results& got = device.compute(example.system);
    les::Engine engine(file, options);
    check_same(got, engine.compute(example.system), dtype == "float64" ? 1e-9 : 2e-6, what);
    const double tolerance = dtype == "float64" ? 1e-6 : 1e-4;
    check_all(got.forces, example.numbers("forces"), tolerance, what + " reference forces");
    check_all(flat(got.virial), example.numbers("virial"), tolerance, what + " reference virial");
    check_all(got.latent_charges, example.numbers("latent_charges"), tolerance, what + " reference charges");
    const double energy = example.json.at("energy").number;
    check_close(got.energy(), energy, tolerance, std::abs(energy) + 1.0, what + " reference energy");
}

/// The network of this package, which the reference cases do without, in whole and in blocks.
void check_network(const Files& files, const std::string& name, const std::string& dtype) {
    const les::ModelFile file = files.model(name, dtype);
    const double tolerance = dtype == "float64" ? 1e-9 : 2e-5;
    for (const std::string box : {"periodic", "isolated"}) {
        const Case example(files.json(box), file);
        les::EngineOptions options = name == "short_range" ? les::EngineOptions{} : mesh_options();
        les::Engine engine(file, options);
        const les::Results& expected = engine.compute(example.system);
        Device device(file, options), parts(file, options, 5);
        check_same(device.compute(example.system), expected, tolerance, name + " " + dtype + " " + box);
        check_same(parts.compute(example.system), expected, tolerance, name + " " + dtype + " " + box + " in blocks");
        CHECK((parts.network.n_blocks() > 1) == (file.metadata().n_layers == 1));
    }
}

/// A float32 mesh as the hosts choose it, and its place in the description.
void check_float32_mesh(const Files& files) {
    const les::ModelFile file = files.model("triclinic", "float32");
    const Case example(files.json("triclinic"), file);
    les::EngineOptions options = mesh_options(1e-4);
    Device device(file, options);
    les::Engine engine(file, options);
    check_same(device.compute(example.system), engine.compute(example.system), 2e-5, "float32 mesh");
    const std::string description = device.arrays.long_range_description();
    CHECK(description.rfind("mesh ", 0) == 0 && description.find(" on the GPU, Kaiser-Bessel window") < 30);
}

/// Atoms move and the box breathes; with a skin the list is kept, and nothing shows.
void check_trajectory(const Files& files, const std::string& name) {
    const les::ModelFile file = files.model(name);
    Case moving(files.json(name), file);
    Device device(file, mesh_options());
    les::Engine engine(file, mesh_options());
    std::mt19937 generator(4);
    std::normal_distribution<double> normal;
    for (int step = 0; step < 12; ++step) {
        for (double& x : moving.positions) x += 0.02 * normal(generator);
        if (step % 4 == 3)
            for (auto& row : moving.system.cell)
                for (double& x : row) x *= 1.0 + 0.003 * normal(generator);
        check_same(device.compute(moving.system), engine.compute(moving.system), 1e-9, name + " moving");
    }
    CHECK(device.step.search().n_searches() < 12);
    // crowded: more neighbours than there was room for
    const int enlarged = device.step.search().n_enlarged();
    for (double& x : moving.positions) x *= 0.6;
    for (auto& row : moving.system.cell)
        for (double& x : row) x *= 0.6;
    check_same(device.compute(moving.system), engine.compute(moving.system), 1e-9, name + " crowded");
    if (name == "periodic") CHECK(device.step.search().n_enlarged() > enlarged);
    moving.system.n_local = moving.system.n_all = 3;
    check_same(device.compute(moving.system), engine.compute(moving.system), 1e-9, name + " with fewer atoms");
}

void check_blocks(const Files& files, const std::string& name) {
    const les::ModelFile file = files.model(name);
    const Case example(files.json(name), file);
    Device whole(file, mesh_options()), parts(file, mesh_options(), 5);
    check_same(parts.compute(example.system), whole.compute(example.system), 1e-12, name + " in blocks");
    CHECK(whole.network.n_blocks() == 1 && parts.network.n_blocks() == (example.system.n_all + 4) / 5);
}

/// Where torch's memory ends, in the forward pass, which is TorchScript's, or in the backward pass: smaller blocks.
void check_memory(const Files& files, double share) {
    const les::ModelFile file = files.model("short_range");
    const Case example(files.json("periodic"), file);
    // cells side by side
    std::vector<double> positions;
    std::vector<std::int32_t> types;
    les::System system = example.system;
    for (auto& row : system.cell)
        for (double& x : row) x *= 4.0;
    const auto n = static_cast<std::size_t>(example.system.n_local);
    for (std::size_t image = 0; image < 64; ++image) {
        const std::size_t place[3] = {image / 16, image / 4 % 4, image % 4};
        for (std::size_t x = 0; x < 3 * n; ++x) {
            positions.push_back(example.positions[x]);
            for (std::size_t a = 0; a < 3; ++a)
                positions.back() += static_cast<double>(place[a]) * example.system.cell[a][x % 3];
        }
        types.insert(types.end(), example.types.begin(), example.types.end());
    }
    system.n_local = system.n_all = static_cast<std::int64_t>(types.size());
    system.positions = positions.data();
    system.types = types.data();
    Device whole(file, {}), limited(file, {});
    std::size_t asked = 0;
    {
        const LimitedMemory memory(std::numeric_limits<std::size_t>::max());
        whole.compute(system);
        asked = memory.most_asked();
    }
    {
        const LimitedMemory memory(static_cast<std::size_t>(share * static_cast<double>(asked)));
        limited.compute(system);
        CHECK(memory.n_refused() > 0);
    }
    check_same(limited.results, whole.results, 1e-12, "with little memory");
    CHECK(whole.network.n_blocks() == 1 && limited.network.n_blocks() > 1);
    const std::vector<std::string> said = limited.step.take_warnings();
    CHECK(said.size() == 1 && said[0].rfind("the network runs in blocks of up to ", 0) == 0);
}

/// Every bit is the same, however threads come.
void check_deterministic(const Files& files) {
    const les::ModelFile file = files.model("charge_transfers");
    const Case example(files.json("charge_transfers"), file);
    les::EngineOptions options = mesh_options();
    options.deterministic = true;
    Device first(file, options), second(file, options);
    second.backend.backwards = true;
    const AskedSystem asked(example);
    const les::Results &a = first.compute(asked.system), &b = second.compute(asked.system);
    CHECK(a.born_charges == b.born_charges && a.atom_virials == b.atom_virials && a.polarization == b.polarization);
    CHECK(a.external_forces == b.external_forces && a.polarization_current == b.polarization_current);
    CHECK(a.forces == b.forces && a.latent_charges == b.latent_charges && a.virial == b.virial);
    CHECK(a.energy() == b.energy() && a.potentials == b.potentials);
}

/// The halves for several domains: a domain whose ghosts are the images of its own atoms.
class Images final : public les::Communicator {
public:
    std::vector<std::int64_t> owners;  // of the ghosts
    std::int64_t n_local = 0;
    int rank() const override { return 0; }
    int size() const override { return 1; }
    bool has_ghosts() const override { return true; }
    void allreduce_sum(double*, std::int64_t) override {}
    std::vector<double> allgather(const std::vector<double>& values) override { return values; }
    void exchange(const void* sent, const std::vector<std::int64_t>& bytes, void* received,
                  const std::vector<std::int64_t>&) override {
        std::memcpy(received, sent, static_cast<std::size_t>(bytes[0]));
    }
    void ghosts_to_owners(double* rows, int width) override {
        for (std::size_t g = 0; g < owners.size(); ++g)
            for (int w = 0; w < width; ++w)
                rows[owners[g] * width + w] += rows[(n_local + static_cast<std::int64_t>(g)) * width + w];
    }
    void owners_to_ghosts(double* rows, int width) override {
        for (std::size_t g = 0; g < owners.size(); ++g)
            for (int w = 0; w < width; ++w)
                rows[(n_local + static_cast<std::int64_t>(g)) * width + w] = rows[owners[g] * width + w];
    }
};

void check_ghosts(const Files& files, const std::string& name) {
    const les::ModelFile file = files.model(name);
    Case example(files.json(name), file);
    const les::Results expected = les::Engine(file, mesh_options()).compute(example.system);
    Images images;
    images.n_local = example.system.n_local;
    std::vector<std::int64_t> all(static_cast<std::size_t>(images.n_local));
    for (int a = -2; a <= 2; ++a) {
        for (int b = -2; b <= 2; ++b) {
            for (int c = -2; c <= 2; ++c) {
                for (std::int64_t i = 0; (a != 0 || b != 0 || c != 0) && i < images.n_local; ++i) {
                    images.owners.push_back(i);
                    example.types.push_back(example.types[static_cast<std::size_t>(i)]);
                    for (std::size_t x = 0; x < 3; ++x)
                        example.positions.push_back(example.positions[3 * static_cast<std::size_t>(i) + x] +
                                                    a * example.system.cell[0][x] + b * example.system.cell[1][x] +
                                                    c * example.system.cell[2][x]);
                }
            }
        }
    }
    example.system.positions = example.positions.data();
    example.system.types = example.types.data();
    example.system.n_all = static_cast<std::int64_t>(example.types.size());
    Device device(file, mesh_options());
    device.arrays.forward(example.system, images);
    check_all(device.arrays.node_energies(), expected.node_energies, 1e-10, name + " with ghosts, energies");
    std::vector<double> charges = device.arrays.latent_charges();
    images.ghosts_to_owners(charges.data(), expected.n_channels);
    std::vector<double> cotangents(charges.size());
    // any cotangents do: those of the energies and of q . phi with the potentials of the whole
    std::copy(expected.potentials.begin(), expected.potentials.end(), cotangents.begin());
    images.owners_to_ghosts(cotangents.data(), expected.n_channels);
    if (!file.metadata().long_range->neutralize) {
        charges.resize(expected.latent_charges.size());
        check_all(charges, expected.latent_charges, 1e-10, name + " with ghosts, charges");
    }
    les::Results got;
    device.arrays.backward(example.system, cotangents, {}, images, got);
    images.ghosts_to_owners(got.forces.data(), 3);
    // the long-range part at fixed charges is the solver's
    const auto solver =
        les::make_periodic_solver(*file.metadata().long_range, expected.n_channels, mesh_options().long_range);
    les::SingleProcess alone;
    les::System owned = example.system;
    owned.n_all = owned.n_local;
    const auto& long_range = solver->compute(owned, expected.latent_charges, alone);
    got.forces.resize(expected.forces.size());
    for (std::size_t n = 0; n < got.forces.size(); ++n) got.forces[n] += long_range.forces[n];
    if (!file.metadata().long_range->neutralize) check_all(got.forces, expected.forces, 1e-7, name + " with ghosts");
}

void check_refusals(const Files& files) {
    const les::ModelFile file = files.model("triclinic");
    Case example(files.json("triclinic"), file);
    Device device(file, mesh_options());
    const double good = example.positions[4];
    example.positions[4] = std::nan("");
    check_error([&] { device.compute(example.system); }, "`positions` must be finite, atom 1 (counted from 0) is not");
    example.positions[4] = good;
    example.types[2] = 99;
    check_error([&] { device.compute(example.system); }, "`types` must be 0 to");
    example.types[2] = 0;
    device.compute(example.system);
    les::EngineOptions options = mesh_options();
    options.long_range.solver = "direct";
    check_error([&] { Device(file, options); }, "the direct sum has no CUDA kernels; take `solver` mesh or auto");
    options.long_range.solver = "auto";
    options.total_charge = 1.0;
    check_error([&] { Device(file, options); }, "total_charge needs a model trained with `neutrality: true`");
    check_error([&] { les::DeviceNetwork(file, "cuda:999", nullptr, {}); }, "device cuda:999 was asked for, but");
}

}  // namespace

int main(int, char** arguments) {
    const Files files{arguments[1], arguments[2]};
    for (const char* name : {"periodic", "triclinic", "isolated", "one_atom", "two_elements", "net_charge",
                             "neutralized", "two_channels", "charge_transfers"}) {
        for (const bool deterministic : {false, true}) check_reference_case(files, name, "float64", deterministic);
        check_reference_case(files, name, "float32", false);
    }
    for (const char* name : {"one_layer", "two_layers", "transfers", "short_range"}) {
        for (const char* dtype : {"float64", "float32"}) check_network(files, name, dtype);
    }
    check_float32_mesh(files);
    for (const char* name : {"periodic", "triclinic", "isolated", "neutralized", "two_channels"})
        check_trajectory(files, name);
    for (const char* name : {"periodic", "isolated", "charge_transfers"}) check_blocks(files, name);
    for (const double share : {0.6, 0.3}) check_memory(files, share);
    check_deterministic(files);
    for (const char* name : {"triclinic", "charge_transfers"}) check_ghosts(files, name);
    check_refusals(files);
    std::puts("the step of the device agrees with the engine");
}
