// Umbrella header, in the order of an evaluation.
#pragma once

#include "les/communicator.h"   // how domains talk
#include "les/device_engine.h"  // the evaluation on a GPU, for hosts with arrays there
#include "les/engine.h"         // the evaluation
#include "les/error.h"          // the exception every function throws
#include "les/model_file.h"     // the exported model and its record
#include "les/system.h"         // input and output of an evaluation
#include "les/version.h"        // version of this library and of the torch it was built with
