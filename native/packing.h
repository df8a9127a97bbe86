// Matrices brought into the panels that the tiles read.
#pragma once

#include <vector>

#include "memory.h"

namespace statewise {

// Where the rows of a matrix with stacked gates begin: gate * units, in the order of the slots.
using GateOrder = std::vector<int>;

// Panels for out = M a with the gates of a unit block side by side: vector j of panel p holds
// gate order[j] of the units from p * width.
Panels pack_gates(const Kernels& kernels, const float* M, i64 units, i64 depth,
                  const GateOrder& order, i64 pad, bool bf16, std::vector<Buffer>& owned);

// Panels for out = M a of a plain matrix (rows, depth).
Panels pack_plain(const Kernels& kernels, const float* M, i64 rows, i64 depth, bool bf16,
                  std::vector<Buffer>& owned);

// Panels for out = M^T a, M (stacked gates * units, columns), where a holds the slots of `order`,
// each `pad` long with zeros behind `units`.
Panels pack_transposed(const Kernels& kernels, const float* M, i64 units, i64 columns,
                       const GateOrder& order, i64 pad, std::vector<Buffer>& owned);

// Floats that so many columns of a plain matrix take with the last panel's padding.
i64 plain_columns(const Kernels& kernels, i64 columns);

}  // namespace statewise
