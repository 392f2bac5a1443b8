// Engine with device "cuda" on several domains, threads with an emulated GPU each, against the engine on the CPU with
// one: reference cases, fields and responses, networks with messages, isolated systems, launches that fail on one
// domain, and what goes back to the CPU.
#include <cmath>
#include <mutex>
#include <thread>

#include "../cpp/case.h"
#include "../cpp/check.h"
#include "../cpp/results.h"
#include "domain_parts.h"
#include "emulated_engine.h"

namespace {

using les::cuda::device_of_thread;

/// Runs `rank(r)` on as many threads.
template <class Rank>
void on_ranks(int n_ranks, const Rank& rank) {
    std::vector<std::thread> threads;
    for (int r = 0; r < n_ranks; ++r) threads.emplace_back(rank, r);
    for (auto& thread : threads) thread.join();
}

/// Stretched by `factor`, with what it refers to.
struct Stretched {
    std::vector<double> positions, unwrapped;
    les::System system;

    Stretched(const les::System& given, double factor)
        : positions(given.positions, given.positions + 3 * given.n_local), system(given) {
        for (double& x : positions) x *= factor;
        for (auto& row : system.cell) {
            for (double& x : row) x *= factor;
        }
        system.positions = positions.data();
        if (given.unwrapped_positions == nullptr) return;
        unwrapped.assign(given.unwrapped_positions, given.unwrapped_positions + 3 * given.n_local);
        for (double& x : unwrapped) x *= factor;
        system.unwrapped_positions = unwrapped.data();
    }
    Stretched(const Stretched&) = delete;
};

/// Two steps, the second with a larger cell. `failing_launches`: on the first domain, between the steps.
void check_domains(const les::ModelFile& file, const les::System& system, const std::string& name, int n_ranks,
                   double tolerance, const std::vector<int>& failing_launches = {}) {
    const Stretched stretched(system, 1.01);
    les::Engine alone(file, options_on("cpu"));
    alone.compute(system);
    const les::Results expected = alone.compute(stretched.system);
    const auto n = static_cast<std::size_t>(system.n_local);
    Board board(n_ranks);
    les::Results sum;
    on_ranks(n_ranks, [&](int r) {
        const double cutoff = file.metadata().cutoff;
        const DomainPart first(system, cutoff, board, r), second(stretched.system, cutoff, board, r);
        les::Engine engine(file, options_on("cuda"), first.communicator);
        engine.compute(first.system, les::EdgeList{});
        for (const int launches : failing_launches) {
            if (r == 0) device_of_thread->launches_left = launches;
            check_error([&] { engine.compute(first.system, les::EdgeList{}); }, ": out of order");
            device_of_thread->launches_left = -1;
        }
        first.communicator->atoms = second.communicator->atoms;  // other ghosts
        second.add_to(sum, engine.compute(second.system, les::EdgeList{}), n);
        const std::string how = engine.long_range_description();
        const bool has_sum = file.metadata().long_range.has_value();
        CHECK(!has_sum || how.find(" on the GPU, ") != std::string::npos);
        CHECK(!has_sum || how.find("divided among " + std::to_string(n_ranks) + " domains") != std::string::npos);
        CHECK(r != 0 || engine.take_warnings() == alone.take_warnings());
    });
    check_same(sum, expected, tolerance, name + " on " + std::to_string(n_ranks) + " domains");
}

/// In a field, with Born charges, current and virials of the atoms, all at once and each alone.
void check_responses(const les::ModelFile& file, const Case& example, const std::string& name, int n_ranks,
                     bool each_alone = false) {
    const AskedSystem asked(example, /*with_external_charges=*/false);
    check_domains(file, asked.system, name + ", asked for all", n_ranks, 1e-9);
    for (int wish = 0; each_alone && wish < 4; ++wish) {
        les::System one = example.system;
        if (wish == 0) one.field = {0.0, 0.0, 0.3};
        one.atom_virials = wish == 1;
        one.born_charges = wish == 2;
        one.polarization_current = wish == 3;
        one.velocities = asked.velocities.data();
        check_domains(file, one, name + ", wish " + std::to_string(wish), n_ranks, 1e-9);
    }
}

/// A network with messages whose file has no entry `layer` goes to the CPU, with the network on the GPU, of which there
/// is none here; external charges are for one domain.
void check_refusals(const les::ModelFile& whole, const les::ModelFile& file, const Case& example) {
    Board board(2);
    on_ranks(2, [&](int r) {
        const DomainPart part(example.system, file.metadata().cutoff, board, r);
        check_error([&] { les::Engine(whole, options_on("cuda:999"), part.communicator); },
                    "device cuda:999 was asked for, but");
        les::Engine engine(file, options_on("cuda"), part.communicator);
        const double at[] = {0.0, 0.0, 0.0}, charge[] = {1.0};
        les::System wrong = part.system;
        wrong.n_external = 1;
        wrong.external_positions = at;
        wrong.external_charges = charge;
        check_error([&] { engine.compute(wrong, les::EdgeList{}); },
                    "external charges must be given to one domain, got 2");
        engine.compute(part.system, les::EdgeList{});
    });
}

/// Rows of the sum over pairs that take several blocks of threads and several tiles, more channels than go at once;
/// atoms of two domains at one place are an error of both.
void check_isolated_rows() {
    constexpr std::size_t n = 500, channels = 6;
    std::vector<double> positions, charges;
    for (std::size_t i = 0; i < 3 * n; ++i)
        positions.push_back(20.0 * std::sin(0.7 * static_cast<double>(i) * static_cast<double>(i)));
    for (std::size_t i = 0; i < channels * n; ++i) charges.push_back(std::cos(static_cast<double>(i)));
    les::LongRangeParameters parameters;
    parameters.remove_self_interaction = false;
    const auto cpu = les::make_isolated_solver(parameters, channels);
    les::SingleProcess single;
    les::System system;
    system.n_local = system.n_all = n;
    system.positions = positions.data();
    const les::LongRangeResult expected = cpu->compute(system, charges, single);
    std::vector<double> coincident = positions;
    std::copy_n(positions.data(), 3, coincident.data() + 3 * (n - 1));
    constexpr std::size_t begins[] = {0, 300, 300, n};  // the second domain has no atoms
    Board board(3);
    std::vector<les::LongRangeResult> results(3);
    on_ranks(3, [&](int r) {
        ThreadCommunicator communicator(board, r);
        les::cuda::EmulatedBackend backend;
        backend.backwards = r == 2;
        les::cuda::IsolatedRows<les::cuda::EmulatedBackend> solver(backend, parameters, channels);
        const std::size_t begin = begins[r], end = begins[r + 1];
        const std::vector<double> own(charges.begin() + static_cast<std::ptrdiff_t>(begin * channels),
                                      charges.begin() + static_cast<std::ptrdiff_t>(end * channels));
        les::System part;
        part.n_local = part.n_all = static_cast<std::int64_t>(end - begin);
        part.positions = coincident.data() + 3 * begin;
        check_error([&] { solver.compute(part, own, communicator); },
                    "atoms must not coincide, got two at the same place");
        part.positions = positions.data() + 3 * begin;
        results[static_cast<std::size_t>(r)] = solver.compute(part, own, communicator);
    });
    les::LongRangeResult sum;
    for (const les::LongRangeResult& part : results) {
        sum.energy += part.energy;
        sum.forces.insert(sum.forces.end(), part.forces.begin(), part.forces.end());
        sum.potentials.insert(sum.potentials.end(), part.potentials.begin(), part.potentials.end());
        for (std::size_t a = 0; a < 3; ++a)
            for (std::size_t b = 0; b < 3; ++b) sum.virial[a][b] += part.virial[a][b];
    }
    check_close(sum.energy, expected.energy, 1e-12, std::abs(expected.energy), "energy of rows");
    check_all(sum.forces, expected.forces, 1e-11, "forces of rows");
    check_all(sum.potentials, expected.potentials, 1e-12, "potentials of rows");
    check_all(flat(sum.virial), flat(expected.virial), 1e-11, "virial of rows");
}

}  // namespace

