// The kernels that carry positions and forces between OpenMM's arrays and the engine's, on the CPU: an OpenMM of our
// own below keeps particles in an order that changes and wraps them into a skewed box, as that of GPUs does.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <random>
#include <tuple>

#include "../cpp/check.h"
#include "les/communicator.h"
#include "les/long_range.h"

// one translation of the kernels for each precision
#define NUM_PARTICLES 61
#define PADDED_NUM_PARTICLES 64
#define ANGSTROM_PER_NM 10.0
namespace in_single {
#include "openmm_dialect.h"
#include "openmm_plugin/platforms/common/kernels/les_force.cu"
}  // namespace in_single
#undef KERNEL
#undef ATOMIC_ADD
#undef GLOBAL
#undef GLOBAL_ID
#undef GLOBAL_SIZE
#undef RESTRICT
#define USE_MIXED_PRECISION
namespace in_mixed {
#include "openmm_dialect.h"
#include "openmm_plugin/platforms/common/kernels/les_force.cu"
}  // namespace in_mixed
#undef KERNEL
#undef ATOMIC_ADD
#undef GLOBAL
#undef GLOBAL_ID
#undef GLOBAL_SIZE
#undef RESTRICT
#undef USE_MIXED_PRECISION
#define USE_DOUBLE_PRECISION
namespace in_double {
#include "openmm_dialect.h"
#include "openmm_plugin/platforms/common/kernels/les_force.cu"
}  // namespace in_double

namespace {

constexpr double kResolution = 1.0 / 4294967296.0;  // of forces, kJ/mol/nm
using Vectors = std::vector<double>;                // (n, 3)

/// Box vectors in nm, skewed as far as OpenMM allows.
const les::Matrix3 kBox = {{{2.1, 0.0, 0.0}, {1.0, 2.3, 0.0}, {-0.9, 1.1, 1.9}}};

/// A Context of a GPU platform: places instead of particles.
template <class Real4>
struct Places {
    std::vector<int> particleAt;   // (NUM_PARTICLES,), `atomIndex`
    std::vector<int> cellOffsets;  // (NUM_PARTICLES, 3), box vectors that each place was moved by
    std::vector<Real4> posq, correction;
    std::vector<unsigned long long> force = std::vector<unsigned long long>(3 * PADDED_NUM_PARTICLES, 0);

