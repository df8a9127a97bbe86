// Whole sequences of one layer. A reset is a pointer to the initial row, a padded step of a row is
// a row left out; neither costs anything inside the kernels.

#include <cstring>

#include "layer.h"

namespace statewise {

namespace {

struct Columns {
  Range blocks;  // of the panels
  Range units;
};

Columns my_columns(const Layer& layer, const Member& me) {
  const Panels& panels = layer.weights.R;
  const Range blocks = share(panels.count, me);
  const i64 last = blocks.last * panels.panel_step;
  return {blocks,
          {blocks.first * panels.panel_step, last < layer.units ? last : layer.units}};
}

// Steps whose input products are computed ahead: as many as stay in the second-level cache.
i64 steps_ahead(const Sequence& job, i64 rows) {
  const i64 floats = rows * job.layer->stride;
  const i64 steps = floats ? 65536 / floats : job.steps;
  return steps < 1 ? 1 : steps < job.steps ? steps : job.steps;
}

// One member's memory for a forward run.
struct Workspace {
  float *ahead, *c, *zeros;
  const float **x, **h, **c_in;
  float **product, **gates, **h_out, **c_out, **rh;

  Workspace(Arena& arena, const Sequence& job, i64 rows) {
    const i64 steps = steps_ahead(job, rows);
    ahead = arena.take<float>(job.gates ? 0 : rows * steps * job.layer->stride);
    c = arena.take<float>(rows * job.layer->units);
    zeros = arena.take<float>(job.layer->units);
    x = arena.take<const float*>(rows * steps);
    product = arena.take<float*>(rows * steps);
    h = arena.take<const float*>(rows);
    c_in = arena.take<const float*>(rows);
    gates = arena.take<float*>(rows);
    h_out = arena.take<float*>(rows);
    c_out = arena.take<float*>(rows);
    rh = arena.take<float*>(rows);
  }
};

void copy(float* to, const float* from, Range units) {
  std::memcpy(to + units.first, from + units.first,
              std::size_t(units.last - units.first) * sizeof(float));
}

void finish(const Sequence& job, const Workspace& work, Range rows, Range units) {
  const i64 width = job.layer->units;
  for (i64 row = rows.first; row < rows.last; ++row) {
    const i64 length = job.length(row);
    const i64 last = row * job.steps + length - 1;
    copy(job.h + row * width, length ? job.y + last * width : job.h0 + row * width, units);
    if (job.layer->cell == Cell::lstm) {
      const float* c = !length ? job.c0 + row * width
                       : job.cells ? job.cells + last * width
                                   : work.c + (row - rows.first) * width;
      copy(job.c + row * width, c, units);
    }
    for (i64 t = length; t < job.steps; ++t)
      std::memset(job.y + (row * job.steps + t) * width + units.first, 0,
                  std::size_t(units.last - units.first) * sizeof(float));
  }
}

}  // namespace

std::size_t forward_bytes(const Sequence& job, i64 rows) {
  std::size_t most = 0;
  for (i64 count : {rows, rows > 1 ? rows - 1 : rows}) {  // fewer rows may run more steps ahead
    Arena measure;
    Workspace(measure, job, count);
    if (measure.used() > most) most = measure.used();
  }
  return most;
}

void forward(const Sequence& job, Range rows, const Member& team, char* block, float* rh) {
  const Layer& layer = *job.layer;
  const i64 units = layer.units;
  const Columns mine = my_columns(layer, team);
  Arena arena(block);
  const Workspace work(arena, job, rows.count());
  std::memset(work.zeros, 0, std::size_t(units) * sizeof(float));
  const i64 ahead = steps_ahead(job, rows.count());
  // Rows that fill a tile use a panel of W well enough at every step; fewer do so only when the
  // products of many steps are computed together.
  const bool products_ahead = job.steps > 1 && rows.count() < 8;
  const bool lstm = layer.cell == Cell::lstm;

  for (i64 start = 0; start < job.steps; start += ahead) {
    const i64 stop = start + ahead < job.steps ? start + ahead : job.steps;
    const auto gates_row = [&](i64 row, i64 t) {
      return job.gates ? job.gates + (row * job.steps + t) * layer.stride
                       : work.ahead + ((row - rows.first) * ahead + t - start) * layer.stride;
    };
    if (products_ahead) {
      i64 count = 0;
      for (i64 row = rows.first; row < rows.last; ++row)
        for (i64 t = start; t < stop && t < job.length(row); ++t, ++count) {
          work.x[count] = job.x + (row * job.steps + t) * layer.inputs;
          work.product[count] = gates_row(row, t);
        }
      layer.kernels.gemm(layer.weights.W, count, work.x, mine.blocks.first, mine.blocks.last,
                         layer.weights.bias, false, work.product, layer.stride);
    }
    for (i64 t = start; t < stop; ++t) {
      i64 count = 0;
      for (i64 row = rows.first; row < rows.last; ++row) {
        if (t >= job.length(row)) continue;
        work.h[count] = job.h_before(row, t, work.zeros);
        work.h_out[count] = job.y + (row * job.steps + t) * units;
        work.gates[count] = gates_row(row, t);
        if (!products_ahead) work.x[count] = job.x + (row * job.steps + t) * layer.inputs;
        if (lstm) {
          float* kept = work.c + (row - rows.first) * units;
          work.c_in[count] = job.cells || !t || job.resets(row, t)
                                 ? job.c_before(row, t, work.zeros)
                                 : kept;
          work.c_out[count] = job.cells ? job.cells + (row * job.steps + t) * units : kept;
        }
        work.rh[count] = rh + row * layer.pad;
        ++count;
      }
      if (!count) break;
      layer.step({count, products_ahead ? nullptr : work.x, work.h, work.c_in, work.gates,
                  work.h_out, work.c_out, work.rh, job.gates != nullptr},
                 mine.blocks, team);
      team.wait();
    }
  }
  finish(job, work, rows, mine.units);
}

void run_forward(const Sequence& job) {
  if (!job.rows) return;
  const Layer& layer = *job.layer;
  const Division division = divide(job.rows, job.steps, layer.bytes());
  const std::size_t each = rounded(forward_bytes(job, division.most));
  const std::size_t shared =
      layer.cell == Cell::gru_before ? std::size_t(job.rows * layer.pad) * sizeof(float) : 0;
  char* block = scratch(each * std::size_t(division.threads) + rounded(shared));
  float* rh = reinterpret_cast<float*>(block + each * std::size_t(division.threads));
  const auto memory = [&](int thread) { return block + each * std::size_t(thread); };
  if (division.by_rows) {
    divided(division.threads, division.pieces, [&](i64 piece, int thread) {
      forward(job, part(job.rows, piece, division.pieces), {}, memory(thread), rh);
    });
  } else {
    together(division.threads, [&](const Member& me) {
      forward(job, {0, job.rows}, me, memory(me.index), rh);
    });
  }
}

}  // namespace statewise
