// One step of each cell over a range of unit blocks. Weight panels are the outer loop, so a panel
// is read from the cache once for all rows; the pointwise part follows while the sums are at hand.

// Sums of W's vectors at panel p for rows i to i + m: W x + b, computed or read.
INLINE void from_inputs(const CellWeights& w, const StepRows& rows, i64 i, int m, i64 p, vf* sums) {
  const i64 vectors = w.W.vectors;
  for (int r = 0; r < m; ++r)
    for (i64 j = 0; j < vectors; ++j) {
      const i64 column = p * w.W.panel_step + j * w.W.vector_step;
      sums[r * vectors + j] = load((rows.x ? w.bias : rows.gates[i + r]) + column);
    }
  if (rows.x) find_tile(w.W, m)(sums, rows.x + i, panel(w.W, p), w.inputs);
}

static void lstm(const CellWeights& w, const StepRows& rows, i64 first, i64 last) {
  constexpr int step = tile_rows(4);
  vf sums[step * 4];
  for (i64 turn = first; turn < last; ++turn)
    for (i64 i = 0; i < rows.count; i += step) {
      const i64 p = rows.back ? first + last - 1 - turn : turn;
      const int m = int(least(step, rows.count - i));
      from_inputs(w, rows, i, m, p, sums);
      find_tile(w.R, m)(sums, rows.h + i, panel(w.R, p), w.units);
      const i64 unit = p * V, n = w.units - unit;
      for (int r = 0; r < m; ++r) {
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
    }
}

static void gru_after(const CellWeights& w, const StepRows& rows, i64 first, i64 last) {
  constexpr int step = tile_rows(3);
  vf ahead[step * 3], sums[step * 3];
  for (i64 turn = first; turn < last; ++turn)
    for (i64 i = 0; i < rows.count; i += step) {
      const i64 p = rows.back ? first + last - 1 - turn : turn;
      const int m = int(least(step, rows.count - i));
      const i64 unit = p * V, n = w.units - unit;
      from_inputs(w, rows, i, m, p, ahead);  // n r z
      for (int r = 0; r < m; ++r) {
        sums[r * 3] = ahead[r * 3 + 1];
        sums[r * 3 + 1] = ahead[r * 3 + 2];
        sums[r * 3 + 2] = load(w.m + unit);
      }
      find_tile(w.R, m)(sums, rows.h + i, panel(w.R, p), w.units);
      for (int r = 0; r < m; ++r) {
        const vf reset = sigmoid(sums[r * 3]), update = sigmoid(sums[r * 3 + 1]);
        const vf remembered = sums[r * 3 + 2];
        const vf candidate = hyperbolic(ahead[r * 3] + reset * remembered);
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
    }
}

// First half of a step with the reset before the product: the gates, and r h of these units.
// The candidate's part of W x + b and the update gate wait in `gates`.
static void gru_before_gates(const CellWeights& w, const StepRows& rows, i64 first, i64 last) {
  constexpr int step = tile_rows(3);
  vf ahead[step * 3], sums[step * 2];
  for (i64 turn = first; turn < last; ++turn)
    for (i64 i = 0; i < rows.count; i += step) {
      const i64 p = rows.back ? first + last - 1 - turn : turn;
      const int m = int(least(step, rows.count - i));
      const i64 unit = p * V, n = w.units - unit;
      from_inputs(w, rows, i, m, p, ahead);  // n r z
      for (int r = 0; r < m; ++r) {
        sums[r * 2] = ahead[r * 3 + 1];
        sums[r * 2 + 1] = ahead[r * 3 + 2];
      }
      find_tile(w.R, m)(sums, rows.h + i, panel(w.R, p), w.units);
      for (int r = 0; r < m; ++r) {
        const vf reset = sigmoid(sums[r * 2]), update = sigmoid(sums[r * 2 + 1]);
        const vf remembered = reset * load(rows.h[i + r] + unit, n);
        float* gates = rows.gates[i + r] + unit;
        store(gates, ahead[r * 3]);
        store(gates + 2 * w.pad, update);
        store(rows.rh[i + r] + unit, remembered, n);
        if (rows.save) {
          store(gates + w.pad, reset);
          store(gates + 3 * w.pad, remembered);
        }
      }
    }
}

static void gru_before_candidate(const CellWeights& w, const StepRows& rows, i64 first, i64 last) {
  constexpr int step = tile_rows(1);
  vf sums[step];
  for (i64 turn = first; turn < last; ++turn)
    for (i64 i = 0; i < rows.count; i += step) {
      const i64 p = rows.back ? first + last - 1 - turn : turn;
      const int m = int(least(step, rows.count - i));
      const i64 unit = p * V, n = w.units - unit;
      for (int r = 0; r < m; ++r) sums[r] = load(rows.gates[i + r] + unit);
      find_tile(w.Rn, m)(sums, rows.rh + i, panel(w.Rn, p), w.units);
      for (int r = 0; r < m; ++r) {
        float* gates = rows.gates[i + r] + unit;
        const vf candidate = hyperbolic(sums[r]), update = load(gates + 2 * w.pad);
        const vf h = load(rows.h[i + r] + unit, n);
        store(rows.h_out[i + r] + unit, (1.0f - update) * candidate + update * h, n);
        if (rows.save) store(gates, candidate);
      }
    }
}

static void elman(const CellWeights& w, const StepRows& rows, i64 first, i64 last) {
  const int step = tile_rows(int(w.R.vectors));
  vf sums[most_rows * 4];
  for (i64 turn = first; turn < last; ++turn)
    for (i64 i = 0; i < rows.count; i += step) {
      const i64 p = rows.back ? first + last - 1 - turn : turn;
      const int m = int(least(step, rows.count - i));
      from_inputs(w, rows, i, m, p, sums);
      find_tile(w.R, m)(sums, rows.h + i, panel(w.R, p), w.units);
      for (int r = 0; r < m; ++r)
        for (i64 j = 0; j < w.R.vectors; ++j) {
          const i64 unit = p * w.R.panel_step + j * V, n = w.units - unit;
          if (n <= 0) break;
          const vf a = sums[r * w.R.vectors + j];
          const vf h = w.relu ? (a <= 0.0f ? vf{} : a) : hyperbolic(a);
          store(rows.h_out[i + r] + unit, h, n);
          if (rows.save) store(rows.gates[i + r] + unit, a);
        }
    }
}
