// Vectors of the instruction set this is compiled for, and accurate exp, sigmoid and tanh on them.
//
// Included by kernels.cpp only, inside the namespace of an instruction set. No templates of the
// standard library here: the linker may keep either copy of an inline function, and the copy
// compiled for a newer instruction set must never run on an older machine.

typedef float vf __attribute__((vector_size(STATEWISE_WIDTH * 4)));
typedef int32_t vi __attribute__((vector_size(STATEWISE_WIDTH * 4)));
typedef float vf_loose __attribute__((vector_size(STATEWISE_WIDTH * 4), aligned(4), may_alias));
typedef int32_t vi_loose __attribute__((vector_size(STATEWISE_WIDTH * 4), aligned(4), may_alias));

constexpr int V = STATEWISE_WIDTH;
constexpr bool many_registers = STATEWISE_REGISTERS >= 32;

#define INLINE static inline __attribute__((always_inline))

INLINE vf load(const float* p) { return *reinterpret_cast<const vf_loose*>(p); }
INLINE void store(float* p, vf v) { *reinterpret_cast<vf_loose*>(p) = v; }

// Loaded once, for all its uses: a compiler may take it for cheaper to read it again for each.
INLINE vf load_once(const float* p) {
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

INLINE vf splat(float s) {
#if STATEWISE_WIDTH == 16
  return vf{s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s};
#elif STATEWISE_WIDTH == 8
  return vf{s, s, s, s, s, s, s, s};
#else
  return vf{s, s, s, s};
#endif
}

// The first n lanes; the others are zero.
INLINE vf load(const float* p, i64 n) {
  if (n >= V) return load(p);
  float lanes[V] = {};
  for (i64 l = 0; l < n; ++l) lanes[l] = p[l];
  return load(lanes);
}

INLINE void store(float* p, vf v, i64 n) {
  if (n >= V) {
    store(p, v);
    return;
  }
  float lanes[V];
  store(lanes, v);
  for (i64 l = 0; l < n; ++l) p[l] = lanes[l];
}

INLINE float sum(vf v) {
  float lanes[V];
  store(lanes, v);
  for (int half = V / 2; half > 0; half /= 2)
    for (int l = 0; l < half; ++l) lanes[l] += lanes[l + half];
  return lanes[0];
}

// NaN stays NaN: the machine's comparison gives its second operand then.
#if STATEWISE_WIDTH == 16
INLINE vf at_least(float low, vf x) { return (vf)_mm512_max_ps((__m512)splat(low), (__m512)x); }
INLINE vf at_most(float high, vf x) { return (vf)_mm512_min_ps((__m512)splat(high), (__m512)x); }
#elif STATEWISE_WIDTH == 8
INLINE vf at_least(float low, vf x) { return (vf)_mm256_max_ps((__m256)splat(low), (__m256)x); }
INLINE vf at_most(float high, vf x) { return (vf)_mm256_min_ps((__m256)splat(high), (__m256)x); }
#elif defined(__SSE2__)
INLINE vf at_least(float low, vf x) { return (vf)_mm_max_ps((__m128)splat(low), (__m128)x); }
INLINE vf at_most(float high, vf x) { return (vf)_mm_min_ps((__m128)splat(high), (__m128)x); }
#else
INLINE vf at_least(float low, vf x) { return x < low ? splat(low) : x; }
INLINE vf at_most(float high, vf x) { return x > high ? splat(high) : x; }
#endif

// e^x for x from -104 to 89, as 2^n p. The exponent of 2^n is made larger by `shift`, which is in
// its place in a float already, and `scale` makes up for that: so the result goes through the
// denormals to zero and up to infinity. The polynomial is within 1.1e-7 of e^r, where |r| < ln(2) / 2.
INLINE vf power(vf x, [[maybe_unused]] vi shift, [[maybe_unused]] vf scale) {
  const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
  const vf shifted = x * 1.44269504088896341f + magic;
  const vf n = shifted - magic;
  vf r = x - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  vf p = r * 8.312502875e-3f + 4.189033061e-2f;
  p = p * r + 1.66671157e-1f;
  p = p * r + 4.99992311e-1f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
#if STATEWISE_WIDTH == 16
  return (vf)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
  return p * (vf)(((vi)shifted << 23) + shift) * scale;
#endif
}

constexpr int32_t exponent_one = 1 << 23;

INLINE vf exponential(vf x) {
  const vi rising = x > 0.0f;
  const vi shift = rising ? vi{} + 126 * exponent_one : vi{} + 191 * exponent_one;
  return power(at_most(89.0f, at_least(-104.0f, x)), shift, rising ? splat(2.0f) : splat(0x1p-64f));
}

INLINE vf sigmoid(vf x) {
  const vf falling = (vf)((vi)x | (int32_t)0x80000000);  // -|x|
  const vf e = power(at_least(-104.0f, falling), vi{} + 191 * exponent_one, splat(0x1p-64f));
  return (x < 0.0f ? e : splat(1.0f)) / (1.0f + e);
}

// A quotient of polynomials, as in Eigen and XLA. It comes to 1 exactly where x is held.
INLINE vf hyperbolic(vf x) {
  constexpr float most = 7.96357203f;
  const vf c = at_most(most, at_least(-most, x));
  const vf z = c * c;
  vf p = z * -2.76076847742355e-16f + 2.00018790482477e-13f;
  p = p * z - 8.60467152213735e-11f;
  p = p * z + 5.12229709037114e-08f;
  p = p * z + 1.48572235717979e-05f;
  p = p * z + 6.37261928875436e-04f;
  p = p * z + 4.89352455891786e-03f;
  vf q = z * 1.19825839466702e-06f + 1.18534705686654e-04f;
  q = q * z + 2.26843463243900e-03f;
  q = q * z + 4.89352518554385e-03f;
  return c * (p / q);
}

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
INLINE void exchange(vf& a, vf& b, Lanes<L...>) {
  const vf first = __builtin_shufflevector(a, b, (L & S ? L - S + V : L)...);
  b = __builtin_shufflevector(a, b, (L & S ? L + V : L + S)...);
  a = first;
}

// Lane l of row k becomes lane k of row l.
template <int S = 1>
INLINE void transpose(vf* rows) {
  if constexpr (S < V) {
#pragma GCC unroll 16
    for (int i = 0; i < V; ++i)
      if (!(i & S)) exchange<S>(rows[i], rows[i + S], typename FirstLanes<V>::type());
    transpose<2 * S>(rows);
  }
}
