// Pair style les: the class LAMMPS calls. Everything that needs the engine sits behind `Implementation`, so that this
// header names no type of it; reading LAMMPS data is in lammps_system, MPI in mpi_communicator.
#pragma once

#include <memory>
#include <string>

#include "pair.h"

namespace LAMMPS_NS {

class PairLES : public Pair {
public:
    explicit PairLES(LAMMPS* lmp);
    ~PairLES() override;

    // in the order LAMMPS calls them
    void settings(int narg, char** arg) override;
    void coeff(int narg, char** arg) override;
    void init_style() override;
    double init_one(int i, int j) override;
    void compute(int eflag, int vflag) override;
    void finish() override;

    void* extract(const char* name, int& dimensions) override;
    void* extract_peratom(const char* name, int& columns) override;
    double memory_usage() override;

    /// Puts the current of the present velocities among the values of `compute pair`, if this step wants it.
    void sum_current();

    int pack_forward_comm(int count, int* atoms, double* buffer, int, int*) override;
    void unpack_forward_comm(int count, int first, double* buffer) override;
    int pack_reverse_comm(int count, int first, double* buffer) override;
    void unpack_reverse_comm(int count, int* atoms, double* buffer) override;

    struct Implementation;

private:
    void allocate();
    bool is_hybrid() const;
    bool writes_q() const;
    void print(const std::string& line) const;
    void request_neighbours();
    void make_engine();
    void evaluate();
    void find_field_variables();
    void check_polarization() const;
    void take_field();
    [[noreturn]] void stop_all_ranks(const std::string& text) const;
    void count_time(double seconds);
    void list_global_values();
    void tally_energy_and_virial();
    void tally_polarization();
    void tally_atoms();
    void add_forces();
    void store_charges();
    void print_long_range();

    // What would give a wrong number, refused before the first step (pair_les_checks.cpp).
    void check_host() const;
    void check_no_kspace() const;
    void check_special_bonds() const;
    void check_exclusions() const;

    std::unique_ptr<Implementation> implementation_;
};

}  // namespace LAMMPS_NS
