// A whole model over a call: every layer over all steps, then the next.

#include <cstring>

#include "program.h"

namespace statewise {

struct Program::CallWork {
  float *first, *second;  // activations of all steps: a team's
  char* shared;           // a team's, for one layer
  char* own;              // a member's
};

void Program::call(const CallJob& job) const {
  if (!job.rows) return;
  const Division division = divide(job.rows, job.steps, i64(weight_bytes_));
  const i64 all = division.max_rows * job.steps;
  ForwardBytes each{};
  for (const Block& block : blocks) {
    if (!block.layer) continue;
    const Sequence sequence{.layer = block.layer.get(), .steps = job.steps};
    const ForwardBytes bytes = forward_bytes(sequence, division.max_rows);
    if (bytes.own > each.own) each.own = bytes.own;
    if (bytes.shared > each.shared) each.shared = bytes.shared;
  }
  // Pointers to rows for the linear output.
  const std::size_t pointers = 2 * round_to_alignment(std::size_t(all) * sizeof(void*));
  if (pointers > each.own) each.own = pointers;
  const bool tall = blocks.size() > 1 || has_linear_;
  const auto take = [&](Arena& arena) {
    CallWork work{};
    work.first = arena.take<float>(tall || embeds ? all * widest : 0);
    work.second = arena.take<float>(tall || embeds ? all * widest : 0);
    work.shared = arena.take<char>(i64(each.shared));
    work.own = arena.take<char>(i64(each.own));
    return work;
  };
  Arena measure;
  take(measure);
  const std::size_t whole = round_to_alignment(measure.used());
  char* block = get_scratch(whole * std::size_t(division.threads));
  const auto memory = [&](int thread) {
    Arena arena(block + whole * std::size_t(thread));
    return take(arena);
  };
  if (division.by_rows) {
    run_pieces(division.threads, division.pieces, [&](i64 piece, int thread) {
      call_rows(job, memory(thread), division.piece(job.rows, piece));
    });
    return;
  }
  run_team(division.threads, [&](Member& me) {
    CallWork work = memory(0);
    work.own = memory(me.index).own;
    call_team(job, work, me);
  });
}

// These rows alone, as a call of their own.
void Program::call_rows(const CallJob& job, const CallWork& work, Range rows) const {
  const i64 first = rows.first, at = first * job.steps;
  const auto skip = [](auto* from, i64 count) { return from ? from + count : from; };
  std::vector<LayerArrays> states;
  const LayerArrays* given = job.states;
  for (const Block& block : blocks) {
    if (!block.layer) continue;
    const i64 floats = first * block.layer->units;
    states.push_back({.h0 = skip(given->h0, floats),
                      .c0 = skip(given->c0, floats),
                      .h_init = skip(given->h_init, floats),
                      .c_init = skip(given->c_init, floats),
                      .h = skip(given->h, floats),
                      .c = skip(given->c, floats)});
    ++given;
  }
  const CallJob mine{.rows = rows.count(),
                     .steps = job.steps,
                     .x = skip(job.x, at * inputs),
                     .tokens = skip(job.tokens, at),
                     .reset = skip(job.reset, at),
                     .lengths = skip(job.lengths, first),
                     .states = states.data(),
                     .y = job.y + at * width};
  Member alone;
  call_team(mine, work, alone);
}

static i64 length(const CallJob& job, i64 row) {
  return job.lengths ? job.lengths[row] : job.steps;
}

// run(at, count) for every row: its first step among all, and how many it has.
template <class Run>
static void for_rows(const CallJob& job, Member& me, Run run) {
  me.share(job.rows, 1, [&](Range mine) {
    for (i64 row = mine.first; row < mine.last; ++row) run(row * job.steps, length(job, row));
  });
}

// Matrices are divided by their panels here, everything else by rows.
void Program::call_team(const CallJob& job, const CallWork& work, Member& me) const {
  if (embeds) embed(job, work, me);
  const float* x = embeds ? work.second : job.x;
  const LayerArrays* state = job.states;
  for (std::size_t index = 0; index < blocks.size(); ++index) {
    const bool last = index + 1 == blocks.size() && !has_linear_;
    float* out = last ? job.y : index % 2 ? work.second : work.first;
    call_block(job, work, blocks[index], state, x, out, me);
    if (blocks[index].layer) ++state;
    x = out;
  }
  if (has_linear_) call_output(job, work, x, me);
  for_rows(job, me, [&](i64 at, i64 count) {
    float* y = job.y + at * width;
    if (blocks.empty() && !has_linear_)
      std::memcpy(y, x + at * width, std::size_t(count * width) * sizeof(float));
    std::memset(y + count * width, 0, std::size_t((job.steps - count) * width) * sizeof(float));
  });
}

void Program::embed(const CallJob& job, const CallWork& work, Member& me) const {
  const i64 columns = embedded_;
  for_rows(job, me, [&](i64 at, i64 count) {
    for (i64 i = at; i < at + count; ++i)
      std::memcpy(work.second + i * columns, embedding_.data() + job.tokens[i] * columns,
                  std::size_t(columns) * sizeof(float));
  });
}

void Program::call_block(const CallJob& job, const CallWork& work, const Block& block,
                         const LayerArrays* state, const float* x, float* out, Member& me) const {
  const i64 columns = block.outputs;
  if (block.layer) {
    const Sequence sequence{.layer = block.layer.get(),
                            .rows = job.rows,
                            .steps = job.steps,
                            .x = x,
                            .h0 = state->h0,
                            .c0 = state->c0,
                            .reset = job.reset,
                            .h_init = state->h_init,
                            .c_init = state->c_init,
                            .lengths = job.lengths,
                            .y = out,
                            .h = state->h,
                            .c = state->c};
    run_rows_forward(sequence, {0, job.rows}, me, work.own, work.shared);
    if (!block.residuals) return;
  }
  for_rows(job, me, [&](i64 at, i64 count) {
    const float* from = x + at * columns;
    float* to = out + at * columns;
    if (block.norm)
      kernels.layer_norm(count, columns, from, columns, block.norm->scale.data(),
                         block.norm->shift.data(), block.norm->epsilon, to, columns);
    else if (!block.layer)
      std::memcpy(to, from, std::size_t(count * columns) * sizeof(float));
    for (int r = 0; r < block.residuals; ++r) kernels.add(count * columns, from, to);
  });
}

void Program::call_output(const CallJob& job, const CallWork& work, const float* x,
                          Member& me) const {
  Arena arena(work.own);
  const i64 all = job.rows * job.steps;
  const float** from = arena.take<const float*>(all);
  float** to = arena.take<float*>(all);
  i64 count = 0;
  for (i64 row = 0; row < job.rows; ++row)
    for (i64 t = 0; t < length(job, row); ++t, ++count) {
      from[count] = x + (row * job.steps + t) * last_width_;
      to[count] = job.y + (row * job.steps + t) * width;
    }
  me.share(linear_.count, 1, [&](Range panels) {
    kernels.gemm(linear_, count, from, panels.first, panels.last, linear_bias_, false, to, width);
  });
}

}  // namespace statewise
