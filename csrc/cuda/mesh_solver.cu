// The particle mesh on a GPU; MeshSolver::enqueue is the page to read, and has the steps of the CPU's
// MeshSolver::compute.
#include <cstdio>
#include <vector>

#include "device_array.h"
#include "kernels.cuh"
#include "mesh_setup.h"
#include "mesh_solver.h"

namespace les::cuda {

namespace {

/// Forward and backward transforms of all channels in place.
template <class Real>
class Transform {
public:
    Transform() = default;
    Transform(const Transform&) = delete;
    Transform& operator=(const Transform&) = delete;
    ~Transform() { release(); }

    void resize(const MeshShape& mesh, cudaStream_t stream) {
        release();
        constexpr bool single = sizeof(Real) == 4;
        check(cufftCreate(&forward_), "a plan");
        ++made_;
        check(cufftCreate(&backward_), "a plan");
        ++made_;
        plan(forward_, mesh, stream, single ? CUFFT_R2C : CUFFT_D2Z);
        plan(backward_, mesh, stream, single ? CUFFT_C2R : CUFFT_Z2D);
    }
    void forward(Real* data) const {
        if constexpr (sizeof(Real) == 4) {
            check(cufftExecR2C(forward_, data, reinterpret_cast<cufftComplex*>(data)), "the forward transform");
        } else {
            check(cufftExecD2Z(forward_, data, reinterpret_cast<cufftDoubleComplex*>(data)), "the forward transform");
        }
    }
    void backward(Real* data) const {
        if constexpr (sizeof(Real) == 4) {
            check(cufftExecC2R(backward_, reinterpret_cast<cufftComplex*>(data), data), "the backward transform");
        } else {
            check(cufftExecZ2D(backward_, reinterpret_cast<cufftDoubleComplex*>(data), data), "the backward transform");
        }
    }

private:
    cufftHandle forward_ = 0, backward_ = 0;
    int made_ = 0;  // handles

    static void plan(cufftHandle handle, const MeshShape& mesh, cudaStream_t stream, cufftType type) {
        long long points[3] = {mesh.points[0], mesh.points[1], mesh.points[2]};
        long long reals[3] = {mesh.points[0], mesh.points[1], mesh.row()};
        long long modes[3] = {mesh.points[0], mesh.points[1], mesh.half};
        const long long distance = mesh.channel();
        const bool forward = type == CUFFT_R2C || type == CUFFT_D2Z;
        std::size_t work = 0;
        check(cufftMakePlanMany64(handle, 3, points, forward ? reals : modes, 1, forward ? distance : distance / 2,
                                  forward ? modes : reals, 1, forward ? distance / 2 : distance, type, mesh.channels,
                                  &work),
              "a plan");
        check(cufftSetStream(handle, stream), "the stream of a plan");
    }
    void release() {
        if (made_ > 0) cufftDestroy(forward_);
        if (made_ > 1) cufftDestroy(backward_);
        made_ = 0;
    }
};

/// What a captured graph was captured for.
struct GraphKey {
    const double *positions = nullptr, *charges = nullptr;
    std::int64_t n_atoms = -1;

    bool operator==(const GraphKey& other) const {
        return positions == other.positions && charges == other.charges && n_atoms == other.n_atoms;
    }
};

template <class Real>
class DeviceMeshSolver final : public MeshSolver {
public:
    DeviceMeshSolver(const LongRangeParameters& parameters, int n_channels, const LongRangeOptions& options,
                     const DeviceOptions& device_options, cudaStream_t stream)
        : setup_(parameters, n_channels, options), options_(device_options), stream_(stream) {
        cell_terms_.reserve(1);
        self_terms_.reserve(1);
        summary_.reserve(1);
        status_.reserve(1);
        filter_sums_.reserve(most_filter_blocks * n_filter_sums);
        point_sums_.reserve(most_gather_blocks * n_point_sums);
        influence_sums_.reserve(most_influence_blocks * n_self_sums);
        check(cudaMemsetAsync(status_.data(), 0, sizeof(std::int32_t), stream_), "clearing the status");
    }
    ~DeviceMeshSolver() override {
        cudaStreamSynchronize(stream_);
        forget_graph();
    }

