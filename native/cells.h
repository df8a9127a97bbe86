// What the kernels know of each recurrent cell: its gates, its parameters and what a step saves.
//
// This is the one place where that is written; Python reads it as `_native.cell_layout(name)`.
#pragma once

#include <stdint.h>

namespace statewise {

using i64 = int64_t;

enum class Cell { elman_tanh, elman_relu, lstm, lstm_peepholes, gru_after, gru_before };

// Gates as they are stacked in W, R and b of a model file.
struct LstmGate {
  enum : int { i, f, g, o };
};
struct GruGate {
  enum : int { r, z, n };
};

// The slots of a row of gates, each `pad` floats wide. They hold the sums of the gates, and in a
// run that saves what the gates became, which backward needs and traces show.
struct LstmSlot {
  enum : i64 { i, f, g, o };
};
struct GruSlot {
  enum : i64 { n, r, z, recurrent };  // the last: R_n h + m (reset after), or r h (reset before)
};

// Rows of the peephole weights p, each as wide as the layer.
struct Peephole {
  enum : i64 { i, f, o };
};

constexpr int max_slots = 4;
constexpr int peepholes = 3;

struct CellLayout {
  const char* name;
  const char* gates;          // a letter for each, in the order of a model file
  const char* parameters;     // a letter for each array of weights
  int slot_count;             // of a row of gates
  int slot_gates[max_slots];  // the gate of each slot, for as many slots as there are gates
  bool has_c;                 // a cell state beside h

  constexpr int gate_count() const {
    int count = 0;
    while (gates[count]) ++count;
    return count;
  }
};

// In the order of `Cell`.
constexpr CellLayout cell_layouts[] = {
    {.name = "elman_tanh",
     .gates = "a",
     .parameters = "WRb",
     .slot_count = 1,
     .slot_gates = {0},
     .has_c = false},
    {.name = "elman_relu",
     .gates = "a",
     .parameters = "WRb",
     .slot_count = 1,
     .slot_gates = {0},
     .has_c = false},
    {.name = "lstm",
     .gates = "ifgo",
     .parameters = "WRb",
     .slot_count = 4,
     .slot_gates = {LstmGate::i, LstmGate::f, LstmGate::g, LstmGate::o},
     .has_c = true},
    {.name = "lstm_peepholes",
     .gates = "ifgo",
     .parameters = "WRbp",
     .slot_count = 4,
     .slot_gates = {LstmGate::i, LstmGate::f, LstmGate::g, LstmGate::o},
     .has_c = true},
    {.name = "gru_after",
     .gates = "rzn",
     .parameters = "WRbm",
     .slot_count = 4,
     .slot_gates = {GruGate::n, GruGate::r, GruGate::z},
     .has_c = false},
    {.name = "gru_before",
     .gates = "rzn",
     .parameters = "WRb",
     .slot_count = 4,
     .slot_gates = {GruGate::n, GruGate::r, GruGate::z},
     .has_c = false},
};

constexpr const CellLayout& layout_of(Cell cell) { return cell_layouts[int(cell)]; }

}  // namespace statewise
