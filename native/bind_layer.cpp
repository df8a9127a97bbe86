// `Layer` in Python: one layer's packed weights, whole sequences forward and backward.

#include "bindings.h"

namespace statewise {

namespace {

struct Weights {
  Cell cell;
  i64 inputs, units;
  const float *W, *R, *b, *m;
};

// The parts of a sequence that forward and backward share.
Sequence sequence(const Layer& layer, nb::handle x, nb::handle h0, nb::handle c0, nb::handle reset,
                  nb::handle h_init, nb::handle c_init, nb::handle lengths) {
  Sequence job{};
  job.layer = &layer;
  job.x = floats(x, "x", {-1, -1, layer.inputs});
  job.rows = length(x, 0);
  job.steps = length(x, 1);
  const i64 units = layer.units;
  const bool lstm = layer.cell == Cell::lstm;
  job.h0 = floats(h0, "h0", {job.rows, units});
  if (lstm) job.c0 = floats(c0, "c0", {job.rows, units});
  job.reset = flags(reset, "reset", {job.rows, job.steps});
  job.h_init = optional_floats(h_init, "h_init", {job.rows, units});
  if (lstm) job.c_init = optional_floats(c_init, "c_init", {job.rows, units});
  job.lengths = integers(lengths, "lengths", {job.rows});
  check_lengths(job.lengths, job.rows, job.steps);
  return job;
}

nb::tuple forward_of(const Layer& layer, nb::handle x, nb::handle h0, nb::handle c0, nb::handle reset,
                  nb::handle h_init, nb::handle c_init, nb::handle lengths, bool save) {
  if (!layer.weights.bias) throw std::invalid_argument("this layer is packed for backward");
  Sequence job = sequence(layer, x, h0, c0, reset, h_init, c_init, lengths);
  const bool lstm = layer.cell == Cell::lstm;
  nb::object y = kept_floats({job.rows, job.steps, layer.units});
  nb::object h = new_floats({job.rows, layer.units});
  nb::object c = lstm ? new_floats({job.rows, layer.units}) : nb::none();
  nb::object gates = save ? kept_floats({job.steps, job.rows, layer.stride}) : nb::none();
  nb::object cells = save && lstm ? kept_floats({job.steps, job.rows, layer.units}) : nb::none();
  job.y = data<float>(y.ptr());
  job.h = data<float>(h.ptr());
  if (lstm) job.c = data<float>(c.ptr());
  if (save) job.gates = data<float>(gates.ptr());
  if (save && lstm) job.cells = data<float>(cells.ptr());
  {
    nb::gil_scoped_release free;
    const Borrowing threads(layer.borrow);
    run_forward(job);
  }
  return nb::make_tuple(y, h, c, gates, cells);
}

nb::tuple backward_of(const Layer& layer, nb::handle x, nb::handle h0, nb::handle c0,
                   nb::handle reset, nb::handle h_init, nb::handle c_init, nb::handle lengths,
                   nb::handle y, nb::handle gates, nb::handle cells, nb::handle dy, nb::handle dh,
                   nb::handle dc, bool inputs) {
  if (!layer.R_back.data) throw std::invalid_argument("this layer is packed for forward");
  Sequence job = sequence(layer, x, h0, c0, reset, h_init, c_init, lengths);
  const i64 rows = job.rows, steps = job.steps, units = layer.units;
  const bool lstm = layer.cell == Cell::lstm;
  job.y = const_cast<float*>(floats(y, "y", {rows, steps, units}));
  job.gates = const_cast<float*>(floats(gates, "gates", {steps, rows, layer.stride}));
  if (lstm) job.cells = const_cast<float*>(floats(cells, "cells", {steps, rows, units}));
  Gradients out{};
  const Vectors outputs = optional_vectors(dy, "dy", rows, steps, units);
  out.dy = outputs.data;
  out.dy_row = outputs.row;
  out.dy_step = outputs.step;
  out.dh = optional_floats(dh, "dh", {rows, units});
  if (lstm) out.dc = optional_floats(dc, "dc", {rows, units});
  const i64 gate_count = gates_of(layer.cell);
  const auto make = [](bool wanted, float*& to, Shape shape) -> nb::object {
    if (!wanted) return nb::none();
    nb::object array = zero_floats(shape);
    to = data<float>(array.ptr());
    return array;
  };
  const bool resets = job.reset != nullptr;
  if (inputs && !layer.W_back.data)
    throw std::invalid_argument("this layer is packed without its inputs");
  nb::object dx = make(inputs, out.dx, {rows, steps, layer.inputs});
  nb::object dW = kept_floats({gate_count * units, layer.inputs});
  nb::object dR = kept_floats({gate_count * units, units});
  out.dW = data<float>(dW.ptr());
  out.dR = data<float>(dR.ptr());
  nb::object db = make(true, out.db, {gate_count * units});
  nb::object dm = make(layer.cell == Cell::gru_after, out.dm, {units});
  nb::object dh0 = make(true, out.dh0, {rows, units});
  nb::object dc0 = make(lstm, out.dc0, {rows, units});
  nb::object dh_init = make(resets, out.dh_init, {rows, units});
  nb::object dc_init = make(resets && lstm, out.dc_init, {rows, units});
  {
    nb::gil_scoped_release free;
    const Borrowing threads(layer.borrow);
    run_backward(job, out);
  }
  return nb::make_tuple(dx, dW, dR, db, dm, dh0, dc0, dh_init, dc_init);
}

}  // namespace

Cell cell_named(const std::string& name) {
  if (name == "elman_tanh") return Cell::elman_tanh;
  if (name == "elman_relu") return Cell::elman_relu;
  if (name == "lstm") return Cell::lstm;
  if (name == "gru_after") return Cell::gru_after;
  if (name == "gru_before") return Cell::gru_before;
  throw std::invalid_argument("no kernels for a cell called '" + name + "'");
}

void check_lengths(const i64* lengths, i64 rows, i64 steps) {
  for (i64 row = 0; lengths && row < rows; ++row)
    if (lengths[row] < 0 || lengths[row] > steps)
      throw std::invalid_argument("lengths must lie in [0, " + std::to_string(steps) + "], got " +
                                  std::to_string(lengths[row]));
}

void check_weights(Cell cell, i64 inputs, i64 units, nb::handle W, nb::handle R, nb::handle b,
                   nb::handle m) {
  constexpr i64 most = i64(1) << 24;
  if (inputs < 1 || units < 1 || inputs > most || units > most)
    throw std::invalid_argument("inputs and units must be at least 1");
  const i64 gates = gates_of(cell);
  floats(W, "W", {gates * units, inputs});
  floats(R, "R", {gates * units, units});
  floats(b, "b", {gates * units});
  if (cell == Cell::gru_after) floats(m, "m", {units});
}

void bind_layer(nb::module_& module) {
  module.def("stride", [](const std::string& name, i64 units) {
    if (units < 1) throw std::invalid_argument("units must be at least 1");
    return gates_stride(current(), cell_named(name), units);
  });
  nb::class_<Layer>(module, "Layer", "One layer's weights, packed for its kernels.")
      .def("__init__",
           [](Layer* self, const std::string& name, i64 inputs, i64 units, nb::handle W,
              nb::handle R, nb::handle b, nb::handle m, bool half, bool backward,
              bool toward_inputs, bool borrow) {
             const Cell cell = cell_named(name);
             check_weights(cell, inputs, units, W, R, b, m);
             Options options;
             options.half = half;
             options.backward = backward;
             options.inputs = toward_inputs;
             options.borrow = borrow;
             const float* extra = cell == Cell::gru_after ? data<float>(m.ptr()) : nullptr;
             const float *given_W = data<float>(W.ptr()), *given_R = data<float>(R.ptr());
             const float* given_b = data<float>(b.ptr());
             nb::gil_scoped_release free;
             const Borrowing threads(borrow);
             new (self) Layer(current(), cell, inputs, units, given_W, given_R, given_b, extra,
                              options);
           },
           nb::arg("cell"), nb::arg("inputs"), nb::arg("units"), nb::arg("W"), nb::arg("R"),
           nb::arg("b"), nb::arg("m").none(), nb::arg("half") = false,
           nb::arg("backward") = false, nb::arg("toward_inputs") = true,
           nb::arg("borrow") = false)
      .def("forward", forward_of, nb::arg("x"), nb::arg("h0"), nb::arg("c0").none(),
           nb::arg("reset").none(), nb::arg("h_init").none(), nb::arg("c_init").none(),
           nb::arg("lengths").none(), nb::arg("save"))
      .def("backward", backward_of, nb::arg("x"), nb::arg("h0"), nb::arg("c0").none(),
           nb::arg("reset").none(), nb::arg("h_init").none(), nb::arg("c_init").none(),
           nb::arg("lengths").none(), nb::arg("y"), nb::arg("gates"), nb::arg("cells").none(),
           nb::arg("dy").none(), nb::arg("dh").none(), nb::arg("dc").none(), nb::arg("inputs"));
}

}  // namespace statewise
