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

INLINE vf absolute(vf x) { return (vf)((vi)x & 0x7fffffff); }

// e^x. Comparisons are written so that NaN stays NaN. The result is scaled by 2^n in two steps,
// so that it goes through the denormals to zero and up to infinity.
INLINE vf exponential(vf x) {
  x = x < -104.0f ? splat(-104.0f) : x;
  x = x > 89.0f ? splat(89.0f) : x;
  const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
  vf shifted = x * 1.44269504088896341f + magic;
  vf n = shifted - magic;
  vf r = x - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  vf p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + (r + 1.0f);
  vi whole = (vi)shifted - 0x4b400000;
  vi first = whole >> 1;
  vi second = whole - first;
  return p * (vf)((first + 127) << 23) * (vf)((second + 127) << 23);
}

INLINE vf sigmoid(vf x) {
  vf e = exponential(-absolute(x));
  return (x < 0.0f ? e : splat(1.0f)) / (1.0f + e);
}

// A quotient of polynomials, as in Eigen and XLA; beyond 7.9 it would stop just short of 1.
INLINE vf hyperbolic(vf x) {
  const vf size = absolute(x);
  const vf c = size > 8.0f ? splat(8.0f) : x;
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
  const vf one = (vf)(((vi)x & (int32_t)0x80000000) | 0x3f800000);
  return size > 7.9f ? one : c * (p / q);
}
