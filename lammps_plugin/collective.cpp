#include "collective.h"

#include <algorithm>
#include <cstdint>
#include <exception>

#include "comm.h"
#include "error.h"
#include "les/model_file.h"

namespace les_lammps {
namespace {

void broadcast(std::string& bytes, int root, MPI_Comm world) {
    std::int64_t count = static_cast<std::int64_t>(bytes.size());
    MPI_Bcast(&count, 1, MPI_INT64_T, root, world);
    bytes.resize(static_cast<std::size_t>(count));
    // MPI counts are int: large files go in pieces.
    constexpr std::int64_t largest = std::int64_t{1} << 30;
    for (std::int64_t begin = 0; begin < count; begin += largest)
        MPI_Bcast(bytes.data() + begin, static_cast<int>(std::min(largest, count - begin)), MPI_CHAR, root, world);
}

}  // namespace

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

void run_on_all_ranks(LAMMPS_NS::LAMMPS* lammps, const std::function<void()>& step) {
    std::string text;
    bool failed = false;
    try {
        step();
    } catch (const std::exception& exception) {
        failed = true;
        text = first_line(exception.what());
    }
    const int ranks = lammps->comm->nprocs;
    int mine = failed ? lammps->comm->me : ranks, lowest = ranks;
    MPI_Allreduce(&mine, &lowest, 1, MPI_INT, MPI_MIN, lammps->world);
    if (lowest == ranks) return;
    broadcast(text, lowest, lammps->world);
    lammps->error->all(FLERR, text);
}

std::string read_on_first_rank(LAMMPS_NS::LAMMPS* lammps, const std::string& path) {
    std::string bytes;
    run_on_all_ranks(lammps, [&] {
        if (lammps->comm->me == 0) bytes = les::read_file(path);
    });
    broadcast(bytes, 0, lammps->world);
    return bytes;
}

}  // namespace les_lammps
