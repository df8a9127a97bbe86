// One step of a whole model, for rows of a batch or slots of a table.

#include <cstring>

#include "program.h"

namespace statewise {

struct Program::StepWork {
  float *first, *second, *gates, *rh;
  const float **x, **h, **c;
  float **gates_rows, **h_out, **c_out, **rh_rows;

  StepWork(Arena& arena, const Program& program, i64 rows) {
    i64 stride = 0, pad = 0;
    for (const Block& block : program.blocks)
      if (block.layer && block.layer->cell == Cell::gru_before) {
        if (block.layer->stride > stride) stride = block.layer->stride;
        if (block.layer->pad > pad) pad = block.layer->pad;
      }
    first = arena.take<float>(rows * program.widest);
    second = arena.take<float>(rows * program.widest);
    gates = arena.take<float>(rows * stride);
    rh = arena.take<float>(rows * pad);
    x = arena.take<const float*>(rows);
    h = arena.take<const float*>(rows);
    c = arena.take<const float*>(rows);
    gates_rows = arena.take<float*>(rows);
    h_out = arena.take<float*>(rows);
    c_out = arena.take<float*>(rows);
    rh_rows = arena.take<float*>(rows);
  }
};

void Program::step(const StepJob& job) const {
  if (!job.rows) return;
  const Division division = divide(job.rows, 1, i64(weight_bytes_));
  // One row may be too brief to wake a thread for and still gain from one that is awake.
  constexpr double share = 192e3;  // bytes of weights for each thread: two microseconds
  if (job.rows > 1 || division.threads > 1 || weight_bytes_ < 2 * share || threads() < 2)
    return step_divided(job, division);
  const bool timed = choice_.tries_now();
  const Clock::time_point begun = timed ? Clock::now() : Clock::time_point{};
  const int threads = choice_.together() ? threads_at_hand(i64(weight_bytes_ / share)) : 1;
  step_divided(job, threads > 1 ? Division{threads, false, 1, 1} : division);
  choice_.took(threads > 1, timed ? Clock::now() - begun : Clock::duration{});
}

void Program::step_divided(const StepJob& job, const Division& division) const {
  const bool back = steps_.fetch_add(1, std::memory_order_relaxed) % 2;
  // Every thread has memory for its rows.
  Arena measure;
  StepWork(measure, *this, division.most);
  const std::size_t each = rounded(measure.used());
  char* block = scratch(each * std::size_t(division.threads));
  const auto memory = [&](int thread) {
    Arena arena(block + each * std::size_t(thread));
    return StepWork(arena, *this, division.most);
  };
  if (division.threads == 1 && division.pieces == 1) {  // a step may be shorter than a closure takes
    Member alone;
    step_rows(job, memory(0), {0, job.rows}, back, alone);
    return;
  }
  if (division.by_rows) {
    divided(division.threads, division.pieces, [&](i64 piece, int thread) {
      Member alone;
      step_rows(job, memory(thread), division.piece(job.rows, piece), back, alone);
    });
    return;
  }
  together(division.threads, [&](Member& me) {
    // Activations are shared, the pointers to rows are each member's own.
    StepWork work = memory(me.index);
    const StepWork shared = memory(0);
    work.first = shared.first;
    work.second = shared.second;
    work.gates = shared.gates;
    work.rh = shared.rh;
    step_rows(job, work, {0, job.rows}, back, me);
  });
}

void Program::step_rows(const StepJob& job, StepWork work, Range rows, bool back,
                        Member& me) const {
  const i64 count = rows.count();
  const auto each_row = [&](auto run) {
    me.each(count, 1, [&](Range mine) {
      for (i64 i = mine.first; i < mine.last; ++i) run(i);
    });
  };
  for (i64 i = 0; i < count; ++i)
    work.x[i] = embeds ? embedding_.data() + job.tokens[rows.first + i] * embedded_
                       : job.x + (rows.first + i) * inputs;
  const StepState* state = job.states;
  float *spare = work.first, *taken = work.second;  // the inputs are in `taken`, if in either
  for (std::size_t index = 0; index < blocks.size(); ++index) {
    const Block& block = blocks[index];
    const bool last = index + 1 == blocks.size() && !has_linear_;
    if (!last && !block.layer && !block.norm && !block.residuals) continue;  // the inputs pass
    float* out = last ? job.y + rows.first * width : spare;
    const i64 wide = block.outputs;
    const std::size_t bytes = std::size_t(wide) * sizeof(float);
    const auto add_inputs = [&](i64 i, float* row) {
      for (int r = 0; r < block.residuals; ++r) kernels.add(wide, work.x[i], row);
    };
    if (block.layer) {
      const Layer& layer = *block.layer;
      // Where h may not be written while it is read, or is not yet the output, it waits in `out`.
      const bool waits = job.slots || block.residuals || last;
      const auto row = [&](i64 i) { return job.slots ? job.slots[rows.first + i] : rows.first + i; };
      for (i64 i = 0; i < count; ++i) {
        work.h[i] = state->h + row(i) * state->stride_h;
        work.h_out[i] = waits ? out + i * wide : state->h_out + row(i) * state->stride_h;
        work.c[i] = state->c ? state->c + row(i) * state->stride_c : nullptr;
        work.c_out[i] = state->c ? state->c_out + row(i) * state->stride_c : nullptr;
        work.gates_rows[i] = work.gates + i * layer.stride;
        work.rh_rows[i] = work.rh + i * layer.pad;
      }
      layer.step({count, work.x, work.h, work.c, work.gates_rows, work.h_out, work.c_out,
                  work.rh_rows, false, back},
                 me);
      if (waits)
        each_row([&](i64 i) {
          std::memcpy(state->h_out + row(i) * state->stride_h, work.h_out[i], bytes);
          add_inputs(i, work.h_out[i]);
        });
      for (i64 i = 0; i < count; ++i) work.x[i] = work.h_out[i];
      ++state;
    } else {
      each_row([&](i64 i) {
        float* to = out + i * wide;
        if (block.norm)
          kernels.layer_norm(1, wide, work.x[i], wide, block.norm->scale.data(),
                             block.norm->shift.data(), block.norm->epsilon, to, wide);
        else
          std::memcpy(to, work.x[i], bytes);
        add_inputs(i, to);
      });
      for (i64 i = 0; i < count; ++i) work.x[i] = out + i * wide;
    }
    std::swap(spare, taken);
  }
  if (has_linear_) {
    for (i64 i = 0; i < count; ++i) work.h_out[i] = job.y + (rows.first + i) * width;
    me.each(linear_.count, 1, [&](Range panels) {
      kernels.gemm(linear_, count, work.x, panels.first, panels.last, linear_bias_, false,
                   work.h_out, width);
    });
  } else if (blocks.empty()) {
    each_row([&](i64 i) {
      std::memcpy(job.y + (rows.first + i) * width, work.x[i], std::size_t(width) * sizeof(float));
    });
  }
}

}  // namespace statewise
