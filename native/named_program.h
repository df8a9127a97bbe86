// A program as Python sees it: arrays by the names of its state fields.
#pragma once

#include <cstring>

#include "bindings.h"

namespace statewise {

constexpr double worth_releasing = 1 << 20;  // bytes of weights: ten microseconds of work

// A program with the names of its state fields, in order.
class NamedProgram {
 public:
  struct Field {
    nb::object name;
    int layer;   // which recurrent layer, or one of those below
    bool cell;   // c rather than h
  };
  static constexpr int carried = -1;  // handed on as it is
  static constexpr int output = -2;   // the last output

  explicit NamedProgram(i64 inputs) : program(current(), inputs) {
    if (inputs < 1) throw std::invalid_argument("inputs must be at least 1");
  }

  void add_layer(const std::string& cell_name, i64 units, nb::handle W, nb::handle R, nb::handle b,
                 nb::handle m, int residuals, bool half, nb::object h, nb::object c) {
    const Cell cell = cell_named(cell_name);
    check_weights(cell, program.width, units, W, R, b, m);
    program.add_layer(cell, units, data<float>(W.ptr()), data<float>(R.ptr()),
                      data<float>(b.ptr()),
                      cell == Cell::gru_after ? data<float>(m.ptr()) : nullptr, residuals, half);
    const int index = int(units_.size());
    fields_.push_back({h, index, false});
    if (cell == Cell::lstm) fields_.push_back({c, index, true});
    units_.push_back(units);
  }

  void add_carried(nb::object name) { fields_.push_back({name, carried, false}); }
  void add_output(nb::object name) { fields_.push_back({name, output, false}); }

  void make_states(nb::object type, nb::object origin);

  nb::object step(nb::handle x, nb::handle arrays, nb::handle position);
  nb::object advance(nb::handle x, nb::handle state, bool sequence);
  nb::object sample(nb::handle noise, nb::handle arrays);
  nb::object call(nb::handle x, nb::handle arrays, nb::handle initial, nb::handle reset,
                  nb::handle lengths);
  nb::object step_slots(nb::handle x, nb::handle handles, nb::handle table,
                        nb::handle generations, nb::handle busy, nb::handle positions);

  // Floats of a slot: h, then c, layer after layer.
  i64 slot_floats() const {
    i64 total = 0;
    for (const Field& field : fields_)
      if (field.layer != carried) total += field_width(field);
    return total;
  }

  Program program;

 private:
  bool tokens_fit(const i64* tokens, i64 count) const {
    for (i64 i = 0; i < count; ++i)
      if (tokens[i] < 0 || tokens[i] >= program.inputs) return false;
    return true;
  }

  struct Done {
    nb::object y, fields, position;
  };
  bool plain(nb::handle x, nb::handle arrays, nb::handle position, bool sequence, Done& done);

  // Each row's last output, or what was remembered before where it has no step.
  void remember(const float* y, i64 rows, i64 steps, const i64* lengths, const float* before,
                float* after) const {
    const i64 width = program.width;
    for (i64 row = 0; row < rows; ++row) {
      const i64 count = lengths ? lengths[row] : steps;
      const float* last = count ? y + (row * steps + count - 1) * width : before + row * width;
      std::memcpy(after + row * width, last, std::size_t(width) * sizeof(float));
    }
  }

  // Runs without the interpreter lock where that is worth its price.
  template <class Work>
  void run(double rows, Work work) const {
    if (rows * program.work() < worth_releasing) {
      work();
      return;
    }
    nb::gil_scoped_release free;
    work();
  }

  i64 field_width(const Field& field) const {
    return field.layer >= 0 ? units_[std::size_t(field.layer)] : program.width;
  }

  nb::object state_, origin_;  // the class of states, and what they say of where they come from
  Py_ssize_t arrays_slot_ = 0, position_slot_ = 0, origin_slot_ = 0;
  std::vector<Field> fields_;
  std::vector<i64> units_;
};

}  // namespace statewise