    void set_cell(const Matrix3& cell, std::int64_t n_atoms) override {
        if (have_cell_ && cell == cell_) return;
        have_cell_ = false;
        if (setup_.set_cell(cell, n_atoms)) resize();
        make_influence();
        cell_ = cell;
        have_cell_ = true;
    }

    void compute(const double* positions, const double* charges, std::int64_t n_atoms) override {
        if (!have_cell_) throw Error("`set_cell` must come before `compute`");
        reserve_atoms(n_atoms);
        if (is_captured()) {  // as a part of a larger graph
            for_nodes(setup_.nodes(), [&]<int nodes>() { enqueue<nodes>(positions, charges, n_atoms); });
            return;
        }
        const GraphKey key{positions, charges, n_atoms};
        // a plain call comes first, so that nothing has to be loaded or planned while a graph is captured
        const bool again = launched_once_ && key == last_call_;
        last_call_ = key;
        if (options_.graphs && stream_ != nullptr && again) {
            if (graph_ == nullptr) capture(positions, charges, n_atoms);
            check(cudaGraphLaunch(graph_, stream_), "the launch of the mesh");
            return;
        }
        forget_graph();
        for_nodes(setup_.nodes(), [&]<int nodes>() { enqueue<nodes>(positions, charges, n_atoms); });
        launched_once_ = true;
    }

    const double* potentials() const override { return potentials_.data(); }
    const double* forces() const override { return forces_.data(); }
    const double* summary() const override { return reinterpret_cast<const double*>(summary_.data()); }

    LongRangeResult copy_results() override {
        LongRangeResult result;
        const auto n = static_cast<std::size_t>(last_call_.n_atoms < 0 ? 0 : last_call_.n_atoms);
        result.potentials.resize(n * static_cast<std::size_t>(setup_.n_channels()));
        result.forces.resize(3 * n);
        Summary summary{};
        copy(result.potentials.data(), potentials_.data(), result.potentials.size() * sizeof(double));
        copy(result.forces.data(), forces_.data(), result.forces.size() * sizeof(double));
        copy(&summary, summary_.data(), sizeof(summary));
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
    const MeshReport& report() const override { return setup_.report(); }
    std::string description() const override { return setup_.description(); }

private:
    MeshSetup setup_;
    DeviceOptions options_;
    cudaStream_t stream_;
    Matrix3 cell_{};
    bool have_cell_ = false;
    Transform<Real> transform_;
    DeviceArray<CellTerms> cell_terms_;
    DeviceArray<SelfTerms> self_terms_;
    DeviceArray<Summary> summary_;
    DeviceArray<double> tables_, filter_sums_, point_sums_, influence_sums_, potentials_, forces_;
    DeviceArray<Real> mesh_, influence_, t_, charges_;
    DeviceArray<std::int32_t> status_, counts_, begin_, first_, atom_, tile_and_number_, unordered_;
    std::int64_t capacity_ = 0;
    GraphKey last_call_;
    cudaGraphExec_t graph_ = nullptr;
    std::int64_t generation_ = 0;
    bool launched_once_ = false;  // as last_call_ says, with the arrays and plans of now

    /// All stages of one evaluation, in order, on the stream.
    template <int nodes>
    void enqueue(const double* positions, const double* charges, std::int64_t n) {
        sort_points(nodes, positions, charges, n);
        points_to_mesh<nodes>();
        transform_.forward(mesh_.data());
        const int n_filter_blocks = kspace_filter();
        transform_.backward(mesh_.data());
        const int n_point_blocks = mesh_to_points<nodes>(charges);
        close(n, n_point_blocks, n_filter_blocks);
    }

    void copy(void* to, const void* from, std::size_t bytes) const {
        check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_), "copying the results");
    }

    SortedPoints<Real> points() const {
        return {first_.data(), t_.data(), charges_.data(), atom_.data(), begin_.data()};
    }

    static unsigned blocks_for(std::int64_t work, int threads, std::int64_t most) {
        const std::int64_t blocks = (work + threads - 1) / threads;
        return static_cast<unsigned>(blocks < 1 ? 1 : blocks < most ? blocks : most);
    }
    static unsigned atom_blocks(std::int64_t n) { return blocks_for(n, atom_threads, INT32_MAX); }
    static void launched(const char* stage) { check(cudaGetLastError(), stage); }

