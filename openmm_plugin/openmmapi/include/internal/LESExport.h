// Visibility of the plugin's symbols. The library and pybind11 modules hide symbols by default, so everything that
// other libraries name (classes, type information, entry points) is marked here.
#pragma once

#if defined(_WIN32)
#if defined(LES_OPENMM_BUILDING_LIBRARY)
#define LES_OPENMM_EXPORT __declspec(dllexport)
#else
#define LES_OPENMM_EXPORT __declspec(dllimport)
#endif
#else
#define LES_OPENMM_EXPORT __attribute__((visibility("default")))
#endif
