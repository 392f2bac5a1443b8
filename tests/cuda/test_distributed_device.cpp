// The mesh divided among emulated devices: agreement with the CPU solver, bits that no order of threads changes, and
// errors of one domain that reach all.
#include "distributed_cases.h"
#include "emulated_backend.h"

namespace {

using les::cuda::EmulatedBackend;

/// A solver with the device that it refers to.
class OnDevice final : public les::LongRangeSolver {
public:
    OnDevice(const cases::Case& example, const les::LongRangeOptions& options, bool deterministic)
        : solver_(backend.make_distributed_mesh(example.parameters, example.n_channels, options, deterministic)) {}
    EmulatedBackend backend;

    const les::LongRangeResult& compute(const les::System& system, const std::vector<double>& charges,
                                        les::Communicator& communicator) override {
        return solver_->compute(system, charges, communicator);
    }
    std::string description() const override { return solver_->description(); }
    std::vector<std::string> take_warnings() override { return solver_->take_warnings(); }
    const les::MeshReport* mesh_report() const override { return solver_->mesh_report(); }

private:
    std::unique_ptr<les::LongRangeSolver> solver_;
};

void check_case(const cases::Case& example, const les::LongRangeOptions& options, bool deterministic,
                const cases::Division& division, int n_ranks) {
    const auto boxes = cases::short_run(example.box, 2.0);
    // the first two boxes have one cell
    cases::check_domains(example, {boxes[0], boxes[1]}, options, division, n_ranks,
                         [&](int) { return std::make_unique<OnDevice>(example, options, deterministic); });
}

void check_changing_cell(const cases::Case& example, bool freezes) {
    les::LongRangeOptions options = example.options;
    options.solver = "mesh";
    options.dtype = "float64";
    options.freeze_k_set = freezes;
    cases::check_domains(example, cases::short_run(example.box, 0.5), options, cases::divisions()[0], 3,
                         [&](int) { return std::make_unique<OnDevice>(example, options, true); });
}

void check_bits(const cases::Case& example) {
    les::LongRangeOptions options = example.options;
    options.dtype = "float32";
    std::vector<std::vector<les::LongRangeResult>> results;
    for (const bool backwards : {false, true}) {
        les::MeshReport report;
        results.push_back(cases::run_domains(
            {example.box}, example.n_channels, cases::deal_out(example.box, cases::divisions()[0], 3),
            [&](int) {
                auto solver = std::make_unique<OnDevice>(example, options, true);
                solver->backend.backwards = backwards;
                return solver;
            },
            report));
    }
    CHECK(results[0][0].forces == results[1][0].forces && results[0][0].potentials == results[1][0].potentials);
    CHECK(results[0][0].virial == results[1][0].virial && results[0][0].energy == results[1][0].energy);
}

/// More domains than planes of the mesh: pencils divide two axes, and some domains have none.
void check_many_domains() {
    const les::Matrix3 small{{{4.0, 0.0, 0.0}, {0.0, 4.0, 0.0}, {0.0, 0.0, 4.0}}};
    const cases::Case example{"few atoms", cases::random_box(small, 7, 1, 12), 1, {}, cases::asked(1e-4)};
    les::LongRangeOptions options = example.options;
    options.dtype = "float64";
    for (const int n_ranks : {7, 11, 16})
        cases::check_domains(example, {example.box, example.box}, options, cases::divisions()[2], n_ranks,
                             [&](int) { return std::make_unique<OnDevice>(example, options, false); });
}

/// `spoil(solver, box, rank)` on three domains: all throw `text`; the next evaluation is right again.
void check_failure(const std::function<void(OnDevice&, cases::Box&, int)>& spoil, const std::string& text) {
    const cases::Case example = cases::all_cases()[2];
    les::LongRangeOptions options = example.options;
    options.dtype = "float64";
    const auto owned = cases::deal_out(example.box, cases::divisions()[0], 3);
    Board board(3);
    const auto run = [&](int rank) {
        ThreadCommunicator communicator(board, rank);
        OnDevice solver(example, options, true);
        const cases::Box part = cases::part_of(example.box, owned[static_cast<std::size_t>(rank)], 2);
        const les::LongRangeResult good = solver.compute(part.system(), part.charges, communicator);
        cases::Box spoiled = part;
        spoil(solver, spoiled, rank);
        check_error([&] { solver.compute(spoiled.system(), spoiled.charges, communicator); }, text);
        solver.backend.launches_left = -1;
        solver.backend.memory = std::numeric_limits<double>::infinity();
        const les::LongRangeResult& again = solver.compute(part.system(), part.charges, communicator);
        CHECK(again.forces == good.forces && again.potentials == good.potentials && again.virial == good.virial);
    };
    std::vector<std::thread> ranks;
    for (int rank = 0; rank < 3; ++rank) ranks.emplace_back(run, rank);
    for (std::thread& rank : ranks) rank.join();
}

/// A larger mesh takes over the memory of the one before it.
void check_growing_mesh() {
    const cases::Case example = cases::all_cases()[2];
    les::LongRangeOptions options = example.options;
    options.dtype = "float64";
    const auto owned = cases::deal_out(example.box, cases::divisions()[0], 2);
    Board board(2);
    const auto run = [&](int rank) {
        ThreadCommunicator communicator(board, rank);
        OnDevice solver(example, options, true);
        cases::Box part = cases::part_of(example.box, owned[static_cast<std::size_t>(rank)], 2);
        solver.compute(part.system(), part.charges, communicator);
        const auto mesh = solver.mesh_report()->mesh;
        solver.backend.memory = 0.9 * 7.5 * sizeof(double) * mesh[0] * mesh[1] * mesh[2] / 2;
        for (auto& row : part.cell)
            for (double& x : row) x *= 1.1;
        solver.compute(part.system(), part.charges, communicator);
        CHECK(solver.mesh_report()->mesh != mesh);
    };
    std::thread other(run, 1);
    run(0);
    other.join();
}

void check_failures() {
    const std::string not_finite = "`positions` and `charges` must be finite, got NaN or infinity";
    check_failure([](OnDevice&, cases::Box& box, int rank) { box.positions[4] += rank == 1 ? NAN : 0.0; }, not_finite);
    check_failure([](OnDevice&, cases::Box& box, int rank) { box.charges[3] += rank == 2 ? INFINITY : 0.0; },
                  not_finite);
    check_failure(
        [](OnDevice& solver, cases::Box& box, int rank) {
            for (auto& row : box.cell) row[0] *= 1.7;  // another mesh
            if (rank == 0) solver.backend.memory = 1e3;
        },
        "GB of its GPU's memory are free; choose a smaller cell");
    // each launch of an evaluation in turn, with the influence function of another cell
    for (int launches = 0; launches < 38; ++launches) {
        check_failure(
            [&](OnDevice& solver, cases::Box& box, int rank) {
                box.cell[0][0] *= 1.001;
                if (rank == 1) solver.backend.launches_left = launches;
            },
            ": out of order");
    }
    const cases::Case example = cases::all_cases()[0];
    les::LongRangeOptions options = cases::asked(1e-4);
    options.solver = "direct";
    check_error([&] { OnDevice(example, options, false); }, "the direct sum has no CUDA kernels");
}

void check_words() {
    cases::Case example = cases::all_cases()[1];
    les::LongRangeOptions options = example.options;
    options.dtype = "float32";
    options.mesh = std::array<int, 3>{16, 16, 16};
    options.interpolation_nodes = 4;
    OnDevice solver(example, options, false);
    les::SingleProcess alone;
    CHECK(solver.description() == "mesh" && solver.mesh_report() == nullptr);
    solver.compute(example.box.system(), example.box.charges, alone);
    CHECK(solver.description().find("16 x 16 x 16 on the GPU") != std::string::npos);
    CHECK(solver.description().find("divided among 1 domains") != std::string::npos);
    for (auto& row : example.box.cell) row[2] *= 1.01;
    solver.compute(example.box.system(), example.box.charges, alone);
    const auto warnings = solver.take_warnings();
    CHECK(warnings.size() == 2 && warnings[0].find("too near the accuracy asked for") != std::string::npos &&
          warnings[1].find("freeze_k_set keeps the set of the first cell") != std::string::npos);
    CHECK(solver.take_warnings().empty());
}

}  // namespace

int main() {
    cases::for_all_domains(check_case);
    const auto all = cases::all_cases();
    check_changing_cell(all[2], false);
    check_changing_cell(all[1], false);
    check_changing_cell(all[6], true);
    check_changing_cell(all[7], false);
    check_bits(all[3]);
    check_growing_mesh();
    check_many_domains();
    check_failures();
    check_words();
    std::puts("the mesh divided among devices agrees with the CPU solver");
}
