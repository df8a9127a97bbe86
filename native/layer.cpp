#include "layer.h"

#include <cstring>

#include "packing.h"

namespace statewise {

namespace {

i64 round_up(i64 value, i64 unit) { return (value + unit - 1) / unit * unit; }

}  // namespace

i64 gates_stride(const Kernels& kernels, Cell cell, i64 units) {
  const int slots = layout_of(cell).slot_count;
  return slots > 1 ? slots * round_up(units, kernels.width) : plain_columns(kernels, units);
}

Layer::Layer(const Kernels& table, Cell cell, i64 inputs, i64 units, const LayerWeights& given,
             Options options)
    : kernels(table),
      cell(cell),
      layout(layout_of(cell)),
      inputs(inputs),
      units(units),
      borrow(options.borrow),
      pad(round_up(units, table.width)),
      stride(gates_stride(table, cell, units)) {
  owned_.reserve(8);
  weights.units = units;
  weights.inputs = inputs;
  weights.pad = pad;
  weights.relu = cell == Cell::elman_relu;
  if (options.backward)
    pack_backward(given, options.inputs);
  else
    pack_forward(given, options.bf16);
  if (cell == Cell::lstm_peepholes) pack_peepholes(given.p);
}

namespace {

GateOrder slot_order(const CellLayout& layout) {
  return {layout.slot_gates, layout.slot_gates + layout.gate_count()};
}

}  // namespace

void Layer::pack_forward(const LayerWeights& given, bool bf16) {
  const GateOrder order = slot_order(layout);
  const auto pack = [&](const float* M, i64 depth, const GateOrder& gates) {
    return pack_gates(kernels, M, units, depth, gates, pad, bf16, owned_);
  };
  switch (cell) {
    case Cell::lstm:
    case Cell::lstm_peepholes:
      weights.W = pack(given.W, inputs, order);
      weights.R = pack(given.R, units, order);
      break;
    case Cell::gru_after:
      weights.W = pack(given.W, inputs, order);
      weights.R = pack(given.R, units, {GruGate::r, GruGate::z, GruGate::n});
      break;
    case Cell::gru_before:
      weights.W = pack(given.W, inputs, order);
      weights.R = pack(given.R, units, {GruGate::r, GruGate::z});
      weights.Rn = pack(given.R, units, {GruGate::n});
      break;
    default:
      weights.W = pack_plain(kernels, given.W, units, inputs, bf16, owned_);
      weights.R = pack_plain(kernels, given.R, units, units, bf16, owned_);
  }
  const std::size_t bytes = std::size_t(units) * sizeof(float);
  owned_.emplace_back(std::size_t(stride) * sizeof(float));
  float* bias = owned_.back().floats();
  for (std::size_t slot = 0; slot < order.size(); ++slot)
    std::memcpy(bias + i64(slot) * pad, given.b + order[slot] * units, bytes);
  if (cell == Cell::gru_after) std::memcpy(bias + GruSlot::recurrent * pad, given.m, bytes);
  weights.bias = bias;
}

void Layer::pack_backward(const LayerWeights& given, bool with_inputs) {
  const auto transpose = [&](const float* M, i64 columns, const GateOrder& gates) {
    return pack_transposed(kernels, M, units, columns, gates, pad, owned_);
  };
  const GateOrder order = slot_order(layout);
  if (with_inputs) W_back = transpose(given.W, inputs, order);
  switch (cell) {
    case Cell::gru_after:
      R_back = transpose(given.R, units, {GruGate::r, GruGate::z, GruGate::n});
      break;
    case Cell::gru_before:
      R_back = transpose(given.R, units, {GruGate::r, GruGate::z});
      Rn_back = transpose(given.R, units, {GruGate::n});
      break;
    default:
      R_back = transpose(given.R, units, order);
  }
}

void Layer::pack_peepholes(const float* p) {
  owned_.emplace_back(std::size_t(peepholes * pad) * sizeof(float));
  float* rows = owned_.back().floats();
  for (i64 row = 0; row < peepholes; ++row)
    std::memcpy(rows + row * pad, p + row * units, std::size_t(units) * sizeof(float));
  weights.peepholes = rows;
}

i64 Layer::bytes() const {
  return (inputs + units) * layout.gate_count() * units * (weights.R.bf16 ? 2 : 4);
}

void Layer::step(const StepRows& rows, Member& me) const {
  const auto run = [&](auto kernel) {
    me.share(weights.R.count, 1,
             [&](Range blocks) { kernel(weights, rows, blocks.first, blocks.last); });
  };
  switch (cell) {
    case Cell::lstm:
      return run(kernels.lstm);
    case Cell::lstm_peepholes:
      return run(kernels.lstm_peepholes);
    case Cell::gru_after:
      return run(kernels.gru_after);
    case Cell::gru_before:
      run(kernels.gru_before_gates);
      return run(kernels.gru_before_candidate);
    default:
      return run(kernels.elman);
  }
}

const float* Sequence::h_before(i64 row, i64 t, const float* zeros) const {
  const i64 units = layer->units;
  if (resets(row, t)) return h_init ? h_init + row * units : zeros;
  return t ? y + (row * steps + t - 1) * units : h0 + row * units;
}

const float* Sequence::c_before(i64 row, i64 t, const float* zeros) const {
  const i64 units = layer->units;
  if (resets(row, t)) return c_init ? c_init + row * units : zeros;
  return t ? cells_at(row, t - 1) : c0 + row * units;
}

Division divide(i64 rows, i64 steps, i64 weight_bytes) {
  // A thread is worth waking for some tens of microseconds of work.
  const double work = double(rows) * double(steps) * double(weight_bytes);
  const i64 threads = work < 2e6 ? 1 : thread_count();
  if (rows < 1) return {.max_rows = rows};
  // Reading the weights takes the time where rows are few and the model is large, or one row is not
  // enough for all threads: each thread reads a part.
  const bool large = weight_bytes >= (1 << 20);
  const bool by_units = large ? rows < threads * 6 : weight_bytes >= (3 << 16) && rows < threads;
  if (threads > 1 && by_units) return {.threads = int(threads), .by_rows = false, .max_rows = rows};
  const i64 members = rows < threads ? rows : threads;
  // Pieces of some two dozen rows use a panel well, even out the speeds of threads, and keep what a
  // step touches near. A large model's weights are read from afar for each piece, so there are
  // fewer.
  const i64 share = rows / (members * (large ? 64 : 24));
  if (share < 2)
    return {.threads = int(members), .pieces = members, .max_rows = (rows + members - 1) / members};
  constexpr i64 unit = 6;  // whole tiles
  const i64 pieces = members * share, units = (rows + unit - 1) / unit;
  return {.threads = int(members),
          .pieces = pieces,
          .max_rows = (units + pieces - 1) / pieces * unit,
          .unit = unit};
}

}  // namespace statewise