    void sort_points(int nodes, const double* positions, const double* charges, std::int64_t n) {
        const MeshShape& mesh = setup_.shape();
        const unsigned blocks = atom_blocks(n);
        count_kernel<<<blocks, atom_threads, 0, stream_>>>(cell_terms_.data(), mesh, nodes, positions, n,
                                                           counts_.data(), tile_and_number_.data(), status_.data());
        launched("the count of points");
        scan_kernel<<<1, scan_threads, 0, stream_>>>(mesh.n_tiles(), counts_.data(), begin_.data());
        launched("the scan of points");
        if (options_.deterministic) {
            place_atom_kernel<<<blocks, atom_threads, 0, stream_>>>(n, tile_and_number_.data(), begin_.data(),
                                                                    unordered_.data());
            launched("the sorting of points");
            rank_kernel<Real><<<blocks, atom_threads, 0, stream_>>>(cell_terms_.data(), mesh, nodes, positions, charges,
                                                                    n, tile_and_number_.data(), unordered_.data(),
                                                                    points(), status_.data());
        } else {
            place_kernel<Real><<<blocks, atom_threads, 0, stream_>>>(cell_terms_.data(), mesh, nodes, positions,
                                                                     charges, n, tile_and_number_.data(), points(),
                                                                     status_.data());
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
                window, mesh, points(), mesh_.data());
        } else {
            const auto bytes = static_cast<std::size_t>(mesh.channel() * mesh.channels) * sizeof(Real);
            check(cudaMemsetAsync(mesh_.data(), 0, bytes, stream_), "clearing the mesh");
            scatter_kernel<Real, nodes><<<grid, scatter_threads, sizeof(ScatterShared<Real, nodes>), stream_>>>(
                window, mesh, points(), mesh_.data());
        }
        launched("points_to_mesh");
    }

    int kspace_filter() {
        const MeshShape& mesh = setup_.shape();
        const unsigned blocks = blocks_for(mesh.n_modes(), filter_threads, most_filter_blocks);
        filter_kernel<Real><<<blocks, filter_threads, 0, stream_>>>(cell_terms_.data(), mesh, influence_.data(),
                                                                    mesh_.data(), filter_sums_.data());
        launched("kspace_filter");
        return static_cast<int>(blocks);
    }

    template <int nodes>
    int mesh_to_points(const double* charges) {
        const MeshShape& mesh = setup_.shape();
        const unsigned blocks = blocks_for(mesh.n_tiles(), 1, most_gather_blocks);
        gather_kernel<Real, nodes><<<blocks, gather_threads, gather_shared_bytes<Real, nodes>(), stream_>>>(
            setup_.pieces<Real, nodes>(), mesh, cell_terms_.data(), self_terms_.data(), points(), charges, mesh_.data(),
            AtomResults{potentials_.data(), forces_.data()}, point_sums_.data());
        launched("mesh_to_points");
        return static_cast<int>(blocks);
    }

    void close(std::int64_t n, int n_point_blocks, int n_filter_blocks) {
        close_kernel<<<blocks_for(3 * n, close_threads, most_close_blocks), close_threads, 0, stream_>>>(
            cell_terms_.data(), self_terms_.data(), point_sums_.data(), n_point_blocks, filter_sums_.data(),
            n_filter_blocks, n, status_.data(), forces_.data(), summary_.data());
        launched("the sums over atoms");
    }

    /// Terms of the cell to the device, then influence function and self terms there: no wait, so that a barostat may
    /// come here at every step.
    void make_influence() {
        const MeshShape& mesh = setup_.shape();
        const CellTerms& terms = setup_.cell_terms();
        store_cell<<<1, 1, 0, stream_>>>(terms, cell_terms_.data());
        launched("the cell");
        check(cudaMemsetAsync(influence_.data(), 0, static_cast<std::size_t>(mesh.n_modes()) * sizeof(Real), stream_),
              "clearing the influence function");
        const std::int64_t modes = (2 * std::int64_t{terms.reach[0]} + 1) * (2 * std::int64_t{terms.reach[1]} + 1) *
                                   (std::int64_t{terms.reach[2]} + 1);
        const unsigned blocks = blocks_for(modes, influence_threads, most_influence_blocks);
        influence_kernel<Real><<<blocks, influence_threads, 0, stream_>>>(
            cell_terms_.data(), mesh, setup_.axis_tables(tables_.data()), influence_.data(), influence_sums_.data());
        launched("the influence function");
        close_influence_kernel<<<1, influence_threads, 0, stream_>>>(cell_terms_.data(), influence_sums_.data(),
                                                                     static_cast<int>(blocks), self_terms_.data());
        launched("the self terms");
    }

