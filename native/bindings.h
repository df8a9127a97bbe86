// What the files of the Python module share.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <stdexcept>
#include <string>

#include "arrays.h"
#include "dispatch.h"
#include "layer.h"
#include "program.h"

namespace statewise {

// The cell of a name, or ValueError.
Cell find_cell(const std::string& name);
void check_lengths(const i64* lengths, i64 rows, i64 steps);

// The data of a layer's weights, or ValueError.
LayerWeights check_weights(Cell cell, i64 inputs, i64 units, const Floats& W, const Floats& R,
                           const Floats& b, const std::optional<Floats>& m,
                           const std::optional<Floats>& p);

void bind_layer(nb::module_& module);
void bind_program(nb::module_& module);

}  // namespace statewise
