// The kernels of one instruction set. Compiled several times, each with another STATEWISE_ISA
// (the name of the namespace), STATEWISE_WIDTH (floats in a vector) and STATEWISE_REGISTERS.

#include "kernels.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#define STATEWISE_QUOTED(name) #name
#define STATEWISE_TEXT(name) STATEWISE_QUOTED(name)
#define STATEWISE_JOINED(name) table_##name
#define STATEWISE_TABLE(name) STATEWISE_JOINED(name)

namespace statewise {
namespace STATEWISE_ISA {

#include "vector-inl.h"
#include "activations-inl.h"
#include "tile-inl.h"
#include "gemm-inl.h"
#include "forward-inl.h"
#include "backward-inl.h"

static void layer_norm(i64 rows, i64 width, const float* x, i64 x_stride, const float* scale,
                       const float* shift, float epsilon, float* y, i64 y_stride) {
  for (i64 i = 0; i < rows; ++i, x += x_stride, y += y_stride) {
    vf total = {};
    for (i64 j = 0; j < width; j += V) total += load(x + j, width - j);
    const float mean = sum(total) / float(width);
    vf squares = {};
    for (i64 j = 0; j < width; j += V) {
      const vf centred = clear_from(load(x + j, width - j) - mean, width - j);
      squares += centred * centred;
    }
    const float deviation = __builtin_sqrtf(sum(squares) / float(width) + epsilon);
    for (i64 j = 0; j < width; j += V) {
      const i64 n = width - j;
      const vf centred = load(x + j, n) - mean;
      store(y + j, centred / deviation * load(scale + j, n) + load(shift + j, n), n);
    }
  }
}

static void pack(const float* const* lanes, int count, i64 depth, float* to, i64 stride) {
  i64 k = 0;
  for (; count == V && k + V <= depth; k += V, to += V * stride) {
    vf rows[V];
#pragma GCC unroll 16
    for (int l = 0; l < V; ++l) rows[l] = load(lanes[l] + k);
    transpose(rows);
#pragma GCC unroll 16
    for (int l = 0; l < V; ++l) store(to + l * stride, rows[l]);
  }
  for (; k < depth; ++k, to += stride)
    for (int l = 0; l < V; ++l) to[l] = l < count ? lanes[l][k] : 0.0f;
}

static void add(i64 count, const float* x, float* y) {
  for (i64 j = 0; j < count; j += V) {
    const i64 n = count - j;
    store(y + j, load(y + j, n) + load(x + j, n), n);
  }
}

static void function(int which, i64 count, const float* x, float* y) {
  for (i64 j = 0; j < count; j += V) {
    const i64 n = count - j;
    const vf v = load(x + j, n);
    store(y + j, which == 0 ? exp(v) : which == 1 ? sigmoid(v) : tanh(v), n);
  }
}

static float read(const float* data, i64 count) {
  vf total[8] = {};
  for (i64 j = 0; j + 8 * V <= count; j += 8 * V)
#pragma GCC unroll 8
    for (int u = 0; u < 8; ++u) total[u] += load(data + j + u * V);
  float result = 0;
  for (int u = 0; u < 8; ++u) result += sum(total[u]);
  return result;
}

static float multiply_add(i64 rounds) {
  vf total[12];
  for (int u = 0; u < 12; ++u)
    total[u] = splat(float(u + 2));  // 1 would stay 1, and not be computed
  const vf a = splat(0.999f), b = splat(0.001f);
#pragma GCC unroll 1
  for (i64 r = 0; r < rounds; ++r)
#pragma GCC unroll 12
    for (int u = 0; u < 12; ++u) total[u] = total[u] * a + b;
  float result = 0;
  for (int u = 0; u < 12; ++u) result += sum(total[u]);
  return result;
}

static const Kernels table = {
    .name = STATEWISE_TEXT(STATEWISE_ISA),
    .width = V,
    .plain_vectors = plain_vectors,
    .gemm = gemm,
    .gemm_tn = gemm_tn,
    .tn_work = tn_work,
    .pack = pack,
    .lstm = lstm<false>,
    .lstm_peepholes = lstm<true>,
    .gru_after = gru_after,
    .gru_before_gates = gru_before_gates,
    .gru_before_candidate = gru_before_candidate,
    .elman = elman,
    .lstm_back = lstm_back<false>,
    .lstm_peepholes_back = lstm_back<true>,
    .gru_after_back = gru_after_back,
    .gru_before_back = gru_before_back,
    .gru_before_back_reset = gru_before_back_reset,
    .elman_back = elman_back,
    .dot_columns = dot_columns,
    .layer_norm = layer_norm,
    .add = add,
    .function = function,
    .read = read,
    .multiply_add = multiply_add,
};

}  // namespace STATEWISE_ISA

const Kernels& STATEWISE_TABLE(STATEWISE_ISA)() { return STATEWISE_ISA::table; }

}  // namespace statewise
