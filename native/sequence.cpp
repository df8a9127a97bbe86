// Whole sequences of one layer. A reset is a pointer to the initial row, a padded step of a row is
// a row left out; neither costs anything inside the kernels.

#include <cstring>

#include "layer.h"

namespace statewise {

namespace {

// Steps whose input products are computed together, ahead of the rest: as many as stay in the
// second-level cache. Rows that fill a tile use a panel of W well enough at every step.
i64 steps_ahead(const Sequence& job, i64 rows) {
  if (rows >= 8) return 1;
  const i64 floats = rows * job.layer->stride;
  const i64 steps = floats ? 65536 / floats : job.steps;
  return steps < 1 ? 1 : steps < job.steps ? steps : job.steps;
}

// What the members share: W x + b of some steps, c, and r h.
struct Activations {
  float *ahead, *c, *rh;

  Activations(Arena& arena, const Sequence& job, i64 rows) {
    const Layer& layer = *job.layer;
    ahead = arena.take<float>(job.gates ? 0 : rows * steps_ahead(job, rows) * layer.stride);
    c = arena.take<float>(layer.cell == Cell::lstm ? rows * layer.units : 0);
    rh = arena.take<float>(layer.cell == Cell::gru_before ? rows * layer.pad : 0);
  }
};

// A member's own: pointers to rows.
struct Pointers {
  float* zeros;
  const float **x, **h, **c_in;
  float **product, **gates, **h_out, **c_out, **rh;

