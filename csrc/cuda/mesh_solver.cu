// The particle mesh on a GPU; MeshSolver::enqueue is the page to read, and has the steps of the CPU's
// MeshSolver::compute.
#include <memory>

#include "cufft_mesh.h"
#include "kernels.cuh"
#include "mesh_arrays.h"
#include "mesh_graph.h"
#include "mesh_setup.h"
#include "mesh_solver.h"

namespace les::cuda {

namespace {

template <class Real>
class DeviceMeshSolver final : public MeshSolver {
public:
    DeviceMeshSolver(const LongRangeParameters& parameters, int n_channels, const LongRangeOptions& options,
                     const DeviceOptions& device_options, cudaStream_t stream)
        : setup_(parameters, n_channels, options), options_(device_options), stream_(stream) {
        check(cudaMemsetAsync(arrays_.status.data(), 0, sizeof(std::int32_t), stream_), "clearing the status");
    }
    ~DeviceMeshSolver() override {
        cudaStreamSynchronize(stream_);  // graph and arrays may be in use
    }

    void set_cell(const Matrix3& cell, std::int64_t n_atoms) override {
        if (have_cell_ && cell == cell_) return;
        have_cell_ = false;
        if (setup_.set_cell(cell, n_atoms) || !sized_) resize();
        make_influence();
        cell_ = cell;
        have_cell_ = true;
    }

    void compute(const double* positions, const double* charges, std::int64_t n_atoms) override {
        if (!have_cell_) throw Error("`set_cell` must come before `compute`");
        reserve_atoms(n_atoms);
        const auto enqueue_all = [&] {
            for_nodes(setup_.nodes(), [&]<int nodes>() { enqueue<nodes>(positions, charges, n_atoms); });
        };
        if (is_capturing(stream_)) return enqueue_all();  // as a part of a larger graph
        const MeshCall call{positions, charges, n_atoms};
        // a plain call comes first, so that nothing has to be loaded or planned while a graph is captured
        const bool again = launched_once_ && call == last_call_;
        last_call_ = call;
        if (options_.graphs && stream_ != nullptr && again && has_graph(enqueue_all)) return graph_.launch(stream_);
        forget_graph();
        enqueue_all();
        launched_once_ = true;
    }

    const double* potentials() const override { return arrays_.potentials.data(); }
    const double* forces() const override { return arrays_.forces.data(); }
    const double* summary() const override { return reinterpret_cast<const double*>(arrays_.summary.data()); }

    LongRangeResult copy_results() override {
        LongRangeResult result;
        const auto n = static_cast<std::size_t>(last_call_.n_atoms < 0 ? 0 : last_call_.n_atoms);
        result.potentials.resize(n * static_cast<std::size_t>(setup_.n_channels()));
        result.forces.resize(3 * n);
        Summary summary{};
        copy(result.potentials.data(), arrays_.potentials.data(), result.potentials.size() * sizeof(double));
        copy(result.forces.data(), arrays_.forces.data(), result.forces.size() * sizeof(double));
        copy(&summary, arrays_.summary.data(), sizeof(summary));
        check(cudaStreamSynchronize(stream_), "the mesh");
        if (summary.status != 0.0)
            throw Error(
                "`positions` and `charges` must be finite, got NaN or infinity; check the model or the structure");
        result.energy = summary.energy;
        for (std::size_t a = 0; a < 3; ++a) {
            for (std::size_t b = 0; b < 3; ++b) result.virial[a][b] = summary.virial[a][b];
            result.net_force[a] = summary.net_force[a];
        }
        return result;
    }

    std::int64_t generation() const override { return generation_; }
    bool has_graphs() const override { return options_.graphs; }
    const MeshReport& report() const override { return setup_.report(); }
    std::string description() const override { return setup_.description(); }

private:
    MeshSetup setup_;
    DeviceOptions options_;
    cudaStream_t stream_;
    Matrix3 cell_{};
    bool have_cell_ = false, sized_ = false;  // arrays and plans are those of the mesh of `setup_`
    CufftMesh<Real> transform_;
    MeshArrays<Real> arrays_;
    MeshCall last_call_;
    MeshGraph graph_;
    std::int64_t generation_ = 0;
    bool launched_once_ = false;  // as last_call_ says, with the arrays and plans of now

