// A LAMMPS command that runs the MPI communicator of the pair style through its collectives on the ranks at hand.
#include <cmath>
#include <cstdio>
#include <vector>

#include "comm.h"
#include "command.h"
#include "error.h"
#include "lammps_system.h"
#include "library.h"
#include "mpi_communicator.h"
#include "utils.h"

namespace {

class CommunicatorTest : public LAMMPS_NS::Command {
public:
    explicit CommunicatorTest(LAMMPS_NS::LAMMPS* lammps) : Command(lammps) {}

    void command(int, char**) override {
        const les_lammps::LammpsSystem system;
        les_lammps::MpiCommunicator domains(lmp, nullptr, system);
        const int rank = domains.rank(), size = domains.size();

        // sums: 0 + 1 + ... and the number of ranks
        double sums[2] = {static_cast<double>(rank), 1.0};
        domains.allreduce_sum(sums, 2);
        require(sums[0] == size * (size - 1) / 2 && sums[1] == size, "allreduce_sum");

        // rank r gives r numbers, all of them r; rank 0 gives none
        const auto all = domains.allgather(std::vector<double>(static_cast<std::size_t>(rank), rank));
        std::size_t at = 0;
        for (int r = 0; r < size; ++r) {
            for (int i = 0; i < r; ++i) require(all.at(at++) == r, "allgather");
        }
        require(at == all.size(), "allgather");

        // rank r sends to rank s a block of r + s numbers 100 r + s; rank 0 sends itself nothing
        std::vector<double> sent, received;
        std::vector<std::int64_t> sent_bytes, received_bytes;
        for (int s = 0; s < size; ++s) {
            sent.insert(sent.end(), static_cast<std::size_t>(rank + s), 100.0 * rank + s);
            sent_bytes.push_back((rank + s) * static_cast<std::int64_t>(sizeof(double)));
            received.insert(received.end(), static_cast<std::size_t>(rank + s), -1.0);
        }
        received_bytes = sent_bytes;
        domains.exchange(sent.data(), sent_bytes, received.data(), received_bytes);
        at = 0;
        for (int r = 0; r < size; ++r) {
            for (int i = 0; i < r + rank; ++i) require(received.at(at++) == 100.0 * r + rank, "exchange");
        }
        require(at == received.size(), "exchange");
        if (rank == 0) LAMMPS_NS::utils::logmesg(lmp, "communicator works on {} ranks\n", size);
    }

private:
    void require(bool condition, const char* what) {
        if (!condition) error->one(FLERR, "communicator: {} is wrong", what);
    }
};

struct PluginRecord {
    const char *version, *style, *name, *info, *author;
    void* (*creator)(void*);
    void* handle;
};

void* create(void* lammps) { return new CommunicatorTest(static_cast<LAMMPS_NS::LAMMPS*>(lammps)); }

}  // namespace

extern "C" void lammpsplugin_init(void* lammps, void* handle, void* register_it) {
    PluginRecord record{};
    record.version = static_cast<const char*>(lammps_extract_global(lammps, "lammps_version"));
    record.style = "command";
    record.name = "communicator_test";
    record.info = "test of the communicator";
    record.author = "les-md";
    record.creator = create;
    record.handle = handle;
    reinterpret_cast<void (*)(PluginRecord*, void*)>(register_it)(&record, lammps);
}
