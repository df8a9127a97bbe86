// The way back through a sequence: step by step for the state, then products over all steps at
// once for inputs and weights.

#include <cstring>
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
  std::vector<const float*> sums_rows, x, h, saved;
  std::vector<float*> dx;
};

struct StepPointers {
  std::vector<const float*> dy, c, c_before, h_before, saved, drh;
  std::vector<float*> dh, dc, gates, drh_out;
  std::vector<const float*> product;
  std::vector<i64> row;
  explicit StepPointers(i64 rows)
      : dy(rows), c(rows), c_before(rows), h_before(rows), saved(rows), drh(rows), dh(rows),
        dc(rows), gates(rows), drh_out(rows), product(rows), row(rows) {}
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

void step_back(const Shared& all, StepPointers& p, i64 t, Range rows, Range units, Range panels,
               const Member& team) {
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
                      p.saved.data(), p.gates.data(), p.c.data(),     p.c_before.data(),
                      p.h_before.data(), p.drh.data()};
  const auto product = [&](const Panels& matrix, i64 slot, bool add, float* const* out) {
    for (i64 i = 0; i < count; ++i) p.product[i] = p.gates[i] + slot * layer.pad;
    kernels.gemm(matrix, count, p.product.data(), panels.first, panels.last, nullptr, add, out,
                 layer.units);
  };
  const Range u = units;
  switch (layer.cell) {
    case Cell::lstm:
      kernels.lstm_back(layer.weights, step, u.first, u.last);
      team.wait();
      product(layer.R_back, 0, false, p.dh.data());
      break;
    case Cell::gru_after:
      kernels.gru_after_back(layer.weights, step, u.first, u.last);
      team.wait();
      product(layer.R_back, 1, true, p.dh.data());
      break;
    case Cell::gru_before:
      kernels.gru_before_back(layer.weights, step, u.first, u.last);
      team.wait();
      product(layer.Rn_back, 0, false, p.drh_out.data());
      team.wait();
      kernels.gru_before_back_reset(layer.weights, step, u.first, u.last);
      team.wait();
      product(layer.R_back, 1, true, p.dh.data());
      break;
    default:
      kernels.elman_back(layer.weights, step, u.first, u.last);
      team.wait();
      product(layer.R_back, 0, false, p.dh.data());
  }
  team.wait();
  for (i64 i = 0; i < count; ++i)
    if (job.resets(p.row[i], t)) stop_at_reset(all, p.row[i], units);
}

// Gradients of W, R and biases for this member's units, over every step.
void weight_gradients(const Shared& all, const Member& me, float* work) {
  const Layer& layer = *all.job.layer;
  const Kernels& kernels = layer.kernels;
  const Gradients& out = all.out;
  const Range units = share(layer.units, me, kernels.width);
  const i64 n = units.last - units.first, width = layer.units;
  const i64 rows = i64(all.sums_rows.size());
  if (n <= 0 || !rows) return;
  const float* const* sums = all.sums_rows.data();
  const auto product = [&](i64 slot, int gate, const std::vector<const float*>& right, i64 columns,
                           float* gradient) {
    if (!gradient) return;
    kernels.gemm_tn(rows, sums, slot * layer.pad + units.first, n, right.data(), columns,
                    gradient + (gate * width + units.first) * columns, columns, work);
  };
  const auto bias = [&](i64 slot, float* gradient) {
    if (gradient)
      kernels.column_sums(rows, sums, slot * layer.pad + units.first, n, gradient + units.first);
  };
  const bool gru = layer.cell == Cell::gru_after || layer.cell == Cell::gru_before;
  const int gates = gates_of(layer.cell);
  for (int slot = 0; slot < gates; ++slot) {
    const int gate = gru ? (slot + 2) % 3 : slot;
    product(slot, gate, all.x, layer.inputs, out.dW);
    if (out.db) bias(slot, out.db + gate * width);
  }
  for (int gate = 0; gate < gates; ++gate) {
    if (gru && gate == 2) {
      const bool after = layer.cell == Cell::gru_after;
      product(after ? 3 : 0, 2, after ? all.h : all.saved, width, out.dR);
      if (after) bias(3, out.dm);
    } else {
      product(gru ? gate + 1 : gate, gate, all.h, width, out.dR);
    }
  }
}

void run_member(Shared& all, const Division& division, const Member& me, float* work) {
  const Sequence& job = all.job;
  const Layer& layer = *job.layer;
  const Range rows = division.by_rows ? share(job.rows, me) : Range{0, job.rows};
  const Range units =
      division.by_rows ? Range{0, layer.units} : share(layer.units, me, layer.kernels.width);
  const i64 count = layer.R_back.count;
  const Range panels = division.by_rows ? Range{0, count} : share(count, me);
  const Member alone{0, 1, nullptr};
  const Member& team = division.by_rows ? alone : me;
  StepPointers pointers(rows.last - rows.first);
  for (i64 t = job.steps - 1; t >= 0; --t)
    step_back(all, pointers, t, rows, units, panels, team);
  me.wait();
  weight_gradients(all, me, work);
  if (all.out.dx) {
    const Range mine = share(i64(all.sums_rows.size()), me);
    const Panels& matrix = layer.W_back;
    layer.kernels.gemm(matrix, mine.last - mine.first, all.sums_rows.data() + mine.first, 0,
                       matrix.count, nullptr, false, all.dx.data() + mine.first, layer.inputs);
  }
}

}  // namespace

void run_backward(const Sequence& job, const Gradients& out) {
  const Layer& layer = *job.layer;
  const i64 state = job.rows * layer.pad, steps = job.rows * job.steps;
  const Division division = divide(job.rows, job.steps, 3 * layer.bytes(), 6);
  const std::size_t work = rounded(std::size_t(layer.kernels.tn_work(layer.units)) * sizeof(float));
  const Buffer carried(std::size_t(3 * state + layer.units) * sizeof(float));
  float* dh = carried.floats();
  // Every member's work, and then the gradients of all sums, whose padding the kernels clear.
  char* block = scratch(work * std::size_t(division.members) +
                        std::size_t(steps * layer.stride) * sizeof(float));
  float* sums = reinterpret_cast<float*>(block + work * std::size_t(division.members));
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
        all.saved.push_back(job.gates + at * layer.stride + 3 * layer.pad);
      if (out.dx) all.dx.push_back(out.dx + at * layer.inputs);
    }
  }
  together(division.members, [&](const Member& me) {
    run_member(all, {me.count, division.by_rows}, me,
               reinterpret_cast<float*>(block + work * std::size_t(me.index)));
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