    /// All stages of one evaluation, in order, on the stream.
    template <int nodes>
    void enqueue(const double* positions, const double* charges, std::int64_t n) {
        sort_points(nodes, positions, charges, n);
        points_to_mesh<nodes>();
        transform_.forward(arrays_.mesh.data());
        const int n_filter_blocks = kspace_filter();
        transform_.backward(arrays_.mesh.data());
        const int n_point_blocks = mesh_to_points<nodes>(charges);
        close(n, n_point_blocks, n_filter_blocks);
    }

    void copy(void* to, const void* from, std::size_t bytes) const {
        check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_), "copying the results");
    }

    SortedPoints<Real> points() const { return arrays_.points(); }

    static unsigned blocks_for(std::int64_t work, int threads, std::int64_t most) {
        const std::int64_t blocks = (work + threads - 1) / threads;
        return static_cast<unsigned>(blocks < 1 ? 1 : blocks < most ? blocks : most);
    }
    static unsigned atom_blocks(std::int64_t n) { return blocks_for(n, atom_threads, INT32_MAX); }
    static void launched(const char* stage) { check(cudaGetLastError(), stage); }

    void sort_points(int nodes, const double* positions, const double* charges, std::int64_t n) {
        const MeshShape& mesh = setup_.shape();
        const unsigned blocks = atom_blocks(n);
        count_kernel<<<blocks, atom_threads, 0, stream_>>>(arrays_.cell_terms.data(), mesh, nodes, positions, n,
                                                           arrays_.counts.data(), arrays_.tile_and_number.data(),
                                                           arrays_.status.data());
        launched("the count of points");
        scan_kernel<<<1, scan_threads, 0, stream_>>>(mesh.n_tiles(), arrays_.counts.data(), arrays_.begin.data());
        launched("the scan of points");
        if (options_.deterministic) {
            place_atom_kernel<<<blocks, atom_threads, 0, stream_>>>(n, arrays_.tile_and_number.data(),
                                                                    arrays_.begin.data(), arrays_.unordered.data());
            launched("the sorting of points");
            rank_kernel<Real><<<blocks, atom_threads, 0, stream_>>>(
                arrays_.cell_terms.data(), mesh, nodes, positions, charges, n, arrays_.tile_and_number.data(),
                arrays_.unordered.data(), points(), arrays_.status.data());
        } else {
            place_kernel<Real><<<blocks, atom_threads, 0, stream_>>>(arrays_.cell_terms.data(), mesh, nodes, positions,
                                                                     charges, n, arrays_.tile_and_number.data(),
                                                                     points(), arrays_.status.data());
        }
        launched("the sorting of points");
    }

    template <int nodes>
    void points_to_mesh() {
        const MeshShape& mesh = setup_.shape();
        const auto window = setup_.pieces<Real, nodes>();
        const dim3 grid(static_cast<unsigned>(mesh.n_tiles()), static_cast<unsigned>(mesh.channels));
        if (options_.deterministic) {
            collect_kernel<Real, nodes><<<grid, collect_threads, sizeof(CollectShared<Real, nodes>), stream_>>>(
                window, mesh, points(), arrays_.mesh.data());
        } else {
            const auto bytes = static_cast<std::size_t>(mesh.channel() * mesh.channels) * sizeof(Real);
            check(cudaMemsetAsync(arrays_.mesh.data(), 0, bytes, stream_), "clearing the mesh");
            scatter_kernel<Real, nodes><<<grid, scatter_threads, sizeof(ScatterShared<Real, nodes>), stream_>>>(
                window, mesh, points(), arrays_.mesh.data());
        }
        launched("points_to_mesh");
    }

    int kspace_filter() {
        const MeshShape& mesh = setup_.shape();
        const unsigned blocks = blocks_for(mesh.n_modes(), filter_threads, most_filter_blocks);
        filter_kernel<Real><<<blocks, filter_threads, 0, stream_>>>(
            arrays_.cell_terms.data(), mesh, arrays_.influence.data(), arrays_.mesh.data(), arrays_.filter_sums.data());
        launched("kspace_filter");
        return static_cast<int>(blocks);
    }

    template <int nodes>
    int mesh_to_points(const double* charges) {
        const MeshShape& mesh = setup_.shape();
        const unsigned blocks = blocks_for(mesh.n_tiles(), 1, most_gather_blocks);
        gather_kernel<Real, nodes><<<blocks, gather_threads, gather_shared_bytes<Real, nodes>(), stream_>>>(
            setup_.pieces<Real, nodes>(), mesh, arrays_.cell_terms.data(), arrays_.self_terms.data(), points(), charges,
            arrays_.mesh.data(), AtomResults{arrays_.potentials.data(), arrays_.forces.data()},
            arrays_.point_sums.data());
        launched("mesh_to_points");
        return static_cast<int>(blocks);
    }

