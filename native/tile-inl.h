// The inner loop of everything: a few rows times one panel, sums held in registers.

// Rows of a tile: as many as leave registers for a factor of each row and one vector of the panel,
// or for the panel's vectors and one factor. Twelve sums keep two units with a latency of four
// busy.
constexpr int tile_rows(int vectors) {
  return many_registers ? (vectors >= 3 ? 6 : 8)
                        : (vectors == 4   ? 3
                           : vectors == 3 ? 4
                           : vectors == 2 ? 6
                                          : 8);
}

constexpr int max_rows = 8;
constexpr int plain_vectors = many_registers ? 4 : 2;  // in a panel of a plain matrix

// Too few sums leave the multiply-adds waiting for one another: then several k have their own, and
// with bfloat16 the two of a lane.
template <typename Weight, int M, int N>
constexpr int chains = M * N >= 8   ? 1
                       : M * N >= 4 ? 2
                       : M * N >= 2 ? 4
                                    : 8;
template <int M, int N>
constexpr int chains<int32_t, M, N> = M * N >= 8   ? 1
                                      : M * N >= 4 ? 2
                                                   : 4;

// sums[any][row][A + j] += rows[row][k] * panel[k][j], k from 0 to depth, j from 0 to B - A.
template <int A, int B, int U, int M, int N>
STATEWISE_INLINE void multiply(vf (&sums)[U][M][N], const float* const* rows, const float* w,
                               i64 depth) {
  const float* row[M];
#pragma GCC unroll 8
  for (int r = 0; r < M; ++r) row[r] = rows[r];
  i64 k = 0;
#pragma GCC unroll 1
  for (; k + U <= depth; k += U) {
#pragma GCC unroll 8
    for (int u = 0; u < U; ++u, w += (B - A) * V) {
      vf weights[N];
#pragma GCC unroll 8
      for (int j = A; j < B; ++j)
        weights[j] = M > 1 ? load_once(w + (j - A) * V) : load(w + (j - A) * V);
#pragma GCC unroll 8
      for (int r = 0; r < M; ++r) {
        const vf factor = splat(row[r][k + u]);
#pragma GCC unroll 8
        for (int j = A; j < B; ++j) sums[u][r][j] += weights[j] * factor;
      }
    }
  }
#pragma GCC unroll 1
  for (; k < depth; ++k, w += (B - A) * V)
#pragma GCC unroll 8
    for (int r = 0; r < M; ++r)
#pragma GCC unroll 8
      for (int j = A; j < B; ++j) sums[0][r][j] += load(w + (j - A) * V) * row[r][k];
}

// The same with weights in bfloat16, widened by a shift: activations keep float32. A lane holds
// k in its low half and k + 1 in its high one; an odd depth ends with a zero weight.
template <int A, int B, int U, int M, int N>
STATEWISE_INLINE void multiply(vf (&sums)[U][M][N], const float* const* rows, const int32_t* w,
                               i64 depth) {
  constexpr int lanes = U > 1 ? U / 2 : 1;
  const float* row[M];
#pragma GCC unroll 8
  for (int r = 0; r < M; ++r) row[r] = rows[r];
  i64 k = 0;
#pragma GCC unroll 1
  for (; k + 2 * lanes <= depth; k += 2 * lanes) {
#pragma GCC unroll 8
    for (int u = 0; u < lanes; ++u, w += (B - A) * V)
#pragma GCC unroll 8
      for (int j = A; j < B; ++j) {
        const vi pair = *reinterpret_cast<const vi_loose*>(w + (j - A) * V);
        const vf low = (vf)(pair << 16), high = (vf)(pair & (int32_t)0xffff0000);
#pragma GCC unroll 8
        for (int r = 0; r < M; ++r) {
          sums[2 * u][r][j] += low * row[r][k + 2 * u];
          sums[U > 1 ? 2 * u + 1 : 0][r][j] += high * row[r][k + 2 * u + 1];
        }
      }
  }
#pragma GCC unroll 1
  for (; k < depth; k += 2, w += (B - A) * V)
#pragma GCC unroll 8
    for (int j = A; j < B; ++j) {
      const vi pair = *reinterpret_cast<const vi_loose*>(w + (j - A) * V);
      const vf low = (vf)(pair << 16), high = (vf)(pair & (int32_t)0xffff0000);
#pragma GCC unroll 8
      for (int r = 0; r < M; ++r) {
        sums[0][r][j] += low * row[r][k];
        if (k + 1 < depth) sums[0][r][j] += high * row[r][k + 1];
      }
    }
}

