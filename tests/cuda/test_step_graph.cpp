// Whole steps captured as a graph, on the emulated device, where a capture records launches and operators of torch, and
// a launch runs them again: the numbers are those of ordinary steps, whatever changes is captured anew, and what goes
// wrong is said once and costs nothing but time.
#include <random>

#include "../cpp/asked_system.h"
#include "../cpp/check.h"
#include "../cpp/results.h"
#include "emulated_step.h"

namespace {

void move(Case& example, std::mt19937& generator) {
    std::normal_distribution<double> normal;
    for (double& x : example.positions) x += 0.02 * normal(generator);
}

les::EngineOptions with_graphs(const std::string& graphs, const std::string& name) {
    les::EngineOptions options = name == "short_range" ? les::EngineOptions{} : mesh_options();
    options.graphs = graphs;
    return options;
}

/// Steps of moving atoms with a graph and without, to the last bit; a new capture for other atoms, slots and meshes.
void check_steps(const Files& files, const std::string& name, const std::string& box, const std::string& dtype) {
    const les::ModelFile file = files.model(name, dtype);
    const std::string what = name + " " + box + " " + dtype;
    Case moving(files.json(box), file);
    Device with(file, with_graphs("auto", name)), without(file, with_graphs("off", name));
    les::Engine engine(file, with_graphs("off", name));
    std::mt19937 generator(4);
    const auto step = [&](const char* when) {
        check_same(with.compute(moving.system), without.compute(moving.system), 0.0, what + when);
        CHECK(with.arrays.transfer_dipoles() == without.arrays.transfer_dipoles());
    };
    for (int n = 0; n < 8; ++n) {
        step(" moving");
        CHECK(with.step.graph().n_captures() == (n >= 2 ? 1 : 0));
        move(moving, generator);
    }
    CHECK(with.step.graph().n_launches() == 5 && without.step.graph().n_captures() == 0);
    check_same(with.compute(moving.system), engine.compute(moving.system), dtype == "float64" ? 1e-9 : 2e-5, what);
    // another cell with the same mesh needs no other graph
    for (auto& row : moving.system.cell)
        for (double& x : row) x *= 1.0001;
    step(" in another cell");
    CHECK(with.step.graph().n_launches() == 7);
    // the same atoms in another order: sorted on the device
    std::swap(moving.types[0], moving.types[1]);
    const bool other_types = moving.types[0] != moving.types[1];
    step(" with types exchanged");
    CHECK(with.step.graph().n_launches() == 8);
    // other numbers of each element
    moving.types[0] = moving.types[1];
    step(" with other types");
    CHECK(!other_types || with.step.graph().n_launches() == 9);
    const int captures = with.step.graph().n_captures();
    for (double& x : moving.positions) x *= 0.6;
    for (auto& row : moving.system.cell)
        for (double& x : row) x *= 0.6;
    for (int n = 0; n < 4; ++n) step(" crowded");
    CHECK(with.step.graph().n_captures() > captures);
    moving.system.n_local = moving.system.n_all = 3;
    for (int n = 0; n < 5; ++n) step(" with fewer atoms");
    CHECK(with.step.graph().n_captures() > captures + 1);
    CHECK(with.step.take_warnings() == without.step.take_warnings());
}

/// `spoil` the device, then steps; what is said, and that the results are right all the same.
template <class Spoil>
void check_failure(const Files& files, const std::string& name, const std::string& graphs, const Spoil& spoil,
                   const std::vector<std::string>& said) {
    const les::ModelFile file = files.model(name);
    Case moving(files.json("periodic"), file);
    Device device(file, with_graphs(graphs, name)), plain(file, with_graphs("off", name));
    plain.step.take_warnings();
    spoil(device);
    std::mt19937 generator(4);
    std::vector<std::string> found;
    for (int step = 0; step < 8; ++step) {
        check_same(device.compute(moving.system), plain.compute(moving.system), 0.0, name + " after a failure");
        for (const std::string& text : device.step.take_warnings()) found.push_back(text);
        move(moving, generator);
    }
    if (found.size() != said.size())
        for (const std::string& text : found) std::fprintf(stderr, "%s: %s\n", name.c_str(), text.c_str());
    CHECK(found.size() == said.size());
    for (std::size_t n = 0; n < found.size() && n < said.size(); ++n) {
        if (found[n].rfind(said[n], 0) != 0) std::fprintf(stderr, "%s\n", found[n].c_str());
        CHECK(found[n].rfind(said[n], 0) == 0);
    }
    CHECK(device.step.graph().n_launches() <= 1);
}

void check_failures(const Files& files) {
    const auto nothing = [](Device&) {};
    const std::string off = "steps are launched one kernel after the other: ";
    check_failure(files, "one_layer", "auto", [](Device& device) { device.backend.fail_capture = true; },
                  {off + "capturing one as a graph failed (operation would make the legacy stream depend on"});
    // calls from the end that the graph misses: the sums, the forces, and something in the network
    for (const std::size_t call : {0, 1, 2, 40})
        check_failure(files, "one_layer", "auto", [=](Device& device) { device.backend.miss = call; },
                      {off + "a step captured as a graph gave other numbers (relative difference "});
    // files without the entry that never waits: nothing is tried, and said only to those who want it
    check_failure(files, "periodic", "auto", nothing, {});
    check_failure(files, "periodic", "on", nothing,
                  {"steps cannot be captured as graphs: the model file has no entry `rows`; export it again"});
    const les::ModelFile file = files.model("one_layer");
    check_error([&] { Device(file, with_graphs("yes", "one_layer")); }, "`graphs` must be auto, on or off, got yes");
}

/// Steps that are asked for more than the polarization go without the graph, and leave it as it is.
void check_requests(const Files& files, const std::string& name, const std::string& box) {
    const les::ModelFile file = files.model(name);
    Case moving(files.json(box), file);
    Device with(file, with_graphs("auto", name)), without(file, with_graphs("off", name));
    std::mt19937 generator(4);
    for (int n = 0; n < 9; ++n) {
        const AskedSystem asked(moving);
        les::System system = moving.system;
        system.unwrapped_positions = asked.unwrapped.data();
        const les::System& wanted = n == 5 ? asked.system : system;
        check_same(with.compute(wanted), without.compute(wanted), 0.0, name + " " + box + " asked for more");
        CHECK(with.results.born_charges.empty() == (n != 5) && with.results.atom_virials.empty() == (n != 5));
        move(moving, generator);
    }
    CHECK(with.step.graph().n_captures() == 1 && with.step.graph().n_launches() == 5);
}

/// A step of other atoms that goes without the graph takes other memory for the network: the graph is of no use then.
void check_atoms_between(const Files& files, const std::string& name, const std::string& box) {
    const les::ModelFile file = files.model(name);
    Case moving(files.json(box), file);
    Device with(file, with_graphs("auto", name)), without(file, with_graphs("off", name));
    std::mt19937 generator(4);
    for (int n = 0; n < 10; ++n) {
        const AskedSystem asked(moving);
        les::System wanted = n == 5 ? asked.system : moving.system;
        if (n == 5) wanted.n_local = wanted.n_all = 3;
        check_same(with.compute(wanted), without.compute(wanted), 0.0, name + " " + box + " after other atoms");
        move(moving, generator);
    }
    CHECK(with.step.graph().n_captures() == 2 && with.step.graph().n_launches() == 3);
}

/// Who wants graphs is told once why there are none.
void check_said(Device& device, const les::System& system, const std::string& reason) {
    std::vector<std::string> said;
    for (int step = 0; step < 5; ++step) {
        device.compute(system);
        for (const std::string& text : device.step.take_warnings())
            if (text == "steps are not captured as graphs: " + reason) said.push_back(text);
    }
    CHECK(said.size() == 1 && device.step.graph().n_captures() == 0);
}

void check_wanted(const Files& files) {
    const les::ModelFile file = files.model("one_layer");
    const Case example(files.json("isolated"), file);
    les::System system = example.system;
    system.field = {0.0, 0.1, 0.0};
    Device device(file, with_graphs("on", "one_layer"));
    check_said(device, system, "more than energy, forces and polarization is asked for, or a field acts");
}

/// In blocks there is no graph, which is said.
void check_blocks(const Files& files) {
    const les::ModelFile file = files.model("one_layer");
    const Case example(files.json("periodic"), file);
    Device parts(file, with_graphs("on", "one_layer"), 5), whole(file, with_graphs("off", "one_layer"));
    for (int step = 0; step < 2; ++step)
        check_same(parts.compute(example.system), whole.compute(example.system), 1e-12, "in blocks");
    check_said(parts, example.system, "the network runs in blocks of atoms");
}

/// The difference that decides: forces against the largest, sums against the size of the system; NaN is one.
void check_difference() {
    les::cuda::StepResults a, b;
    a.forces = b.forces = {1.0, -4.0, 0.5};
    CHECK(les::cuda::difference(a, b) == 0.0);
    b.forces[2] = 0.9;
    check_close(les::cuda::difference(a, b), 0.1, 1e-12, 1.0, "difference of forces");
    b.forces[2] = std::nan("");
    CHECK(!(les::cuda::difference(a, b) < 1e9));
    b = a;
    b.summary.virial[4] = 0.2;
    check_close(les::cuda::difference(a, b), 0.1, 1e-12, 1.0, "difference of virials");
    b.summary.virial[4] = std::nan("");
    CHECK(!(les::cuda::difference(a, b) < 1e9));
}

}  // namespace

int main(int, char** arguments) {
    const Files files{arguments[1], arguments[2]};
    for (const std::string box : {"periodic", "isolated"}) {
        for (const std::string name : {"one_layer", "two_layers", "transfers", "short_range"})
            check_steps(files, name, box, "float64");
    }
    check_steps(files, "one_layer", "periodic", "float32");
    for (const std::string box : {"periodic", "isolated"})
        for (const std::string name : {"one_layer", "transfers"}) check_requests(files, name, box);
    for (const std::string box : {"periodic", "isolated"}) check_atoms_between(files, "one_layer", box);
    check_failures(files);
    check_blocks(files);
    check_wanted(files);
    check_difference();
    std::puts("steps captured as a graph are those that were not");
}
