// One step of each cell over a range of unit blocks. Weight panels are the outer loop, so a panel
// is read from the cache once for all rows; the pointwise part follows while the sums are at hand.

// run(i, m, p) for every tile: rows i to i + m and panel p.
template <class Run>
STATEWISE_INLINE void each_tile(const StepRows& rows, i64 first, i64 last, i64 most, Run run) {
  for (i64 turn = first; turn < last; ++turn)
    for (i64 i = 0, m; i < rows.count; i += m) {
      m = next_rows(rows.count - i, most);
      run(i, m, rows.reverse ? first + last - 1 - turn : turn);
    }
}

// W x + b + R h of panel p for rows i to i + m. Where W x + b is known, it is read.
STATEWISE_INLINE void sum_products(Tile tile, const CellWeights& w, const StepRows& rows, i64 i,
                                   i64 m, i64 p, vf* sums) {
  const float* start[max_rows];
  for (i64 r = 0; r < m; ++r) start[r] = (rows.x ? w.bias : rows.gates[i + r]) + p * w.R.panel_step;
  const Factor x = rows.x ? Factor{rows.x + i, panel(w.W, p), w.inputs} : Factor{};
  tile(sums, start, w.W.vector_step, x, {rows.h + i, panel(w.R, p), w.units});
}

template <bool with_peepholes>
static void lstm(const CellWeights& w, const StepRows& rows, i64 first, i64 last) {
  constexpr int step = tile_rows(4);
  vf sums[step * 4];
  each_tile(rows, first, last, step, [&](i64 i, i64 m, i64 p) {
    sum_products(find_tile<4>(w.R.bf16, m), w, rows, i, m, p, sums);
    const i64 unit = p * V, n = w.units - unit;
    for (i64 r = 0; r < m; ++r) {
      vf* sum = sums + r * 4;
      const vf before = load(rows.c[i + r] + unit, n);
      [[maybe_unused]] const float* peephole = with_peepholes ? w.peepholes + unit : nullptr;
      if constexpr (with_peepholes) {
        sum[LstmSlot::i] += load(peephole + Peephole::i * w.pad) * before;
        sum[LstmSlot::f] += load(peephole + Peephole::f * w.pad) * before;
      }
      const vf in = sigmoid(sum[LstmSlot::i]), forget = sigmoid(sum[LstmSlot::f]);
      const vf candidate = tanh(sum[LstmSlot::g]);
      const vf c = forget * before + in * candidate;
      if constexpr (with_peepholes) sum[LstmSlot::o] += load(peephole + Peephole::o * w.pad) * c;
      const vf out = sigmoid(sum[LstmSlot::o]);
      store(rows.c_out[i + r] + unit, c, n);
      store(rows.h_out[i + r] + unit, out * tanh(c), n);
      if (rows.save) {
        float* gates = rows.gates[i + r] + unit;
        store(gates + LstmSlot::i * w.pad, in);
        store(gates + LstmSlot::f * w.pad, forget);
        store(gates + LstmSlot::g * w.pad, candidate);
        store(gates + LstmSlot::o * w.pad, out);
      }
    }
  });
}

static void gru_after(const CellWeights& w, const StepRows& rows, i64 first, i64 last) {
  constexpr int step = tile_rows(4);
  vf sums[step * 4];  // by slot: n's part of W x + b, r, z, n's part of R h + m
  each_tile(rows, first, last, step, [&](i64 i, i64 m, i64 p) {
    sum_products(find_tile<4, 3, 3>(w.R.bf16, m), w, rows, i, m, p, sums);
    const i64 unit = p * V, n = w.units - unit;
    for (i64 r = 0; r < m; ++r) {
      const vf* sum = sums + r * 4;
      const vf reset = sigmoid(sum[GruSlot::r]), update = sigmoid(sum[GruSlot::z]);
      const vf recurrent = sum[GruSlot::recurrent];
      const vf candidate = tanh(sum[GruSlot::n] + reset * recurrent);
      const vf h = load(rows.h[i + r] + unit, n);
      store(rows.h_out[i + r] + unit, (1.0f - update) * candidate + update * h, n);
      if (rows.save) {
        float* gates = rows.gates[i + r] + unit;
        store(gates + GruSlot::n * w.pad, candidate);
        store(gates + GruSlot::r * w.pad, reset);
        store(gates + GruSlot::z * w.pad, update);
        store(gates + GruSlot::recurrent * w.pad, recurrent);
      }
    }
  });
}

// First half of a step with the reset before the product: the gates, and r h of these units.
// The candidate's part of W x + b and the update gate wait in `gates`.
static void gru_before_gates(const CellWeights& w, const StepRows& rows, i64 first, i64 last) {
  constexpr int step = tile_rows(3);
  vf sums[step * 3];  // by slot: n's part of W x + b, r, z
  each_tile(rows, first, last, step, [&](i64 i, i64 m, i64 p) {
    sum_products(find_tile<3, 3, 2>(w.R.bf16, m), w, rows, i, m, p, sums);
    const i64 unit = p * V, n = w.units - unit;
    for (i64 r = 0; r < m; ++r) {
      const vf* sum = sums + r * 3;
      const vf reset = sigmoid(sum[GruSlot::r]), update = sigmoid(sum[GruSlot::z]);
      const vf rh = reset * load(rows.h[i + r] + unit, n);
      float* gates = rows.gates[i + r] + unit;
      store(gates + GruSlot::n * w.pad, sum[GruSlot::n]);
      store(gates + GruSlot::z * w.pad, update);
      store(rows.rh[i + r] + unit, rh, n);
      if (rows.save) {
        store(gates + GruSlot::r * w.pad, reset);
        store(gates + GruSlot::recurrent * w.pad, rh);
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
    for (i64 r = 0; r < m; ++r) start[r] = rows.gates[i + r] + GruSlot::n * w.pad + unit;
    find_tile<1>(w.Rn.bf16, m)(sums, start, 0, {}, {rows.rh + i, panel(w.Rn, p), w.units});
    for (i64 r = 0; r < m; ++r) {
      float* gates = rows.gates[i + r] + unit;
      const vf candidate = tanh(sums[r]), update = load(gates + GruSlot::z * w.pad);
      const vf h = load(rows.h[i + r] + unit, n);
      store(rows.h_out[i + r] + unit, (1.0f - update) * candidate + update * h, n);
      if (rows.save) store(gates + GruSlot::n * w.pad, candidate);
    }
  });
}

static void elman(const CellWeights& w, const StepRows& rows, i64 first, i64 last) {
  const int vectors = int(w.R.vectors), step = tile_rows(vectors);
  vf sums[max_rows * plain_vectors];
  each_tile(rows, first, last, step, [&](i64 i, i64 m, i64 p) {
    sum_products(plain_tile(w.R, m), w, rows, i, m, p, sums);
    for (i64 r = 0; r < m; ++r)
      for (int j = 0; j < vectors; ++j) {
        const i64 unit = p * w.R.panel_step + j * V, n = w.units - unit;
        if (n <= 0) break;
        const vf a = sums[r * vectors + j];
        const vf h = w.relu ? (a <= 0.0f ? vf{} : a) : tanh(a);
        store(rows.h_out[i + r] + unit, h, n);
        if (rows.save) store(rows.gates[i + r] + unit, a);
      }
  });
}
