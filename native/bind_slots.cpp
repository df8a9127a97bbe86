// `Program` in Python: one step of the slots of a table.

#include <cstring>

#include "named_program.h"

namespace statewise {

// Handles are slot + generation * 2^32; the generation is odd while the slot is open. Slots in use
// are marked busy, so that neither this call nor another thread's steps one of them twice at once.
std::vector<i64> NamedProgram::claim_slots(const i64* handles, i64 rows, const i64* generations,
                                           i64 capacity, uint8_t* busy) const {
  std::vector<i64> slots;
  slots.reserve(std::size_t(rows));
  for (i64 row = 0; row < rows; ++row) {
    const i64 slot = handles[row] & 0xffffffff, generation = handles[row] >> 32;
    const char* wrong = nullptr;
    if (slot >= capacity || generations[slot] != generation || !(generation & 1))
      wrong = "is not open: it was closed, or belongs to another table";
    else if (busy[slot])
      wrong = "is listed twice in one call, or being stepped by another thread";
    if (wrong) {
      for (i64 marked : slots) busy[marked] = 0;
      throw nb::value_error(
          ("slot " + std::to_string(slot) + " (row " + std::to_string(row) + ") " + wrong).c_str());
    }
    busy[slot] = 1;
    slots.push_back(slot);
  }
  return slots;
}

Floats NamedProgram::step_slots(Anything x, Integers handles, Floats table, Integers generations,
                                Flags busy, Integers positions) {
  const i64 width = slot_floats();
  float* const columns = get_writable_floats(table, "table", {-1, width});
  const i64 capacity = length(table, 0);
  const i64* const given = get_integers(handles, "slots", {-1});
  const i64 rows = length(handles, 0);
  const i64* const generation = get_integers(generations, "generations", {capacity});
  if (!is_array(busy.ptr(), NPY_BOOL, {capacity}, true) ||
      !is_array(positions.ptr(), NPY_INT64, {capacity}, true))
    throw std::invalid_argument("the table's books do not fit its capacity");
  StepJob job{.rows = rows};
  if (program.embeds) {
    job.tokens = get_integers(Integers(x), "x", {rows});
    check_tokens(job.tokens, rows);
  } else {
    job.x = get_floats(x, "x", {rows, program.inputs});
  }
  StepFields fields(units_.size());
  i64 offset = 0;
  for (const Field& field : fields_) {
    if (field.layer == carried) continue;
    fields.connect(field, columns + offset, columns + offset, width);
    offset += field_width(field);
  }
  uint8_t* const marks = data<uint8_t>(busy.ptr());
  const std::vector<i64> slots = claim_slots(given, rows, generation, capacity, marks);
  const auto unmark = [&] {
    for (i64 slot : slots) marks[slot] = 0;
  };
  Floats y;
  try {
    y = make_floats({rows, program.width});
    job.slots = slots.data();
    job.states = fields.states();
    job.y = data<float>(y.ptr());
    run(double(rows), [&] { program.step(job); });
  } catch (...) {
    unmark();
    throw;
  }
  for (i64 i = 0; i < rows; ++i) {
    const i64 slot = slots[std::size_t(i)];
    ++data<i64>(positions.ptr())[slot];
    if (fields.output_after)
      std::memcpy(fields.output_after + slot * width, job.y + i * program.width,
                  std::size_t(program.width) * sizeof(float));
  }
  unmark();
  return y;
}

}  // namespace statewise
