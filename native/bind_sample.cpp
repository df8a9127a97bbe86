// `Program` in Python: steps that read what they draw.

#include "named_program.h"

namespace statewise {

namespace {

// The first of the largest, or the first that is not a number, as NumPy has it.
i64 find_largest(const float* outputs, const float* noise, i64 count) {
  i64 found = 0;
  float largest = outputs[0] + noise[0];
  for (i64 i = 1; i < count && largest == largest; ++i) {
    const float score = outputs[i] + noise[i];
    if (score > largest || score != score) {
      largest = score;
      found = i;
    }
  }
  return found;
}

}  // namespace

MaybeTokensAfter NamedProgram::sample(Anything noise, Anything arrays) {
  if (!program.embeds || program.width > program.inputs || !PyDict_CheckExact(arrays.ptr()) ||
      !is_array(noise.ptr(), NPY_FLOAT32, {-1, -1, program.width}))
    return nb::none();
  const i64 steps = length(noise, 0), rows = length(noise, 1), size = program.width;
  StepFields fields(units_.size());
  nb::dict after;
  for (const Field& field : fields_) {
    if (field.layer == carried) continue;
    const i64 units = field_width(field);
    PyObject* before = PyDict_GetItem(arrays.ptr(), field.name.ptr());
    if (!before || !is_array(before, NPY_FLOAT32, {rows, units})) return nb::none();
    const Floats array = make_floats({steps, rows, units});
    make_read_only(array.ptr());
    after[field.name] = array;
    fields.connect(field, data<float>(before), data<float>(array.ptr()), units);
  }
  if (!fields.output_after) return nb::none();
  npy_intp lengths[2] = {steps, rows};
  nb::object drawn = nb::steal(PyArray_SimpleNew(2, lengths, NPY_INT64));
  if (!drawn) throw nb::python_error();
  i64* tokens = data<i64>(drawn.ptr());
  const float *added = data<float>(noise.ptr()), *last = fields.output_before;
  float* outputs = fields.output_after;
  StepState* const states = fields.states();
  run(double(rows * steps), [&] {
    for (i64 t = 0; t < steps; ++t, tokens += rows, outputs += rows * size) {
      for (i64 row = 0; row < rows; ++row, last += size, added += size)
        tokens[row] = find_largest(last, added, size);
      program.step({.rows = rows, .tokens = tokens, .states = states, .y = outputs});
      last = outputs;
      for (std::size_t layer = 0; layer < units_.size(); ++layer) {
        StepState& state = states[layer];
        state.h = state.h_out;
        state.h_out += rows * state.stride_h;
        state.c = state.c_out;
        if (state.c) state.c_out += rows * state.stride_c;
      }
    }
  });
  return nb::make_tuple(drawn, after);
}

}  // namespace statewise
