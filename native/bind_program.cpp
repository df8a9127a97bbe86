// `Program` in Python: a whole model in one call.

#include <Python.h>
#include <structmember.h>  // PyMemberDef, which Python.h has from 3.12 on

#include <cstring>

#include "named_program.h"

namespace statewise {

void NamedProgram::set_embedding(Floats table) {
  const float* rows = get_floats(table, "E", {-1, -1});
  program.set_embedding(rows, length(table, 0), length(table, 1));
}

void NamedProgram::add_layer(const std::string& name, i64 units, int residuals, bool bf16,
                             nb::str h, std::optional<nb::str> c, Floats W, Floats R, Floats b,
                             std::optional<Floats> m, std::optional<Floats> p) {
  const Cell cell = find_cell(name);
  const LayerWeights given = check_weights(cell, program.width, units, W, R, b, m, p);
  if (layout_of(cell).has_c != c.has_value())
    throw std::invalid_argument("a name of c goes with a cell that has it");
  program.add_layer(cell, units, given, residuals, bf16);
  const int index = int(units_.size());
  fields_.push_back({.name = h, .layer = index});
  if (c) fields_.push_back({.name = *c, .layer = index, .is_c = true});
  units_.push_back(units);
}

void NamedProgram::add_norm(Floats scale, Floats shift, float epsilon, int residuals) {
  const i64 width = program.width;
  program.add_norm(get_floats(scale, "scale", {width}), get_floats(shift, "shift", {width}),
                   epsilon, residuals);
}

void NamedProgram::set_linear(Floats W, Floats b, bool bf16) {
  const float* matrix = get_floats(W, "W", {-1, program.width});
  const i64 units = length(W, 0);
  program.set_linear(matrix, get_floats(b, "b", {units}), units, bf16);
}

// States

// Where a class keeps its slots: what GetAttr comes to, without looking for it at every step. A
// slot that is not known here would stay empty, so there may be none.
void NamedProgram::make_states(nb::type_object type, Anything origin) {
  const PyTypeObject* const object = reinterpret_cast<PyTypeObject*>(type.ptr());
  const auto is_slot = [](const PyMemberDef& member, const char* name) {
    return member.name && !std::strcmp(member.name, name);
  };
  bool found = object->tp_members && !object->tp_dictoffset &&
               std::size_t(object->tp_basicsize) == sizeof(PyObject) + 3 * sizeof(PyObject*);
  Py_ssize_t offsets[3];
  for (int slot = 0; found && slot < 3; ++slot) {
    const PyMemberDef* member = object->tp_members;
    while (member->name && !is_slot(*member, state_slots[slot])) ++member;
    found = member->name != nullptr;
    offsets[slot] = member->offset;
  }
  if (!found)
    throw std::invalid_argument(
        "a class of states must have the slots _arrays, _position and origin, and nothing else");
  std::memcpy(slot_offsets_, offsets, sizeof offsets);
  state_ = std::move(type);
  origin_ = std::move(origin);
}

static PyObject*& slot_at(nb::handle state, Py_ssize_t offset) {
  return *reinterpret_cast<PyObject**>(reinterpret_cast<char*>(state.ptr()) + offset);
}

// A step, or a whole sequence without masks, from a state that this program made to the next one.
MaybeStateAfter NamedProgram::advance(Anything x, Anything state, bool sequence) {
  const auto [arrays_slot, position_slot, origin_slot] = slot_offsets_;
  PyTypeObject* const type = reinterpret_cast<PyTypeObject*>(state_.ptr());
  if (!type || Py_TYPE(state.ptr()) != type || slot_at(state, origin_slot) != origin_.ptr())
    return nb::none();
  // References of our own: another thread may fill the state anew.
  const nb::object arrays = nb::borrow(slot_at(state, arrays_slot));
  const nb::object position = nb::borrow(slot_at(state, position_slot));
  Result result;
  if (!arrays || !position || !run_plain(x, arrays, position, sequence, result)) return nb::none();
  nb::object after = nb::steal(type->tp_alloc(type, 0));
  if (!after) throw nb::python_error();
  slot_at(after, arrays_slot) = result.fields.release().ptr();
  slot_at(after, position_slot) = result.position.release().ptr();
  slot_at(after, origin_slot) = nb::object(origin_).release().ptr();
  return nb::make_tuple(result.y, after);
}

// Fields

void NamedProgram::StepFields::connect(const Field& field, const float* before, float* after,
                                       i64 stride) {
  if (field.layer == output) {
    output_before = before;
    output_after = after;
    return;
  }
  StepState& state = states()[field.layer];
  (field.is_c ? state.c : state.h) = before;
  (field.is_c ? state.c_out : state.h_out) = after;
  (field.is_c ? state.stride_c : state.stride_h) = stride;
}

// Whether a dictionary has every field, as an array that may be read as it is.
bool NamedProgram::have_fields(nb::handle arrays, i64 rows) const {
  if (!PyDict_CheckExact(arrays.ptr()) || std::size_t(PyDict_Size(arrays.ptr())) != fields_.size())
    return false;
  for (const Field& field : fields_) {
    PyObject* before = PyDict_GetItemWithError(arrays.ptr(), field.name.ptr());
    if (!before) {
      if (PyErr_Occurred()) throw nb::python_error();
      return false;
    }
    if (field.layer != carried && !is_array(before, NPY_FLOAT32, {rows, field_width(field)}))
      return false;
  }
  return true;
}

// New arrays for every field.
nb::dict NamedProgram::make_fields(nb::handle arrays, i64 rows, StepFields& fields) const {
  nb::dict after;
  for (const Field& field : fields_) {
    PyObject* before = PyDict_GetItemWithError(arrays.ptr(), field.name.ptr());
    if (field.layer == carried) {
      PyDict_SetItem(after.ptr(), field.name.ptr(), before);
      continue;
    }
    const i64 units = field_width(field);
    const Floats array = make_floats({rows, units});
    make_read_only(array.ptr());
    PyDict_SetItem(after.ptr(), field.name.ptr(), array.ptr());
    fields.connect(field, data<float>(before), data<float>(array.ptr()), units);
  }
  return after;
}

void NamedProgram::store_last_outputs(const float* y, i64 rows, i64 steps, const i64* lengths,
                                      const float* before, float* after) const {
  const i64 width = program.width;
  for (i64 row = 0; row < rows; ++row) {
    const i64 count = lengths ? lengths[row] : steps;
    const float* last = count ? y + (row * steps + count - 1) * width : before + row * width;
    std::memcpy(after + row * width, last, std::size_t(width) * sizeof(float));
  }
}

// Steps

bool NamedProgram::are_tokens_valid(const i64* tokens, i64 count) const {
  for (i64 i = 0; i < count; ++i)
    if (tokens[i] < 0 || tokens[i] >= program.inputs) return false;
  return true;
}

void NamedProgram::check_tokens(const i64* tokens, i64 count) const {
  if (!are_tokens_valid(tokens, count))
    throw std::invalid_argument("tokens must lie in [0, " + std::to_string(program.inputs) + ")");
}

bool NamedProgram::find_inputs(nb::handle x, i64 rows, bool sequence, Inputs& inputs) const {
  const int type = program.embeds ? NPY_INT64 : NPY_FLOAT32;
  const bool fits = program.embeds ? sequence ? is_array(x.ptr(), type, {rows, -1})
                                              : is_array(x.ptr(), type, {rows})
                    : sequence     ? is_array(x.ptr(), type, {rows, -1, program.inputs})
                                   : is_array(x.ptr(), type, {rows, program.inputs});
  if (!fits) return false;
  inputs.rows = rows;
  inputs.steps = sequence ? length(x, 1) : 1;
  if (!program.embeds) {
    inputs.x = data<float>(x.ptr());
    return true;
  }
  inputs.tokens = data<i64>(x.ptr());
  return are_tokens_valid(inputs.tokens, rows * inputs.steps);
}

void NamedProgram::run_inputs(const Inputs& inputs, bool sequence, StepFields& fields,
                              float* y) const {
  const StepState* const states = fields.states();
  if (!sequence) {
    const StepJob job{
        .rows = inputs.rows, .x = inputs.x, .tokens = inputs.tokens, .states = states, .y = y};
    run(double(inputs.rows), [&] { program.step(job); });
    return;
  }
  std::vector<LayerArrays> layers;
  for (std::size_t i = 0; i < units_.size(); ++i)
    layers.push_back(
        {.h0 = states[i].h, .c0 = states[i].c, .h = states[i].h_out, .c = states[i].c_out});
  const CallJob job{.rows = inputs.rows,
                    .steps = inputs.steps,
                    .x = inputs.x,
                    .tokens = inputs.tokens,
                    .states = layers.data(),
                    .y = y};
  run(double(inputs.rows * inputs.steps), [&] { program.call(job); });
}

// False where anything is not plainly as expected: the caller then takes the way that explains.
bool NamedProgram::run_plain(nb::handle x, nb::handle arrays, nb::handle position, bool sequence,
                             Result& result) const {
  if (!is_array(position.ptr(), NPY_INT64, {-1})) return false;
  const i64 rows = length(position, 0);
  Inputs inputs;
  if (!find_inputs(x, rows, sequence, inputs) || !have_fields(arrays, rows)) return false;
  StepFields fields(units_.size());
  result.fields = make_fields(arrays, rows, fields);
  result.y = sequence ? make_floats({rows, inputs.steps, program.width})
                      : make_floats({rows, program.width});
  npy_intp count = rows;
  result.position = nb::steal(PyArray_SimpleNew(1, &count, NPY_INT64));
  if (!result.position) throw nb::python_error();
  for (i64 row = 0; row < rows; ++row)
    data<i64>(result.position.ptr())[row] = data<i64>(position.ptr())[row] + inputs.steps;
  make_read_only(result.position.ptr());
  float* const y = data<float>(result.y.ptr());
  run_inputs(inputs, sequence, fields, y);
  if (fields.output_after)
    store_last_outputs(y, rows, inputs.steps, nullptr, fields.output_before, fields.output_after);
  return true;
}

MaybeFieldsAfter NamedProgram::step(Anything x, Anything arrays, Anything position) {
  Result result;
  if (!run_plain(x, arrays, position, false, result)) return nb::none();
  return nb::make_tuple(result.y, result.fields, result.position);
}

// Calls

FieldsAfter NamedProgram::call(Anything x, Fields arrays, std::optional<Fields> initial,
                               std::optional<Flags> reset, std::optional<Integers> lengths) {
  CallJob job;
  if (program.embeds)
    job.tokens = get_integers(Integers(x), "x", {-1, -1});
  else
    job.x = get_floats(x, "x", {-1, -1, program.inputs});
  const i64 rows = job.rows = length(x, 0), steps = job.steps = length(x, 1);
  job.reset = get_flags(reset, "reset", {rows, steps});
  job.lengths = get_integers(lengths, "lengths", {rows});
  check_lengths(job.lengths, rows, steps);
  for (i64 row = 0; job.tokens && row < rows; ++row)
    check_tokens(job.tokens + row * steps, job.lengths ? job.lengths[row] : steps);
  std::vector<LayerArrays> states(units_.size());
  nb::dict after;
  const float* output_before = nullptr;
  float* output_after = nullptr;
  for (const Field& field : fields_) {
    if (field.layer == carried) continue;
    const i64 units = field_width(field);
    const char* name = nb::cast<const char*>(field.name);
    const float* before = get_floats(arrays[field.name], name, {rows, units});
    const Floats array = make_floats({rows, units});
    after[field.name] = array;
    if (field.layer == output) {
      output_before = before;
      output_after = data<float>(array.ptr());
      continue;
    }
    const float* fresh =
        initial ? get_floats((*initial)[field.name], name, {rows, units}) : nullptr;
    LayerArrays& state = states[std::size_t(field.layer)];
    (field.is_c ? state.c0 : state.h0) = before;
    (field.is_c ? state.c_init : state.h_init) = fresh;
    (field.is_c ? state.c : state.h) = data<float>(array.ptr());
  }
  const Floats y = make_floats({rows, steps, program.width});
  job.states = states.data();
  job.y = data<float>(y.ptr());
  run(double(rows) * double(steps), [&] { program.call(job); });
  if (output_after)
    store_last_outputs(job.y, rows, steps, job.lengths, output_before, output_after);
  return nb::make_tuple(y, after);
}

void bind_program(nb::module_& module) {
  module.def(
      "list_state_slots", [] { return std::vector<std::string>(state_slots, state_slots + 3); },
      "The slots that a class of states must have, in order.");
  nb::class_<NamedProgram>(module, "Program", "A whole model, its weights packed part by part.")
      .def(nb::init<i64>(), nb::arg("inputs"), "A model of so many features, or known tokens.")
      .def("set_embedding", &NamedProgram::set_embedding, nb::arg("table"),
           "Take tokens as inputs: their vectors (tokens, width).")
      .def("add_layer", &NamedProgram::add_layer, nb::arg("cell"), nb::arg("units"),
           nb::arg("residuals"), nb::arg("bf16"), nb::arg("h"), nb::arg("c"), nb::arg("W"),
           nb::arg("R"), nb::arg("b"), nb::arg("m") = nb::none(), nb::arg("p") = nb::none(),
           "A recurrent layer inside so many residual connections, and its state fields' names.")
      .def("add_norm", &NamedProgram::add_norm, nb::arg("scale"), nb::arg("shift"),
           nb::arg("epsilon"), nb::arg("residuals"), "Layer normalisation.")
      .def("add_identity", &NamedProgram::add_identity, nb::arg("residuals"),
           "A layer that does nothing outside training, such as dropout.")
      .def("add_carried", &NamedProgram::add_carried, nb::arg("name"),
           "A state field that is handed on as it is.")
      .def("add_output", &NamedProgram::add_output, nb::arg("name"),
           "A state field that holds the last output.")
      .def("set_linear", &NamedProgram::set_linear, nb::arg("W"), nb::arg("b"), nb::arg("bf16"),
           "The linear output.")
      .def_prop_ro("slot_floats", &NamedProgram::slot_floats, "Floats of a session's slot.")
      .def("make_states", &NamedProgram::make_states, nb::arg("type"), nb::arg("origin"),
           "Let `advance` take and make states of this class, see `list_state_slots`, and origin.")
      .def("step", &NamedProgram::step, nb::arg("x").none(), nb::arg("arrays").none(),
           nb::arg("position").none(),
           "One step: y, the fields and the position after it; None where anything is not plainly "
           "as expected.")
      .def("advance", &NamedProgram::advance, nb::arg("x").none(), nb::arg("state").none(),
           nb::arg("sequence"),
           "One step, or a sequence, from a state of this program to the next: y and the state; "
           "None where anything is not plainly as expected.")
      .def("sample", &NamedProgram::sample, nb::arg("noise").none(), nb::arg("arrays").none(),
           "Steps that read what they draw, the largest of the last outputs and noise (T, B, "
           "outputs): the tokens (T, B) and every field after every step; None where anything is "
           "not plainly as expected.")
      .def("call", &NamedProgram::call, nb::arg("x"), nb::arg("arrays"), nb::arg("initial"),
           nb::arg("reset"), nb::arg("lengths"),
           "A sequence with resets (B, T) and lengths (B,): y and the fields after it.")
      .def("step_slots", &NamedProgram::step_slots, nb::arg("x"), nb::arg("slots"),
           nb::arg("table"), nb::arg("generations"), nb::arg("busy"), nb::arg("positions"),
           "One step of some slots of a table, in place: y.");
}

}  // namespace statewise