    void close(std::int64_t n, int n_point_blocks, int n_filter_blocks) {
        close_kernel<<<blocks_for(3 * n, close_threads, most_close_blocks), close_threads, 0, stream_>>>(
            arrays_.cell_terms.data(), arrays_.self_terms.data(), arrays_.point_sums.data(), n_point_blocks,
            arrays_.filter_sums.data(), n_filter_blocks, n, arrays_.status.data(), arrays_.forces.data(),
            arrays_.summary.data());
        launched("the sums over atoms");
    }

    /// Terms of the cell to the device, then influence function and self terms there: no wait, so that a barostat may
    /// come here at every step.
    void make_influence() {
        const MeshShape& mesh = setup_.shape();
        const CellTerms& terms = setup_.cell_terms();
        store_cell<<<1, 1, 0, stream_>>>(terms, arrays_.cell_terms.data());
        launched("the cell");
        check(cudaMemsetAsync(arrays_.influence.data(), 0, static_cast<std::size_t>(mesh.n_modes()) * sizeof(Real),
                              stream_),
              "clearing the influence function");
        const std::int64_t modes = (2 * std::int64_t{terms.reach[0]} + 1) * (2 * std::int64_t{terms.reach[1]} + 1) *
                                   (std::int64_t{terms.reach[2]} + 1);
        const unsigned blocks = blocks_for(modes, influence_threads, most_influence_blocks);
        influence_kernel<Real><<<blocks, influence_threads, 0, stream_>>>(
            arrays_.cell_terms.data(), mesh, setup_.axis_tables(arrays_.tables.data()), arrays_.influence.data(),
            arrays_.influence_sums.data());
        launched("the influence function");
        close_influence_kernel<<<1, influence_threads, 0, stream_>>>(
            arrays_.cell_terms.data(), arrays_.influence_sums.data(), static_cast<int>(blocks),
            arrays_.self_terms.data());
        launched("the self terms");
    }

    void resize() {
        sized_ = false;
        check(cudaStreamSynchronize(stream_), "the mesh");
        forget_graph();
        ++generation_;
        transform_.release();  // its work space counts as free
        arrays_.resize(setup_, stream_);
        transform_.resize(setup_.shape(), stream_);
        for_nodes(setup_.nodes(), [&]<int nodes>() { allow_shared_memory<nodes>(); });
        sized_ = true;
    }

    template <int nodes>
    static void allow_shared_memory() {
        // 99 KiB are what every architecture from 8.0 on has for one block
        static_assert(sizeof(ScatterShared<Real, nodes>) <= 99 * 1024 &&
                      gather_shared_bytes<Real, nodes>() <= 99 * 1024);
        const auto allow = [](auto* kernel, int bytes) {
            check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
                  "shared memory for the window");
        };
        allow(&collect_kernel<Real, nodes>, static_cast<int>(sizeof(CollectShared<Real, nodes>)));
        allow(&scatter_kernel<Real, nodes>, static_cast<int>(sizeof(ScatterShared<Real, nodes>)));
        allow(&gather_kernel<Real, nodes>, gather_shared_bytes<Real, nodes>());
    }

    void reserve_atoms(std::int64_t n) {
        if (!arrays_.needs_room(n)) return;
        check(cudaStreamSynchronize(stream_), "the mesh");
        forget_graph();
        ++generation_;
        arrays_.reserve_atoms(n, setup_.n_channels(), options_.deterministic);
    }

    /// Captures a call unless that is done. Where it fails, calls go on without; what they cannot do shows then.
    template <class Enqueue>
    bool has_graph(const Enqueue& enqueue) {
        try {
            if (!graph_.is_there()) graph_.capture(stream_, enqueue);
        } catch (const Error&) {
            options_.graphs = false;
        }
        return graph_.is_there();
    }

    void forget_graph() {
        graph_.forget();
        launched_once_ = false;
    }
};

}  // namespace

std::unique_ptr<MeshSolver> make_mesh_solver(const LongRangeParameters& parameters, int n_channels,
                                             const LongRangeOptions& options, const DeviceOptions& device_options,
                                             cudaStream_t stream) {
    if (options.dtype == "float32")
        return std::make_unique<DeviceMeshSolver<float>>(parameters, n_channels, options, device_options, stream);
    return std::make_unique<DeviceMeshSolver<double>>(parameters, n_channels, options, device_options, stream);
}

}  // namespace les::cuda
