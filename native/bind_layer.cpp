// `Layer` in Python: one layer's packed weights, whole sequences forward and backward.

#include "bindings.h"

namespace statewise {

namespace {

#define STATEWISE_MAYBE_FLOATS STATEWISE_ARRAY("float32") " | None"

STATEWISE_OBJECT(LayerOutputs,
                 "tuple[" STATEWISE_ARRAY("float32") ", " STATEWISE_ARRAY(
                     "float32") ", " STATEWISE_MAYBE_FLOATS ", " STATEWISE_MAYBE_FLOATS
                                ", " STATEWISE_MAYBE_FLOATS "]")
STATEWISE_OBJECT(LayerGradients, "tuple[" STATEWISE_MAYBE_FLOATS ", ...]")

using MaybeFloats = std::optional<Floats>;

void pack_layer(Layer* self, const std::string& name, i64 inputs, i64 units, Floats W, Floats R,
                Floats b, MaybeFloats m, MaybeFloats p, bool bf16, bool backward,
                bool toward_inputs, bool borrow) {
  const Cell cell = find_cell(name);
  const LayerWeights given = check_weights(cell, inputs, units, W, R, b, m, p);
  const Options options{
      .bf16 = bf16, .backward = backward, .inputs = toward_inputs, .borrow = borrow};
  nb::gil_scoped_release free;
  const BorrowedThreads threads(borrow);
  new (self) Layer(current_kernels(), cell, inputs, units, given, options);
}

// The parts of a sequence that forward and backward share.
Sequence make_sequence(const Layer& layer, const Floats& x, const Floats& h0, const MaybeFloats& c0,
                       const std::optional<Flags>& reset, const MaybeFloats& h_init,
                       const MaybeFloats& c_init, const std::optional<Integers>& lengths) {
  Sequence job{.layer = &layer};
  job.x = get_floats(x, "x", {-1, -1, layer.inputs});
  job.rows = length(x, 0);
  job.steps = length(x, 1);
  const i64 units = layer.units;
  job.h0 = get_floats(h0, "h0", {job.rows, units});
  job.reset = get_flags(reset, "reset", {job.rows, job.steps});
  job.h_init = get_optional_floats(h_init, "h_init", {job.rows, units});
  if (layer.layout.has_c) {
    job.c0 = get_required_floats(c0, "c0", {job.rows, units});
    job.c_init = get_optional_floats(c_init, "c_init", {job.rows, units});
  }
  job.lengths = get_integers(lengths, "lengths", {job.rows});
  check_lengths(job.lengths, job.rows, job.steps);
  return job;
}

LayerOutputs run_layer(const Layer& layer, Floats x, Floats h0, MaybeFloats c0,
                       std::optional<Flags> reset, MaybeFloats h_init, MaybeFloats c_init,
                       std::optional<Integers> lengths, bool save) {
  if (!layer.weights.bias) throw std::invalid_argument("this layer is packed for backward");
  Sequence job = make_sequence(layer, x, h0, c0, reset, h_init, c_init, lengths);
  const bool has_c = layer.layout.has_c;
  const i64 rows = job.rows, steps = job.steps, units = layer.units;
  Floats y = make_pooled_floats({rows, steps, units}), h = make_floats({rows, units});
  MaybeFloats c, gates, cells;
  job.y = data<float>(y.ptr());
  job.h = data<float>(h.ptr());
  if (has_c) job.c = data<float>(c.emplace(make_floats({rows, units})).ptr());
  if (save)
    job.gates = data<float>(gates.emplace(make_pooled_floats({steps, rows, layer.stride})).ptr());
  if (save && has_c)
    job.cells = data<float>(cells.emplace(make_pooled_floats({steps, rows, units})).ptr());
  {
    nb::gil_scoped_release free;
    const BorrowedThreads threads(layer.borrow);
    run_forward(job);
  }
  return nb::make_tuple(y, h, c, gates, cells);
}

// The gradients of a layer's call, as arrays: zero at first but for those of W and R.
struct GradientArrays {
  MaybeFloats dx, dW, dR, db, dm, dp, dh0, dc0, dh_init, dc_init;

