// Engine with device "cuda", whose GPU is the emulated one: this program has the two functions by which the library
// reaches its kernels. One domain and several, what goes back to the CPU, which GPU a process takes.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <map>
#include <thread>

#include "../cpp/asked_system.h"
#include "../cpp/case.h"
#include "../cpp/check.h"
#include "../cpp/results.h"
#include "../cpp/thread_communicator.h"
#include "emulated_domain.h"
#include "les/device_engine.h"

namespace {

using les::cuda::device_of_thread;
using les::cuda::EmulatedDomain;

}  // namespace

namespace les {

/// More than any machine has: the network alone cannot run on the last one.
constexpr int most_devices = 1000;

bool has_device_engine() { return true; }

std::unique_ptr<DeviceDomain> make_device_domain(const ModelFile& file, const EngineOptions& options) {
    device_index_of(options.device, most_devices);
    return std::make_unique<EmulatedDomain>(file, options);
}

}  // namespace les

namespace {

void check_same(const les::Results& got, const les::Results& expected, const std::string& what,
                double tolerance = 1e-9) {
    ::check_same(got, expected, tolerance, what);
}

les::EngineOptions options_on(const std::string& device) {
    les::EngineOptions options;
    options.device = device;
    options.long_range.solver = "mesh";
    options.long_range.accuracy = 1e-6;
    return options;
}

void check_one_domain(const les::ModelFile& file, const Case& example, const std::string& name) {
    les::Engine engine(file, options_on("cuda:1")), cpu(file, options_on("cpu"));
    for (int step = 0; step < 2; ++step) check_same(engine.compute(example.system), cpu.compute(example.system), name);
    CHECK(engine.take_warnings().empty());
    const std::string description = engine.long_range_description();
    CHECK(description.find("on the GPU") != std::string::npos);
    const les::StageTimes times = engine.stage_times();
    CHECK(times.network_forward > 0.0 && times.long_range == 0.0);
    const AskedSystem asked(example);
    check_same(engine.compute(asked.system), cpu.compute(asked.system), name + " with all that can be asked for");
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
    check_same(got, cpu.compute(without_ghosts), name + " with a ghost");
}

/// Rows of ghosts and their owners by the numbers of the atoms in the whole system.
class GhostCommunicator final : public ThreadCommunicator {
public:
    using ThreadCommunicator::ThreadCommunicator;
    std::vector<std::int64_t> atoms;  // of all rows
    std::size_t n_local = 0;

