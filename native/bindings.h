// What the files of the Python module share.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>
#include <string>

#include "arrays.h"
#include "dispatch.h"
#include "layer.h"
#include "program.h"

namespace statewise {

Cell cell_named(const std::string& name);
void check_lengths(const i64* lengths, i64 rows, i64 steps);
void check_weights(Cell cell, i64 inputs, i64 units, nb::handle W, nb::handle R, nb::handle b,
                   nb::handle m);

void bind_layer(nb::module_& module);
void bind_program(nb::module_& module);

}  // namespace statewise