  GradientArrays(const Layer& layer, const Sequence& job, bool inputs, Gradients& out) {
    const i64 rows = job.rows, units = layer.units, gates = layer.layout.gate_count();
    const bool has_c = layer.layout.has_c, resets = job.reset != nullptr;
    const auto make = [](bool wanted, MaybeFloats& array, float*& to, Shape shape) {
      if (wanted) to = data<float>(array.emplace(make_zero_floats(shape)).ptr());
    };
    out.dW = data<float>(dW.emplace(make_pooled_floats({gates * units, layer.inputs})).ptr());
    out.dR = data<float>(dR.emplace(make_pooled_floats({gates * units, units})).ptr());
    make(inputs, dx, out.dx, {rows, job.steps, layer.inputs});
    make(true, db, out.db, {gates * units});
    make(layer.cell == Cell::gru_after, dm, out.dm, {units});
    make(layer.cell == Cell::lstm_peepholes, dp, out.dp, {peepholes, units});
    make(true, dh0, out.dh0, {rows, units});
    make(has_c, dc0, out.dc0, {rows, units});
    make(resets, dh_init, out.dh_init, {rows, units});
    make(resets && has_c, dc_init, out.dc_init, {rows, units});
  }

  LayerGradients as_tuple() const {
    return nb::make_tuple(dx, dW, dR, db, dm, dp, dh0, dc0, dh_init, dc_init);
  }
};

LayerGradients run_layer_back(const Layer& layer, Floats x, Floats h0, MaybeFloats c0,
                              std::optional<Flags> reset, MaybeFloats h_init, MaybeFloats c_init,
                              std::optional<Integers> lengths, Floats y, Floats gates,
                              MaybeFloats cells, MaybeFloats dy, MaybeFloats dh, MaybeFloats dc,
                              bool inputs) {
  if (!layer.R_back.data) throw std::invalid_argument("this layer is packed for forward");
  if (inputs && !layer.W_back.data)
    throw std::invalid_argument("this layer is packed without its inputs");
  Sequence job = make_sequence(layer, x, h0, c0, reset, h_init, c_init, lengths);
  const i64 rows = job.rows, steps = job.steps, units = layer.units;
  const bool has_c = layer.layout.has_c;
  job.y = const_cast<float*>(get_floats(y, "y", {rows, steps, units}));
  job.gates = const_cast<float*>(get_floats(gates, "gates", {steps, rows, layer.stride}));
  if (has_c)
    job.cells = const_cast<float*>(get_required_floats(cells, "cells", {steps, rows, units}));
  const Vectors outputs = get_optional_vectors(dy, "dy", rows, steps, units);
  Gradients out{.dy = outputs.data, .dy_row = outputs.row, .dy_step = outputs.step};
  out.dh = get_optional_floats(dh, "dh", {rows, units});
  if (has_c) out.dc = get_optional_floats(dc, "dc", {rows, units});
  const GradientArrays arrays(layer, job, inputs, out);
  {
    nb::gil_scoped_release free;
    const BorrowedThreads threads(layer.borrow);
    run_backward(job, out);
  }
  return arrays.as_tuple();
}

// By letter, in the order of the gates: the slot that holds each.
nb::typed<nb::dict, nb::str, int> gate_slots(const CellLayout& layout) {
  nb::dict slots;
  for (int gate = 0; gate < layout.gate_count(); ++gate)
    for (int slot = 0; slot < layout.gate_count(); ++slot)
      if (layout.slot_gates[slot] == gate) slots[nb::str(layout.gates + gate, 1)] = slot;
  return nb::borrow<nb::typed<nb::dict, nb::str, int>>(slots);
}

}  // namespace

Cell find_cell(const std::string& name) {
  int index = 0;
  for (const CellLayout& layout : cell_layouts) {
    if (name == layout.name) return Cell(index);
    ++index;
  }
  throw std::invalid_argument("no kernels for a cell called '" + name + "'");
}

void check_lengths(const i64* lengths, i64 rows, i64 steps) {
  for (i64 row = 0; lengths && row < rows; ++row)
    if (lengths[row] < 0 || lengths[row] > steps)
      throw std::invalid_argument("lengths must lie in [0, " + std::to_string(steps) + "], got " +
                                  std::to_string(lengths[row]));
}

LayerWeights check_weights(Cell cell, i64 inputs, i64 units, const Floats& W, const Floats& R,
                           const Floats& b, const MaybeFloats& m, const MaybeFloats& p) {
  constexpr i64 max_width = i64(1) << 24;
  if (inputs < 1 || units < 1 || inputs > max_width || units > max_width)
    throw std::invalid_argument("inputs and units must be at least 1");
  const i64 gates = layout_of(cell).gate_count();
  LayerWeights given{.W = get_floats(W, "W", {gates * units, inputs}),
                     .R = get_floats(R, "R", {gates * units, units}),
                     .b = get_floats(b, "b", {gates * units})};
  if (cell == Cell::gru_after) given.m = get_required_floats(m, "m", {units});
  if (cell == Cell::lstm_peepholes) given.p = get_required_floats(p, "p", {peepholes, units});
  return given;
}

void bind_layer(nb::module_& module) {
  nb::class_<CellLayout>(module, "CellLayout", "How the kernels of a cell lay out its gates.")
      .def_prop_ro(
          "gates", [](const CellLayout& self) { return std::string(self.gates); },
          "A letter for each gate, as they are stacked in W, R and b.")
      .def_prop_ro(
          "parameters", [](const CellLayout& self) { return std::string(self.parameters); },
          "A letter for each array of weights.")
      .def_ro("slot_count", &CellLayout::slot_count, "Slots in a row of gates that a run saves.")
      .def_prop_ro("gate_slots", gate_slots, "By letter, the slot that holds the gate.")
      .def_ro("has_c", &CellLayout::has_c, "Whether there is a cell state c beside h.");
  module.def(
      "cell_layout", [](const std::string& name) { return layout_of(find_cell(name)); },
      nb::arg("name"), "The layout of the cell of this name.");
  module.def(
      "gates_width",
      [](const std::string& name, i64 units) {
        if (units < 1) throw std::invalid_argument("units must be at least 1");
        return gates_stride(current_kernels(), find_cell(name), units);
      },
      nb::arg("name"), nb::arg("units"), "Floats in a row of gates: one step of one row.");
  nb::class_<Layer>(module, "Layer", "One layer's weights, packed for its kernels.")
      .def("__init__", pack_layer, nb::arg("cell"), nb::arg("inputs"), nb::arg("units"),
           nb::arg("W"), nb::arg("R"), nb::arg("b"), nb::arg("m") = nb::none(),
           nb::arg("p") = nb::none(), nb::arg("bf16") = false, nb::arg("backward") = false,
           nb::arg("toward_inputs") = true, nb::arg("borrow") = false,
           "Pack the weights of a cell by name: in bfloat16, or for the way back (and then toward "
           "the "
           "inputs too, or not). With `borrow` the layer runs on torch's threads.")
      .def("forward", run_layer, nb::arg("x"), nb::arg("h0"), nb::arg("c0"), nb::arg("reset"),
           nb::arg("h_init"), nb::arg("c_init"), nb::arg("lengths"), nb::arg("save"),
           "A sequence x (B, T, F): y, the final h and c, and with `save` the gates (T, B, "
           "gates_width) and every c (T, B, units).")
      .def("backward", run_layer_back, nb::arg("x"), nb::arg("h0"), nb::arg("c0"), nb::arg("reset"),
           nb::arg("h_init"), nb::arg("c_init"), nb::arg("lengths"), nb::arg("y"), nb::arg("gates"),
           nb::arg("cells"), nb::arg("dy"), nb::arg("dh"), nb::arg("dc"), nb::arg("inputs"),
           "From what `forward` returned and the gradients of y and the final state to those of x, "
           "W, R, b, m, p, h0, c0, h_init and c_init, None where there is none.");
}

}  // namespace statewise
