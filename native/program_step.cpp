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
  if (job.rows > 1 || division.threads > 1 || weight_bytes_ < 2 * share || thread_count() < 2)
    return step_divided(job, division);
  const bool timed = choice_.is_trying();
  const Clock::time_point begin = timed ? Clock::now() : Clock::time_point{};
  const int threads = choice_.prefers_team() ? count_ready_threads(i64(weight_bytes_ / share)) : 1;
  step_divided(
      job, threads > 1 ? Division{.threads = threads, .by_rows = false, .max_rows = 1} : division);
  choice_.record(threads > 1, timed ? Clock::now() - begin : Clock::duration{});
}

void Program::step_divided(const StepJob& job, const Division& division) const {
  const bool reverse = steps_.fetch_add(1, std::memory_order_relaxed) % 2;
  // Every thread has memory for its rows.
  Arena measure;
  StepWork(measure, *this, division.max_rows);
  const std::size_t each = round_to_alignment(measure.used());
  char* block = get_scratch(each * std::size_t(division.threads));
  const auto memory = [&](int thread) {
    Arena arena(block + each * std::size_t(thread));
    return StepWork(arena, *this, division.max_rows);
  };
  if (division.threads == 1 &&
      division.pieces == 1) {  // a step may be shorter than a closure takes
    Member alone;
    step_rows(job, memory(0), {0, job.rows}, reverse, alone);
    return;
  }
  if (division.by_rows) {
    run_pieces(division.threads, division.pieces, [&](i64 piece, int thread) {
      Member alone;
      step_rows(job, memory(thread), division.piece(job.rows, piece), reverse, alone);
    });
    return;
  }
  run_team(division.threads, [&](Member& me) {
    // Activations are shared, the pointers to rows are each member's own.
    StepWork work = memory(me.index);
    const StepWork shared = memory(0);
    work.first = shared.first;
    work.second = shared.second;
    work.gates = shared.gates;
    work.rh = shared.rh;
    step_rows(job, work, {0, job.rows}, reverse, me);
  });
}

// run(i) for every row, divided among the team.
template <class Run>
static void for_rows(i64 count, Member& me, Run run) {
  me.share(count, 1, [&](Range mine) {
    for (i64 i = mine.first; i < mine.last; ++i) run(i);
  });
}

void Program::step_rows(const StepJob& job, StepWork work, Range rows, bool reverse,
                        Member& me) const {
  const i64 count = rows.count();
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
    if (block.layer)
      step_layer(job, work, rows, block, *state++, out, last, reverse, me);
    else
      step_other(work, count, block, out, me);
    std::swap(spare, taken);
  }
  if (has_linear_ || blocks.empty()) step_output(job, work, rows, me);
}

void Program::step_layer(const StepJob& job, StepWork& work, Range rows, const Block& block,
                         const StepState& state, float* out, bool last, bool reverse,
                         Member& me) const {
  const Layer& layer = *block.layer;
  const i64 count = rows.count(), columns = block.outputs;
  // Where h may not be written while it is read, or is not yet the output, it waits in `out`.
  const bool waits = job.slots || block.residuals || last;
  const auto row = [&](i64 i) { return job.slots ? job.slots[rows.first + i] : rows.first + i; };
  for (i64 i = 0; i < count; ++i) {
    work.h[i] = state.h + row(i) * state.stride_h;
    work.h_out[i] = waits ? out + i * columns : state.h_out + row(i) * state.stride_h;
    work.c[i] = state.c ? state.c + row(i) * state.stride_c : nullptr;
    work.c_out[i] = state.c ? state.c_out + row(i) * state.stride_c : nullptr;
    work.gates_rows[i] = work.gates + i * layer.stride;
    work.rh_rows[i] = work.rh + i * layer.pad;
  }
  layer.step({.count = count,
              .x = work.x,
              .h = work.h,
              .c = work.c,
              .gates = work.gates_rows,
              .h_out = work.h_out,
              .c_out = work.c_out,
              .rh = work.rh_rows,
              .save = false,
              .reverse = reverse},
             me);
  if (waits)
    for_rows(count, me, [&](i64 i) {
      std::memcpy(state.h_out + row(i) * state.stride_h, work.h_out[i],
                  std::size_t(columns) * sizeof(float));
      for (int r = 0; r < block.residuals; ++r) kernels.add(columns, work.x[i], work.h_out[i]);
    });
  for (i64 i = 0; i < count; ++i) work.x[i] = work.h_out[i];
}

// A norm, or the inputs themselves.
void Program::step_other(StepWork& work, i64 count, const Block& block, float* out,
                         Member& me) const {
  const i64 columns = block.outputs;
  for_rows(count, me, [&](i64 i) {
    float* to = out + i * columns;
    if (block.norm)
      kernels.layer_norm(1, columns, work.x[i], columns, block.norm->scale.data(),
                         block.norm->shift.data(), block.norm->epsilon, to, columns);
    else
      std::memcpy(to, work.x[i], std::size_t(columns) * sizeof(float));
    for (int r = 0; r < block.residuals; ++r) kernels.add(columns, work.x[i], to);
  });
  for (i64 i = 0; i < count; ++i) work.x[i] = out + i * columns;
}

void Program::step_output(const StepJob& job, StepWork& work, Range rows, Member& me) const {
  const i64 count = rows.count();
  const auto y = [&](i64 i) { return job.y + (rows.first + i) * width; };
  if (!has_linear_)
    return for_rows(count, me, [&](i64 i) {
      std::memcpy(y(i), work.x[i], std::size_t(width) * sizeof(float));
    });
  for (i64 i = 0; i < count; ++i) work.h_out[i] = y(i);
  me.share(linear_.count, 1, [&](Range panels) {
    kernels.gemm(linear_, count, work.x, panels.first, panels.last, linear_bias_, false, work.h_out,
                 width);
  });
}

}  // namespace statewise
