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
  const i64 all = division.most * job.steps;
  ForwardBytes each{};
  for (const Block& block : blocks) {
    if (!block.layer) continue;
    Sequence sequence{};
    sequence.layer = block.layer.get();
    sequence.steps = job.steps;
    const ForwardBytes bytes = forward_bytes(sequence, division.most);
    if (bytes.own > each.own) each.own = bytes.own;
    if (bytes.shared > each.shared) each.shared = bytes.shared;
  }
  // Pointers to rows for the linear output.
  const std::size_t pointers = 2 * rounded(std::size_t(all) * sizeof(void*));
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
  const std::size_t whole = rounded(measure.used());
  char* block = scratch(whole * std::size_t(division.threads));
  const auto memory = [&](int thread) {
    Arena arena(block + whole * std::size_t(thread));
    return take(arena);
  };
  if (division.by_rows) {
    divided(division.threads, division.pieces, [&](i64 piece, int thread) {
      call_rows(job, memory(thread), division.piece(job.rows, piece));
    });
    return;
  }
  together(division.threads, [&](Member& me) {
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
    states.push_back({skip(given->h0, floats), skip(given->c0, floats), skip(given->h_init, floats),
                      skip(given->c_init, floats), skip(given->h, floats), skip(given->c, floats)});
    ++given;
  }
  CallJob mine{rows.count(),
               job.steps,
               skip(job.x, at * inputs),
               skip(job.tokens, at),
               skip(job.reset, at),
               skip(job.lengths, first),
               states.data(),
               job.y + at * width};
  Member alone;
  call_team(mine, work, alone);
}

void Program::call_team(const CallJob& job, const CallWork& work, Member& me) const {
  // Matrices are divided by their panels here, everything else by rows.
  const auto length = [&](i64 row) { return job.lengths ? job.lengths[row] : job.steps; };
  const auto each_row = [&](auto run) {
    me.each(job.rows, 1, [&](Range mine) {
      for (i64 row = mine.first; row < mine.last; ++row) run(row * job.steps, length(row));
    });
  };
  const float* x = job.x;
  if (embeds) {
    const i64 columns = embedded_;
    each_row([&](i64 at, i64 count) {
      for (i64 i = at; i < at + count; ++i)
        std::memcpy(work.second + i * columns, embedding_.data() + job.tokens[i] * columns,
                    std::size_t(columns) * sizeof(float));
    });
    x = work.second;
  }
  const LayerArrays* state = job.states;
  for (std::size_t index = 0; index < blocks.size(); ++index) {
    const Block& block = blocks[index];
    const bool last = index + 1 == blocks.size() && !has_linear_;
    float* out = last ? job.y : index % 2 ? work.second : work.first;
    const i64 wide = block.outputs;
    if (block.layer) {
      Sequence sequence{block.layer.get(), job.rows,      job.steps,     x,       state->h0,
                        state->c0,         job.reset,     state->h_init, state->c_init,
                        job.lengths,       out,           state->h,      state->c,
                        nullptr,           nullptr};
      forward(sequence, {0, job.rows}, me, work.own, work.shared);
      ++state;
    }
    if (!block.layer || block.residuals)
      each_row([&](i64 at, i64 count) {
        const float* from = x + at * wide;
        float* to = out + at * wide;
        if (block.norm)
          kernels.layer_norm(count, wide, from, wide, block.norm->scale.data(),
                             block.norm->shift.data(), block.norm->epsilon, to, wide);
        else if (!block.layer)
          std::memcpy(to, from, std::size_t(count * wide) * sizeof(float));
        for (int r = 0; r < block.residuals; ++r) kernels.add(count * wide, from, to);
      });
    x = out;
  }
  if (has_linear_) {
    Arena arena(work.own);
    const i64 all = job.rows * job.steps;
    const float** from = arena.take<const float*>(all);
    float** to = arena.take<float*>(all);
    i64 count = 0;
    for (i64 row = 0; row < job.rows; ++row)
      for (i64 t = 0; t < length(row); ++t, ++count) {
        from[count] = x + (row * job.steps + t) * last_width_;
        to[count] = job.y + (row * job.steps + t) * width;
      }
    me.each(linear_.count, 1, [&](Range panels) {
      kernels.gemm(linear_, count, from, panels.first, panels.last, linear_bias_, false, to, width);
    });
  }
  each_row([&](i64 at, i64 count) {
    float* y = job.y + at * width;
    if (blocks.empty() && !has_linear_)
      std::memcpy(y, x + at * width, std::size_t(count * width) * sizeof(float));
    std::memset(y + count * width, 0, std::size_t((job.steps - count) * width) * sizeof(float));
  });
}

}  // namespace statewise
