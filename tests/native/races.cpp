// Callers at once on a shared pool of threads, each with layers and models of its own, under the
// thread sanitizer: `make races`. What they find twice is compared.

#include <cmath>
#include <cstdio>
#include <thread>
#include <vector>

#include "program.h"

using namespace statewise;
using Floats = std::vector<float>;

namespace {

constexpr i64 units = 260, steps = 6;

// Everything that a layer and a model of two give for a cell and so many rows.
Floats run_cell(Cell cell, i64 rows, uint32_t seed) {
  const auto draw = [&](i64 count, float scale) {
    Floats values(static_cast<std::size_t>(count));
    for (float& value : values) {
      seed = seed * 1664525u + 1013904223u;
      value = scale * (float(seed >> 8) / float(1 << 23) - 1.0f);
    }
    return values;
  };
  const i64 gates = layout_of(cell).gate_count();
  const bool has_c = layout_of(cell).has_c;
  const Floats W = draw(gates * units * units, 0.1f), R = draw(gates * units * units, 0.1f);
  const Floats b = draw(gates * units, 0.3f), m = draw(units, 0.3f);
  const Floats p = draw(peepholes * units, 0.3f);
  const Floats x = draw(rows * steps * units, 1), dy = draw(rows * steps * units, 1);
  const Floats h0 = draw(rows * units, 0.5f), c0 = draw(rows * units, 0.5f);
  const LayerWeights given{
      .W = W.data(), .R = R.data(), .b = b.data(), .m = m.data(), .p = p.data()};
  const auto layer = [&](bool backward) {
    return std::make_unique<Layer>(table_baseline(), cell, units, units, given,
                                   Options{.backward = backward});
  };
  const auto forth = layer(false), back = layer(true);
  std::vector<Floats> out;
  const auto add_floats = [&](i64 count) {
    out.emplace_back(static_cast<std::size_t>(count));
    return out.back().data();
  };
  Floats saved(static_cast<std::size_t>(rows * steps * forth->stride));
  Floats cells(static_cast<std::size_t>(rows * steps * units));
  Sequence job{.layer = forth.get(),
               .rows = rows,
               .steps = steps,
               .x = x.data(),
               .h0 = h0.data(),
               .c0 = c0.data(),
               .y = add_floats(rows * steps * units),
               .h = add_floats(rows * units),
               .c = add_floats(rows * units),
               .gates = saved.data(),
               .cells = has_c ? cells.data() : nullptr};
  run_forward(job);
  job.layer = back.get();
  const Gradients gradients{
      .dy = dy.data(),
      .dy_row = steps * units,
      .dy_step = units,
      .dx = add_floats(rows * steps * units),
      .dW = add_floats(gates * units * units),
      .dR = add_floats(gates * units * units),
      .db = add_floats(gates * units),
      .dm = add_floats(units),
      .dp = cell == Cell::lstm_peepholes ? add_floats(peepholes * units) : nullptr,
      .dh0 = add_floats(rows * units),
      .dc0 = has_c ? add_floats(rows * units) : nullptr};
  run_backward(job, gradients);

  Program program(table_baseline(), units);
  program.add_layer(cell, units, given, 1, false);
  program.add_layer(cell, units, given, 0, true);
  program.set_linear(R.data(), b.data(), units, false);
  std::vector<StepState> states;
  std::vector<LayerArrays> arrays;
  for (int i = 0; i < 2; ++i) {
    float *h = add_floats(rows * units), *c = add_floats(rows * units);
    states.push_back({.h = h0.data(),
                      .c = has_c ? c0.data() : nullptr,
                      .h_out = h,
                      .c_out = c,
                      .stride_h = units,
                      .stride_c = units});
    arrays.push_back({.h0 = h0.data(), .c0 = c0.data(), .h = h, .c = c});
  }
  float* y = add_floats(rows * units);
  for (int i = 0; i < 20; ++i)
    program.step({.rows = rows, .x = x.data(), .states = states.data(), .y = y});
  program.call({.rows = rows,
                .steps = steps,
                .x = x.data(),
                .states = arrays.data(),
                .y = add_floats(rows * steps * units)});
  Floats all;
  for (const Floats& part : out) all.insert(all.end(), part.begin(), part.end());
  return all;
}

// Many brief steps of a model that all callers share.
Floats run_steps(const Program& program, i64 width) {
  const auto count = static_cast<std::size_t>(width);
  Floats h[2] = {Floats(count), Floats(count)}, c(count), x(count, 0.5f), y(count);
  for (int i = 0; i < 300; ++i) {
    const StepState state{.h = h[i % 2].data(),
                          .c = c.data(),
                          .h_out = h[1 - i % 2].data(),
                          .c_out = c.data(),
                          .stride_h = width,
                          .stride_c = width};
    program.step({.rows = 1, .x = x.data(), .states = &state, .y = y.data()});
  }
  return y;
}

void call(uint32_t seed, const Program& shared_program, i64 width, const Floats& last) {
  if (run_steps(shared_program, width) != last) {
    std::puts("brief steps differ");
    std::exit(1);
  }
  for (Cell cell :
       {Cell::lstm, Cell::lstm_peepholes, Cell::gru_after, Cell::gru_before, Cell::elman_tanh})
    for (i64 rows : {1, 3, 60}) {
      const Floats shared = run_cell(cell, rows, seed);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));  // the pool falls asleep
      const Floats again = run_cell(cell, rows, seed);
      for (std::size_t i = 0; i < shared.size(); ++i)
        if (!(std::fabs(shared[i] - again[i]) <= 1e-4f * (1 + std::fabs(again[i])))) {
          std::printf("cell %d, %d rows: %g and %g\n", int(cell), int(rows), double(shared[i]),
                      double(again[i]));
          std::exit(1);
        }
    }
}

}  // namespace

int main() {
  constexpr i64 width = 112;
  const Floats weights(static_cast<std::size_t>(4 * width * width), 0.01f);
  Program program(table_baseline(), width);
  const float* const all = weights.data();
  program.add_layer(Cell::lstm, width, {.W = all, .R = all, .b = all}, 0, false);
  set_thread_count(1);
  const Floats last = run_steps(program, width);
  set_thread_count(4);
  std::vector<std::thread> callers;
  for (uint32_t seed = 1; seed <= 3; ++seed)
    callers.emplace_back([&, seed] { call(seed, program, width, last); });
  for (std::thread& caller : callers) caller.join();
  std::puts("passed");
}
