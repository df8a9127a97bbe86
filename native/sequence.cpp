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
    c = arena.take<float>(layer.layout.has_c ? rows * layer.units : 0);
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
  std::memcpy(to + units.first, from + units.first, std::size_t(units.count()) * sizeof(float));
}

// A run of some rows, as a member of a team sees it.
class RowsForward {
 public:
  RowsForward(const Sequence& job, Range rows, Member& me, Arena own, Arena shared)
      : job_(job),
        layer_(*job.layer),
        rows_(rows),
        me_(me),
        pointers_(own, job, rows.count()),
        shared_(shared, job, rows.count()),
        ahead_(steps_ahead(job, rows.count())),
        multiplies_ahead_(ahead_ > 1),
        next_gates_(job.gates           ? job.rows * layer_.stride
                    : multiplies_ahead_ ? layer_.stride
                                        : 0) {
    std::memset(pointers_.zeros, 0, std::size_t(layer_.units) * sizeof(float));
  }

  void run() {
    const i64 steps = job_.steps, stretch = multiplies_ahead_ ? ahead_ : steps;
    for (start_ = 0; start_ < steps; start_ += stretch) {
      const i64 stop = start_ + stretch < steps ? start_ + stretch : steps;
      if (multiplies_ahead_) multiply_ahead(stop);
      for (i64 t = start_; t < stop; ++t) {
        if (t > start_ && !job_.lengths && !job_.reset)
          advance_rows();
        else
          find_rows(t);
        if (!count_) break;
        layer_.step({.count = count_,
                     .x = multiplies_ahead_ ? nullptr : pointers_.x,
                     .h = pointers_.h,
                     .c = pointers_.c_in,
                     .gates = pointers_.gates,
                     .h_out = pointers_.h_out,
                     .c_out = pointers_.c_out,
                     .rh = pointers_.rh,
                     .save = job_.gates != nullptr,
                     .reverse = t % 2 == 1},
                    me_);
      }
    }
    me_.share(layer_.units, layer_.kernels.width, [&](Range units) { finish(units); });
  }

 private:
  float* gates_row(i64 row, i64 t) const {
    return job_.gates ? job_.gates_at(row, t)
                      : shared_.ahead + (row - rows_.first) * ahead_ * layer_.stride +
                            (t - start_) * next_gates_;
  }

  // W x + b of every row's steps until `stop`.
  void multiply_ahead(i64 stop) {
    i64 count = 0;
    for (i64 row = rows_.first; row < rows_.last; ++row)
      for (i64 t = start_; t < stop && t < job_.length(row); ++t, ++count) {
        pointers_.x[count] = job_.x + (row * job_.steps + t) * layer_.inputs;
        pointers_.product[count] = gates_row(row, t);
      }
    const float* const bias = layer_.weights.bias;
    me_.share(layer_.weights.W.count, 1, [&](Range panels) {
      layer_.kernels.gemm(layer_.weights.W, count, pointers_.x, panels.first, panels.last, bias,
                          false, pointers_.product, layer_.stride);
      if (layer_.cell != Cell::gru_after) return;
      const i64 width = layer_.kernels.width;
      const i64 m = GruSlot::recurrent * layer_.pad + panels.first * width;
      for (i64 i = 0; i < count; ++i)
        std::memcpy(pointers_.product[i] + m, bias + m,
                    std::size_t(panels.count() * width) * sizeof(float));
    });
  }

  // The rows that have step t, and where they find what it needs.
  void find_rows(i64 t) {
    const i64 units = layer_.units;
    count_ = 0;
    for (i64 row = rows_.first; row < rows_.last; ++row) {
      if (t >= job_.length(row)) continue;
      const i64 at = row * job_.steps + t;
      pointers_.h[count_] = job_.h_before(row, t, pointers_.zeros);
      pointers_.h_out[count_] = job_.y + at * units;
      pointers_.gates[count_] = gates_row(row, t);
      if (!multiplies_ahead_) pointers_.x[count_] = job_.x + at * layer_.inputs;
      if (layer_.layout.has_c) {
        float* const c = shared_.c + (row - rows_.first) * units;
        const bool in_place = !job_.cells && t && !job_.resets(row, t);
        pointers_.c_in[count_] = in_place ? c : job_.c_before(row, t, pointers_.zeros);
        pointers_.c_out[count_] = job_.cells ? job_.cells_at(row, t) : c;
      }
      pointers_.rh[count_] = shared_.rh + (row - rows_.first) * layer_.pad;
      ++count_;
    }
  }

