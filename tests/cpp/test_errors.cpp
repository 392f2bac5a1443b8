// What the engine refuses, and that it says so in one line.
#include <fstream>
#include <limits>
#include <memory>

#include "case.h"
#include "check.h"

namespace {

/// The first of two domains, as far as the other is not asked for anything.
class FirstOfTwo final : public les::Communicator {
public:
    int rank() const override { return 0; }
    int size() const override { return 2; }
    bool has_ghosts() const override { return false; }
    void allreduce_sum(double*, std::int64_t) override {}
    std::vector<double> allgather(const std::vector<double>& values) override { return values; }
    void exchange(const void*, const std::vector<std::int64_t>&, void*, const std::vector<std::int64_t>&) override {}
    void ghosts_to_owners(double*, int) override {}
    void owners_to_ghosts(double*, int) override {}
};

}  // namespace

int main(int, char** arguments) {
    const std::string cases = arguments[1], models = arguments[2], path = models + "/periodic_float64.les.pt";
    check_error([] { les::ModelFile::from_path("/nowhere.les.pt"); }, "model file /nowhere.les.pt cannot be read");
    check_error([] { les::ModelFile::from_bytes("not a model", "x.pt"); },
                "model file x.pt is not a TorchScript archive");
    check_error([&] { les::ModelFile::from_path(models + "/plain.pt"); }, "has no LES record");
    check_error([&] { les::ModelFile::from_path(models + "/newer.les.pt"); },
                "has format version 99, this les-md reads up to 2");
    check_error([&] { les::ModelFile::from_path(models + "/dipoles.les.pt"); },
                "needs `latent_dipoles`, which this les-md does not know");

    const auto file = les::ModelFile::from_path(path);
    CHECK(file.metadata().symbols == (std::vector<std::string>{"O", "H"}));
    check_error([&] { file.types_of({"O", "Xe"}); }, "element Xe is not in model file");
    les::EngineOptions gpu, idle, charged, doublet;
    gpu.device = "gpu";
    idle.threads = 0;
    charged.total_charge = 1.0;
    doublet.spin = 2.0;
    check_error([&] { les::Engine engine(file, gpu); }, "`device` must be cpu, cuda or cuda:N, got gpu");
    if (!les::has_device_engine())
        check_error([&] { les::DeviceEngine engine(file, {}, 0, nullptr); },
                    "this build of les-md has no CUDA kernels");
    check_error([&] { les::Engine engine(file, idle); }, "`threads` must be at least 1, got 0");
    check_error([&] { les::Engine engine(file, charged); },
                "total_charge needs a model trained with `neutrality: true`");
    check_error([&] { les::Engine engine(file, doublet); }, "spin needs a model trained with `spin_embedding: true`");

    les::Engine engine(file);
    Case reference(cases + "/periodic.json", file);
    les::EngineOptions direct;
    direct.long_range.solver = "direct";
    les::Engine divided(file, direct, std::make_shared<FirstOfTwo>());
    les::System embedded = reference.system;
    const double place[3] = {0.1, 0.2, 0.3}, charge = 0.5;
    embedded.n_external = 1;
    embedded.external_positions = place;
    embedded.external_charges = &charge;
    check_error([&] { divided.compute(embedded); }, "external charges must be given to one domain, got 2");
    reference.positions[4] = std::numeric_limits<double>::quiet_NaN();
    check_error([&] { engine.compute(reference.system); }, "`positions` must be finite, atom 1");
    reference.positions[4] = reference.positions[1];
    reference.positions[3] = reference.positions[0];
    reference.positions[5] = reference.positions[2];
    check_error([&] { engine.compute(reference.system); }, "atoms must not coincide");
    reference.positions[4] += 1.0;
    reference.types[2] = 7;
    check_error([&] { engine.compute(reference.system); }, "`types` must be 0 to 1, got 7 for atom 2");
    reference.types[2] = 0;
    reference.system.cell[2] = reference.system.cell[1];
    check_error([&] { engine.compute(reference.system); }, "must be finite and have a volume");
    reference.system.n_local -= 1;
    check_error([&] { engine.compute(reference.system); }, "a system with ghosts needs the neighbour list of its host");
    std::puts("every refusal is one line");
}
