// One layer: its packed weights, and whole sequences through it forward and backward.
#pragma once

#include <vector>

#include "memory.h"
#include "threads.h"

namespace statewise {

// Floats of a row of gates: one step of one row.
i64 gates_stride(const Kernels& kernels, Cell cell, i64 units);

// A layer's weights as a model file has them; which there are says `CellLayout::parameters`.
struct LayerWeights {
  const float* W;            // (gates * units, inputs)
  const float* R;            // (gates * units, units)
  const float* b;            // (gates * units)
  const float* m = nullptr;  // (units)
  const float* p = nullptr;  // (3, units)
};

struct Options {
  bool bf16 = false;      // weights in bfloat16
  bool backward = false;  // pack what backward needs instead of what forward needs
  bool inputs = true;     // with `backward`: also for gradients of the inputs
  bool borrow = false;    // run on torch's threads
};

class Layer {
 public:
  Layer(const Kernels& kernels, Cell cell, i64 inputs, i64 units, const LayerWeights& given,
        Options options);
  Layer(const Layer&) = delete;

  const Kernels& kernels;
  const Cell cell;
  const CellLayout& layout;
  const i64 inputs, units;
  const bool borrow;
  i64 pad;     // floats of a slot
  i64 stride;  // floats of a row of gates
  CellWeights weights{};
  Panels W_back, R_back, Rn_back;  // transposed; only with Options::backward, W with `inputs`

  i64 bytes() const;  // of the forward weights, as they are streamed in a step

  // One step of the rows, by a team.
  void step(const StepRows& rows, Member& me) const;

 private:
  void pack_forward(const LayerWeights& given, bool bf16);
  void pack_backward(const LayerWeights& given, bool with_inputs);
  void pack_peepholes(const float* p);
  std::vector<Buffer> owned_;
};

// A whole sequence of one layer. Arrays are contiguous.
struct Sequence {
  const Layer* layer = nullptr;
  i64 rows = 0, steps = 0;
  const float* x = nullptr;                  // (rows, steps, inputs)
  const float *h0 = nullptr, *c0 = nullptr;  // (rows, units)
  const uint8_t* reset = nullptr;            // (rows, steps), or null
  const float *h_init = nullptr,
              *c_init = nullptr;     // (rows, units): what a reset returns to; null for zeros
  const i64* lengths = nullptr;      // (rows), or null
  float* y = nullptr;                // (rows, steps, units): every h, zero where padded
  float *h = nullptr, *c = nullptr;  // (rows, units): after each row's last step
  // Saved for backward, or null; all rows of a step lie side by side, as they are used.
  float* gates = nullptr;  // (steps, rows, stride)
  float* cells = nullptr;  // (steps, rows, units): every c, with `gates` where the cell has one

  i64 length(i64 row) const { return lengths ? lengths[row] : steps; }
  bool resets(i64 row, i64 t) const { return reset && reset[row * steps + t]; }
  float* gates_at(i64 row, i64 t) const { return gates + (t * rows + row) * layer->stride; }
  float* cells_at(i64 row, i64 t) const { return cells + (t * rows + row) * layer->units; }
  const float* h_before(i64 row, i64 t, const float* zeros) const;
  const float* c_before(i64 row, i64 t, const float* zeros) const;
};

struct Gradients {
  const float* dy = nullptr;                 // (rows, steps, units), or null
  i64 dy_row = 0, dy_step = 0;               // floats from one row or step to the next
  const float *dh = nullptr, *dc = nullptr;  // (rows, units) of the final state, or null
  float* dx = nullptr;                       // (rows, steps, inputs), or null; zero where padded
  float *dW = nullptr, *dR = nullptr;
  float *db = nullptr, *dm = nullptr, *dp = nullptr;  // zero before, or null
  float *dh0 = nullptr, *dc0 = nullptr;               // (rows, units)
  float *dh_init = nullptr, *dc_init = nullptr;       // (rows, units), or null

  const float* dy_at(i64 row, i64 t) const { return dy + row * dy_row + t * dy_step; }
};

// How a call is divided: into pieces of rows that free threads claim, or by unit blocks, which all
// threads work on together.
struct Division {
  int threads = 1;
  bool by_rows = true;
  i64 pieces = 1;    // of rows
  i64 max_rows = 0;  // of a piece; all of them by unit blocks
  i64 unit = 1;      // rows of a piece are a multiple of it, but for the last piece

  Range piece(i64 rows, i64 index) const { return part(rows, index, pieces, unit); }
};
Division divide(i64 rows, i64 steps, i64 weight_bytes);  // read at each step

// Memory for so many rows of a sequence or one less: what each member has, and what they share.
struct ForwardBytes {
  std::size_t own, shared;
};
ForwardBytes forward_bytes(const Sequence& job, i64 rows);
// The run of these rows by a team.
void run_rows_forward(const Sequence& job, Range rows, Member& me, char* own, char* shared);

void run_forward(const Sequence& job);
// The layer is packed with Options::backward here.
void run_backward(const Sequence& job, const Gradients& gradients);

}  // namespace statewise
