// A program as Python sees it: arrays by the names of its state fields.
#pragma once

#include "bindings.h"

namespace statewise {

STATEWISE_OBJECT(Anything, "object")
STATEWISE_OBJECT(Fields, "dict[str, " STATEWISE_ARRAY("float32") "]")

// What a step or a call returns: y and the state after, or None where the caller has to look closer
// at what it was given.
STATEWISE_OBJECT(FieldsAfter,
                 "tuple[" STATEWISE_ARRAY("float32") ", dict[str, " STATEWISE_ARRAY("float32") "]]")
STATEWISE_OBJECT(MaybeFieldsAfter,
                 "tuple[" STATEWISE_ARRAY("float32") ", dict[str, " STATEWISE_ARRAY(
                     "float32") "], " STATEWISE_ARRAY("int64") "] | None")
STATEWISE_OBJECT(MaybeStateAfter,
                 "tuple[" STATEWISE_ARRAY("float32") ", statewise.state.State] | None")
STATEWISE_OBJECT(MaybeTokensAfter, "tuple[" STATEWISE_ARRAY("int64") ", dict[str, " STATEWISE_ARRAY(
                                       "float32") "]] | None")

// The contract with Python's class `State`, which is written there too: it keeps its values in
// these slots and in nothing else. `advance` reads and fills them without Python's help:
//
//   _arrays    dict: name -> array (rows, ...), read-only, in the order of the model's fields
//   _position  array (rows,) of int64, read-only: steps since the row's initial state
//   origin     the object that `make_states` was given: the model's own
//
// What `State.__init__` checks holds for what is made here, so it is not called.
constexpr const char* state_slots[] = {"_arrays", "_position", "origin"};

// A program with the names of its state fields, in order.
class NamedProgram {
 public:
  explicit NamedProgram(i64 inputs) : program(current_kernels(), inputs) {
    if (inputs < 1) throw std::invalid_argument("inputs must be at least 1");
  }

  void set_embedding(Floats table);
  void add_layer(const std::string& cell, i64 units, int residuals, bool bf16, nb::str h,
                 std::optional<nb::str> c, Floats W, Floats R, Floats b, std::optional<Floats> m,
                 std::optional<Floats> p);
  void add_norm(Floats scale, Floats shift, float epsilon, int residuals);
  void add_identity(int residuals) { program.add_identity(residuals); }
  void add_carried(nb::str name) { fields_.push_back({.name = name, .layer = carried}); }
  void add_output(nb::str name) { fields_.push_back({.name = name, .layer = output}); }
  void set_linear(Floats W, Floats b, bool bf16);

  void make_states(nb::type_object type, Anything origin);

  MaybeFieldsAfter step(Anything x, Anything arrays, Anything position);
  MaybeStateAfter advance(Anything x, Anything state, bool sequence);
  MaybeTokensAfter sample(Anything noise, Anything arrays);
  FieldsAfter call(Anything x, Fields arrays, std::optional<Fields> initial,
                   std::optional<Flags> reset, std::optional<Integers> lengths);
  Floats step_slots(Anything x, Integers slots, Floats table, Integers generations, Flags busy,
                    Integers positions);

  // Floats of a slot: h, then c, layer after layer.
  i64 slot_floats() const {
    i64 total = 0;
    for (const Field& field : fields_)
      if (field.layer != carried) total += field_width(field);
    return total;
  }

  Program program;

 private:
  static constexpr int carried = -1;  // handed on as it is
  static constexpr int output = -2;   // the last output

  struct Field {
    nb::object name;
    int layer;          // which recurrent layer, or one of those above
    bool is_c = false;  // c rather than h
  };

  // Where a step finds the state of every layer, and the last output before and after it.
  struct StepFields {
    explicit StepFields(std::size_t layers) : many(layers > few_layers ? layers : 0) {}
    StepState* states() { return many.empty() ? few : many.data(); }
    void connect(const Field& field, const float* before, float* after, i64 stride);

    static constexpr std::size_t few_layers = 8;  // without memory of their own
    StepState few[few_layers] = {};
    std::vector<StepState> many;
    const float* output_before = nullptr;
    float* output_after = nullptr;
  };

  // The inputs of a step, or of a whole sequence without masks.
  struct Inputs {
    i64 rows = 0, steps = 1;
    const float* x = nullptr;
    const i64* tokens = nullptr;
  };

  struct Result {
    nb::object y, fields, position;
  };

  bool find_inputs(nb::handle x, i64 rows, bool sequence, Inputs& inputs) const;
  bool have_fields(nb::handle arrays, i64 rows) const;
  nb::dict make_fields(nb::handle arrays, i64 rows, StepFields& fields) const;
  void run_inputs(const Inputs& inputs, bool sequence, StepFields& fields, float* y) const;
  bool run_plain(nb::handle x, nb::handle arrays, nb::handle position, bool sequence,
                 Result& result) const;
  bool are_tokens_valid(const i64* tokens, i64 count) const;
  void check_tokens(const i64* tokens, i64 count) const;
  std::vector<i64> claim_slots(const i64* handles, i64 rows, const i64* generations, i64 capacity,
                               uint8_t* busy) const;

  // Each row's last output, or what was remembered before where it has no step.
  void store_last_outputs(const float* y, i64 rows, i64 steps, const i64* lengths,
                          const float* before, float* after) const;

  // Runs without the interpreter lock where that is worth its price.
  template <class Work>
  void run(double rows, Work work) const {
    constexpr double worth_releasing = 1 << 20;  // bytes of weights: ten microseconds of work
    if (rows * program.weight_bytes() < worth_releasing) {
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
  Py_ssize_t slot_offsets_[3] = {};
  std::vector<Field> fields_;
  std::vector<i64> units_;
};

}  // namespace statewise
