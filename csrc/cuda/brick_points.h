// The charges of one domain and their brick of the mesh on its device: which mesh points their windows begin at,
// sorting, spreading, gathering.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "distributed_filter.h"
#include "les/long_range.h"

namespace les::cuda {

template <class Backend, class Real>
class BrickPoints {
    template <class T>
    using Array = GrowingArray<typename Backend::template Array<T>>;

public:
    /// `deterministic`: charges are collected, see points_to_mesh.cuh.
    BrickPoints(const Backend& backend, bool deterministic) : backend_(backend), deterministic_(deterministic) {
        status_.reserve(1);
        sums_.reserve(n_point_sums);
        totals_.reserve(most_blocks * n_point_sums);
    }

    /// Owned atoms of a domain to the device.
    void send(const System& system, const std::vector<double>& charges, int n_channels) {
        n_ = system.n_local;
        if (n_ > INT32_MAX / 4)
            throw Error("one GPU takes at most " + std::to_string(INT32_MAX / 4) + " atoms, got " + std::to_string(n_));
        for (auto* array : {&positions_, &forces_}) array->reserve(3 * n_);
        for (auto* array : {&charges_, &potentials_}) array->reserve(n_ * n_channels);
        first_.reserve(3 * n_);
        t_.reserve(3 * n_);
        point_charges_.reserve(n_ * n_channels);
        atom_.reserve(n_);
        tile_and_number_.reserve(2 * n_);
        if (deterministic_) unordered_.reserve(n_);
        if (n_ == 0) return;
        backend_.to_device(positions_.data(), system.positions, static_cast<std::size_t>(3 * n_) * sizeof(double));
        backend_.to_device(charges_.data(), charges.data(), charges.size() * sizeof(double));
    }

    /// Takes the brick that holds the windows of all charges; returns what other domains must know of it. Waits.
    std::array<double, MeshDivision::brick_numbers> find_brick(const MeshSetup& setup, const CellTerms* cell,
                                                               MeshDivision& division) {
        const MeshShape& whole = setup.shape();
        const auto points0 = static_cast<std::size_t>(whole.points[0]),
                   points1 = static_cast<std::size_t>(whole.points[1]),
                   points2 = static_cast<std::size_t>(whole.points[2]);
        std::vector<char> occupied(points0 + points1 + points2, 0);
        if (n_ > 0) {
            std::int32_t status = 0;
            occupied_.reserve(static_cast<std::int64_t>(occupied.size()));
            backend_.zero(occupied_.data(), occupied.size());
            backend_.zero(status_.data(), sizeof(status));
            launch_over(backend_, n_,
                        MarkPoints{cell, whole, setup.nodes(), positions_.data(), charges_.data(), n_, occupied_.data(),
                                   status_.data()},
                        "the search of the brick");
            backend_.to_host(occupied.data(), occupied_.data(), occupied.size());
            backend_.to_host(&status, status_.data(), sizeof(status));
            backend_.wait();
            if (status != 0)
                throw Error(
                    "`positions` and `charges` must be finite, got NaN or infinity; check the model or the structure");
        }
        const auto told =
            division.take_brick({occupied.data(), occupied.data() + points0, occupied.data() + points0 + points1});
        shape_ = setup.brick(division.origin(), division.brick_length());
        brick_.reserve(shape_.channel() * shape_.channels);
        begin_.reserve(shape_.n_tiles() + std::int64_t{1});
        counts_.reserve(shape_.n_tiles());
        return told;
    }

    const MeshShape& shape() const { return shape_; }
    Real* brick(int channel) const { return brick_.data() + channel * shape_.channel(); }
    std::int64_t size() const { return n_; }

    void sort(int nodes, const CellTerms* cell) {
        if (n_ == 0) return;
        const PointInput<Real> input{cell,
                                     shape_,
                                     nodes,
                                     positions_.data(),
                                     charges_.data(),
                                     n_,
                                     tile_and_number_.data(),
                                     deterministic_ ? unordered_.data() : nullptr,
                                     status_.data(),
                                     points()};
        backend_.zero(counts_.data(), static_cast<std::size_t>(shape_.n_tiles()) * sizeof(std::int32_t));
        launch_over(backend_, n_, CountPoints<Real>{input, counts_.data()}, "the count of points");
        backend_.launch(ScanPoints{shape_.n_tiles(), counts_.data(), begin_.data()}, 1, "the scan of points");
        launch_over(backend_, n_, PlacePoints<Real>{input}, "the sorting of points");
        if (deterministic_) launch_over(backend_, n_, RankPoints<Real>{input}, "the sorting of points");
    }

    template <int nodes>
    void points_to_mesh(const WindowPieces<Real, nodes>& window) {
        if (n_ == 0) return;
        const int blocks = shape_.n_tiles() * shape_.channels;
        if (deterministic_) {
            backend_.launch(CollectTiles<Real, nodes>{window, shape_, points(), brick(0)}, blocks, "points_to_mesh");
        } else {
            backend_.zero(brick(0), static_cast<std::size_t>(shape_.channel() * shape_.channels) * sizeof(Real));
            backend_.launch(ScatterTiles<Real, nodes>{window, shape_, points(), brick(0)}, blocks, "points_to_mesh");
        }
    }

    template <int nodes>
    void mesh_to_points(const WindowPieces<Real, nodes>& window, const CellTerms* cell, const SelfTerms* self) {
        n_totals_ = n_ == 0 ? 0 : blocks_for(shape_.n_tiles(), 1, most_blocks);
        if (n_ == 0) return;
        backend_.launch(GatherTiles<Real, nodes>{window, shape_, cell, self, points(), charges_.data(), brick(0),
                                                 AtomResults{potentials_.data(), forces_.data()}, totals_.data()},
                        n_totals_, "mesh_to_points");
    }

    /// Sums over this domain's atoms, their potentials and forces, to the host behind what is on the stream.
    void send_results(std::array<double, n_point_sums>& sums, LongRangeResult& result) {
        result.potentials.resize(static_cast<std::size_t>(n_ * shape_.channels));
        result.forces.resize(static_cast<std::size_t>(3 * n_));
        backend_.launch(SumBlocks<n_point_sums>{totals_.data(), n_totals_, sums_.data()}, 1, "the sums over atoms");
        backend_.to_host(sums.data(), sums_.data(), sizeof(sums));
        if (n_ == 0) return;
        backend_.to_host(result.potentials.data(), potentials_.data(), result.potentials.size() * sizeof(double));
        backend_.to_host(result.forces.data(), forces_.data(), result.forces.size() * sizeof(double));
    }

private:
    static constexpr int most_blocks = most_gather_blocks;

    const Backend& backend_;
    bool deterministic_;
    std::int64_t n_ = 0;
    int n_totals_ = 0;
    MeshShape shape_{};  // of the brick
    Array<double> positions_, charges_, potentials_, forces_, totals_, sums_;
    Array<char> occupied_;
    Array<std::int32_t> status_, counts_, begin_, first_, atom_, tile_and_number_, unordered_;
    Array<Real> brick_, t_, point_charges_;

    SortedPoints<Real> points() const {
        return {first_.data(), t_.data(), point_charges_.data(), atom_.data(), begin_.data()};
    }
};

}  // namespace les::cuda
