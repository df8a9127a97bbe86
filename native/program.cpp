#include "program.h"

#include <cstring>

#include "packing.h"

namespace statewise {

void Program::set_embedding(const float* table, i64 size, i64 columns) {
  embedding_.assign(table, table + size * columns);
  embeds = true;
  inputs = size;
  width = embedded_ = columns;
  widest = columns;
}

void Program::add(Block block) {
  block.inputs = width;
  if (block.layer) width = block.layer->units;
  block.outputs = width;
  if (width > widest) widest = width;
  if (block.inputs > widest) widest = block.inputs;
  blocks.push_back(std::move(block));
}

void Program::add_layer(Cell cell, i64 units, const float* W, const float* R, const float* b,
                        const float* m, int residuals, bool half) {
  Options options;
  options.half = half;
  Block block;
  block.layer = std::make_unique<Layer>(kernels, cell, width, units, W, R, b, m, options);
  block.residuals = residuals;
  weight_bytes_ += double(block.layer->bytes());
  add(std::move(block));
}

void Program::add_norm(const float* scale, const float* shift, float epsilon, int residuals) {
  Block block;
  block.norm = std::make_unique<Norm>();
  block.norm->scale.assign(scale, scale + width);
  block.norm->shift.assign(shift, shift + width);
  block.norm->epsilon = epsilon;
  block.residuals = residuals;
  add(std::move(block));
}

void Program::add_identity(int residuals) {
  Block block;
  block.residuals = residuals;
  add(std::move(block));
}

void Program::set_linear(const float* W, const float* b, i64 units, bool half) {
  last_width_ = width;
  linear_ = pack_plain(kernels, W, units, width, half, owned_);
  owned_.emplace_back(std::size_t(plain_columns(kernels, units)) * sizeof(float));
  std::memcpy(owned_.back().floats(), b, std::size_t(units) * sizeof(float));
  linear_bias_ = owned_.back().floats();
  has_linear_ = true;
  weight_bytes_ += double(width * units * 4);
  if (width > widest) widest = width;
  width = units;
}

// A step

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
  const Division division = divide(job.rows, 1, i64(weight_bytes_), 6);
  // Divided by rows every member works alone, with memory of its own.
  const i64 rows =
      division.by_rows ? (job.rows + division.members - 1) / division.members : job.rows;
  Arena measure;
  StepWork(measure, *this, rows);
  const std::size_t each = rounded(measure.used());
  char* block = scratch(each * std::size_t(division.members));
  if (division.members == 1) {
    Arena arena(block);
    StepWork work(arena, *this, job.rows);
    step_member(job, work, {}, true);
    return;
  }
  together(division.members, [&](const Member& me) {
    if (me.count < division.members) {
      // Another thread has the pool: row range by row range in the memory that is here.
      for (int index = 0; index < (division.by_rows ? division.members : 1); ++index) {
        Arena arena(block);
        StepWork work(arena, *this, rows);
        step_member(job, work, {index, division.by_rows ? division.members : 1, nullptr}, true);
      }
      return;
    }
    // Divided by units, activations are shared and the pointers to rows are each member's own.
    Arena arena(block + each * std::size_t(me.index));
    StepWork work(arena, *this, rows);
    if (!division.by_rows) {
      Arena common(block);
      const StepWork shared(common, *this, rows);
      work.first = shared.first;
      work.second = shared.second;
      work.gates = shared.gates;
      work.rh = shared.rh;
    }
    step_member(job, work, me, division.by_rows);
  });
}

