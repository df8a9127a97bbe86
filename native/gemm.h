// Plain matrix products over packed panels, and the products that give weight gradients.

constexpr i64 depth_block = 512;  // of a panel: 128 KB at 64 columns, within a second-level cache

static void gemm(const Panels& b, i64 rows, const float* const* a, i64 first, i64 last,
                 const float* bias, bool add, bool turned, float* const* out, i64 columns) {
  const int step = tile_rows(int(b.vectors));
  // As many rows at a time as stay in the second-level cache while the panels pass by.
  i64 group = 65536 / (b.depth > 0 ? b.depth : 1) / step * step;
  if (group < 4 * step) group = 4 * step;
  vf sums[most_rows * 4];
  const float* shifted[most_rows];
  for (i64 start = 0; start < rows; start += group) {
    const i64 stop = least(rows, start + group);
    for (i64 q = first; q < last; ++q) {
      const i64 p = turned ? first + last - 1 - q : q;
      i64 k = 0;
      do {
        const i64 depth = least(depth_block, b.depth - k);
        for (i64 i = start; i < stop; i += step) {
          const int m = int(least(step, stop - i));
          for (int r = 0; r < m; ++r) {
            shifted[r] = a[i + r] + k;
            for (i64 j = 0; j < b.vectors; ++j) {
              const i64 column = p * b.panel_step + j * b.vector_step;
              const i64 n = columns - column;
              vf& s = sums[r * b.vectors + j];
              if (k > 0 || add)
                s = n > 0 ? load(out[i + r] + column, n) : vf{};
              else
                s = bias ? load(bias + column) : vf{};
            }
          }
          find_tile(b, m)(sums, shifted, panel(b, p, k), depth);
          for (int r = 0; r < m; ++r)
            for (i64 j = 0; j < b.vectors; ++j) {
              const i64 column = p * b.panel_step + j * b.vector_step;
              if (column < columns)
                store(out[i + r] + column, sums[r * b.vectors + j], columns - column);
            }
        }
        k += depth;
      } while (k < b.depth);
    }
  }
}

// Weight gradients: rows of time and batch are summed over, in chunks whose right side is packed.

constexpr int tn_rows = many_registers ? 6 : 3;
constexpr int tn_vectors = 4;
constexpr i64 tn_chunk = 128;
static_assert(tn_rows <= tn_slack, "a tile reads so far behind the columns asked for");

static i64 tn_work() { return tn_chunk * tn_vectors * V; }

// sums[tn_rows][N] over rows r of a[r][at + i] * b[r][N].
template <int N>
static void tn_tile(vf* sums, const float* const* a, i64 at, const float* b, i64 rows) {
  vf acc[tn_rows][N] = {};
#pragma GCC unroll 1
  for (i64 r = 0; r < rows; ++r, b += N * V) {
    const float* left = a[r] + at;
    vf right[N];
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) right[j] = load(b + j * V);
#pragma GCC unroll 8
    for (int i = 0; i < tn_rows; ++i) {
      const vf factor = splat(left[i]);
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) acc[i][j] += right[j] * factor;
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < tn_rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) sums[i * N + j] = acc[i][j];
}

static constexpr void (*tn_tiles[4])(vf*, const float* const*, i64, const float*, i64) = {
    tn_tile<1>, tn_tile<2>, tn_tile<3>, tn_tile<4>};

static void gemm_tn(i64 rows, const float* const* a, const Product* products, i64 count, i64 n,
                    const float* const* b, i64 m, float* work) {
  vf sums[tn_rows * tn_vectors];
  const i64 all = (m + V - 1) / V, panels = (all + tn_vectors - 1) / tn_vectors;
  const i64 most = panels ? (all + panels - 1) / panels : 1;
  i64 start = 0;
  do {
    const i64 depth = least(tn_chunk, rows - start);
    i64 vectors;
    for (i64 column = 0; column < m; column += vectors * V) {
      vectors = least(most, (m - column + V - 1) / V);
      float* packed = work;
      for (i64 r = 0; r < depth; ++r)
        for (i64 j = 0; j < vectors; ++j, packed += V) {
          const i64 at = column + j * V;
          store(packed, load(b[start + r] + at, m - at));
        }
      for (i64 p = 0; p < count; ++p)
        for (i64 row = 0; row < n; row += tn_rows) {
          tn_tiles[vectors - 1](sums, a + start, products[p].offset + row, work, depth);
          for (i64 i = 0; i < least(tn_rows, n - row); ++i)
            for (i64 j = 0; j < vectors; ++j) {
              const i64 at = column + j * V;
              float* to = products[p].C + (row + i) * m + at;
              const vf sum = sums[i * vectors + j];
              store(to, start ? load(to, m - at) + sum : sum, m - at);
            }
        }
    }
    start += depth;
  } while (start < rows);
}

static void column_sums(i64 rows, const float* const* a, i64 offset, i64 n, float* out) {
  i64 column = 0;
  for (; column + 4 * V <= n; column += 4 * V) {
    vf total[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) total[j] = load(out + column + j * V);
    for (i64 r = 0; r < rows; ++r)
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) total[j] += load(a[r] + offset + column + j * V);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) store(out + column + j * V, total[j]);
  }
  for (; column < n; column += V) {
    const i64 width = n - column;
    vf total = load(out + column, width);
    for (i64 r = 0; r < rows; ++r) total += load(a[r] + offset + column, width);
    store(out + column, total, width);
  }
}