    void resize() {
        check(cudaStreamSynchronize(stream_), "the mesh");
        forget_graph();
        ++generation_;
        const MeshShape& mesh = setup_.shape();
        const std::int64_t reals = mesh.channel() * mesh.channels;
        mesh_.release();
        influence_.release();
        // mesh, work space of the transforms (as much again, at most twice), influence function
        check_memory((3.0 * static_cast<double>(reals) + static_cast<double>(mesh.n_modes())) * sizeof(Real));
        mesh_.reserve(reals);
        influence_.reserve(mesh.n_modes());
        counts_.reserve(mesh.n_tiles());
        begin_.reserve(mesh.n_tiles() + std::int64_t{1});
        check(cudaMemsetAsync(counts_.data(), 0, static_cast<std::size_t>(mesh.n_tiles()) * sizeof(std::int32_t),
                              stream_),
              "clearing the counts");
        const std::vector<double> tables = setup_.tables();
        tables_.reserve(setup_.table_size());
        check(cudaMemcpyAsync(tables_.data(), tables.data(), tables.size() * sizeof(double), cudaMemcpyHostToDevice,
                              stream_),
              "the tables of the window");
        check(cudaStreamSynchronize(stream_), "the tables of the window");
        transform_.resize(mesh, stream_);
        for_nodes(setup_.nodes(), [&]<int nodes>() { allow_shared_memory<nodes>(); });
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

    void check_memory(double bytes) const {
        std::size_t free = 0, total = 0;
        check(cudaMemGetInfo(&free, &total), "the memory of the GPU");
        if (bytes <= static_cast<double>(free)) return;
        const auto& mesh = setup_.report().mesh;
        char text[300];
        std::snprintf(
            text, sizeof(text),
            "the mesh of %d x %d x %d points needs %.3g GB, and %.3g GB of the GPU's memory are free; choose a "
            "smaller cell, a larger accuracy value or mesh_spacing, or float32 for the mesh",
            mesh[0], mesh[1], mesh[2], 1e-9 * bytes, 1e-9 * static_cast<double>(free));
        throw Error(text);
    }

    void reserve_atoms(std::int64_t n) {
        if (n > INT32_MAX / 4)
            throw Error("one GPU takes at most " + std::to_string(INT32_MAX / 4) + " atoms, got " + std::to_string(n));
        if (n <= capacity_) return;
        check(cudaStreamSynchronize(stream_), "the mesh");
        forget_graph();
        ++generation_;
        const std::int64_t room = n + n / 16, channels = setup_.n_channels();
        for (DeviceArray<double>* array : {&potentials_, &forces_}) array->release();
        potentials_.reserve(room * channels);
        forces_.reserve(3 * room);
        first_.reserve(3 * room);
        t_.reserve(3 * room);
        charges_.reserve(room * channels);
        atom_.reserve(room);
        tile_and_number_.reserve(2 * room);
        if (options_.deterministic) unordered_.reserve(room);
        capacity_ = room;
    }

    bool is_captured() const {
        if (stream_ == nullptr) return false;
        cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
        check(cudaStreamIsCapturing(stream_, &status), "the stream of the mesh");
        return status != cudaStreamCaptureStatusNone;
    }

    void capture(const double* positions, const double* charges, std::int64_t n) {
        cudaGraph_t graph = nullptr;
        check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "the capture of a graph");
        try {
            for_nodes(setup_.nodes(), [&]<int nodes>() { enqueue<nodes>(positions, charges, n); });
        } catch (...) {
            cudaStreamEndCapture(stream_, &graph);
            if (graph != nullptr) cudaGraphDestroy(graph);
            throw;
        }
        check(cudaStreamEndCapture(stream_, &graph), "the capture of a graph");
        const cudaError_t status = cudaGraphInstantiate(&graph_, graph, 0);
        cudaGraphDestroy(graph);
        if (status != cudaSuccess) graph_ = nullptr;
        check(status, "a graph of the mesh");
    }

    void forget_graph() {
        if (graph_ != nullptr) cudaGraphExecDestroy(graph_);
        graph_ = nullptr;
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