int main(int, char** arguments) {
    const std::string cases = arguments[1], models = arguments[2];
    const auto model = [&](const std::string& name, const std::string& dtype = "float64") {
        return les::ModelFile::from_path(models + "/" + name + "_" + dtype + ".les.pt");
    };
    const auto json = [&](const std::string& name) { return cases + "/" + name + ".json"; };
    struct Example {
        const char* name;
        int n_ranks;
    };
    for (const auto& [name, n_ranks] : {Example{"triclinic", 3},
                                        {"isolated", 3},
                                        {"neutralized", 2},
                                        {"charge_transfers", 4},
                                        {"two_channels", 3},
                                        {"periodic", 6},
                                        {"two_elements", 2},
                                        {"net_charge", 4},
                                        {"one_atom", 3}}) {
        const auto file = model(name);
        check_domains(file, Case(json(name), file).system, name, n_ranks, 1e-9);
    }
    for (const char* name : {"triclinic", "isolated", "charge_transfers"}) {
        const auto file = model(name, "float32");
        check_domains(file, Case(json(name), file).system, name + std::string(" in float32"), 3, 1e-5);
    }
    for (const auto& [name, n_ranks] : {Example{"field_isolated", 3},
                                        {"field_periodic", 3},
                                        {"field_transfers", 4},
                                        {"neutralized", 3},
                                        {"two_channels", 2}}) {
        const auto file = model(name);
        check_responses(file, Case(json(name), file), name, n_ranks, name == std::string("field_periodic"));
    }
    for (const char* name : {"one_layer", "two_layers", "transfers", "two_layers_transfers"}) {
        const auto file = model(name);
        for (const char* box : {"periodic", "isolated"}) check_responses(file, Case(json(box), file), name, 3);
    }
    const auto in_float32 = model("two_layers", "float32");
    check_domains(in_float32, Case(json("periodic"), in_float32).system, "two layers in float32", 3, 2e-5);

    const auto file = model("triclinic"), layers = model("two_layers");
    // of the search, of the mesh, of the forces
    check_domains(file, Case(json("triclinic"), file).system, "after failures", 3, 1e-9, {2, 20, 33});
    // before the first exchange of messages, and behind them
    const Case periodic(json("periodic"), layers), isolated(json("isolated"), layers);
    const AskedSystem asked(periodic, false);
    check_domains(layers, asked.system, "layers after failures", 3, 1e-9, {2, 30, 40});
    check_domains(layers, isolated.system, "isolated after failures", 3, 1e-9, {9, 10, 11});
    check_refusals(model("whole_two_layers"), file, Case(json("triclinic"), file));
    check_isolated_rows();
    std::puts("several domains with a device each agree with the engine on the CPU");
}