  // The same, one step further, where all rows go on from what they had.
  void advance_rows() {
    for (i64 i = 0; i < count_; ++i) {
      pointers_.h[i] = pointers_.h_out[i];
      pointers_.h_out[i] += layer_.units;
      pointers_.gates[i] += next_gates_;
      if (!multiplies_ahead_) pointers_.x[i] += layer_.inputs;
    }
    for (i64 i = 0; layer_.layout.has_c && i < count_; ++i) {
      pointers_.c_in[i] = pointers_.c_out[i];
      if (job_.cells) pointers_.c_out[i] += job_.rows * layer_.units;
    }
  }

  // The final states of some units, and zeros in the padding of y.
  void finish(Range units) const {
    const i64 width = layer_.units;
    for (i64 row = rows_.first; row < rows_.last; ++row) {
      const i64 length = job_.length(row);
      const i64 last = row * job_.steps + length - 1;
      copy(job_.h + row * width, length ? job_.y + last * width : job_.h0 + row * width, units);
      if (layer_.layout.has_c) {
        const float* c = !length      ? job_.c0 + row * width
                         : job_.cells ? job_.cells_at(row, length - 1)
                                      : shared_.c + (row - rows_.first) * width;
        copy(job_.c + row * width, c, units);
      }
      for (i64 t = length; t < job_.steps; ++t)
        std::memset(job_.y + (row * job_.steps + t) * width + units.first, 0,
                    std::size_t(units.count()) * sizeof(float));
    }
  }

  const Sequence& job_;
  const Layer& layer_;
  const Range rows_;
  Member& me_;
  const Pointers pointers_;
  const Activations shared_;
  const i64 ahead_;  // steps whose input products are computed together
  const bool multiplies_ahead_;
  const i64 next_gates_;  // from the gates of a step to those of the next one
  i64 start_ = 0;         // of the stretch of steps whose products are there
  i64 count_ = 0;         // rows that have the step
};

}  // namespace

ForwardBytes forward_bytes(const Sequence& job, i64 rows) {
  ForwardBytes largest{};
  for (i64 count : {rows, rows > 1 ? rows - 1 : rows}) {  // fewer rows may run more steps ahead
    Arena own, shared;
    Pointers(own, job, count);
    Activations(shared, job, count);
    if (own.used() > largest.own) largest.own = own.used();
    if (shared.used() > largest.shared) largest.shared = shared.used();
  }
  return largest;
}

void run_rows_forward(const Sequence& job, Range rows, Member& me, char* own, char* shared) {
  RowsForward(job, rows, me, Arena(own), Arena(shared)).run();
}

void run_forward(const Sequence& job) {
  if (!job.rows) return;
  const Division division = divide(job.rows, job.steps, job.layer->bytes());
  const ForwardBytes bytes = forward_bytes(job, division.max_rows);
  const std::size_t own = round_to_alignment(bytes.own);
  const std::size_t each = own + round_to_alignment(bytes.shared);
  char* block = get_scratch(each * std::size_t(division.threads));
  const auto memory = [&](int thread) { return block + each * std::size_t(thread); };
  if (division.by_rows) {
    run_pieces(division.threads, division.pieces, [&](i64 piece, int thread) {
      Member alone;
      char* mine = memory(thread);
      run_rows_forward(job, division.piece(job.rows, piece), alone, mine, mine + own);
    });
  } else {
    run_team(division.threads, [&](Member& me) {
      run_rows_forward(job, {0, job.rows}, me, memory(me.index), block + own);
    });
  }
}

}  // namespace statewise