// Rows, and the panel that they are multiplied with.
struct Factor {
  const float* const* rows;
  const void* panel;
  i64 depth;
};

// sums[row][j] = start[row][j * step] + products: those with the panel of `x`, X vectors wide, go
// to the first of the N vectors, those with the panel of `h` to the last H. The sums stay in
// registers.
template <typename Weight, int M, int N, int X, int H>
static void tile(vf* sums, const float* const* start, i64 step, const Factor& x, const Factor& h) {
  constexpr int U = chains<Weight, M, N>;
  vf all[U][M][N];
#pragma GCC unroll 8
  for (int r = 0; r < M; ++r)
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) {
      all[0][r][j] = load(start[r] + j * step);
#pragma GCC unroll 8
      for (int u = 1; u < U; ++u) all[u][r][j] = vf{};
    }
  if (x.depth) multiply<0, X>(all, x.rows, static_cast<const Weight*>(x.panel), x.depth);
  multiply<N - H, N>(all, h.rows, static_cast<const Weight*>(h.panel), h.depth);
#pragma GCC unroll 8
  for (int r = 0; r < M; ++r)
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) {
      vf total = all[0][r][j];
#pragma GCC unroll 8
      for (int u = 1; u < U; ++u) total += all[u][r][j];
      sums[r * N + j] = total;
    }
}

using Tile = void (*)(vf*, const float* const*, i64, const Factor&, const Factor&);

// Tiles of 1, 2, ... rows, as many as `tile_rows` says.
template <typename Weight, int N, int X, int H, int M = tile_rows(N)>
struct Tiles : Tiles<Weight, N, X, H, M - 1> {
  constexpr Tiles() { this->of[M - 1] = tile<Weight, M, N, X, H>; }
};
template <typename Weight, int N, int X, int H>
struct Tiles<Weight, N, X, H, 0> {
  Tile of[max_rows] = {};
};

template <int N, int X = N, int H = N>
STATEWISE_INLINE Tile find_tile(bool bf16, i64 rows) {
  static constexpr Tiles<float, N, X, H> in_float;
  static constexpr Tiles<int32_t, N, X, H> in_bf16;
  return (bf16 ? in_bf16.of : in_float.of)[rows - 1];
}

STATEWISE_INLINE Tile plain_tile(const Panels& panels, i64 rows) {
  switch (panels.vectors) {
    case 1:
      return find_tile<1>(panels.bf16, rows);
    case 2:
      return find_tile<2>(panels.bf16, rows);
    case 3:
      return find_tile<3>(panels.bf16, rows);
    default:
      return find_tile<4>(panels.bf16, rows);
  }
}

STATEWISE_INLINE const void* panel(const Panels& panels, i64 p, i64 k = 0) {
  const i64 lanes = panels.vectors * V;
  if (panels.bf16) {
    return static_cast<const int32_t*>(panels.data) +
           (p * ((panels.depth + 1) / 2) + k / 2) * lanes;
  }
  return static_cast<const float*>(panels.data) + (p * panels.depth + k) * lanes;
}

STATEWISE_INLINE i64 smaller(i64 a, i64 b) { return a < b ? a : b; }

// Rows of the next tile: no more than `most`, and about as many as in those that follow. A tile of
// few rows would read its panel for little work.
STATEWISE_INLINE i64 next_rows(i64 left, i64 most) {
  if (left <= most) return left;
  const i64 tiles = (left + most - 1) / most;
  return (left + tiles - 1) / tiles;
}
