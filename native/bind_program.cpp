// `Program` in Python: a whole model in one call.

#include <Python.h>
#include <structmember.h>  // PyMemberDef, which Python.h has from 3.12 on

#include "named_program.h"

namespace statewise {

nb::object NamedProgram::step(nb::handle x, nb::handle arrays, nb::handle position) {
  Done done;
  if (!plain(x, arrays, position, false, done)) return nb::none();
  return nb::make_tuple(done.y, done.fields, done.position);
}

// Where a class keeps one of its slots: what GetAttr comes to, without looking for it at every step.
static Py_ssize_t slot(nb::handle type, const char* name) {
  const PyMemberDef* member = reinterpret_cast<PyTypeObject*>(type.ptr())->tp_members;
  while (member && member->name && std::strcmp(member->name, name)) ++member;
  if (!member || !member->name)
    throw std::invalid_argument(std::string("states need a slot ") + name);
  return member->offset;
}

static PyObject*& held(nb::handle state, Py_ssize_t slot) {
  return *reinterpret_cast<PyObject**>(reinterpret_cast<char*>(state.ptr()) + slot);
}

void NamedProgram::make_states(nb::object type, nb::object origin) {
  arrays_slot_ = slot(type, "_arrays");
  position_slot_ = slot(type, "_position");
  origin_slot_ = slot(type, "origin");
  state_ = std::move(type);
  origin_ = std::move(origin);
}

// A step, or a whole sequence without masks, from a state that this program made to the next one.
nb::object NamedProgram::advance(nb::handle x, nb::handle state, bool sequence) {
  PyTypeObject* const type = reinterpret_cast<PyTypeObject*>(state_.ptr());
  if (!type || Py_TYPE(state.ptr()) != type || held(state, origin_slot_) != origin_.ptr())
    return nb::none();
  // References of our own: another thread may fill the state anew.
  const nb::object arrays = nb::borrow(held(state, arrays_slot_));
  const nb::object position = nb::borrow(held(state, position_slot_));
  Done done;
  if (!arrays || !position || !plain(x, arrays, position, sequence, done)) return nb::none();
  nb::object after = nb::steal(type->tp_alloc(type, 0));
  if (!after) throw nb::python_error();
  held(after, arrays_slot_) = done.fields.release().ptr();
  held(after, position_slot_) = done.position.release().ptr();
  held(after, origin_slot_) = nb::object(origin_).release().ptr();
  return nb::make_tuple(done.y, after);
}

// False where anything is not plainly as expected: the caller then takes the way that explains.
bool NamedProgram::plain(nb::handle x, nb::handle arrays, nb::handle position, bool sequence,
                         Done& done) {
  if (!fits(position.ptr(), NPY_INT64, {-1}) || !PyDict_CheckExact(arrays.ptr()) ||
      std::size_t(PyDict_Size(arrays.ptr())) != fields_.size())
    return false;
  StepJob job{};
  const i64 rows = job.rows = length(position, 0);
  const int type = program.embeds ? NPY_INT64 : NPY_FLOAT32;
  const bool shaped =
      program.embeds ? sequence ? fits(x.ptr(), type, {rows, -1}) : fits(x.ptr(), type, {rows})
      : sequence     ? fits(x.ptr(), type, {rows, -1, program.inputs})
                     : fits(x.ptr(), type, {rows, program.inputs});
  if (!shaped) return false;
  const i64 steps = sequence ? length(x, 1) : 1;
  if (program.embeds) {
    job.tokens = data<i64>(x.ptr());
    if (!tokens_fit(job.tokens, rows * steps)) return false;
  } else {
    job.x = data<float>(x.ptr());
  }
  StepState small[8] = {};
  std::vector<StepState> many;
  StepState* states = small;
  if (units_.size() > 8) {
    many.resize(units_.size());
    states = many.data();
  }
  for (const Field& field : fields_) {
    PyObject* before = PyDict_GetItemWithError(arrays.ptr(), field.name.ptr());
    if (!before) {
      if (PyErr_Occurred()) throw nb::python_error();
      return false;
    }
    if (field.layer != carried && !fits(before, NPY_FLOAT32, {rows, field_width(field)}))
      return false;
  }
  nb::dict after;
  const float* remembered = nullptr;
  float* remembers = nullptr;
  for (const Field& field : fields_) {
    PyObject* before = PyDict_GetItemWithError(arrays.ptr(), field.name.ptr());
    if (field.layer == carried) {
      PyDict_SetItem(after.ptr(), field.name.ptr(), before);
      continue;
    }
    const i64 units = field_width(field);
    nb::object made = new_floats({rows, units});
    seal(made.ptr());
    PyDict_SetItem(after.ptr(), field.name.ptr(), made.ptr());
    if (field.layer == output) {
      remembered = data<float>(before);
      remembers = data<float>(made.ptr());
      continue;
    }
    StepState& state = states[field.layer];
    (field.cell ? state.c : state.h) = data<float>(before);
    (field.cell ? state.c_out : state.h_out) = data<float>(made.ptr());
    (field.cell ? state.stride_c : state.stride_h) = units;
  }
  nb::object y = sequence ? new_floats({rows, steps, program.width})
                          : new_floats({rows, program.width});
  npy_intp count = rows;
  nb::object moved = nb::steal(PyArray_SimpleNew(1, &count, NPY_INT64));
  if (!moved) throw nb::python_error();
  for (i64 row = 0; row < rows; ++row)
    data<i64>(moved.ptr())[row] = data<i64>(position.ptr())[row] + steps;
  seal(moved.ptr());
  job.states = states;
  job.y = data<float>(y.ptr());
  if (sequence) {
    std::vector<LayerArrays> layers;
    for (std::size_t i = 0; i < units_.size(); ++i)
      layers.push_back(
          {states[i].h, states[i].c, nullptr, nullptr, states[i].h_out, states[i].c_out});
    const CallJob whole{rows, steps, job.x, job.tokens, nullptr, nullptr, layers.data(), job.y};
    run(double(rows * steps), [&] { program.call(whole); });
  } else {
    run(double(rows), [&] { program.step(job); });
  }
  if (remembers) remember(job.y, rows, steps, nullptr, remembered, remembers);
  done = {y, after, moved};
  return true;
}

namespace {

// The first of the largest, or the first that is not a number, as NumPy has it.
i64 largest(const float* outputs, const float* noise, i64 count) {
  i64 found = 0;
  float most = outputs[0] + noise[0];
  for (i64 i = 1; i < count && most == most; ++i) {
    const float score = outputs[i] + noise[i];
    if (score > most || score != score) {
      most = score;
      found = i;
    }
  }
  return found;
}

}  // namespace

// Steps that read what they draw: the largest of the last outputs and noise (steps, rows, tokens).
// Every field after every step comes back. None where anything is not plainly as expected.
nb::object NamedProgram::sample(nb::handle noise, nb::handle arrays) {
  if (!program.embeds || program.width > program.inputs || !PyDict_CheckExact(arrays.ptr()) ||
      !fits(noise.ptr(), NPY_FLOAT32, {-1, -1, program.width}))
    return nb::none();
  const i64 steps = length(noise, 0), rows = length(noise, 1), size = program.width;
  std::vector<StepState> states(units_.size());
  const float* last = nullptr;
  float* outputs = nullptr;
  nb::dict after;
  for (const Field& field : fields_) {
    if (field.layer == carried) continue;
    const i64 units = field_width(field);
    PyObject* before = PyDict_GetItem(arrays.ptr(), field.name.ptr());
    if (!before || !fits(before, NPY_FLOAT32, {rows, units})) return nb::none();
    nb::object made = new_floats({steps, rows, units});
    seal(made.ptr());
    after[field.name] = made;
    if (field.layer == output) {
      last = data<float>(before);
      outputs = data<float>(made.ptr());
      continue;
    }
    StepState& state = states[std::size_t(field.layer)];
    (field.cell ? state.c : state.h) = data<float>(before);
    (field.cell ? state.c_out : state.h_out) = data<float>(made.ptr());
    (field.cell ? state.stride_c : state.stride_h) = units;
  }
  if (!outputs) return nb::none();
  npy_intp lengths[2] = {steps, rows};
  nb::object drawn = nb::steal(PyArray_SimpleNew(2, lengths, NPY_INT64));
  if (!drawn) throw nb::python_error();
  i64* tokens = data<i64>(drawn.ptr());
  const float* added = data<float>(noise.ptr());
  run(double(rows * steps), [&] {
    for (i64 t = 0; t < steps; ++t, tokens += rows, outputs += rows * size) {
      for (i64 row = 0; row < rows; ++row, last += size, added += size)
        tokens[row] = largest(last, added, size);
      program.step({rows, nullptr, tokens, nullptr, states.data(), outputs});
      last = outputs;
      for (StepState& state : states) {
        state.h = state.h_out;
        state.h_out += rows * state.stride_h;
        state.c = state.c_out;
        if (state.c) state.c_out += rows * state.stride_c;
      }
    }
  });
  return nb::make_tuple(drawn, after);
}

nb::object NamedProgram::call(nb::handle x, nb::handle arrays, nb::handle initial,
                              nb::handle reset, nb::handle lengths) {
  CallJob job{};
  if (program.embeds) {
    job.tokens = integers(x, "x", {-1, -1});
    if (!job.tokens) throw std::invalid_argument("x is missing");
  } else {
    job.x = floats(x, "x", {-1, -1, program.inputs});
  }
  const i64 rows = job.rows = length(x, 0), steps = job.steps = length(x, 1);
  job.reset = flags(reset, "reset", {rows, steps});
  job.lengths = integers(lengths, "lengths", {rows});
  check_lengths(job.lengths, rows, steps);
  for (i64 row = 0; job.tokens && row < rows; ++row)
    if (!tokens_fit(job.tokens + row * steps, job.lengths ? job.lengths[row] : steps))
      throw std::invalid_argument("tokens must lie in [0, " + std::to_string(program.inputs) + ")");
  std::vector<LayerArrays> states(units_.size());
  nb::dict after;
  const float* remembered = nullptr;
  float* remembers = nullptr;
  for (const Field& field : fields_) {
    if (field.layer == carried) continue;
    const i64 units = field_width(field);
    const char* name = nb::cast<const char*>(field.name);
    const float* before = floats(arrays[field.name], name, {rows, units});
    nb::object made = new_floats({rows, units});
    after[field.name] = made;
    if (field.layer == output) {
      remembered = before;
      remembers = data<float>(made.ptr());
      continue;
    }
    const float* fresh =
        initial.is_none() ? nullptr : floats(initial[field.name], name, {rows, units});
    LayerArrays& state = states[std::size_t(field.layer)];
    (field.cell ? state.c0 : state.h0) = before;
    (field.cell ? state.c_init : state.h_init) = fresh;
    (field.cell ? state.c : state.h) = data<float>(made.ptr());
  }
  nb::object y = new_floats({rows, steps, program.width});
  job.states = states.data();
  job.y = data<float>(y.ptr());
  run(double(rows) * double(steps), [&] { program.call(job); });
  if (remembers) remember(job.y, rows, steps, job.lengths, remembered, remembers);
  return nb::make_tuple(y, after);
}

void bind_program(nb::module_& module) {
  nb::class_<NamedProgram>(module, "Program", "A whole model, its weights packed.")
      .def(nb::init<i64>(), nb::arg("inputs"))
      .def("set_embedding",
           [](NamedProgram& self, nb::handle table) {
             const float* rows = floats(table, "E", {-1, -1});
             self.program.set_embedding(rows, length(table, 0), length(table, 1));
           })
      .def("add_layer", &NamedProgram::add_layer, nb::arg("cell"), nb::arg("units"), nb::arg("W"),
           nb::arg("R"), nb::arg("b"), nb::arg("m").none(), nb::arg("residuals"), nb::arg("half"),
           nb::arg("h"), nb::arg("c").none())
      .def("add_norm",
           [](NamedProgram& self, nb::handle scale, nb::handle shift, float epsilon,
              int residuals) {
             const i64 width = self.program.width;
             self.program.add_norm(floats(scale, "scale", {width}), floats(shift, "shift", {width}),
                                   epsilon, residuals);
           })
      .def("add_identity",
           [](NamedProgram& self, int residuals) { self.program.add_identity(residuals); })
      .def("add_carried", &NamedProgram::add_carried)
      .def("add_output", &NamedProgram::add_output)
      .def("set_linear",
           [](NamedProgram& self, nb::handle W, nb::handle b, bool half) {
             const float* matrix = floats(W, "W", {-1, self.program.width});
             const i64 units = length(W, 0);
             self.program.set_linear(matrix, floats(b, "b", {units}), units, half);
           })
      .def_prop_ro("slot_floats", &NamedProgram::slot_floats)
      .def("step", &NamedProgram::step, nb::arg("x").none(), nb::arg("arrays").none(),
           nb::arg("position").none())
      .def("make_states", &NamedProgram::make_states, nb::arg("type"), nb::arg("origin"))
      .def("advance", &NamedProgram::advance, nb::arg("x").none(), nb::arg("state").none(),
           nb::arg("sequence"))
      .def("sample", &NamedProgram::sample, nb::arg("noise").none(), nb::arg("arrays").none())
      .def("call", &NamedProgram::call, nb::arg("x"), nb::arg("arrays"), nb::arg("initial").none(),
           nb::arg("reset").none(), nb::arg("lengths").none())
      .def("step_slots", &NamedProgram::step_slots);
}

}  // namespace statewise
