// The way back through a sequence: step by step for the state, then products over all steps at
// once for inputs and weights.

#include <cstring>
#include <vector>

#include "layer.h"

namespace statewise {

namespace {

// A block of rows and steps, shared by the members of a team. Pointers of every step that is not
// padding.
struct Shared {
  const Sequence& job;
  const Gradients& out;
  const Range rows, steps;
  float* sums;  // (steps, rows, stride) of the block: gradients of the gates' sums
  float *dh, *dc, *drh;  // (rows, pad) of all
  const float* zeros;
  std::vector<const float*> sums_rows{}, x{}, h{}, remembered{};
  std::vector<float*> dx{};

  float* sums_at(i64 row, i64 t) const {
    return sums + ((t - steps.first) * rows.count() + row - rows.first) * job.layer->stride;
  }
};

struct StepPointers {
  std::vector<const float*> dy, c, c_before, h_before, saved, h, drh;
  std::vector<float*> dh, dc, gates, drh_out;
  std::vector<const float*> product;
  std::vector<i64> row;
  i64 count = 0;
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

// What a step will read, to the second-level cache: it comes in another order than it was written.
// Inlined always, or GCC leaves out a function that only prefetches.
__attribute__((always_inline)) inline void ask_for(const Shared& all, i64 t, Range rows) {
  const Sequence& job = all.job;
  const i64 units = job.layer->units;
  const auto fetch = [](const float* from, i64 floats) {
    for (i64 i = 0; i < floats; i += i64(alignment / sizeof(float)))
      __builtin_prefetch(from + i, 0, 2);
  };
  fetch(job.gates_at(rows.first, t), rows.count() * job.layer->stride);
  if (job.cells && t) fetch(job.cells_at(rows.first, t - 1), rows.count() * units);
  for (i64 row = rows.first; all.out.dy && row < rows.last; ++row)
    fetch(all.out.dy_at(row, t), units);
}

// The rows that have step t, and where they carry their gradients.
i64 rows_back(const Shared& all, StepPointers& p, i64 t, Range rows) {
  i64 count = 0;
  for (i64 row = rows.first; row < rows.last; ++row) {
    if (t >= all.job.length(row)) continue;
    const i64 at = row * all.job.layer->pad;
    p.row[count] = row;
    p.dh[count] = all.dh + at;
    p.dc[count] = all.dc + at;
    p.drh[count] = p.drh_out[count] = all.drh + at;
    ++count;
  }
  return count;
}

void step_back(const Shared& all, StepPointers& p, i64 t, Range rows, Member& me) {
  const Sequence& job = all.job;
  const Layer& layer = *job.layer;
  const Kernels& kernels = layer.kernels;
  if (job.lengths || t == all.steps.last - 1) p.count = rows_back(all, p, t, rows);
  const i64 count = p.count;
  if (!count) return;
  for (i64 i = 0; i < count; ++i) {
    const i64 row = p.row[i];
    p.dy[i] = all.out.dy ? all.out.dy_at(row, t) : nullptr;
    p.saved[i] = job.gates_at(row, t);
    p.gates[i] = all.sums_at(row, t);
    if (layer.cell == Cell::lstm) {
      p.c[i] = job.cells_at(row, t);
      p.c_before[i] = job.c_before(row, t, all.zeros);
    } else {
      p.h[i] = job.y + (row * job.steps + t) * layer.units;
      p.h_before[i] = job.h_before(row, t, all.zeros);
    }
  }
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
  if (t > 0 && !me.team) ask_for(all, t - 1, rows);
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

// Gradients of W, R and biases for some units, over every step of the block.
void weight_gradients(const Shared& all, Range units, bool add, float* work) {
  const Layer& layer = *all.job.layer;
  const Kernels& kernels = layer.kernels;
  const Gradients& out = all.out;
  const i64 width = layer.units, gates = gates_of(layer.cell);
  const i64 rows = i64(all.sums_rows.size());
  const float* const* sums = all.sums_rows.data();
  const bool after = layer.cell == Cell::gru_after, before = layer.cell == Cell::gru_before;
  if (units.count() <= 0) return;
  const auto of_W = [&](i64 gate) { return out.dW + (gate * width + units.first) * layer.inputs; };
  const auto of_R = [&](i64 gate) { return out.dR + (gate * width + units.first) * width; };
  const auto offset = [&](i64 slot) { return slot * layer.pad + units.first; };
  const Right rights[] = {{all.x.data(), layer.inputs}, {all.h.data(), width},
                          {all.remembered.data(), width}};
  Product products[4];
  for (i64 slot = 0; slot < gates; ++slot) {
    const i64 gate = after || before ? (slot + 2) % 3 : slot;
    products[slot] = {offset(slot), {of_W(gate), of_R(gate), nullptr},
                      out.db ? out.db + gate * width + units.first : nullptr};
  }
  // R of the candidate reads what the reset lets through, or is read by it.
  if (before) products[0].into[2] = products[0].into[1];
  if (after || before) products[0].into[1] = nullptr;
  if (after)
    products[3] = {offset(3), {nullptr, of_R(2), nullptr}, out.dm ? out.dm + units.first : nullptr};
  kernels.gemm_tn(rows, sums, products, after ? 4 : gates, units.count(), rights, before ? 3 : 2,
                  add, work);
}

// Pointers of every step, as they lie in memory.
void gather(Shared& all) {
  const Sequence& job = all.job;
  const Layer& layer = *job.layer;
  const std::size_t most = std::size_t(all.rows.count() * all.steps.count());
  for (auto* pointers : {&all.sums_rows, &all.x, &all.h}) pointers->reserve(most);
  for (i64 t = all.steps.first; t < all.steps.last; ++t)
    for (i64 row = all.rows.first; row < all.rows.last; ++row) {
      if (t >= job.length(row)) continue;
      const i64 at = row * job.steps + t;
      all.sums_rows.push_back(all.sums_at(row, t));
      all.x.push_back(job.x + at * layer.inputs);
      all.h.push_back(job.h_before(row, t, all.zeros));
      if (layer.cell == Cell::gru_before)
        all.remembered.push_back(job.gates_at(row, t) + 3 * layer.pad);
      if (all.out.dx) all.dx.push_back(all.out.dx + at * layer.inputs);
    }
}

// The steps of some of the block's rows, last to first.
void steps_back(const Shared& all, Range rows, Member& me) {
  StepPointers pointers(rows.count());
  for (i64 t = all.steps.last; t-- > all.steps.first;) step_back(all, pointers, t, rows, me);
}

// A block: its steps, and then what they add to the gradients of weights and inputs.
// `work` gives each thread memory for gemm_tn.
template <class Work>
void block_back(Shared& all, const Division& division, bool add, Work work) {
  const Layer& layer = *all.job.layer;
  const int threads = division.threads;
  gather(all);
  if (division.by_rows)
    divided(threads, threads, [&](i64 piece, int) {
      Member alone;
      const Range mine = part(all.rows.count(), piece, threads, division.unit);
      steps_back(all, {all.rows.first + mine.first, all.rows.first + mine.last}, alone);
    });
  else
    together(threads, [&](Member& me) { steps_back(all, all.rows, me); });
  // The right side is packed anew for every range of units: few of them, and none very narrow.
  const i64 wide = threads > 1 ? (layer.units + 15) / 16 : 1;
  const i64 ranges = wide < 2 * threads ? wide : 2 * threads;
  divided(threads, ranges, [&](i64 index, int thread) {
    weight_gradients(all, part(layer.units, index, ranges, layer.kernels.width), add, work(thread));
  });
  if (!all.out.dx) return;
  const i64 groups = threads > 1 ? 4 * threads : 1;
  divided(threads, groups, [&](i64 index, int) {
    const Range mine = part(i64(all.sums_rows.size()), index, groups);
    layer.kernels.gemm(layer.W_back, mine.count(), all.sums_rows.data() + mine.first, 0,
                       layer.W_back.count, nullptr, false, all.dx.data() + mine.first,
                       layer.inputs);
  });
}

// Steps of a block: the gradients of its sums stay in a cache until they have become gradients of
// weights, and a long sequence needs no more memory for them than a short one.
i64 steps_at_once(i64 stride, i64 rows, i64 steps) {
  const i64 chunks = (i64(2) << 20) / (tn_chunk * stride * i64(sizeof(float)));
  const i64 most = tn_chunk * (chunks < 1 ? 1 : chunks) / (rows < 1 ? 1 : rows);
  return most < 1 ? 1 : most < steps ? most : steps;
}

}  // namespace

void run_backward(const Sequence& job, const Gradients& out) {
  const Layer& layer = *job.layer;
  const i64 state = job.rows * layer.pad, units = layer.units;
  const Division division = divide(job.rows, 3 * job.steps, layer.bytes());
  const std::size_t each = rounded(std::size_t(layer.kernels.tn_work(4, units)) * sizeof(float));
  const Buffer carried(std::size_t(3 * state + units) * sizeof(float));
  float *dh = carried.floats(), *dc = dh + state;
  const int threads = division.threads;
  const i64 blocks = division.by_rows ? (division.pieces + threads - 1) / threads : 1;
  const i64 unit = division.unit * threads;
  const i64 most = ((job.rows + unit - 1) / unit + blocks - 1) / blocks * unit;
  const i64 span = steps_at_once(layer.stride, most, job.steps);
  // Every thread's work, and then the gradients of a block's sums, whose padding the kernels clear.
  char* memory = scratch(each * std::size_t(threads) +
                         std::size_t(most * span * layer.stride) * sizeof(float));
  const auto work = [&](int thread) {
    return reinterpret_cast<float*>(memory + each * std::size_t(thread));
  };
  for (i64 row = 0; row < job.rows; ++row) {
    copy_or_clear(dh + row * layer.pad, out.dh ? out.dh + row * units : nullptr, units);
    copy_or_clear(dc + row * layer.pad, out.dc ? out.dc + row * units : nullptr, units);
  }
  for (i64 block = 0; block < blocks; ++block) {
    Range steps{job.steps, job.steps};
    do {  // once where there are no steps: the gradients are zero then
      steps = {steps.first > span ? steps.first - span : 0, steps.first};
      Shared all{job, out, part(job.rows, block, blocks, unit), steps, work(threads),
                 dh, dc, dc + state, dc + 2 * state};
      block_back(all, division, block > 0 || steps.last < job.steps, work);
    } while (steps.first > 0);
  }
  const std::size_t bytes = std::size_t(units) * sizeof(float);
  for (i64 row = 0; row < job.rows; ++row) {
    std::memcpy(out.dh0 + row * units, dh + row * layer.pad, bytes);
    if (out.dc0) std::memcpy(out.dc0 + row * units, dc + row * layer.pad, bytes);
  }
}

}  // namespace statewise
