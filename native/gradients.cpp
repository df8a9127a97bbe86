// The way back through a sequence: step by step for the state, then products over all steps at
// once for inputs and weights.

#include <cstring>
#include <vector>

#include "layer.h"

namespace statewise {

namespace {

// A block of rows and steps, shared by the members of a team. Pointers of every step that is not
// padding.
struct BackBlock {
  const Sequence& job;
  const Gradients& out;
  const Range rows, steps;
  float* sums;           // (steps, rows, stride) of the block: gradients of the gates' sums
  float *dh, *dc, *drh;  // (rows, pad) of all rows
  const float* zeros;
  std::vector<const float*> sums_rows{}, x{}, h{}, rh{}, c{}, c_before{};
  std::vector<float*> dx{};

  float* sums_at(i64 row, i64 t) const {
    return sums + ((t - steps.first) * rows.count() + row - rows.first) * job.layer->stride;
  }
};

struct StepPointers {
  std::vector<const float*> dy, c, c_before, h_before, saved, h, drh;
  std::vector<float*> dh, dc, gates, drh_out;
  std::vector<const float*> factors;
  std::vector<i64> row;
  i64 count = 0;
  explicit StepPointers(i64 rows)
      : dy(rows),
        c(rows),
        c_before(rows),
        h_before(rows),
        saved(rows),
        h(rows),
        drh(rows),
        dh(rows),
        dc(rows),
        gates(rows),
        drh_out(rows),
        factors(rows),
        row(rows) {}

