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
  // Every thread has memory for its rows.
  Arena measure;
  StepWork(measure, *this, division.most);
  const std::size_t each = rounded(measure.used());
  char* block = scratch(each * std::size_t(division.threads));
  const auto memory = [&](int thread) {
    Arena arena(block + each * std::size_t(thread));
    return StepWork(arena, *this, division.most);
  };
  if (division.by_rows) {
    divided(division.threads, division.pieces, [&](i64 piece, int thread) {
      step_rows(job, memory(thread), part(job.rows, piece, division.pieces), {});
    });
    return;
  }
  together(division.threads, [&](const Member& me) {
    // Activations are shared, the pointers to rows are each member's own.
    StepWork work = memory(me.index);
    const StepWork shared = memory(0);
    work.first = shared.first;
    work.second = shared.second;
    work.gates = shared.gates;
    work.rh = shared.rh;
    step_rows(job, work, {0, job.rows}, me);
  });
}

void Program::step_rows(const StepJob& job, StepWork work, Range rows, const Member& team) const {
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
    const i64 wide = block.outputs;
    const Range units = share(wide, team, kernels.width);
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
      const Range panels = share(layer.weights.R.count, team);
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
        if (block.norm && team.index == 0)
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
    const Range panels = share(linear_.count, team);
    kernels.gemm(linear_, count, work.x, panels.first, panels.last, linear_bias_, false,
                 work.h_out, width);
  } else if (blocks.empty()) {
    for (i64 i = 0; i < count && team.index == 0; ++i)
      std::memcpy(job.y + (rows.first + i) * width, work.x[i], std::size_t(width) * sizeof(float));
  }
}

}  // namespace statewise
