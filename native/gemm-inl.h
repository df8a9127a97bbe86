// Plain matrix products over packed panels, and the products that give weight gradients.

constexpr i64 depth_block = 512;  // of a panel: 128 KB at 64 columns, within a second-level cache

static void gemm(const Panels& b, i64 rows, const float* const* a, i64 first, i64 last,
                 const float* bias, bool add, float* const* out, i64 columns) {
  const int step = tile_rows(int(b.vectors));
  // As many rows at a time as stay in the second-level cache while the panels pass by.
  i64 group = 65536 / (b.depth > 0 ? b.depth : 1) / step * step;
  if (group < 4 * step) group = 4 * step;
  vf sums[max_rows * plain_vectors];
  const float *shifted[max_rows], *begin[max_rows];
  for (int r = 0; r < step; ++r) begin[r] = reinterpret_cast<const float*>(sums + r * b.vectors);
  for (i64 start = 0; start < rows; start += group) {
    const i64 stop = smaller(rows, start + group);
    for (i64 p = first; p < last; ++p) {
      i64 k = 0;
      do {
        const i64 depth = smaller(depth_block, b.depth - k);
        for (i64 i = start, m; i < stop; i += m) {
          m = next_rows(stop - i, step);
          for (i64 r = 0; r < m; ++r) {
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
          plain_tile(b, m)(sums, begin, V, {}, {shifted, panel(b, p, k), depth});
          for (i64 r = 0; r < m; ++r)
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

constexpr int tn_rows = many_registers ? 8 : 4;
constexpr int tn_vectors = 3;

static i64 tn_strips(i64 n) { return (n + tn_rows - 1) / tn_rows; }

static i64 tn_work(i64 count, i64 n) {
  return tn_chunk * (count * tn_strips(n) * tn_rows + tn_vectors * V);
}

// out[i][N] = or, with `add`, += sum over rows r of a[r][i] * b[r][N], for tn_rows of i.
template <int N>
static void tn_tile(const float* a, const float* b, i64 rows, float* out, i64 stride, bool add) {
  vf acc[tn_rows][N] = {};
#pragma GCC unroll 1
  for (i64 r = 0; r < rows; ++r, a += tn_rows, b += N * V) {
    vf right[N];
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) right[j] = load(b + j * V);
#pragma GCC unroll 8
    for (int i = 0; i < tn_rows; ++i) {
      const vf factor = splat(a[i]);
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) acc[i][j] += right[j] * factor;
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < tn_rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) {
      float* to = out + i * stride + j * V;
      store(to, add ? load(to) + acc[i][j] : acc[i][j]);
    }
}

static constexpr void (*tn_tiles[tn_vectors])(const float*, const float*, i64, float*, i64,
                                              bool) = {tn_tile<1>, tn_tile<2>, tn_tile<3>};

// Strips of tn_rows columns, each with its rows one after the other. On the way the columns are
// added up, to `sums` where it is given.
static void tn_pack(float* to, i64 rows, const float* const* a, i64 offset, i64 n, float* sums) {
  constexpr i64 line = 16;  // floats that are read together: several strips
  constexpr i64 strip = tn_chunk * tn_rows;
  i64 first = 0;
  for (; first + line <= n; first += line, to += line / tn_rows * strip) {
    vf total[line / V] = {};
    for (i64 r = 0; r < rows; ++r) {
      const float* from = a[r] + offset + first;
#pragma GCC unroll 4
      for (i64 s = 0; s < line / tn_rows; ++s)
        __builtin_memcpy(to + s * strip + r * tn_rows, from + s * tn_rows, tn_rows * sizeof(float));
#pragma GCC unroll 4
      for (i64 j = 0; j < line / V; ++j) total[j] += load(from + j * V);
    }
    for (i64 j = 0; sums && j < line; j += V)
      store(sums + first + j, load(sums + first + j) + total[j / V]);
  }
  for (; first < n; first += tn_rows, to += strip)
    for (i64 i = 0; i < tn_rows; ++i) {
      const bool within = first + i < n;
      float total = 0.0f;
      for (i64 r = 0; r < rows; ++r) {
        const float value = within ? a[r][offset + first + i] : 0.0f;
        to[r * tn_rows + i] = value;
        total += value;
      }
      if (sums && within) sums[first + i] += total;
    }
}

// One panel of a right side, its rows one after the other.
static void tn_pack_right(float* to, i64 rows, const Right& right, i64 start, i64 column,
                          i64 vectors) {
  for (i64 r = start; r < start + rows; ++r)
    for (i64 j = 0; j < vectors; ++j, to += V) {
      const i64 at = column + j * V;
      store(to, load(right.rows[r] + at, right.columns - at));
    }
}

// All strips of a packed left side times a packed panel.
static void tn_strips_times(const float* left, i64 n, const float* panel, i64 vectors, i64 depth,
                            float* C, i64 columns, i64 width, bool add) {
  float edge[tn_rows * tn_vectors * V];
  for (i64 row = 0; row < n; row += tn_rows, left += tn_chunk * tn_rows, C += tn_rows * columns) {
    const i64 height = smaller(tn_rows, n - row);
    if (height == tn_rows && width == vectors * V) {
      // The sums so far are far away where C is large.
      for (i64 i = 0; i < tn_rows; ++i)
        for (i64 j = 0; j < width; j += 16) __builtin_prefetch(C + i * columns + j, 1);
      tn_tiles[vectors - 1](left, panel, depth, C, columns, add);
      continue;
    }
    tn_tiles[vectors - 1](left, panel, depth, edge, vectors * V, false);
    for (i64 i = 0; i < height; ++i)
      for (i64 j = 0; j < width; ++j) {
        const float sum = edge[i * vectors * V + j];
        C[i * columns + j] = add ? C[i * columns + j] + sum : sum;
      }
  }
}

static void gemm_tn(i64 rows, const float* const* a, const Product* products, i64 count, i64 n,
                    const Right* rights, i64 right_count, bool add, float* work) {
  float* const panel = work;
  float* const left = work + tn_chunk * tn_vectors * V;
  const i64 packed = tn_strips(n) * tn_chunk * tn_rows;
  i64 start = 0;
  do {
    const i64 depth = smaller(tn_chunk, rows - start);
    for (i64 p = 0; p < count; ++p)
      tn_pack(left + p * packed, depth, a + start, products[p].offset, n, products[p].sums);
    for (i64 r = 0; r < right_count; ++r) {
      const i64 columns = rights[r].columns, all = (columns + V - 1) / V;
      const i64 panels = (all + tn_vectors - 1) / tn_vectors;
      i64 vectors;
      for (i64 column = 0; column < columns; column += vectors * V) {
        const i64 remaining = (columns - column + V - 1) / V;
        vectors = smaller((all + panels - 1) / panels, remaining);
        tn_pack_right(panel, depth, rights[r], start, column, vectors);
        const i64 width = smaller(vectors * V, columns - column);
        for (i64 p = 0; p < count; ++p)
          if (products[p].into[r])
            tn_strips_times(left + p * packed, n, panel, vectors, depth,
                            products[p].into[r] + column, columns, width, add || start > 0);
      }
    }
    start += depth;
  } while (start < rows);
}
