// One step of each cell backward, the pointwise part: from the gradient of a row's h (and c) and
// what was saved to the gradients of its sums. The padding of a slot is set to zero, for the
// products that follow run over it.

INLINE vf only(vf v, i64 n) {
  if (n >= V) return v;
  float lanes[V];
  store(lanes, v);
  for (i64 l = n; l < V; ++l) lanes[l] = 0.0f;
  return load(lanes);
}

INLINE vf gradient(const BackRows& rows, i64 i, i64 unit, i64 n) {
  vf dh = load(rows.dh[i] + unit, n);
  return rows.dy[i] ? dh + load(rows.dy[i] + unit, n) : dh;
}

static void lstm_back(const CellWeights& w, const BackRows& rows, i64 first, i64 last) {
  for (i64 i = 0; i < rows.count; ++i)
    for (i64 unit = first; unit < last; unit += V) {
      const i64 n = w.units - unit;
      const float* saved = rows.saved[i] + unit;
      float* gates = rows.gates[i] + unit;
      const vf in = load(saved), forget = load(saved + w.pad);
      const vf candidate = load(saved + 2 * w.pad), out = load(saved + 3 * w.pad);
      const vf shown = hyperbolic(load(rows.c[i] + unit, n));
      const vf dh = gradient(rows, i, unit, n);
      const vf dc = load(rows.dc[i] + unit, n) + dh * out * (1.0f - shown * shown);
      const vf before = load(rows.c_before[i] + unit, n);
      store(gates, only(dc * candidate * in * (1.0f - in), n));
      store(gates + w.pad, only(dc * before * forget * (1.0f - forget), n));
      store(gates + 2 * w.pad, only(dc * in * (1.0f - candidate * candidate), n));
      store(gates + 3 * w.pad, only(dh * shown * out * (1.0f - out), n));
      store(rows.dc[i] + unit, dc * forget, n);
    }
}

// Leaves in dh the part that goes straight on, z dh; the product with R is added to it.
static void gru_after_back(const CellWeights& w, const BackRows& rows, i64 first, i64 last) {
  for (i64 i = 0; i < rows.count; ++i)
    for (i64 unit = first; unit < last; unit += V) {
      const i64 n = w.units - unit;
      const float* saved = rows.saved[i] + unit;
      float* gates = rows.gates[i] + unit;
      const vf candidate = load(saved), reset = load(saved + w.pad);
      const vf update = load(saved + 2 * w.pad), remembered = load(saved + 3 * w.pad);
      const vf dh = gradient(rows, i, unit, n), h = load(rows.h_before[i] + unit, n);
      const vf dn = dh * (1.0f - update) * (1.0f - candidate * candidate);
      store(gates, only(dn, n));
      store(gates + w.pad, only(dn * remembered * reset * (1.0f - reset), n));
      store(gates + 2 * w.pad, only(dh * (h - candidate) * update * (1.0f - update), n));
      store(gates + 3 * w.pad, only(dn * reset, n));
      store(rows.dh[i] + unit, dh * update, n);
    }
}

static void gru_before_back(const CellWeights& w, const BackRows& rows, i64 first, i64 last) {
  for (i64 i = 0; i < rows.count; ++i)
    for (i64 unit = first; unit < last; unit += V) {
      const i64 n = w.units - unit;
      const float* saved = rows.saved[i] + unit;
      float* gates = rows.gates[i] + unit;
      const vf candidate = load(saved), update = load(saved + 2 * w.pad);
      const vf dh = gradient(rows, i, unit, n), h = load(rows.h_before[i] + unit, n);
      store(gates, only(dh * (1.0f - update) * (1.0f - candidate * candidate), n));
      store(gates + 2 * w.pad, only(dh * (h - candidate) * update * (1.0f - update), n));
      store(rows.dh[i] + unit, dh * update, n);
    }
}

// Second half: `drh` is the gradient of r h.
static void gru_before_back_reset(const CellWeights& w, const BackRows& rows, i64 first,
                                  i64 last) {
  for (i64 i = 0; i < rows.count; ++i)
    for (i64 unit = first; unit < last; unit += V) {
      const i64 n = w.units - unit;
      const float* saved = rows.saved[i] + unit;
      float* gates = rows.gates[i] + unit;
      const vf reset = load(saved + w.pad), drh = load(rows.drh[i] + unit, n);
      const vf h = load(rows.h_before[i] + unit, n);
      store(gates + w.pad, only(drh * h * reset * (1.0f - reset), n));
      store(rows.dh[i] + unit, load(rows.dh[i] + unit, n) + drh * reset, n);
    }
}

static void elman_back(const CellWeights& w, const BackRows& rows, i64 first, i64 last) {
  for (i64 i = 0; i < rows.count; ++i)
    for (i64 unit = first; unit < last; unit += V) {
      const i64 n = w.units - unit;
      float* gates = rows.gates[i] + unit;
      const vf h = load(rows.h[i] + unit, n), dh = gradient(rows, i, unit, n);
      const vf da = w.relu ? (h <= 0.0f ? vf{} : dh) : dh * (1.0f - h * h);
      store(gates, only(da, n));
    }
}
