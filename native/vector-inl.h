// Vectors of the instruction set this is compiled for.
//
// Included by kernels.cpp only, inside the namespace of an instruction set. No templates of the
// standard library here: the linker may keep either copy of an inline function, and the copy
// compiled for a newer instruction set must never run on an older machine.

typedef float vf __attribute__((vector_size(STATEWISE_WIDTH * 4)));
typedef int32_t vi __attribute__((vector_size(STATEWISE_WIDTH * 4)));
typedef uint32_t vu __attribute__((vector_size(STATEWISE_WIDTH * 4)));
typedef float vf_loose __attribute__((vector_size(STATEWISE_WIDTH * 4), aligned(4), may_alias));
typedef int32_t vi_loose __attribute__((vector_size(STATEWISE_WIDTH * 4), aligned(4), may_alias));

constexpr int V = STATEWISE_WIDTH;
constexpr bool many_registers = STATEWISE_REGISTERS >= 32;

#define STATEWISE_INLINE static inline __attribute__((always_inline))

STATEWISE_INLINE vf load(const float* p) { return *reinterpret_cast<const vf_loose*>(p); }
STATEWISE_INLINE void store(float* p, vf v) { *reinterpret_cast<vf_loose*>(p) = v; }

// Loaded once, for all its uses: a compiler may take it for cheaper to read it again for each.
STATEWISE_INLINE vf load_once(const float* p) {
  vf v = load(p);
#if defined(__AVX512F__)
  asm("" : "+v"(v));
#elif defined(__SSE2__)
  asm("" : "+x"(v));
#elif defined(__aarch64__)
  asm("" : "+w"(v));
#endif
  return v;
}

STATEWISE_INLINE vf splat(float s) {
#if STATEWISE_WIDTH == 16
  return vf{s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s};
#elif STATEWISE_WIDTH == 8
  return vf{s, s, s, s, s, s, s, s};
#else
  return vf{s, s, s, s};
#endif
}

// The first n lanes; the others are zero.
STATEWISE_INLINE vf load(const float* p, i64 n) {
  if (n >= V) return load(p);
  float lanes[V] = {};
  for (i64 l = 0; l < n; ++l) lanes[l] = p[l];
  return load(lanes);
}

STATEWISE_INLINE void store(float* p, vf v, i64 n) {
  if (n >= V) {
    store(p, v);
    return;
  }
  float lanes[V];
  store(lanes, v);
  for (i64 l = 0; l < n; ++l) p[l] = lanes[l];
}

STATEWISE_INLINE float sum(vf v) {
  float lanes[V];
  store(lanes, v);
  for (int half = V / 2; half > 0; half /= 2)
    for (int l = 0; l < half; ++l) lanes[l] += lanes[l + half];
  return lanes[0];
}

// NaN stays NaN: the machine's comparison gives its second operand then.
#if STATEWISE_WIDTH == 16
STATEWISE_INLINE vf at_least(float low, vf x) {
  return (vf)_mm512_max_ps((__m512)splat(low), (__m512)x);
}
STATEWISE_INLINE vf at_most(float high, vf x) {
  return (vf)_mm512_min_ps((__m512)splat(high), (__m512)x);
}
#elif STATEWISE_WIDTH == 8
STATEWISE_INLINE vf at_least(float low, vf x) {
  return (vf)_mm256_max_ps((__m256)splat(low), (__m256)x);
}
STATEWISE_INLINE vf at_most(float high, vf x) {
  return (vf)_mm256_min_ps((__m256)splat(high), (__m256)x);
}
#elif defined(__SSE2__)
STATEWISE_INLINE vf at_least(float low, vf x) {
  return (vf)_mm_max_ps((__m128)splat(low), (__m128)x);
}
STATEWISE_INLINE vf at_most(float high, vf x) {
  return (vf)_mm_min_ps((__m128)splat(high), (__m128)x);
}
#else
STATEWISE_INLINE vf at_least(float low, vf x) { return x < low ? splat(low) : x; }
STATEWISE_INLINE vf at_most(float high, vf x) { return x > high ? splat(high) : x; }
#endif

template <int... L>
struct Lanes {};
template <int N, int... L>
struct FirstLanes : FirstLanes<N - 1, N - 1, L...> {};
template <int... L>
struct FirstLanes<0, L...> {
  using type = Lanes<L...>;
};

// Exchange the upper one of every two groups of S lanes of `a` with the lower one of `b`.
template <int S, int... L>
STATEWISE_INLINE void exchange(vf& a, vf& b, Lanes<L...>) {
  const vf first = __builtin_shufflevector(a, b, (L & S ? L - S + V : L)...);
  b = __builtin_shufflevector(a, b, (L & S ? L + V : L + S)...);
  a = first;
}

// Lane l of row k becomes lane k of row l.
template <int S = 1>
STATEWISE_INLINE void transpose(vf* rows) {
  if constexpr (S < V) {
#pragma GCC unroll 16
    for (int i = 0; i < V; ++i)
      if (!(i & S)) exchange<S>(rows[i], rows[i + S], typename FirstLanes<V>::type());
    transpose<2 * S>(rows);
  }
}