    /// Particles in a random order, each moved by random box vectors if `wrapped`. `positions` in nm.
    Places(const Vectors& positions, std::mt19937& random, bool wrapped) : particleAt(NUM_PARTICLES) {
        std::iota(particleAt.begin(), particleAt.end(), 0);
        std::shuffle(particleAt.begin(), particleAt.end(), random);
        std::uniform_int_distribution<int> cells(-3, 3);
        for (const int particle : particleAt) {
            double at[3];
            std::copy_n(positions.begin() + 3 * particle, 3, at);
            for (int row = 0; row < 3 && wrapped; ++row) {
                cellOffsets.push_back(cells(random));
                for (int axis = 0; axis < 3; ++axis) at[axis] += cellOffsets.back() * kBox[row][axis];
            }
            using Real = decltype(Real4::x);
            const auto high = [](double value) { return static_cast<Real>(value); };
            posq.push_back({high(at[0]), high(at[1]), high(at[2]), high(-0.7)});
            const auto low = [&](double value) { return static_cast<Real>(value - static_cast<double>(high(value))); };
            correction.push_back({low(at[0]), low(at[1]), low(at[2]), 0});
        }
        posq.resize(PADDED_NUM_PARTICLES);
        correction.resize(PADDED_NUM_PARTICLES);
    }
};

/// Every thread of a kernel of a precision's namespace, the last first.
#define RUN(space, call)                              \
    do {                                              \
        space::emulatedThreads = 7;                   \
        for (int thread = 6; thread >= 0; --thread) { \
            space::emulatedThread = thread;           \
            space::call;                              \
        }                                             \
    } while (false)

struct Single {
    using Real4 = in_single::real4;
    static constexpr double accuracy = 6e-7;  // nm: places up to 20 nm from the origin, in float
    static void gather(const Places<Real4>& places, const std::vector<int>& atoms, double* positions) {
        RUN(in_single, lesGatherPositions(places.posq.data(), places.particleAt.data(), atoms.data(), positions));
    }
    static void unwrap(const Places<Real4>& places, const std::vector<int>& rows, int numAtoms, const double* positions,
                       double* unwrapped) {
        RUN(in_single, lesUnwrapPositions(positions, places.cellOffsets.data(), places.particleAt.data(), rows.data(),
                                          numAtoms, 10.0 * kBox[0][0], 10.0 * kBox[1][0], 10.0 * kBox[1][1],
                                          10.0 * kBox[2][0], 10.0 * kBox[2][1], 10.0 * kBox[2][2], unwrapped));
    }
    static void add(const double* forces, int numAtoms, double scale, const std::vector<int>& rows,
                    Places<Real4>& places, int* flag) {
        RUN(in_single, lesAddForces(forces, forces + 3 * numAtoms, numAtoms, scale, places.particleAt.data(),
                                    rows.data(), places.force.data(), flag));
    }
};
struct Mixed {
    using Real4 = in_mixed::real4;
    static constexpr double accuracy = 3e-14;
    static void gather(const Places<Real4>& places, const std::vector<int>& atoms, double* positions) {
        RUN(in_mixed, lesGatherPositions(places.posq.data(), places.correction.data(), places.particleAt.data(),
                                         atoms.data(), positions));
    }
    static void unwrap(const Places<Real4>& places, const std::vector<int>& rows, int numAtoms, const double* positions,
                       double* unwrapped) {
        RUN(in_mixed, lesUnwrapPositions(positions, places.cellOffsets.data(), places.particleAt.data(), rows.data(),
                                         numAtoms, 10.0 * kBox[0][0], 10.0 * kBox[1][0], 10.0 * kBox[1][1],
                                         10.0 * kBox[2][0], 10.0 * kBox[2][1], 10.0 * kBox[2][2], unwrapped));
    }
    static void add(const double* forces, int numAtoms, double scale, const std::vector<int>& rows,
                    Places<Real4>& places, int* flag) {
        RUN(in_mixed, lesAddForces(forces, forces + 3 * numAtoms, numAtoms, scale, places.particleAt.data(),
                                   rows.data(), places.force.data(), flag));
    }
};
struct Double {
    using Real4 = in_double::real4;
    static constexpr double accuracy = 3e-15;
    static void gather(const Places<Real4>& places, const std::vector<int>& atoms, double* positions) {
        RUN(in_double, lesGatherPositions(places.posq.data(), places.particleAt.data(), atoms.data(), positions));
    }
    static void unwrap(const Places<Real4>& places, const std::vector<int>& rows, int numAtoms, const double* positions,
                       double* unwrapped) {
        RUN(in_double, lesUnwrapPositions(positions, places.cellOffsets.data(), places.particleAt.data(), rows.data(),
                                          numAtoms, 10.0 * kBox[0][0], 10.0 * kBox[1][0], 10.0 * kBox[1][1],
                                          10.0 * kBox[2][0], 10.0 * kBox[2][1], 10.0 * kBox[2][2], unwrapped));
    }
    static void add(const double* forces, int numAtoms, double scale, const std::vector<int>& rows,
                    Places<Real4>& places, int* flag) {
        RUN(in_double, lesAddForces(forces, forces + 3 * numAtoms, numAtoms, scale, places.particleAt.data(),
                                    rows.data(), places.force.data(), flag));
    }
};

/// The engine has rows of `n` particles, in an order of its own: atoms of the model and external charges.
std::pair<std::vector<int>, std::vector<int>> some_particles(int n, std::mt19937& random) {
    std::vector<int> particles(NUM_PARTICLES), atoms(NUM_PARTICLES, -1);
    std::iota(particles.begin(), particles.end(), 0);
    std::shuffle(particles.begin(), particles.end(), random);
    particles.resize(static_cast<std::size_t>(n));
    for (int atom = 0; atom < n; ++atom) atoms[static_cast<std::size_t>(particles[atom])] = atom;
    return {particles, atoms};
}

Vectors random_vectors(int n, double scale, std::mt19937& random) {
    std::uniform_real_distribution<double> uniform(-scale, scale);
    Vectors vectors(static_cast<std::size_t>(3 * n));
    std::generate(vectors.begin(), vectors.end(), [&] { return uniform(random); });
    return vectors;
}

template <class Precision>
void check_gather(int n, std::mt19937& random) {
    const Vectors positions = random_vectors(NUM_PARTICLES, 4.0, random);
    const auto [particles, atoms] = some_particles(n, random);
    const Places<typename Precision::Real4> places(positions, random, /*wrapped=*/false);
    Vectors gathered(static_cast<std::size_t>(3 * n), std::numeric_limits<double>::quiet_NaN());
    Precision::gather(places, atoms, gathered.data());
    for (int atom = 0; atom < n; ++atom) {
        for (int axis = 0; axis < 3; ++axis) {
            check_close(gathered[3 * atom + axis], 10.0 * positions[3 * particles[atom] + axis], 10.0,
                        Precision::accuracy, "position in angstrom");
        }
    }
}

/// Positions that OpenMM has wrapped are put back where they were, of atoms alone.
template <class Precision>
void check_unwrap(int n, std::mt19937& random) {
    const Vectors positions = random_vectors(NUM_PARTICLES, 4.0, random);
    const auto [particles, rows] = some_particles(n, random);
    const Places<typename Precision::Real4> places(positions, random, /*wrapped=*/true);
    const int n_atoms = (n + 1) / 2;
    Vectors gathered(static_cast<std::size_t>(3 * n)), unwrapped(gathered.size(), 7.0);
    Precision::gather(places, rows, gathered.data());
    Precision::unwrap(places, rows, n_atoms, gathered.data(), unwrapped.data());
    bool moved = false;
    for (int row = 0; row < n; ++row) {
        for (int axis = 0; axis < 3; ++axis) {
            const double expected = row < n_atoms ? 10.0 * positions[3 * particles[row] + axis] : 7.0;
            check_close(unwrapped[3 * row + axis], expected, 20.0, Precision::accuracy, "unwrapped position");
            moved = moved || std::abs(gathered[3 * row + axis] - expected) > 1.0;
        }
    }
    CHECK(moved);
}

template <class Precision>
void check_add(int n, std::mt19937& random) {
    const auto [particles, atoms] = some_particles(n, random);
    Places<typename Precision::Real4> places(Vectors(3 * NUM_PARTICLES), random, false);
    // what other forces have added before, of either sign
    const Vectors before = random_vectors(PADDED_NUM_PARTICLES, 1e5, random);
    for (std::size_t i = 0; i < before.size(); ++i)
        places.force[i] = static_cast<unsigned long long>(static_cast<long long>(before[i] / kResolution));
    const auto untouched = places.force;
    const Vectors forces = random_vectors(n, 20.0, random);
    const double scale = -0.3 * 964.8533212331;
    int invalid = 0;
    const int n_atoms = (n + 1) / 2;  // of the model; the rest are external charges
    Precision::add(forces.data(), n_atoms, scale, atoms, places, &invalid);
    Precision::add(forces.data(), n, 2.0, atoms, places, &invalid);  // another LESForce of the same System
    CHECK(invalid == 0);
    for (int place = 0; place < PADDED_NUM_PARTICLES; ++place) {
        const int atom = place < NUM_PARTICLES ? atoms[static_cast<std::size_t>(places.particleAt[place])] : -1;
        for (int axis = 0; axis < 3; ++axis) {
            const int i = place + axis * PADDED_NUM_PARTICLES;
            if (atom < 0) {
                CHECK(places.force[i] == untouched[i]);
                continue;
            }
            const double expected = before[i] + (scale + 2.0) * forces[3 * atom + axis];
            check_close(static_cast<double>(static_cast<long long>(places.force[i])) * kResolution, expected, 4.0,
                        kResolution, "force in kJ/mol/nm");
        }
    }
}

/// What the fixed-point buffer cannot hold is reported and not added, and does not keep others from being added.
template <class Precision>
void check_invalid(std::mt19937& random) {
    const auto [particles, atoms] = some_particles(NUM_PARTICLES, random);
    for (const double bad : {std::nan(""), HUGE_VAL, -HUGE_VAL, 2147483648.0, -3e9}) {
        Places<typename Precision::Real4> places(Vectors(3 * NUM_PARTICLES), random, false);
        Vectors forces(3 * NUM_PARTICLES, 1.0);
        forces[3 * 17 + 1] = bad;
        int invalid = 0;
        Precision::add(forces.data(), NUM_PARTICLES, 1.0, atoms, places, &invalid);
        CHECK(invalid == 1);
        const auto ones = std::count(places.force.begin(), places.force.end(), 1ULL << 32);
        CHECK(ones == 3 * NUM_PARTICLES - 1);
        CHECK(std::count(places.force.begin(), places.force.end(), 0ULL) ==
              static_cast<std::ptrdiff_t>(places.force.size()) - ones);
    }
}

/// Positions that OpenMM has wrapped give energy and forces of those it was given, through the same kernels.
template <class Precision>
void check_wrapped(double tolerance, std::mt19937& random) {
    const Vectors positions = random_vectors(NUM_PARTICLES, 1.0, random);
    const auto [particles, atoms] = some_particles(40, random);
    std::vector<double> charges(particles.size());
    for (std::size_t i = 0; i < charges.size(); ++i) charges[i] = i % 2 == 0 ? 0.8 : -0.8;
    les::System system;
    system.n_local = system.n_all = static_cast<std::int64_t>(particles.size());
    system.periodic = true;
    for (int row = 0; row < 3; ++row)
        for (int axis = 0; axis < 3; ++axis) system.cell[row][axis] = 10.0 * kBox[row][axis];
    les::SingleProcess alone;
    const auto solver = les::make_ewald_solver(les::LongRangeParameters(), 1);
    Vectors given;
    for (const int particle : particles)
        for (int axis = 0; axis < 3; ++axis) given.push_back(10.0 * positions[3 * particle + axis]);
    system.positions = given.data();
    const les::LongRangeResult expected = solver->compute(system, charges, alone);

    Places<typename Precision::Real4> places(positions, random, /*wrapped=*/true);
    Vectors gathered(given.size());
    Precision::gather(places, atoms, gathered.data());
    system.positions = gathered.data();
    const les::LongRangeResult& got = solver->compute(system, charges, alone);
    check_close(got.energy, expected.energy, tolerance, std::abs(expected.energy), "energy of wrapped positions");
    int invalid = 0;
    Precision::add(got.forces.data(), 40, 1.0, atoms, places, &invalid);
    for (int place = 0; place < NUM_PARTICLES; ++place) {
        const int atom = atoms[static_cast<std::size_t>(places.particleAt[place])];
        for (int axis = 0; axis < 3 && atom >= 0; ++axis) {
            const auto fixed = static_cast<long long>(places.force[place + axis * PADDED_NUM_PARTICLES]);
            check_close(static_cast<double>(fixed) * kResolution, expected.forces[3 * atom + axis], tolerance, 1.0,
                        "force of wrapped positions");
        }
    }
}

template <class Precision>
void check_all(double tolerance) {
    std::mt19937 random(11);
    for (const int n : {1, 40, NUM_PARTICLES}) {
        check_gather<Precision>(n, random);
        check_unwrap<Precision>(n, random);
        check_add<Precision>(n, random);
    }
    check_invalid<Precision>(random);
    check_wrapped<Precision>(tolerance, random);
}

}  // namespace

int main() {
    check_all<Single>(1e-5);
    check_all<Mixed>(1e-9);
    check_all<Double>(1e-9);
    std::puts("the kernels for OpenMM's CUDA platform carry positions and forces as they should");
    return 0;
}
