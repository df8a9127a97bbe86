// What the kernels of one instruction set offer: pointers, sizes, strides and rows, nothing else.
//
// The file kernels.cpp is compiled once for each instruction set; `table_*` gives its functions.
// Matrices come packed in panels (see `Panels`), rows come as arrays of pointers, so that a reset
// is a pointer to the initial row, a padded row is a pointer left out, and a session is a pointer
// into the table of slots.
#pragma once

#include "cells.h"

namespace statewise {

// A matrix packed for tiles: panel p holds, for each k, `vectors` vectors of `width` columns.
// Vector j of panel p stands for the columns that begin at p * panel_step + j * vector_step, so
// the gates of a unit block lie side by side. With `bf16`, two bfloat16 of successive k share a
// lane.
struct Panels {
  const void* data = nullptr;
  bool bf16 = false;
  i64 count = 0;
  i64 vectors = 0;
  i64 depth = 0;
  i64 panel_step = 0;
  i64 vector_step = 0;
};

// One layer's packed weights. `pad` is units rounded up to the vector width: of a slot, see
// cells.h.
struct CellWeights {
  Panels W;                     // the gates in the order of their slots
  Panels R;                     // the same; GRU: from the slot of r on, but for n of reset before
  Panels Rn;                    // GRU with reset before: n
  const float* bias = nullptr;  // (slots, pad); in GRU's last slot m
  const float* peepholes = nullptr;  // (3, pad), zero in the padding
  i64 units = 0;
  i64 inputs = 0;
  i64 pad = 0;
  bool relu = false;
};

// The rows of one step. `x` is null where `gates` already holds W x + b, and m where `bias` does.
struct StepRows {
  i64 count;
  const float* const* x;
  const float* const* h;
  const float* const* c;
  float* const* gates;  // may be null where x is given and nothing is saved
  float* const* h_out;  // never the memory of a row of h
  float* const* c_out;  // may be c itself
  float* const* rh;     // GRU with reset before: r h, every unit of it
  bool save;            // leave in `gates` what the slots hold, see cells.h
  bool reverse;         // read the panels last to first, which steps take in turns: what the step
                        // before has read last is in the cache still
};

// The right side of a product over rows, `columns` wide.
struct Right {
  const float* const* rows;
  i64 columns;
};

constexpr int max_rights = 3;

// Columns of the left side of a product over rows, where the products with each right side go:
// (n, columns), or null, and what the columns' own sums are added to: (n), or null.
struct Product {
  i64 offset;
  float* into[max_rights];
  float* sums;
};

// The rows of one step backward. `dh` and `dc` come with the gradient from later steps.
struct BackRows {
  i64 count;
  const float* const* dy;  // rows may be null
  float* const* dh;
  float* const* dc;
  const float* const* saved;  // what a step forward left in its gates
  const float* const* h;      // Elman, which reads nothing else of the step
  float* const* gates;        // gradients of the sums, zero in the padding
  const float* const* c;
  const float* const* c_before;
  const float* const* h_before;
  const float* const* drh;
};

constexpr int max_width = 16;  // of any instruction set's vectors, in floats
// Rows that gemm_tn takes at once: a panel of the right side stays in the first-level cache.
constexpr i64 tn_chunk = 128;

struct Kernels {
  const char* name;
  int width;          // floats in a vector
  int plain_vectors;  // vectors in a panel of a plain matrix

  // out[row][column] = bias + sum over k of a[row][k] * panel[k][column], or += with `add`.
  void (*gemm)(const Panels&, i64 rows, const float* const* a, i64 first, i64 last,
               const float* bias, bool add, float* const* out, i64 columns);
  // into[n][m] = sum over rows of a[row][offset + n] * right[row][m], or += with `add`, for each
  // product and right side. `work` holds `tn_work(count, n)` floats.
  void (*gemm_tn)(i64 rows, const float* const* a, const Product* products, i64 count, i64 n,
                  const Right* rights, i64 right_count, bool add, float* work);
  i64 (*tn_work)(i64 count, i64 n);
  // One vector of a panel: to[k * stride + l] = lanes[l][k], zero in lanes from `count` on.
  void (*pack)(const float* const* lanes, int count, i64 depth, float* to, i64 stride);

  // One step of the unit blocks `first` to `last` of the panels of R.
  void (*lstm)(const CellWeights&, const StepRows&, i64 first, i64 last);
  void (*lstm_peepholes)(const CellWeights&, const StepRows&, i64 first, i64 last);
  void (*gru_after)(const CellWeights&, const StepRows&, i64 first, i64 last);
  void (*gru_before_gates)(const CellWeights&, const StepRows&, i64 first, i64 last);
  void (*gru_before_candidate)(const CellWeights&, const StepRows&, i64 first, i64 last);
  void (*elman)(const CellWeights&, const StepRows&, i64 first, i64 last);

  // One step backward of the units `first` to `last`; `first` is a multiple of the vector width.
  void (*lstm_back)(const CellWeights&, const BackRows&, i64 first, i64 last);
  void (*lstm_peepholes_back)(const CellWeights&, const BackRows&, i64 first, i64 last);
  void (*gru_after_back)(const CellWeights&, const BackRows&, i64 first, i64 last);
  void (*gru_before_back)(const CellWeights&, const BackRows&, i64 first, i64 last);
  void (*gru_before_back_reset)(const CellWeights&, const BackRows&, i64 first, i64 last);
  void (*elman_back)(const CellWeights&, const BackRows&, i64 first, i64 last);

  // sums[j] += sum over rows of a[row][offset + j] * b[row][j], j from first to last.
  void (*dot_columns)(i64 rows, const float* const* a, i64 offset, const float* const* b, i64 first,
                      i64 last, float* sums);

  void (*layer_norm)(i64 rows, i64 width, const float* x, i64 x_stride, const float* scale,
                     const float* shift, float epsilon, float* y, i64 y_stride);
  void (*add)(i64 count, const float* x, float* y);  // y += x
  // 0: exp, 1: sigmoid, 2: tanh
  void (*function)(int which, i64 count, const float* x, float* y);
  // For benchmarks: sums of a buffer, and rounds of independent multiply-adds.
  float (*read)(const float* data, i64 count);
  float (*multiply_add)(i64 rounds);
};

const Kernels& table_baseline();
#if defined(STATEWISE_X86)
const Kernels& table_avx2();
const Kernels& table_avx512();
#endif

}  // namespace statewise
