// Plain matrix products over packed panels, and the products that give weight gradients.

constexpr i64 depth_block = 512;  // of a panel: 128 KB at 64 columns, within a second-level cache

static void gemm(const Panels& b, i64 rows, const float* const* a, i64 first, i64 last,
                 const float* bias, bool add, float* const* out, i64 columns) {
  const int step = tile_rows(int(b.vectors));
  // As many rows at a time as stay in the second-level cache while the panels pass by.
  i64 group = 65536 / (b.depth > 0 ? b.depth : 1) / step * step;
  if (group < 4 * step) group = 4 * step;
  vf sums[most_rows * 4];
  const float* shifted[most_rows];
  for (i64 start = 0; start < rows; start += group) {
    const i64 stop = least(rows, start + group);
    for (i64 p = first; p < last; ++p) {
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

// Weight gradients: rows of time and batch are summed over, in chunks packed for the tile.

constexpr int tn_rows = many_registers ? 6 : 5;
constexpr int tn_vectors = many_registers ? 4 : 2;
constexpr i64 tn_chunk = 128;

static i64 tn_work(i64 n) {
  const i64 groups = (n + tn_rows - 1) / tn_rows;
  return tn_chunk * (groups * tn_rows + tn_vectors * V) + 2 * V;
}

// sums[M][N] over rows r of a[r][M] * b[r][N], both packed.
static void tn_tile(vf* sums, const float* a, const float* b, i64 rows) {
  vf acc[tn_rows][tn_vectors] = {};
#pragma GCC unroll 1
  for (i64 r = 0; r < rows; ++r, a += tn_rows, b += tn_vectors * V) {
    vf right[tn_vectors];
#pragma GCC unroll 8
    for (int j = 0; j < tn_vectors; ++j) right[j] = load(b + j * V);
#pragma GCC unroll 8
    for (int i = 0; i < tn_rows; ++i) {
      const vf factor = splat(a[i]);
#pragma GCC unroll 8
      for (int j = 0; j < tn_vectors; ++j) acc[i][j] += right[j] * factor;
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < tn_rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < tn_vectors; ++j) sums[i * tn_vectors + j] = acc[i][j];
}

static void gemm_tn(i64 rows, const float* const* a, i64 offset, i64 n, const float* const* b,
                    i64 m, float* C, i64 stride, float* work) {
  constexpr i64 lanes = tn_vectors * V;
  const i64 groups = (n + tn_rows - 1) / tn_rows;
  float* right = work;
  float* left = work + tn_chunk * lanes;
  vf sums[tn_rows * tn_vectors];
  for (i64 start = 0; start < rows; start += tn_chunk) {
    const i64 count = least(tn_chunk, rows - start);
    for (i64 g = 0; g < groups; ++g) {
      const i64 width = least(tn_rows, n - g * tn_rows);
      float* to = left + g * tn_chunk * tn_rows;
      for (i64 r = 0; r < count; ++r, to += tn_rows) {
        const float* from = a[start + r] + offset + g * tn_rows;
        for (i64 i = 0; i < tn_rows; ++i) to[i] = i < width ? from[i] : 0.0f;
      }
    }
    for (i64 column = 0; column < m; column += lanes) {
      for (i64 r = 0; r < count; ++r)
        for (int j = 0; j < tn_vectors; ++j) {
          const i64 left_over = m - column - j * V;
          const vf v = left_over > 0 ? load(b[start + r] + column + j * V, left_over) : vf{};
          store(right + r * lanes + j * V, v);
        }
      for (i64 g = 0; g < groups; ++g) {
        tn_tile(sums, left + g * tn_chunk * tn_rows, right, count);
        const i64 height = least(tn_rows, n - g * tn_rows);
        for (i64 i = 0; i < height; ++i)
          for (int j = 0; j < tn_vectors; ++j) {
            const i64 left_over = m - column - j * V;
            if (left_over <= 0) continue;
            float* to = C + (g * tn_rows + i) * stride + column + j * V;
            store(to, load(to, left_over) + sums[i * tn_vectors + j], left_over);
          }
      }
    }
  }
}

static void column_sums(i64 rows, const float* const* a, i64 offset, i64 n, float* out) {
  for (i64 column = 0; column < n; column += V) {
    const i64 width = n - column;
    vf total = load(out + column, width);
    for (i64 r = 0; r < rows; ++r) total += load(a[r] + offset + column, width);
    store(out + column, total, width);
  }
}
