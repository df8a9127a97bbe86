// `Program` in Python: one step of the slots of a table.

#include "named_program.h"

namespace statewise {

// Handles are slot + generation * 2^32; the generation is odd while the slot is open. Slots in use
// here are marked busy, so that neither this call nor another thread's steps one of them twice at
// once.
nb::object NamedProgram::step_slots(nb::handle x, nb::handle handles, nb::handle table,
                                    nb::handle generations, nb::handle busy,
                                    nb::handle positions) {
  const i64 width = slot_floats();
  float* states = writable_floats(table, "table", {-1, width});
  const i64 capacity = length(table, 0);
  const i64* given = integers(handles, "slots", {-1});
  if (!given) throw std::invalid_argument("slots are missing");
  const i64 rows = length(handles, 0);
  const i64* generation = integers(generations, "generations", {capacity});
  if (!generation || !fits(busy.ptr(), NPY_BOOL, {capacity}, true) ||
      !fits(positions.ptr(), NPY_INT64, {capacity}, true))
    throw std::invalid_argument("the table's books do not fit its capacity");
  StepJob job{};
  job.rows = rows;
  if (program.embeds) {
    job.tokens = integers(x, "x", {rows});
    if (!job.tokens || !tokens_fit(job.tokens, rows))
      throw std::invalid_argument("tokens must lie in [0, " + std::to_string(program.inputs) + ")");
  } else {
    job.x = floats(x, "x", {rows, program.inputs});
  }
  std::vector<i64> slots(static_cast<std::size_t>(rows));
  uint8_t* marks = data<uint8_t>(busy.ptr());
  const auto unmark = [&](i64 count) {
    for (i64 i = 0; i < count; ++i) marks[slots[std::size_t(i)]] = 0;
  };
  for (i64 i = 0; i < rows; ++i) {
    const i64 slot = given[i] & 0xffffffff;
    const char* wrong = nullptr;
    if (slot >= capacity || generation[slot] != given[i] >> 32 || !(given[i] >> 32 & 1))
      wrong = "is not open: it was closed, or belongs to another table";
    else if (marks[slot])
      wrong = "is listed twice in one call, or being stepped by another thread";
    if (wrong) {
      unmark(i);
      throw nb::value_error(("slot " + std::to_string(slot) + " (row " + std::to_string(i) +
                             ") " + wrong).c_str());
    }
    marks[slot] = 1;
    slots[std::size_t(i)] = slot;
  }
  std::vector<StepState> layers(units_.size());
  i64 offset = 0, remembers = -1;
  for (const Field& field : fields_) {
    if (field.layer == carried) continue;
    if (field.layer == output) {
      remembers = offset;
      offset += field_width(field);
      continue;
    }
    StepState& state = layers[std::size_t(field.layer)];
    (field.cell ? state.c : state.h) = states + offset;
    (field.cell ? state.c_out : state.h_out) = states + offset;
    (field.cell ? state.stride_c : state.stride_h) = width;
    offset += units_[std::size_t(field.layer)];
  }
  nb::object y;
  try {
    y = new_floats({rows, program.width});
    job.slots = slots.data();
    job.states = layers.data();
    job.y = data<float>(y.ptr());
    run(double(rows), [&] { program.step(job); });
  } catch (...) {
    unmark(rows);
    throw;
  }
  for (i64 i = 0; i < rows; ++i) {
    const i64 slot = slots[std::size_t(i)];
    ++data<i64>(positions.ptr())[slot];
    if (remembers >= 0)
      std::memcpy(states + slot * width + remembers, job.y + i * program.width,
                  std::size_t(program.width) * sizeof(float));
  }
  unmark(rows);
  return y;
}

}  // namespace statewise
