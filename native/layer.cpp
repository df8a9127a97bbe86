#include "layer.h"

#include <cstring>

#include "packing.h"

namespace statewise {

namespace {

i64 round_up(i64 value, i64 unit) { return (value + unit - 1) / unit * unit; }

}  // namespace

i64 gates_stride(const Kernels& kernels, Cell cell, i64 units) {
  return gates_of(cell) > 1 ? 4 * round_up(units, kernels.width) : plain_columns(kernels, units);
}

Layer::Layer(const Kernels& table, Cell cell, i64 inputs, i64 units, const float* W,
             const float* R, const float* b, const float* m, Options options)
    : kernels(table), cell(cell), inputs(inputs), units(units), borrow(options.borrow) {
  pad = round_up(units, kernels.width);
  owned_.reserve(8);
  weights.units = units;
  weights.inputs = inputs;
  weights.pad = pad;
  weights.relu = cell == Cell::elman_relu;
  stride = gates_stride(kernels, cell, units);
  if (options.backward)
    pack_backward(W, R, options.inputs);
  else
    pack_forward(W, R, b, m, options.half);
}

void Layer::pack_forward(const float* W, const float* R, const float* b, const float* m,
                         bool half) {
  Gates order;
  switch (cell) {
    case Cell::lstm:
      order = {0, 1, 2, 3};
      weights.W = pack_gates(kernels, W, units, inputs, order, pad, half, owned_);
      weights.R = pack_gates(kernels, R, units, units, order, pad, half, owned_);
      break;
    case Cell::gru_after:
    case Cell::gru_before:
      order = {2, 0, 1};
      weights.W = pack_gates(kernels, W, units, inputs, order, pad, half, owned_);
      if (cell == Cell::gru_after) {
        weights.R = pack_gates(kernels, R, units, units, {0, 1, 2}, pad, half, owned_);
      } else {
        weights.R = pack_gates(kernels, R, units, units, {0, 1}, pad, half, owned_);
        weights.Rn = pack_gates(kernels, R, units, units, {2}, pad, half, owned_);
      }
      break;
    default:
      order = {0};
      weights.W = pack_plain(kernels, W, units, inputs, half, owned_);
      weights.R = pack_plain(kernels, R, units, units, half, owned_);
  }
  const i64 wide = stride > i64(order.size()) * pad ? stride : i64(order.size()) * pad;
  owned_.emplace_back(std::size_t(wide) * sizeof(float));
  float* bias = owned_.back().floats();
  for (std::size_t s = 0; s < order.size(); ++s)
    std::memcpy(bias + i64(s) * pad, b + order[s] * units, std::size_t(units) * sizeof(float));
  if (cell == Cell::gru_after && m)
    std::memcpy(bias + 3 * pad, m, std::size_t(units) * sizeof(float));
  weights.bias = bias;
}

void Layer::pack_backward(const float* W, const float* R, bool with_inputs) {
  const auto transposed = [&](const float* M, i64 columns, const Gates& order) {
    return pack_transposed(kernels, M, units, columns, order, pad, owned_);
  };
  const Gates gates = cell == Cell::lstm  ? Gates{0, 1, 2, 3}
                      : gates_of(cell) == 3 ? Gates{2, 0, 1}
                                            : Gates{0};
  if (with_inputs) W_back = transposed(W, inputs, gates);
  switch (cell) {
    case Cell::gru_after:
      R_back = transposed(R, units, {0, 1, 2});
      break;
    case Cell::gru_before:
      R_back = transposed(R, units, {0, 1});
      Rn_back = transposed(R, units, {2});
      break;
    default:
      R_back = transposed(R, units, gates);
  }
}

i64 Layer::bytes() const {
  return (inputs + units) * gates_of(cell) * units * (weights.R.half ? 2 : 4);
}

void Layer::step(const StepRows& rows, Member& me) const {
  const auto each = [&](auto kernel) {
    me.each(weights.R.count, 1,
            [&](Range blocks) { kernel(weights, rows, blocks.first, blocks.last); });
  };
  switch (cell) {
    case Cell::lstm:
      return each(kernels.lstm);
    case Cell::gru_after:
      return each(kernels.gru_after);
    case Cell::gru_before:
      each(kernels.gru_before_gates);
      return each(kernels.gru_before_candidate);
    default:
      return each(kernels.elman);
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
  const i64 most = work < 2e6 ? 1 : threads();
  if (rows < 1) return {1, true, 1, rows};
  // Reading the weights takes the time where rows are few and the model is large, or one row is not
  // enough for all threads: each thread reads a part.
  const bool large = weight_bytes >= (1 << 20);
  const bool by_units = large ? rows < most * 6 : weight_bytes >= (3 << 16) && rows < most;
  if (most > 1 && by_units) return {int(most), false, 1, rows};
  const i64 members = rows < most ? rows : most;
  // Pieces of some two dozen rows use a panel well, even out the speeds of threads, and keep what a
  // step touches near. A large model's weights are read from afar for each piece, so there are fewer.
  const i64 share = rows / (members * (large ? 64 : 24));
  if (share < 2) return {int(members), true, members, (rows + members - 1) / members};
  constexpr i64 unit = 6;  // whole tiles
  const i64 pieces = members * share, units = (rows + unit - 1) / unit;
  return {int(members), true, pieces, (units + pieces - 1) / pieces * unit, unit};
}

}  // namespace statewise
