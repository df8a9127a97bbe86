// A whole model over a call: every layer over all steps, then the next.

#include <cstring>

#include "program.h"

namespace statewise {

struct Program::CallWork {
  float *first, *second, *rh;  // activations of all steps, and r h: a team's
  char* own;                   // a member's
};

void Program::call(const CallJob& job) const {
  if (!job.rows) return;
  const Division division = divide(job.rows, job.steps, i64(weight_bytes_));
  const i64 all = division.most * job.steps;
  std::size_t each = 0;
  i64 pad = 0;
  for (const Block& block : blocks) {
    if (!block.layer) continue;
    Sequence sequence{};
    sequence.layer = block.layer.get();
    sequence.steps = job.steps;
    const std::size_t bytes = forward_bytes(sequence, division.most);
    if (bytes > each) each = bytes;
    if (block.layer->pad > pad) pad = block.layer->pad;
  }
  // Pointers to rows for the linear output.
  const std::size_t pointers = 2 * rounded(std::size_t(all) * sizeof(void*));
  each = rounded(each > pointers ? each : pointers);
  const bool tall = blocks.size() > 1 || has_linear_;
  const auto take = [&](Arena& arena) {
    CallWork work{};
    work.first = arena.take<float>(tall || embeds ? all * widest : 0);
    work.second = arena.take<float>(tall || embeds ? all * widest : 0);
    work.rh = arena.take<float>(division.most * pad);
    work.own = arena.take<char>(i64(each));
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
      call_rows(job, memory(thread), part(job.rows, piece, division.pieces));
    });
    return;
  }
  together(division.threads, [&](const Member& me) {
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
  call_team(mine, work, {});
}

void Program::call_team(const CallJob& job, const CallWork& work, const Member& me) const {
  // Recurrent layers are divided by units here, everything else by rows.
  const Range mine = share(job.rows, me);
  const auto length = [&](i64 row) { return job.lengths ? job.lengths[row] : job.steps; };
  const float* x = job.x;
  if (embeds) {
    const i64 columns = embedded_;
    for (i64 row = mine.first; row < mine.last; ++row)
      for (i64 t = 0; t < length(row); ++t)
        std::memcpy(work.second + (row * job.steps + t) * columns,
                    embedding_.data() + job.tokens[row * job.steps + t] * columns,
                    std::size_t(columns) * sizeof(float));
    x = work.second;
    me.wait();
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
      forward(sequence, {0, job.rows}, me, work.own, work.rh);
      me.wait();
      ++state;
    }
    for (i64 row = mine.first; row < mine.last; ++row) {
      const i64 at = row * job.steps, count = length(row);
      if (block.norm)
        kernels.layer_norm(count, wide, x + at * wide, wide, block.norm->scale.data(),
                           block.norm->shift.data(), block.norm->epsilon, out + at * wide, wide);
      else if (!block.layer)
        std::memcpy(out + at * wide, x + at * wide, std::size_t(count * wide) * sizeof(float));
      for (int r = 0; r < block.residuals; ++r)
        kernels.add(count * wide, x + at * wide, out + at * wide);
    }
    me.wait();
    x = out;
  }
  if (has_linear_) {
    Arena arena(work.own);
    const i64 all = job.rows * job.steps;
    const float** from = arena.take<const float*>(all);
    float** to = arena.take<float*>(all);
    i64 count = 0;
    for (i64 row = mine.first; row < mine.last; ++row)
      for (i64 t = 0; t < length(row); ++t, ++count) {
        from[count] = x + (row * job.steps + t) * last_width_;
        to[count] = job.y + (row * job.steps + t) * width;
      }
    kernels.gemm(linear_, count, from, 0, linear_.count, linear_bias_, false, to, width);
  } else if (blocks.empty()) {
    for (i64 row = mine.first; row < mine.last; ++row)
      std::memcpy(job.y + row * job.steps * width, x + row * job.steps * width,
                  std::size_t(length(row) * width) * sizeof(float));
  }
  for (i64 row = mine.first; row < mine.last; ++row)
    std::memset(job.y + (row * job.steps + length(row)) * width, 0,
                std::size_t((job.steps - length(row)) * width) * sizeof(float));
}

}  // namespace statewise
