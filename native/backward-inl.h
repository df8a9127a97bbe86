// One step of each cell backward, the pointwise part: from the gradient of a row's h (and c) and
// what was saved to the gradients of its sums. The padding of a slot is set to zero, for the
// products that follow run over it.

// Zero from lane n on.
STATEWISE_INLINE vf clear_from(vf v, i64 n) {
  if (n >= V) return v;
  float lanes[V];
  store(lanes, v);
  for (i64 l = n; l < V; ++l) lanes[l] = 0.0f;
  return load(lanes);
}

// Of a row's h: from later steps, and from the output of this one.
STATEWISE_INLINE vf gradient(const BackRows& rows, i64 i, i64 unit, i64 n) {
  vf dh = load(rows.dh[i] + unit, n);
  return rows.dy[i] ? dh + load(rows.dy[i] + unit, n) : dh;
}

template <bool with_peepholes>
static void lstm_back(const CellWeights& w, const BackRows& rows, i64 first, i64 last) {
  for (i64 i = 0; i < rows.count; ++i)
    for (i64 unit = first; unit < last; unit += V) {
      const i64 n = w.units - unit;
      const float* saved = rows.saved[i] + unit;
      float* gates = rows.gates[i] + unit;
      const vf in = load(saved + LstmSlot::i * w.pad), forget = load(saved + LstmSlot::f * w.pad);
      const vf candidate = load(saved + LstmSlot::g * w.pad);
      const vf out = load(saved + LstmSlot::o * w.pad);
      const vf shown = tanh(load(rows.c[i] + unit, n));
      const vf dh = gradient(rows, i, unit, n);
      vf dc = load(rows.dc[i] + unit, n) + dh * out * (1.0f - shown * shown);
      const vf before = load(rows.c_before[i] + unit, n);
      [[maybe_unused]] const float* peephole = with_peepholes ? w.peepholes + unit : nullptr;
      const vf d_out = dh * shown * out * (1.0f - out);
      if constexpr (with_peepholes) dc += d_out * load(peephole + Peephole::o * w.pad);
      const vf d_in = dc * candidate * in * (1.0f - in);
      const vf d_forget = dc * before * forget * (1.0f - forget);
      store(gates + LstmSlot::i * w.pad, clear_from(d_in, n));
      store(gates + LstmSlot::f * w.pad, clear_from(d_forget, n));
      store(gates + LstmSlot::g * w.pad, clear_from(dc * in * (1.0f - candidate * candidate), n));
      store(gates + LstmSlot::o * w.pad, clear_from(d_out, n));
      vf dc_before = dc * forget;
      if constexpr (with_peepholes)
        dc_before += d_in * load(peephole + Peephole::i * w.pad) +
                     d_forget * load(peephole + Peephole::f * w.pad);
      store(rows.dc[i] + unit, dc_before, n);
    }
}

// Leaves in dh the part that goes straight on, z dh; the product with R is added to it.
static void gru_after_back(const CellWeights& w, const BackRows& rows, i64 first, i64 last) {
  for (i64 i = 0; i < rows.count; ++i)
    for (i64 unit = first; unit < last; unit += V) {
      const i64 n = w.units - unit;
      const float* saved = rows.saved[i] + unit;
      float* gates = rows.gates[i] + unit;
      const vf candidate = load(saved + GruSlot::n * w.pad);
      const vf reset = load(saved + GruSlot::r * w.pad), update = load(saved + GruSlot::z * w.pad);
      const vf recurrent = load(saved + GruSlot::recurrent * w.pad);
      const vf dh = gradient(rows, i, unit, n), h = load(rows.h_before[i] + unit, n);
      const vf dn = dh * (1.0f - update) * (1.0f - candidate * candidate);
      const vf dz = dh * (h - candidate) * update * (1.0f - update);
      store(gates + GruSlot::n * w.pad, clear_from(dn, n));
      store(gates + GruSlot::r * w.pad, clear_from(dn * recurrent * reset * (1.0f - reset), n));
      store(gates + GruSlot::z * w.pad, clear_from(dz, n));
      store(gates + GruSlot::recurrent * w.pad, clear_from(dn * reset, n));
      store(rows.dh[i] + unit, dh * update, n);
    }
}

static void gru_before_back(const CellWeights& w, const BackRows& rows, i64 first, i64 last) {
  for (i64 i = 0; i < rows.count; ++i)
    for (i64 unit = first; unit < last; unit += V) {
      const i64 n = w.units - unit;
      const float* saved = rows.saved[i] + unit;
      float* gates = rows.gates[i] + unit;
      const vf candidate = load(saved + GruSlot::n * w.pad);
      const vf update = load(saved + GruSlot::z * w.pad);
      const vf dh = gradient(rows, i, unit, n), h = load(rows.h_before[i] + unit, n);
      const vf dn = dh * (1.0f - update) * (1.0f - candidate * candidate);
      const vf dz = dh * (h - candidate) * update * (1.0f - update);
      store(gates + GruSlot::n * w.pad, clear_from(dn, n));
      store(gates + GruSlot::z * w.pad, clear_from(dz, n));
      store(rows.dh[i] + unit, dh * update, n);
    }
}

// Second half: `drh` is the gradient of r h.
static void gru_before_back_reset(const CellWeights& w, const BackRows& rows, i64 first, i64 last) {
  for (i64 i = 0; i < rows.count; ++i)
    for (i64 unit = first; unit < last; unit += V) {
      const i64 n = w.units - unit;
      const float* saved = rows.saved[i] + unit;
      float* gates = rows.gates[i] + unit;
      const vf reset = load(saved + GruSlot::r * w.pad), drh = load(rows.drh[i] + unit, n);
      const vf h = load(rows.h_before[i] + unit, n);
      store(gates + GruSlot::r * w.pad, clear_from(drh * h * reset * (1.0f - reset), n));
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
      store(gates, clear_from(da, n));
    }
}

// Gradients of weights that multiply unit by unit. Some rows at a time are added up by themselves,
// so that long sequences round as short ones do.
static void dot_columns(i64 rows, const float* const* a, i64 offset, const float* const* b,
                        i64 first, i64 last, float* sums) {
  for (i64 start = 0; start < rows; start += tn_chunk) {
    const i64 stop = smaller(rows, start + tn_chunk);
    for (i64 j = first; j < last; j += V) {
      const i64 n = last - j;
      vf total = {};
      for (i64 r = start; r < stop; ++r) total += load(a[r] + offset + j, n) * load(b[r] + j, n);
      store(sums + j, load(sums + j, n) + total, n);
    }
  }
}