  BackRows rows() const {
    return {.count = count,
            .dy = dy.data(),
            .dh = dh.data(),
            .dc = dc.data(),
            .saved = saved.data(),
            .h = h.data(),
            .gates = gates.data(),
            .c = c.data(),
            .c_before = c_before.data(),
            .h_before = h_before.data(),
            .drh = drh.data()};
  }
};

void copy_or_clear(float* to, const float* from, i64 count) {
  if (from)
    std::memcpy(to, from, std::size_t(count) * sizeof(float));
  else
    std::memset(to, 0, std::size_t(count) * sizeof(float));
}

// The gradient of a row that was reset before this step belongs to the initial state, and nothing
// of it goes further back.
void stop_at_reset(const BackBlock& block, i64 row, Range units) {
  const i64 width = block.job.layer->units, pad = block.job.layer->pad;
  const auto stop = [&](float* carried, float* initial) {
    for (i64 u = units.first; u < units.last; ++u) {
      if (initial) initial[row * width + u] += carried[row * pad + u];
      carried[row * pad + u] = 0.0f;
    }
  };
  stop(block.dh, block.out.dh_init);
  if (block.job.layer->layout.has_c) stop(block.dc, block.out.dc_init);
}

// What a step will read, to the second-level cache: it comes in another order than it was written.
// Inlined always, or GCC leaves out a function that only prefetches.
__attribute__((always_inline)) inline void prefetch_step(const BackBlock& block, i64 t,
                                                         Range rows) {
  const Sequence& job = block.job;
  const i64 units = job.layer->units;
  const auto fetch = [](const float* from, i64 floats) {
    for (i64 i = 0; i < floats; i += i64(alignment / sizeof(float)))
      __builtin_prefetch(from + i, 0, 2);
  };
  fetch(job.gates_at(rows.first, t), rows.count() * job.layer->stride);
  if (job.cells && t) fetch(job.cells_at(rows.first, t - 1), rows.count() * units);
  for (i64 row = rows.first; block.out.dy && row < rows.last; ++row)
    fetch(block.out.dy_at(row, t), units);
}

// The rows that have step t, and where they carry their gradients.
i64 find_rows(const BackBlock& block, StepPointers& p, i64 t, Range rows) {
  i64 count = 0;
  for (i64 row = rows.first; row < rows.last; ++row) {
    if (t >= block.job.length(row)) continue;
    const i64 at = row * block.job.layer->pad;
    p.row[count] = row;
    p.dh[count] = block.dh + at;
    p.dc[count] = block.dc + at;
    p.drh[count] = p.drh_out[count] = block.drh + at;
    ++count;
  }
  return count;
}

// What each row reads in step t.
void find_values(const BackBlock& block, StepPointers& p, i64 t) {
  const Sequence& job = block.job;
  const Layer& layer = *job.layer;
  for (i64 i = 0; i < p.count; ++i) {
    const i64 row = p.row[i];
    p.dy[i] = block.out.dy ? block.out.dy_at(row, t) : nullptr;
    p.saved[i] = job.gates_at(row, t);
    p.gates[i] = block.sums_at(row, t);
    if (layer.layout.has_c) {
      p.c[i] = job.cells_at(row, t);
      p.c_before[i] = job.c_before(row, t, block.zeros);
    } else {
      p.h[i] = job.y + (row * job.steps + t) * layer.units;
      p.h_before[i] = job.h_before(row, t, block.zeros);
    }
  }
}

void step_back(const BackBlock& block, StepPointers& p, i64 t, Range rows, Member& me) {
  const Sequence& job = block.job;
  const Layer& layer = *job.layer;
  const Kernels& kernels = layer.kernels;
  if (job.lengths || t == block.steps.last - 1) p.count = find_rows(block, p, t, rows);
  if (!p.count) return;
  find_values(block, p, t);
  const BackRows step = p.rows();
  const auto pointwise = [&](auto kernel) {
    me.share(layer.units, kernels.width,
             [&](Range units) { kernel(layer.weights, step, units.first, units.last); });
  };
  const auto multiply = [&](const Panels& matrix, i64 slot, bool add, float* const* out) {
    for (i64 i = 0; i < p.count; ++i) p.factors[i] = p.gates[i] + slot * layer.pad;
    me.share(matrix.count, 1, [&](Range panels) {
      kernels.gemm(matrix, p.count, p.factors.data(), panels.first, panels.last, nullptr, add, out,
                   layer.units);
    });
  };
  if (t > 0 && !me.team) prefetch_step(block, t - 1, rows);
  switch (layer.cell) {
    case Cell::lstm:
    case Cell::lstm_peepholes:
      pointwise(layer.cell == Cell::lstm ? kernels.lstm_back : kernels.lstm_peepholes_back);
      multiply(layer.R_back, 0, false, p.dh.data());
      break;
    case Cell::gru_after:
      pointwise(kernels.gru_after_back);
      multiply(layer.R_back, GruSlot::r, true, p.dh.data());
      break;
    case Cell::gru_before:
      pointwise(kernels.gru_before_back);
      multiply(layer.Rn_back, GruSlot::n, false, p.drh_out.data());
      pointwise(kernels.gru_before_back_reset);
      multiply(layer.R_back, GruSlot::r, true, p.dh.data());
      break;
    default:
      pointwise(kernels.elman_back);
      multiply(layer.R_back, 0, false, p.dh.data());
  }
  for (i64 i = 0; i < p.count; ++i)
    if (job.resets(p.row[i], t))
      me.share(layer.units, kernels.width,
               [&](Range units) { stop_at_reset(block, p.row[i], units); });
}

// Adds to the gradients of W, R and biases of some units, over every step of the block.
void add_weight_gradients(const BackBlock& block, Range units, bool add, float* work) {
  const Layer& layer = *block.job.layer;
  const Gradients& out = block.out;
  const i64 width = layer.units, gates = layer.layout.gate_count();
  const bool after = layer.cell == Cell::gru_after, before = layer.cell == Cell::gru_before;
  if (units.count() <= 0) return;
  const auto of_W = [&](i64 gate) { return out.dW + (gate * width + units.first) * layer.inputs; };
  const auto of_R = [&](i64 gate) { return out.dR + (gate * width + units.first) * width; };
  const auto offset = [&](i64 slot) { return slot * layer.pad + units.first; };
  const Right rights[] = {{.rows = block.x.data(), .columns = layer.inputs},
                          {.rows = block.h.data(), .columns = width},
                          {.rows = block.rh.data(), .columns = width}};
  Product products[max_slots];
  for (i64 slot = 0; slot < gates; ++slot) {
    const i64 gate = layer.layout.slot_gates[slot];
    products[slot] = {.offset = offset(slot),
                      .into = {of_W(gate), of_R(gate), nullptr},
                      .sums = out.db ? out.db + gate * width + units.first : nullptr};
  }
  // R of the candidate reads what the reset lets through, or is read by it.
  if (before) products[GruSlot::n].into[2] = products[GruSlot::n].into[1];
  if (after || before) products[GruSlot::n].into[1] = nullptr;
  if (after)
    products[GruSlot::recurrent] = {.offset = offset(GruSlot::recurrent),
                                    .into = {nullptr, of_R(GruGate::n), nullptr},
                                    .sums = out.dm ? out.dm + units.first : nullptr};
  layer.kernels.gemm_tn(i64(block.sums_rows.size()), block.sums_rows.data(), products,
                        after ? gates + 1 : gates, units.count(), rights, before ? 3 : 2, add,
                        work);
}

// Adds to the gradients of the peepholes of some units, over every step of the block.
void add_peephole_gradients(const BackBlock& block, Range units) {
  const Layer& layer = *block.job.layer;
  const auto add = [&](i64 peephole, i64 slot, const std::vector<const float*>& seen) {
    layer.kernels.dot_columns(i64(seen.size()), block.sums_rows.data(), slot * layer.pad,
                              seen.data(), units.first, units.last,
                              block.out.dp + peephole * layer.units);
  };
  add(Peephole::i, LstmSlot::i, block.c_before);
  add(Peephole::f, LstmSlot::f, block.c_before);
  add(Peephole::o, LstmSlot::o, block.c);
}

// Pointers of every step, as they lie in memory.
void gather_rows(BackBlock& block) {
  const Sequence& job = block.job;
  const Layer& layer = *job.layer;
  const std::size_t most = std::size_t(block.rows.count() * block.steps.count());
  for (auto* pointers : {&block.sums_rows, &block.x, &block.h}) pointers->reserve(most);
  for (i64 t = block.steps.first; t < block.steps.last; ++t)
    for (i64 row = block.rows.first; row < block.rows.last; ++row) {
      if (t >= job.length(row)) continue;
      const i64 at = row * job.steps + t;
      block.sums_rows.push_back(block.sums_at(row, t));
      block.x.push_back(job.x + at * layer.inputs);
      block.h.push_back(job.h_before(row, t, block.zeros));
      if (layer.cell == Cell::gru_before)
        block.rh.push_back(job.gates_at(row, t) + GruSlot::recurrent * layer.pad);
      if (block.out.dp) {
        block.c.push_back(job.cells_at(row, t));
        block.c_before.push_back(job.c_before(row, t, block.zeros));
      }
      if (block.out.dx) block.dx.push_back(block.out.dx + at * layer.inputs);
    }
}

// The steps of some of the block's rows, last to first.
void steps_back(const BackBlock& block, Range rows, Member& me) {
  StepPointers pointers(rows.count());
  for (i64 t = block.steps.last; t-- > block.steps.first;) step_back(block, pointers, t, rows, me);
}

// A block: its steps, and then what they add to the gradients of weights and inputs.
// `work` gives each thread memory for gemm_tn.
template <class Work>
void run_block(BackBlock& block, const Division& division, bool add, Work work) {
  const Layer& layer = *block.job.layer;
  const int threads = division.threads;
  gather_rows(block);
  if (division.by_rows)
    run_pieces(threads, threads, [&](i64 piece, int) {
      Member alone;
      const Range mine = part(block.rows.count(), piece, threads, division.unit);
      steps_back(block, {block.rows.first + mine.first, block.rows.first + mine.last}, alone);
    });
  else
    run_team(threads, [&](Member& me) { steps_back(block, block.rows, me); });
  // The right side is packed anew for every range of units: few of them, and none very narrow.
  const i64 wide = threads > 1 ? (layer.units + 15) / 16 : 1;
  const i64 ranges = wide < 2 * threads ? wide : 2 * threads;
  run_pieces(threads, ranges, [&](i64 index, int thread) {
    const Range units = part(layer.units, index, ranges, layer.kernels.width);
    add_weight_gradients(block, units, add, work(thread));
    if (block.out.dp) add_peephole_gradients(block, units);
  });
  if (!block.out.dx) return;
  const i64 groups = threads > 1 ? 4 * threads : 1;
  run_pieces(threads, groups, [&](i64 index, int) {
    const Range mine = part(i64(block.sums_rows.size()), index, groups);
    layer.kernels.gemm(layer.W_back, mine.count(), block.sums_rows.data() + mine.first, 0,
                       layer.W_back.count, nullptr, false, block.dx.data() + mine.first,
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
  const std::size_t each =
      round_to_alignment(std::size_t(layer.kernels.tn_work(max_slots, units)) * sizeof(float));
  const Buffer carried(std::size_t(3 * state + units) * sizeof(float));
  float *dh = carried.floats(), *dc = dh + state;
  const int threads = division.threads;
  const i64 blocks = division.by_rows ? (division.pieces + threads - 1) / threads : 1;
  const i64 unit = division.unit * threads;
  const i64 max_rows = ((job.rows + unit - 1) / unit + blocks - 1) / blocks * unit;
  const i64 span = steps_at_once(layer.stride, max_rows, job.steps);
  // Every thread's work, and then the gradients of a block's sums, whose padding the kernels clear.
  char* memory = get_scratch(each * std::size_t(threads) +
                             std::size_t(max_rows * span * layer.stride) * sizeof(float));
  const auto work = [&](int thread) {
    return reinterpret_cast<float*>(memory + each * std::size_t(thread));
  };
  for (i64 row = 0; row < job.rows; ++row) {
    copy_or_clear(dh + row * layer.pad, out.dh ? out.dh + row * units : nullptr, units);
    copy_or_clear(dc + row * layer.pad, out.dc ? out.dc + row * units : nullptr, units);
  }
  for (i64 index = 0; index < blocks; ++index) {
    Range steps{job.steps, job.steps};
    do {  // once where there are no steps: the gradients are zero then
      steps = {steps.first > span ? steps.first - span : 0, steps.first};
      BackBlock block{.job = job,
                      .out = out,
                      .rows = part(job.rows, index, blocks, unit),
                      .steps = steps,
                      .sums = work(threads),
                      .dh = dh,
                      .dc = dc,
                      .drh = dc + state,
                      .zeros = dc + 2 * state};
      run_block(block, division, index > 0 || steps.last < job.steps, work);
    } while (steps.first > 0);
  }
  const std::size_t bytes = std::size_t(units) * sizeof(float);
  for (i64 row = 0; row < job.rows; ++row) {
    std::memcpy(out.dh0 + row * units, dh + row * layer.pad, bytes);
    if (out.dc0) std::memcpy(out.dc0 + row * units, dc + row * layer.pad, bytes);
  }
}

}  // namespace statewise