void Program::step_member(const StepJob& job, StepWork& work, const Member& me,
                          bool by_rows) const {
  const Range rows = by_rows ? share(job.rows, me) : Range{0, job.rows};
  const i64 count = rows.last - rows.first;
  const Member alone{};
  const Member& team = by_rows ? alone : me;
  const Member divided = by_rows ? Member{} : me;
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
    const Range units = share(wide, divided, kernels.width);
    const auto add_inputs = [&](i64 i, float* row) {
      for (int r = 0; r < block.residuals; ++r)
        kernels.add(units.last - units.first, work.x[i] + units.first, row + units.first);
    };
    if (block.layer) {
      const Layer& layer = *block.layer;
      // Where h may not be written while it is read, or is not yet the output, it waits in `out`.
      const bool waits = job.slots || block.residuals || last;
      for (i64 i = 0; i < count; ++i) {
        const i64 row = job.slots ? job.slots[rows.first + i] : rows.first + i;
        work.h[i] = state->h + row * state->stride_h;
        work.h_out[i] = waits ? out + i * wide : state->h_out + row * state->stride_h;
        work.c[i] = state->c ? state->c + row * state->stride_c : nullptr;
        work.c_out[i] = state->c ? state->c_out + row * state->stride_c : nullptr;
        work.gates_rows[i] = work.gates + i * layer.stride;
        work.rh_rows[i] = work.rh + i * layer.pad;
      }
      const Range panels = share(layer.weights.R.count, divided);
      layer.step({count, work.x, work.h, work.c, work.gates_rows, work.h_out, work.c_out,
                  work.rh_rows, false},
                 panels, team);
      team.wait();
      for (i64 i = 0; waits && i < count; ++i) {
        const i64 row = job.slots ? job.slots[rows.first + i] : rows.first + i;
        std::memcpy(state->h_out + row * state->stride_h + units.first,
                    work.h_out[i] + units.first,
                    std::size_t(units.last - units.first) * sizeof(float));
        if (block.residuals) add_inputs(i, work.h_out[i]);
      }
      for (i64 i = 0; i < count; ++i) work.x[i] = work.h_out[i];
      ++state;
    } else {
      for (i64 i = 0; i < count; ++i) {
        float* row = out + i * wide;
        // A norm runs over the whole row: one member does it.
        if (block.norm && (by_rows || me.index == 0))
          kernels.layer_norm(1, wide, work.x[i], wide, block.norm->scale.data(),
                             block.norm->shift.data(), block.norm->epsilon, row, wide);
        else if (!block.norm)
          std::memcpy(row + units.first, work.x[i] + units.first,
                      std::size_t(units.last - units.first) * sizeof(float));
      }
      team.wait();
      for (i64 i = 0; i < count; ++i) {
        add_inputs(i, out + i * wide);
        work.x[i] = out + i * wide;
      }
    }
    team.wait();
    std::swap(spare, taken);
  }
  if (has_linear_) {
    for (i64 i = 0; i < count; ++i) work.h_out[i] = job.y + (rows.first + i) * width;
    const Range panels = share(linear_.count, divided);
    kernels.gemm(linear_, count, work.x, panels.first, panels.last, linear_bias_, false,
                 work.h_out, width);
  } else if (blocks.empty()) {
    for (i64 i = 0; i < count && me.index == 0; ++i)
      std::memcpy(job.y + (rows.first + i) * width, work.x[i], std::size_t(width) * sizeof(float));
  }
}

// A call

struct Program::CallWork {
  float *first, *second, *rh;
  char* members;
  std::size_t each;
  bool roomy;  // whether `first` and `second` hold activations
};

void Program::call(const CallJob& job) const {
  if (!job.rows) return;
  const Division division = divide(job.rows, job.steps, i64(weight_bytes_), 6);
  const i64 all = job.rows * job.steps;
  std::size_t each = 0;
  i64 pad = 0;
  for (const Block& block : blocks) {
    if (!block.layer) continue;
    Sequence sequence{};
    sequence.layer = block.layer.get();
    sequence.rows = job.rows;
    sequence.steps = job.steps;
    for (int members : {1, division.members}) {
      const std::size_t bytes = forward_bytes(sequence, {members, division.by_rows});
      if (bytes > each) each = bytes;
    }
    if (block.layer->pad > pad) pad = block.layer->pad;
  }
  // Pointers to rows for the linear output.
  const std::size_t pointers = 2 * rounded(std::size_t(all) * sizeof(void*));
  each = rounded(each > pointers ? each : pointers);
  Arena measure;
  const bool tall = blocks.size() > 1 || has_linear_;
  const auto take = [&](Arena& arena) {
    CallWork work{};
    work.first = arena.take<float>(tall || embeds ? all * widest : 0);
    work.second = arena.take<float>(tall || embeds ? all * widest : 0);
    work.rh = arena.take<float>(job.rows * pad);
    work.members = arena.take<char>(i64(each) * division.members);
    work.each = each;
    work.roomy = tall || embeds;
    return work;
  };
  take(measure);
  Arena arena(scratch(measure.used()));
  const CallWork work = take(arena);
  together(division.members, [&](const Member& me) {
    if (division.by_rows)
      call_rows(job, work, share(job.rows, me), me, pad);
    else
      call_member(job, work, {me.count, false}, me);
  });
}

// These rows alone, as a call of their own in a part of the memory that no other member touches.
void Program::call_rows(const CallJob& job, const CallWork& work, Range rows, const Member& me,
                        i64 pad) const {
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
  CallJob part{rows.last - first,
               job.steps,
               skip(job.x, at * inputs),
               skip(job.tokens, at),
               skip(job.reset, at),
               skip(job.lengths, first),
               states.data(),
               job.y + at * width};
  CallWork own = work;
  own.first += own.roomy ? at * widest : 0;
  own.second += own.roomy ? at * widest : 0;
  own.rh += first * pad;
  own.members += own.each * std::size_t(me.index);
  call_member(part, own, {1, true}, {});
}

void Program::call_member(const CallJob& job, const CallWork& work, const Division& division,
                          const Member& me) const {
  // Recurrent layers are divided by units here, everything else by rows.
  const Range mine = share(job.rows, me);
  char* block_memory = work.members + work.each * std::size_t(me.index);
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
      forward(sequence, division, me, block_memory, work.rh);
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
    Arena arena(block_memory);
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
