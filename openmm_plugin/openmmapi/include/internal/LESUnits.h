// OpenMM's units in those of the engine. The only place of the plugin with unit factors.
#pragma once

#include "openmm/Units.h"

namespace LESPlugin::units {

inline const double angstromPerNm = OpenMM::AngstromsPerNm;
inline const double kJPerMolPerEV = 96.48533212331;  // openmm.unit: elementary_charge * volt * AVOGADRO_CONSTANT_NA
inline const double kJPerMolPerNmPerEVPerAngstrom = kJPerMolPerEV * angstromPerNm;  // also of fields, per e

}  // namespace LESPlugin::units