    bool has_ghosts() const override { return true; }
    void ghosts_to_owners(double* rows, int width) override {
        exchange_rows(rows, width, n_local, atoms.size(), [&](std::size_t own, const double* theirs) {
            if (own >= n_local) return;
            for (int w = 0; w < width; ++w) rows[own * static_cast<std::size_t>(width) + w] += theirs[w];
        });
    }
    void owners_to_ghosts(double* rows, int width) override {
        exchange_rows(rows, width, 0, n_local, [&](std::size_t own, const double* theirs) {
            if (own >= n_local) std::copy_n(theirs, width, rows + own * static_cast<std::size_t>(width));
        });
    }

private:
    /// Shows rows first ... last - 1 to all, and calls take(own row, their row) for those of the same atoms.
    void exchange_rows(const double* rows, int width, std::size_t first, std::size_t last,
                       const std::function<void(std::size_t, const double*)>& take) {
        std::vector<double> mine;
        const auto w = static_cast<std::size_t>(width);
        for (std::size_t n = first; n < last; ++n) {
            mine.push_back(static_cast<double>(atoms[n]));
            mine.insert(mine.end(), rows + n * w, rows + (n + 1) * w);
        }
        const std::vector<double> all = allgather(mine);
        std::multimap<std::int64_t, std::size_t> places;
        for (std::size_t n = 0; n < atoms.size(); ++n) places.emplace(atoms[n], n);
        for (std::size_t n = 0; n < all.size(); n += w + 1) {
            const auto [begin, end] = places.equal_range(static_cast<std::int64_t>(all[n]));
            for (auto place = begin; place != end; ++place) take(place->second, all.data() + n + 1);
        }
    }
};

/// Atoms dealt out to the domains in turn; every other atom and every image within reach is a ghost. The second step
/// has a larger cell.
void check_several_domains(const les::ModelFile& file, Case example, const std::string& name, int n_ranks,
                           double tolerance, const std::vector<int>& failing_launches = {}) {
    constexpr double stretch = 1.01;
    les::Engine alone(file, options_on("cpu"));
    alone.compute(example.system);
    for (double& x : example.positions) x *= stretch;
    for (auto& row : example.system.cell) {
        for (double& x : row) x *= stretch;
    }
    example.system.positions = example.positions.data();
    const les::Results expected = alone.compute(example.system);
    const auto n = static_cast<std::size_t>(example.system.n_local);
    const int reach = example.system.periodic ? 2 : 0;
    Board board(n_ranks);
    std::vector<les::Results> results(static_cast<std::size_t>(n_ranks));
    std::vector<std::vector<std::int64_t>> owned(static_cast<std::size_t>(n_ranks));
    const auto rank = [&](int r) {
        auto communicator = std::make_shared<GhostCommunicator>(board, r);
        std::vector<double> positions;
        std::vector<std::int32_t> types;
        const auto add = [&](std::size_t i, int a, int b, int c) {
            communicator->atoms.push_back(static_cast<std::int64_t>(i));
            types.push_back(example.types[i]);
            for (std::size_t x = 0; x < 3; ++x)
                positions.push_back(example.positions[3 * i + x] + a * example.system.cell[0][x] +
                                    b * example.system.cell[1][x] + c * example.system.cell[2][x]);
        };
        // the last domain has no atoms
        const auto owner = [&](std::size_t i) { return n_ranks == 1 ? 0 : static_cast<int>(i) % (n_ranks - 1); };
        for (std::size_t i = 0; i < n; ++i)
            if (owner(i) == r) add(i, 0, 0, 0);
        communicator->n_local = communicator->atoms.size();
        owned[static_cast<std::size_t>(r)] = communicator->atoms;
        for (std::size_t i = 0; i < n; ++i)
            for (int a = -reach; a <= reach; ++a)
                for (int b = -reach; b <= reach; ++b)
                    for (int c = -reach; c <= reach; ++c)
                        if (owner(i) != r || a != 0 || b != 0 || c != 0) add(i, a, b, c);
        les::System system = example.system;
        system.positions = positions.data();
        system.types = types.data();
        system.n_local = static_cast<std::int64_t>(communicator->n_local);
        system.n_all = static_cast<std::int64_t>(types.size());
        les::Engine engine(file, options_on("cuda"), communicator);
        const std::vector<double> last = positions;
        for (double& x : positions) x /= stretch;
        for (auto& row : system.cell) {
            for (double& x : row) x /= stretch;
        }
        engine.compute(system, les::EdgeList{});
        // a launch of one domain fails: of the search, of the mesh, of the forces
        for (const int launches : failing_launches) {
            if (r == 0) device_of_thread->launches_left = launches;
            check_error([&] { engine.compute(system, les::EdgeList{}); }, ": out of order");
            device_of_thread->launches_left = -1;
        }
        positions = last;
        system.positions = positions.data();
        system.cell = example.system.cell;
        results[static_cast<std::size_t>(r)] = engine.compute(system, les::EdgeList{});
        const std::string how = engine.long_range_description();
        CHECK(!system.periodic || how.find(" on the GPU, ") != std::string::npos);
        CHECK(!system.periodic ||
              how.find("divided among " + std::to_string(n_ranks) + " domains") != std::string::npos);
        communicator->ghosts_to_owners(results[static_cast<std::size_t>(r)].forces.data(), 3);
    };
    std::vector<std::thread> threads;
    for (int r = 0; r < n_ranks; ++r) threads.emplace_back(rank, r);
    for (auto& thread : threads) thread.join();

    les::Results sum;
    const auto channels = static_cast<std::size_t>(expected.n_channels);
    sum.forces.resize(3 * n);
    sum.node_energies.resize(n);
    sum.latent_charges.resize(n * channels);
    sum.potentials.resize(n * channels);
    for (std::size_t r = 0; r < results.size(); ++r) {
        const les::Results& part = results[r];
        sum.short_range_energy += part.short_range_energy;
        sum.long_range_energy += part.long_range_energy;
        for (std::size_t a = 0; a < 3; ++a) {
            sum.polarization[a] += part.polarization[a];
            for (std::size_t b = 0; b < 3; ++b) sum.virial[a][b] += part.virial[a][b];
        }
        for (std::size_t k = 0; k < owned[r].size(); ++k) {
            const auto i = static_cast<std::size_t>(owned[r][k]);
            sum.node_energies[i] = part.node_energies[k];
            for (std::size_t x = 0; x < 3; ++x) sum.forces[3 * i + x] = part.forces[3 * k + x];
            for (std::size_t c = 0; c < channels; ++c) {
                sum.latent_charges[i * channels + c] = part.latent_charges[k * channels + c];
                sum.potentials[i * channels + c] = part.potentials[k * channels + c];
            }
        }
    }
    check_same(sum, expected, name + " on " + std::to_string(n_ranks) + " domains", tolerance);
}

/// What several domains do not have on a device goes to the CPU, with the network on the GPU, of which there is none
/// here.
void check_way_back(const les::ModelFile& file, const Case& example) {
    Board board(2);
    const auto rank = [&](int r) {
        auto communicator = std::make_shared<GhostCommunicator>(board, r);
        les::EngineOptions options = options_on("cuda:999");
        options.deterministic = true;
        les::Engine engine(file, options, communicator);
        CHECK(engine.take_warnings().empty());
        les::System wants_more = example.system;
        wants_more.atom_virials = true;
        check_error([&] { engine.compute(wants_more, les::EdgeList{}); }, "device cuda:999 was asked for, but");
        const auto warnings = engine.take_warnings();
        CHECK(warnings.size() == 1 && warnings[0].find("deterministic has no effect") == 0);
    };
    std::thread other(rank, 1);
    rank(0);
    other.join();
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
    const std::pair<const char*, int> on_domains[] = {
        {"triclinic", 3}, {"isolated", 3},     {"neutralized", 2}, {"charge_transfers", 4}, {"two_channels", 3},
        {"periodic", 6},  {"two_elements", 2}, {"net_charge", 4},  {"one_atom", 3},
    };
    for (const auto& [name, n_ranks] : on_domains) {
        for (const std::string dtype : {"float64", "float32"}) {
            const auto file = les::ModelFile::from_path(models + "/" + name + "_" + dtype + ".les.pt");
            check_several_domains(file, Case(cases + "/" + name + ".json", file), name, n_ranks,
                                  dtype == "float64" ? 1e-9 : 1e-5);
        }
    }
    const auto file = les::ModelFile::from_path(models + "/triclinic_float64.les.pt");
    check_several_domains(file, Case(cases + "/triclinic.json", file), "after failures", 3, 1e-9, {2, 20, 33});
    check_error([&] { les::Engine(file, options_on("cuda:1000")); }, "device cuda:1000 was asked for, but there are");
    check_way_back(file, Case(cases + "/triclinic.json", file));
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
