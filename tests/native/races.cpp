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
Floats found(Cell cell, i64 rows, uint32_t seed) {
  const auto draw = [&](i64 count, float scale) {
    Floats values(static_cast<std::size_t>(count));
    for (float& value : values) {
      seed = seed * 1664525u + 1013904223u;
      value = scale * (float(seed >> 8) / float(1 << 23) - 1.0f);
    }
    return values;
  };
  const i64 gates = gates_of(cell);
  const bool lstm = cell == Cell::lstm;
  const Floats W = draw(gates * units * units, 0.1f), R = draw(gates * units * units, 0.1f);
  const Floats b = draw(gates * units, 0.3f), m = draw(units, 0.3f);
  const Floats x = draw(rows * steps * units, 1), dy = draw(rows * steps * units, 1);
  const Floats h0 = draw(rows * units, 0.5f), c0 = draw(rows * units, 0.5f);
  const auto layer = [&](bool backward) {
    Options options;
    options.backward = backward;
    return std::make_unique<Layer>(table_baseline(), cell, units, units, W.data(), R.data(),
                                   b.data(), m.data(), options);
  };
  const auto forth = layer(false), back = layer(true);
  std::vector<Floats> out;
  const auto room = [&](i64 count) {
    out.emplace_back(static_cast<std::size_t>(count));
    return out.back().data();
  };
  Floats saved(static_cast<std::size_t>(rows * steps * forth->stride));
  Floats cells(static_cast<std::size_t>(rows * steps * units));
  Sequence job{};
  job.layer = forth.get();
  job.rows = rows;
  job.steps = steps;
  job.x = x.data();
  job.h0 = h0.data();
  job.c0 = c0.data();
  job.y = room(rows * steps * units);
  job.h = room(rows * units);
  job.c = room(rows * units);
  job.gates = saved.data();
  job.cells = lstm ? cells.data() : nullptr;
  run_forward(job);
  job.layer = back.get();
  Gradients gradients{};
  gradients.dy = dy.data();
  gradients.dy_row = steps * units;
  gradients.dy_step = units;
  gradients.dx = room(rows * steps * units);
  gradients.dW = room(gates * units * units);
  gradients.dR = room(gates * units * units);
  gradients.db = room(gates * units);
  gradients.dm = room(units);
  gradients.dh0 = room(rows * units);
  gradients.dc0 = lstm ? room(rows * units) : nullptr;
  run_backward(job, gradients);

  Program program(table_baseline(), units);
  program.add_layer(cell, units, W.data(), R.data(), b.data(), m.data(), 1, false);
  program.add_layer(cell, units, W.data(), R.data(), b.data(), m.data(), 0, true);
  program.set_linear(R.data(), b.data(), units, false);
  std::vector<StepState> states;
  std::vector<LayerArrays> arrays;
  for (int i = 0; i < 2; ++i) {
    float *h = room(rows * units), *c = room(rows * units);
    states.push_back({h0.data(), lstm ? c0.data() : nullptr, h, c, units, units});
    arrays.push_back({h0.data(), c0.data(), nullptr, nullptr, h, c});
  }
  float* y = room(rows * units);
  for (int i = 0; i < 20; ++i) program.step({rows, x.data(), nullptr, nullptr, states.data(), y});
  program.call({rows, steps, x.data(), nullptr, nullptr, nullptr, arrays.data(),
                room(rows * steps * units)});
  Floats all;
  for (const Floats& part : out) all.insert(all.end(), part.begin(), part.end());
  return all;
}

// Many brief steps of a model that all callers share.
Floats stepped(const Program& program, i64 width) {
  const auto count = static_cast<std::size_t>(width);
  Floats h[2] = {Floats(count), Floats(count)}, c(count), x(count, 0.5f), y(count);
  for (int i = 0; i < 300; ++i) {
    StepState state{h[i % 2].data(), c.data(), h[1 - i % 2].data(), c.data(), width, width};
    program.step({1, x.data(), nullptr, nullptr, &state, y.data()});
  }
  return y;
}

void call(uint32_t seed, const Program& shared_program, i64 width, const Floats& last) {
  if (stepped(shared_program, width) != last) {
    std::puts("brief steps differ");
    std::exit(1);
  }
  for (Cell cell : {Cell::lstm, Cell::gru_after, Cell::gru_before, Cell::elman_tanh})
    for (i64 rows : {1, 3, 60}) {
      const Floats shared = found(cell, rows, seed);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));  // the pool falls asleep
      const Floats again = found(cell, rows, seed);
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
  program.add_layer(Cell::lstm, width, weights.data(), weights.data(), weights.data(), nullptr, 0,
                    false);
  set_thread_count(1);
  const Floats last = stepped(program, width);
  set_thread_count(4);
  std::vector<std::thread> callers;
  for (uint32_t seed = 1; seed <= 3; ++seed)
    callers.emplace_back([&, seed] { call(seed, program, width, last); });
  for (std::thread& caller : callers) caller.join();
  std::puts("passed");
}
