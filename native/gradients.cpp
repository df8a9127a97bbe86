// The way back through a sequence: step by step for the state, then products over all steps at
// once for inputs and weights.

#include <cstring>
#include <initializer_list>
#include <vector>

#include "layer.h"

namespace statewise {

namespace {

// What the members share. Row pointers of every step that is not padding.
struct Shared {
  const Sequence& job;
  const Gradients& out;
  float* sums;        // (rows * steps, stride): gradients of the gates' sums
  float *dh, *dc, *drh;  // (rows, pad)
  const float* zeros;
  std::vector<const float*> sums_rows, x, h, remembered;
  std::vector<float*> dx;
};

struct StepPointers {
  std::vector<const float*> dy, c, c_before, h_before, saved, h, drh;
  std::vector<float*> dh, dc, gates, drh_out;
  std::vector<const float*> product;
  std::vector<i64> row;
  explicit StepPointers(i64 rows)
      : dy(rows), c(rows), c_before(rows), h_before(rows), saved(rows), h(rows), drh(rows),
        dh(rows), dc(rows), gates(rows), drh_out(rows), product(rows), row(rows) {}
};

void copy_or_clear(float* to, const float* from, i64 count) {
  if (from)
    std::memcpy(to, from, std::size_t(count) * sizeof(float));
  else
    std::memset(to, 0, std::size_t(count) * sizeof(float));
}

// The gradient of a row that was reset before this step belongs to the initial state, and nothing
// of it goes further back.
void stop_at_reset(const Shared& all, i64 row, Range units) {
  const i64 width = all.job.layer->units, pad = all.job.layer->pad;
  const auto stop = [&](float* carried, float* initial) {
    for (i64 u = units.first; u < units.last; ++u) {
      if (initial) initial[row * width + u] += carried[row * pad + u];
      carried[row * pad + u] = 0.0f;
    }
  };
  stop(all.dh, all.out.dh_init);
  if (all.job.layer->cell == Cell::lstm) stop(all.dc, all.out.dc_init);
}

void step_back(const Shared& all, StepPointers& p, i64 t, Range rows, Member& me) {
  const Sequence& job = all.job;
  const Layer& layer = *job.layer;
  const Kernels& kernels = layer.kernels;
  i64 count = 0;
  for (i64 row = rows.first; row < rows.last; ++row) {
    if (t >= job.length(row)) continue;
    const i64 at = row * job.steps + t;
    p.row[count] = row;
    p.dy[count] = all.out.dy ? all.out.dy + at * layer.units : nullptr;
    p.dh[count] = all.dh + row * layer.pad;
    p.dc[count] = all.dc + row * layer.pad;
    p.saved[count] = job.gates + at * layer.stride;
    p.h[count] = job.y + at * layer.units;
    p.gates[count] = all.sums + at * layer.stride;
    p.h_before[count] = job.h_before(row, t, all.zeros);
    p.drh_out[count] = all.drh + row * layer.pad;
    p.drh[count] = p.drh_out[count];
    if (layer.cell == Cell::lstm) {
      p.c[count] = job.cells + at * layer.units;
      p.c_before[count] = job.c_before(row, t, all.zeros);
    }
    ++count;
  }
  if (!count) return;
  const BackRows step{count,          p.dy.data(), p.dh.data(),       p.dc.data(),
                      p.saved.data(), p.h.data(),  p.gates.data(),    p.c.data(),
                      p.c_before.data(), p.h_before.data(), p.drh.data()};
  const auto pointwise = [&](auto kernel) {
    me.each(layer.units, kernels.width,
            [&](Range units) { kernel(layer.weights, step, units.first, units.last); });
  };
  const auto product = [&](const Panels& matrix, i64 slot, bool add, float* const* out) {
    for (i64 i = 0; i < count; ++i) p.product[i] = p.gates[i] + slot * layer.pad;
    me.each(matrix.count, 1, [&](Range panels) {
      kernels.gemm(matrix, count, p.product.data(), panels.first, panels.last, nullptr, add, out,
                   layer.units);
    });
  };
  switch (layer.cell) {
    case Cell::lstm:
      pointwise(kernels.lstm_back);
      product(layer.R_back, 0, false, p.dh.data());
      break;
    case Cell::gru_after:
      pointwise(kernels.gru_after_back);
      product(layer.R_back, 1, true, p.dh.data());
      break;
    case Cell::gru_before:
      pointwise(kernels.gru_before_back);
      product(layer.Rn_back, 0, false, p.drh_out.data());
      pointwise(kernels.gru_before_back_reset);
      product(layer.R_back, 1, true, p.dh.data());
      break;
    default:
      pointwise(kernels.elman_back);
      product(layer.R_back, 0, false, p.dh.data());
  }
  for (i64 i = 0; i < count; ++i)
    if (job.resets(p.row[i], t))
      me.each(layer.units, kernels.width,
              [&](Range units) { stop_at_reset(all, p.row[i], units); });
}

// Gradients of W, R and biases for some units, over every step.
void weight_gradients(const Shared& all, Range units, float* work) {
  const Layer& layer = *all.job.layer;
  const Kernels& kernels = layer.kernels;
  const Gradients& out = all.out;
  const i64 width = layer.units, gates = gates_of(layer.cell);
  const i64 rows = i64(all.sums_rows.size());
  const float* const* sums = all.sums_rows.data();
  const bool after = layer.cell == Cell::gru_after, before = layer.cell == Cell::gru_before;
  if (units.count() <= 0) return;
  // Slot `first` and those behind it stand for gates, each one matrix of `gradient`.
  const auto product = [&](i64 first, std::initializer_list<int> order,
                           const std::vector<const float*>& right, i64 columns, float* gradient) {
    if (!gradient) return;
    Product products[4];
    i64 count = 0;
    for (int gate : order) {
      products[count] = {(first + count) * layer.pad + units.first,
                         gradient + (gate * width + units.first) * columns};
      ++count;
    }
    kernels.gemm_tn(rows, sums, products, count, units.count(), right.data(), columns, work);
  };
  if (after || before) {
    product(0, {2, 0, 1}, all.x, layer.inputs, out.dW);
    if (after) {
      product(1, {0, 1, 2}, all.h, width, out.dR);
    } else {
      product(1, {0, 1}, all.h, width, out.dR);
      product(0, {2}, all.remembered, width, out.dR);
    }
  } else if (gates == 4) {
    product(0, {0, 1, 2, 3}, all.x, layer.inputs, out.dW);
    product(0, {0, 1, 2, 3}, all.h, width, out.dR);
  } else {
    product(0, {0}, all.x, layer.inputs, out.dW);
    product(0, {0}, all.h, width, out.dR);
  }
  const auto bias = [&](i64 slot, float* gradient) {
    kernels.column_sums(rows, sums, slot * layer.pad + units.first, units.count(),
                        gradient + units.first);
  };
  for (i64 slot = 0; out.db && slot < gates; ++slot)
    bias(slot, out.db + (after || before ? (slot + 2) % 3 : slot) * width);
  if (after && out.dm) bias(3, out.dm);
}

// The steps of some rows, last to first.
void steps_back(const Shared& all, Range rows, Member& me) {
  StepPointers pointers(rows.count());
  for (i64 t = all.job.steps - 1; t >= 0; --t) step_back(all, pointers, t, rows, me);
}

}  // namespace

void run_backward(const Sequence& job, const Gradients& out) {
  const Layer& layer = *job.layer;
  const Kernels& kernels = layer.kernels;
  const i64 state = job.rows * layer.pad, steps = job.rows * job.steps;
  const Division division = divide(job.rows, job.steps, 3 * layer.bytes());
  const std::size_t each = rounded(std::size_t(kernels.tn_work(4, layer.units)) * sizeof(float));
  const Buffer carried(std::size_t(3 * state + layer.units) * sizeof(float));
  float* dh = carried.floats();
  // Every thread's work, and then the gradients of all sums, whose padding the kernels clear.
  char* block = scratch(each * std::size_t(division.threads) +
                        std::size_t(steps * layer.stride) * sizeof(float));
  float* sums = reinterpret_cast<float*>(block + each * std::size_t(division.threads));
  Shared all{job, out, sums, dh, dh + state, dh + 2 * state, dh + 3 * state,
             {}, {}, {}, {}, {}};
  for (i64 row = 0; row < job.rows; ++row) {
    copy_or_clear(all.dh + row * layer.pad, out.dh ? out.dh + row * layer.units : nullptr,
                  layer.units);
    copy_or_clear(all.dc + row * layer.pad, out.dc ? out.dc + row * layer.units : nullptr,
                  layer.units);
    for (i64 t = 0; t < job.length(row); ++t) {
      const i64 at = row * job.steps + t;
      all.sums_rows.push_back(all.sums + at * layer.stride);
      all.x.push_back(job.x + at * layer.inputs);
      all.h.push_back(job.h_before(row, t, all.zeros));
      if (layer.cell == Cell::gru_before)
        all.remembered.push_back(job.gates + at * layer.stride + 3 * layer.pad);
      if (out.dx) all.dx.push_back(out.dx + at * layer.inputs);
    }
  }
  if (division.by_rows)
    divided(division.threads, division.pieces, [&](i64 piece, int) {
      Member alone;
      steps_back(all, part(job.rows, piece, division.pieces), alone);
    });
  else
    together(division.threads, [&](Member& me) { steps_back(all, {0, job.rows}, me); });
  // The right side is packed anew for every range of units: few of them, and none very narrow.
  const i64 blocks = division.threads > 1 ? (layer.units + 15) / 16 : 1;
  const i64 ranges = blocks < 4 * division.threads ? blocks : 4 * division.threads;
  divided(division.threads, ranges, [&](i64 index, int thread) {
    weight_gradients(all, part(layer.units, index, ranges, kernels.width),
                     reinterpret_cast<float*>(block + each * std::size_t(thread)));
  });
  const i64 groups = division.threads > 1 ? 4 * division.threads : 1;
  if (out.dx)
    divided(division.threads, groups, [&](i64 index, int) {
      const Range mine = part(i64(all.sums_rows.size()), index, groups);
      kernels.gemm(layer.W_back, mine.count(), all.sums_rows.data() + mine.first, 0,
                   layer.W_back.count, nullptr, false, all.dx.data() + mine.first,
                   layer.inputs);
    });
  for (i64 row = 0; row < job.rows; ++row) {
    std::memcpy(out.dh0 + row * layer.units, all.dh + row * layer.pad,
                std::size_t(layer.units) * sizeof(float));
    if (out.dc0)
      std::memcpy(out.dc0 + row * layer.units, all.dc + row * layer.pad,
                  std::size_t(layer.units) * sizeof(float));
  }
}

}  // namespace statewise
