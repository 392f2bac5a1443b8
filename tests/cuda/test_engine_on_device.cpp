// Engine with device "cuda" and one domain, whose GPU is the emulated one: against the engine on the CPU, with options
// and devices that are refused, and which GPU a process takes.
#include <cstdlib>

#include "../cpp/asked_system.h"
#include "../cpp/case.h"
#include "../cpp/check.h"
#include "../cpp/results.h"
#include "emulated_engine.h"

namespace {

void check_one_domain(const les::ModelFile& file, const Case& example, const std::string& name) {
    les::Engine engine(file, options_on("cuda:1")), cpu(file, options_on("cpu"));
    for (int step = 0; step < 2; ++step)
        check_same(engine.compute(example.system), cpu.compute(example.system), 1e-9, name);
    CHECK(engine.take_warnings().empty());
    const std::string description = engine.long_range_description();
    CHECK(description.find("on the GPU") != std::string::npos);
    const les::StageTimes times = engine.stage_times();
    CHECK(times.network_forward > 0.0 && times.long_range == 0.0);
    const AskedSystem asked(example);
    check_same(engine.compute(asked.system), cpu.compute(asked.system), 1e-9, name + " with all that can be asked for");
    // said once, though engine and device both may see it
    CHECK(engine.take_warnings() == cpu.take_warnings());
    // ghosts of one domain are images of its own atoms, which the cell gives; theirs are no forces
    const les::EdgeList none;
    les::System with_ghosts = example.system;
    std::vector<double> positions = example.positions;
    std::vector<std::int32_t> types = example.types;
    positions.insert(positions.end(), {0.1, 0.2, 0.3});
    types.push_back(0);
    with_ghosts.positions = positions.data();
    with_ghosts.types = types.data();
    with_ghosts.n_all += 1;
    with_ghosts.atom_virials = true;
    les::Results got = engine.compute(with_ghosts, none);
    CHECK(got.forces.size() == positions.size() && got.forces.back() == 0.0);
    CHECK(got.atom_virials.size() == 3 * positions.size() && got.atom_virials.back() == 0.0);
    got.forces.resize(example.positions.size());
    got.atom_virials.resize(3 * example.positions.size());
    les::System without_ghosts = example.system;
    without_ghosts.atom_virials = true;
    check_same(got, cpu.compute(without_ghosts), 1e-9, name + " with a ghost");
}

/// "cuda" is the GPU of this process by its rank on the machine, "cuda:N" the one named.
void check_device_index() {
    const char* names[] = {"MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_RANK",
                           "PMI_LOCAL_RANK", "SLURM_LOCALID"};
    for (const char* name : names) unsetenv(name);
    CHECK(les::device_index_of("cuda", 4) == 0);
    for (const char* name : names) {
        setenv(name, "6", 1);
        CHECK(les::device_index_of("cuda", 4) == 2 && les::device_index_of("cuda", 8) == 6);
        CHECK(les::device_index_of("cuda:3", 4) == 3);
        setenv(name, "many", 1);
        CHECK(les::device_index_of("cuda", 4) == 0);
        unsetenv(name);
    }
    check_error([] { les::device_index_of("cuda:4", 4); }, "device cuda:4 was asked for, but there are 4 GPUs");
    check_error([] { les::device_index_of("cuda", 0); }, "no GPU is found; use device cpu");
    for (const char* name : {"gpu", "cuda:", "cuda:-1", "cuda:1x", "cuda:12345", ""})
        check_error([&] { les::device_index_of(name, 4); },
                    "`device` must be cpu, cuda or cuda:N, got " + std::string(name));
}

}  // namespace

int main(int, char** arguments) {
    const std::string cases = arguments[1], models = arguments[2];
    for (const std::string name : {"triclinic", "isolated", "neutralized", "charge_transfers", "two_channels"}) {
        const auto file = les::ModelFile::from_path(models + "/" + name + "_float64.les.pt");
        const Case example(cases + "/" + name + ".json", file);
        check_one_domain(file, example, name);
    }
    const auto file = les::ModelFile::from_path(models + "/triclinic_float64.les.pt");
    check_error([&] { les::Engine(file, options_on("cuda:1000")); }, "device cuda:1000 was asked for, but there are");
    les::EngineOptions options = options_on("cuda");
    options.graph_memory = 1.0;
    const auto warnings = les::Engine(file, options).take_warnings();
    CHECK(warnings.size() == 1 && warnings[0].find("graph_memory has no effect on a GPU") == 0);
    // said once, though engine and device both see it
    const auto short_range = les::ModelFile::from_path(models + "/short_range_float64.les.pt");
    const auto of_short_range = les::Engine(short_range, options_on("cuda")).take_warnings();
    CHECK(of_short_range.size() == 1 && of_short_range[0].find("this model has no long-range energy") == 0);
    check_device_index();
    std::puts("the engine with a device agrees with the engine on the CPU");
}
