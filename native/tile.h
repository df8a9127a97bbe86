// The inner loop of everything: a few rows times one panel, sums held in registers.

// Rows of a tile: as many as leave registers for a factor of each row and one vector of the panel,
// or for the panel's vectors and one factor. Twelve sums keep two units with a latency of four busy.
constexpr int tile_rows(int vectors) {
  return many_registers ? (vectors == 4 ? 6 : 8)
                        : (vectors == 4 ? 3 : vectors == 3 ? 4 : vectors == 2 ? 6 : 8);
}

constexpr int most_rows = 8;
constexpr int plain_vectors = many_registers ? 4 : 2;  // in a panel of a plain matrix

// Too few sums leave the multiply-adds waiting for one another: then several k have their own.
constexpr int chains(int rows, int vectors) {
  return rows * vectors >= 8 ? 1 : rows * vectors >= 4 ? 2 : rows * vectors >= 2 ? 4 : 8;
}

// sums[rows][vectors] += a[row][k] * panel[k][vector], k from 0 to depth.
template <int M, int N>
static void tile(vf* sums, const float* const* a, const void* data, i64 depth) {
  constexpr int U = chains(M, N);
  const float* w = static_cast<const float*>(data);
  const float* row[M];
  vf acc[U][M][N];
#pragma GCC unroll 8
  for (int r = 0; r < M; ++r) {
    row[r] = a[r];
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) {
      acc[0][r][j] = sums[r * N + j];
#pragma GCC unroll 8
      for (int u = 1; u < U; ++u) acc[u][r][j] = vf{};
    }
  }
  i64 k = 0;
#pragma GCC unroll 1
  for (; k + U <= depth; k += U, w += U * N * V) {
#pragma GCC unroll 8
    for (int u = 0; u < U; ++u) {
      vf weights[N];
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) weights[j] = load(w + (u * N + j) * V);
#pragma GCC unroll 8
      for (int r = 0; r < M; ++r) {
        const vf factor = splat(row[r][k + u]);
#pragma GCC unroll 8
        for (int j = 0; j < N; ++j) acc[u][r][j] += weights[j] * factor;
      }
    }
  }
#pragma GCC unroll 1
  for (; k < depth; ++k, w += N * V)
#pragma GCC unroll 8
    for (int r = 0; r < M; ++r)
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) acc[0][r][j] += load(w + j * V) * row[r][k];
#pragma GCC unroll 8
  for (int r = 0; r < M; ++r)
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) {
      vf total = acc[0][r][j];
#pragma GCC unroll 8
      for (int u = 1; u < U; ++u) total += acc[u][r][j];
      sums[r * N + j] = total;
    }
}

// The same with weights in bfloat16, widened by a shift: activations keep float32. A lane holds
// k in its low half and k + 1 in its high one; an odd depth ends with a zero weight.
template <int M, int N>
static void tile_half(vf* sums, const float* const* a, const void* data, i64 depth) {
  constexpr int U = M * N >= 4 ? 1 : 2;
  const int32_t* w = static_cast<const int32_t*>(data);
  const float* row[M];
  vf even[U][M][N], odd[U][M][N];
  constexpr bool split = M * N < 8;
#pragma GCC unroll 8
  for (int r = 0; r < M; ++r) {
    row[r] = a[r];
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) {
#pragma GCC unroll 8
      for (int u = 0; u < U; ++u) even[u][r][j] = odd[u][r][j] = vf{};
      even[0][r][j] = sums[r * N + j];
    }
  }
  i64 k = 0;
#pragma GCC unroll 1
  for (; k + 2 * U <= depth; k += 2 * U, w += U * N * V) {
#pragma GCC unroll 8
    for (int u = 0; u < U; ++u)
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) {
        const vi pair = *reinterpret_cast<const vi_loose*>(w + (u * N + j) * V);
        const vf low = (vf)(pair << 16), high = (vf)(pair & (int32_t)0xffff0000);
#pragma GCC unroll 8
        for (int r = 0; r < M; ++r) {
          even[u][r][j] += low * row[r][k + 2 * u];
          vf& second = split ? odd[u][r][j] : even[u][r][j];
          second += high * row[r][k + 2 * u + 1];
        }
      }
  }
#pragma GCC unroll 1
  for (; k < depth; k += 2, w += N * V)
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) {
      const vi pair = *reinterpret_cast<const vi_loose*>(w + j * V);
      const vf low = (vf)(pair << 16), high = (vf)(pair & (int32_t)0xffff0000);
#pragma GCC unroll 8
      for (int r = 0; r < M; ++r) {
        even[0][r][j] += low * row[r][k];
        if (k + 1 < depth) even[0][r][j] += high * row[r][k + 1];
      }
    }
#pragma GCC unroll 8
  for (int r = 0; r < M; ++r)
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) {
      vf total = even[0][r][j];
#pragma GCC unroll 8
      for (int u = 1; u < U; ++u) total += even[u][r][j];
      if (split)
#pragma GCC unroll 8
        for (int u = 0; u < U; ++u) total += odd[u][r][j];
      sums[r * N + j] = total;
    }
}

using Tile = void (*)(vf*, const float* const*, const void*, i64);

template <int N>
static constexpr Tile tiles_of[2][most_rows] = {
    {tile<1, N>, tile<2, N>, tile<3, N>, tile<4, N>, tile<5, N>, tile<6, N>, tile<7, N>,
     tile<8, N>},
    {tile_half<1, N>, tile_half<2, N>, tile_half<3, N>, tile_half<4, N>, tile_half<5, N>,
     tile_half<6, N>, tile_half<7, N>, tile_half<8, N>}};

INLINE Tile find_tile(const Panels& panels, int rows) {
  switch (panels.vectors) {
    case 1: return tiles_of<1>[panels.half][rows - 1];
    case 2: return tiles_of<2>[panels.half][rows - 1];
    case 3: return tiles_of<3>[panels.half][rows - 1];
    default: return tiles_of<4>[panels.half][rows - 1];
  }
}

INLINE const void* panel(const Panels& panels, i64 p, i64 k = 0) {
  const i64 lanes = panels.vectors * V;
  if (panels.half) {
    return static_cast<const int32_t*>(panels.data) + (p * ((panels.depth + 1) / 2) + k / 2) * lanes;
  }
  return static_cast<const float*>(panels.data) + (p * panels.depth + k) * lanes;
}

INLINE i64 least(i64 a, i64 b) { return a < b ? a : b; }