  Pointers(Arena& arena, const Sequence& job, i64 rows) {
    const i64 steps = steps_ahead(job, rows);
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

void finish(const Sequence& job, const Activations& kept, Range rows, Range units) {
  const i64 width = job.layer->units;
  for (i64 row = rows.first; row < rows.last; ++row) {
    const i64 length = job.length(row);
    const i64 last = row * job.steps + length - 1;
    copy(job.h + row * width, length ? job.y + last * width : job.h0 + row * width, units);
    if (job.layer->cell == Cell::lstm) {
      const float* c = !length ? job.c0 + row * width
                       : job.cells ? job.cells_at(row, length - 1)
                                   : kept.c + (row - rows.first) * width;
      copy(job.c + row * width, c, units);
    }
    for (i64 t = length; t < job.steps; ++t)
      std::memset(job.y + (row * job.steps + t) * width + units.first, 0,
                  std::size_t(units.last - units.first) * sizeof(float));
  }
}

}  // namespace

ForwardBytes forward_bytes(const Sequence& job, i64 rows) {
  ForwardBytes most{};
  for (i64 count : {rows, rows > 1 ? rows - 1 : rows}) {  // fewer rows may run more steps ahead
    Arena own, shared;
    Pointers(own, job, count);
    Activations(shared, job, count);
    if (own.used() > most.own) most.own = own.used();
    if (shared.used() > most.shared) most.shared = shared.used();
  }
  return most;
}

void forward(const Sequence& job, Range rows, Member& me, char* own, char* shared) {
  const Layer& layer = *job.layer;
  const i64 units = layer.units, inputs = layer.inputs, steps = job.steps;
  const float* const x = job.x;
  float* const y = job.y;
  const bool cells = job.cells;
  Arena own_arena(own), shared_arena(shared);
  const Pointers work(own_arena, job, rows.count());
  const Activations kept(shared_arena, job, rows.count());
  std::memset(work.zeros, 0, std::size_t(units) * sizeof(float));
  const i64 kept_steps = steps_ahead(job, rows.count());
  const bool products_ahead = kept_steps > 1;
  const i64 ahead = products_ahead ? kept_steps : steps;
  const bool lstm = layer.cell == Cell::lstm;
  i64 start = 0, count = 0;
  // From the gates of a step to those of the next one.
  const i64 next_gates = job.gates ? job.rows * layer.stride : products_ahead ? layer.stride : 0;
  const auto gates_row = [&](i64 row, i64 t) {
    return job.gates ? job.gates_at(row, t)
                     : kept.ahead + (row - rows.first) * kept_steps * layer.stride +
                           (t - start) * next_gates;
  };
  // The rows that have step t, and where they find what it needs.
  const auto find_rows = [&](i64 t) {
    count = 0;
    for (i64 row = rows.first; row < rows.last; ++row) {
      if (t >= job.length(row)) continue;
      const i64 at = row * steps + t;
      work.h[count] = job.h_before(row, t, work.zeros);
      work.h_out[count] = y + at * units;
      work.gates[count] = gates_row(row, t);
      if (!products_ahead) work.x[count] = x + at * inputs;
      if (lstm) {
        float* const c = kept.c + (row - rows.first) * units;
        work.c_in[count] = cells || !t || job.resets(row, t) ? job.c_before(row, t, work.zeros) : c;
        work.c_out[count] = cells ? job.cells_at(row, t) : c;
      }
      work.rh[count] = kept.rh + (row - rows.first) * layer.pad;
      ++count;
    }
  };
  // The same, one step further, where all rows go on from what they had.
  const auto go_on = [&] {
    for (i64 i = 0; i < count; ++i) {
      work.h[i] = work.h_out[i];
      work.h_out[i] += units;
      work.gates[i] += next_gates;
      if (!products_ahead) work.x[i] += inputs;
    }
    for (i64 i = 0; lstm && i < count; ++i) {
      work.c_in[i] = work.c_out[i];
      if (cells) work.c_out[i] += job.rows * units;
    }
  };

  for (; start < steps; start += ahead) {
    const i64 stop = start + ahead < steps ? start + ahead : steps;
    if (products_ahead) {
      count = 0;
      for (i64 row = rows.first; row < rows.last; ++row)
        for (i64 t = start; t < stop && t < job.length(row); ++t, ++count) {
          work.x[count] = x + (row * steps + t) * inputs;
          work.product[count] = gates_row(row, t);
        }
      me.each(layer.weights.W.count, 1, [&](Range panels) {
        layer.kernels.gemm(layer.weights.W, count, work.x, panels.first, panels.last,
                           layer.weights.bias, false, work.product, layer.stride);
        if (layer.cell != Cell::gru_after) return;
        const i64 m = 3 * layer.pad + panels.first * layer.kernels.width;
        for (i64 i = 0; i < count; ++i)
          std::memcpy(work.product[i] + m, layer.weights.bias + m,
                      std::size_t(panels.count() * layer.kernels.width) * sizeof(float));
      });
    }
    for (i64 t = start; t < stop; ++t) {
      if (t > start && !job.lengths && !job.reset)
        go_on();
      else
        find_rows(t);
      if (!count) break;
      layer.step({count, products_ahead ? nullptr : work.x, work.h, work.c_in, work.gates,
                  work.h_out, work.c_out, work.rh, job.gates != nullptr, t % 2 == 1},
                 me);
    }
  }
  me.each(units, layer.kernels.width,
          [&](Range mine) { finish(job, kept, rows, mine); });
}

void run_forward(const Sequence& job) {
  if (!job.rows) return;
  const Division division = divide(job.rows, job.steps, job.layer->bytes());
  const ForwardBytes bytes = forward_bytes(job, division.most);
  const std::size_t own = rounded(bytes.own), each = own + rounded(bytes.shared);
  char* block = scratch(each * std::size_t(division.threads));
  const auto memory = [&](int thread) { return block + each * std::size_t(thread); };
  if (division.by_rows) {
    divided(division.threads, division.pieces, [&](i64 piece, int thread) {
      Member alone;
      char* mine = memory(thread);
      forward(job, division.piece(job.rows, piece), alone, mine, mine + own);
    });
  } else {
    together(division.threads, [&](Member& me) {
      forward(job, {0, job.rows}, me, memory(me.index), block + own);
    });
  }
}

}  // namespace statewise
