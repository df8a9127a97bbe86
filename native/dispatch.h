// Which instruction set runs.
#pragma once

#include <string>
#include <vector>

#include "kernels.h"

namespace statewise {

// The instruction sets that this machine runs, slowest first.
const std::vector<const Kernels*>& available_kernels();

// The one in use: the best, or what STATEWISE_ISA names when the library is loaded.
const Kernels& current_kernels();

// Use another for what is packed from now on; an unknown name is an error.
void select_kernels(const std::string& name);

}  // namespace statewise
