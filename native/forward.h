// One step of each cell over a range of unit blocks. Weight panels are the outer loop, so a panel
// is read from the cache once for all rows; the pointwise part follows while the sums are at hand.

// run(i, m, p) for every tile: rows i to i + m and panel p.
template <class Run>
INLINE void each_tile(const StepRows& rows, i64 first, i64 last, i64 most, Run run) {
  for (i64 turn = first; turn < last; ++turn)
    for (i64 i = 0, m; i < rows.count; i += m) {
      m = next_rows(rows.count - i, most);
      run(i, m, rows.back ? first + last - 1 - turn : turn);
    }
}

// W x + b + R h of panel p for rows i to i + m. Where W x + b is known, it is read.
INLINE void add_up(Tile tile, const CellWeights& w, const StepRows& rows, i64 i, i64 m, i64 p,
                   vf* sums) {
  const float* start[most_rows];
  for (i64 r = 0; r < m; ++r) start[r] = (rows.x ? w.bias : rows.gates[i + r]) + p * w.R.panel_step;
  const Factor x = rows.x ? Factor{rows.x + i, panel(w.W, p), w.inputs} : Factor{};
  tile(sums, start, w.W.vector_step, x, {rows.h + i, panel(w.R, p), w.units});
}

static void lstm(const CellWeights& w, const StepRows& rows, i64 first, i64 last) {
  constexpr int step = tile_rows(4);
  vf sums[step * 4];
  each_tile(rows, first, last, step, [&](i64 i, i64 m, i64 p) {
    add_up(find_tile<4>(w.R.half, m), w, rows, i, m, p, sums);
    const i64 unit = p * V, n = w.units - unit;
    for (i64 r = 0; r < m; ++r) {
      const vf in = sigmoid(sums[r * 4]), forget = sigmoid(sums[r * 4 + 1]);
      const vf candidate = hyperbolic(sums[r * 4 + 2]), out = sigmoid(sums[r * 4 + 3]);
      const vf c = forget * load(rows.c[i + r] + unit, n) + in * candidate;
      store(rows.c_out[i + r] + unit, c, n);
      store(rows.h_out[i + r] + unit, out * hyperbolic(c), n);
      if (rows.save) {
        float* gates = rows.gates[i + r] + unit;
        store(gates, in);
        store(gates + w.pad, forget);
        store(gates + 2 * w.pad, candidate);
        store(gates + 3 * w.pad, out);
      }
    }
  });
}

static void gru_after(const CellWeights& w, const StepRows& rows, i64 first, i64 last) {
  constexpr int step = tile_rows(4);
  vf sums[step * 4];  // n's part of W x + b, r, z, n's part of R h + m
  each_tile(rows, first, last, step, [&](i64 i, i64 m, i64 p) {
    add_up(find_tile<4, 3, 3>(w.R.half, m), w, rows, i, m, p, sums);
    const i64 unit = p * V, n = w.units - unit;
    for (i64 r = 0; r < m; ++r) {
      const vf reset = sigmoid(sums[r * 4 + 1]), update = sigmoid(sums[r * 4 + 2]);
      const vf remembered = sums[r * 4 + 3];
      const vf candidate = hyperbolic(sums[r * 4] + reset * remembered);
      const vf h = load(rows.h[i + r] + unit, n);
      store(rows.h_out[i + r] + unit, (1.0f - update) * candidate + update * h, n);
      if (rows.save) {
        float* gates = rows.gates[i + r] + unit;
        store(gates, candidate);
        store(gates + w.pad, reset);
        store(gates + 2 * w.pad, update);
        store(gates + 3 * w.pad, remembered);
      }
    }
  });
}

// First half of a step with the reset before the product: the gates, and r h of these units.
// The candidate's part of W x + b and the update gate wait in `gates`.
static void gru_before_gates(const CellWeights& w, const StepRows& rows, i64 first, i64 last) {
  constexpr int step = tile_rows(3);
  vf sums[step * 3];  // n's part of W x + b, r, z
  each_tile(rows, first, last, step, [&](i64 i, i64 m, i64 p) {
    add_up(find_tile<3, 3, 2>(w.R.half, m), w, rows, i, m, p, sums);
    const i64 unit = p * V, n = w.units - unit;
    for (i64 r = 0; r < m; ++r) {
      const vf reset = sigmoid(sums[r * 3 + 1]), update = sigmoid(sums[r * 3 + 2]);
      const vf remembered = reset * load(rows.h[i + r] + unit, n);
      float* gates = rows.gates[i + r] + unit;
      store(gates, sums[r * 3]);
      store(gates + 2 * w.pad, update);
      store(rows.rh[i + r] + unit, remembered, n);
      if (rows.save) {
        store(gates + w.pad, reset);
        store(gates + 3 * w.pad, remembered);
      }
    }
  });
}

static void gru_before_candidate(const CellWeights& w, const StepRows& rows, i64 first, i64 last) {
  constexpr int step = tile_rows(1);
  vf sums[step];
  const float* start[step];
  each_tile(rows, first, last, step, [&](i64 i, i64 m, i64 p) {
    const i64 unit = p * V, n = w.units - unit;
    for (i64 r = 0; r < m; ++r) start[r] = rows.gates[i + r] + unit;
    find_tile<1>(w.Rn.half, m)(sums, start, 0, {}, {rows.rh + i, panel(w.Rn, p), w.units});
    for (i64 r = 0; r < m; ++r) {
      float* gates = rows.gates[i + r] + unit;
      const vf candidate = hyperbolic(sums[r]), update = load(gates + 2 * w.pad);
      const vf h = load(rows.h[i + r] + unit, n);
      store(rows.h_out[i + r] + unit, (1.0f - update) * candidate + update * h, n);
      if (rows.save) store(gates, candidate);
    }
  });
}

static void elman(const CellWeights& w, const StepRows& rows, i64 first, i64 last) {
  const int vectors = int(w.R.vectors), step = tile_rows(vectors);
  vf sums[most_rows * plain_vectors];
  each_tile(rows, first, last, step, [&](i64 i, i64 m, i64 p) {
    add_up(plain_tile(w.R, m), w, rows, i, m, p, sums);
    for (i64 r = 0; r < m; ++r)
      for (int j = 0; j < vectors; ++j) {
        const i64 unit = p * w.R.panel_step + j * V, n = w.units - unit;
        if (n <= 0) break;
        const vf a = sums[r * vectors + j];
        const vf h = w.relu ? (a <= 0.0f ? vf{} : a) : hyperbolic(a);
        store(rows.h_out[i + r] + unit, h, n);
        if (rows.save) store(rows.gates[i + r] + unit, a);
      }
  });
}
