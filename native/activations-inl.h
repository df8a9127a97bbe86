// Accurate exp, sigmoid and tanh of a vector.

// e^x for x from -104 to 89, as 2^n p. The exponent of 2^n is made larger by `shift`, which is in
// its place in a float already, and `scale` makes up for that: so the result goes through the
// denormals to zero and up to infinity. The polynomial is within 1.1e-7 of e^r, where |r| < ln(2)
// / 2.
STATEWISE_INLINE vf power(vf x, [[maybe_unused]] vi shift, [[maybe_unused]] vf scale) {
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

STATEWISE_INLINE vf exp(vf x) {
  const vi rising = x > 0.0f;
  const vi shift = rising ? vi{} + 126 * exponent_one : vi{} + 191 * exponent_one;
  return power(at_most(89.0f, at_least(-104.0f, x)), shift, rising ? splat(2.0f) : splat(0x1p-64f));
}

#if STATEWISE_WIDTH >= 8
// 2^(j / 8), less what j adds to the bits of a float when it is shifted to the exponent's place.
alignas(64) static const uint32_t roots[16] = {
    0x3f800000, 0x3f7b95c2, 0x3f7837f0, 0x3f75fed7, 0x3f7504f3, 0x3f75672a, 0x3f7744fd, 0x3f7ac0c7,
    0x3f800000, 0x3f7b95c2, 0x3f7837f0, 0x3f75fed7, 0x3f7504f3, 0x3f75672a, 0x3f7744fd, 0x3f7ac0c7};

#if STATEWISE_WIDTH == 16
STATEWISE_INLINE vu root(vf n) {
  return (vu)_mm512_permutexvar_epi32((__m512i)n, *(const __m512i*)roots);
}
STATEWISE_INLINE vf fused(vf a, vf b, vf c) {
  return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
#else
STATEWISE_INLINE vu root(vf n) {
  return (vu)_mm256_permutevar8x32_epi32(*(const __m256i*)roots, (__m256i)n);
}
STATEWISE_INLINE vf fused(vf a, vf b, vf c) {
  return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
#endif

// 1 / (1 + e^-x), where e^-x is 2^n e^-r, n in eighths, whose roots are looked up. The polynomial
// is within 3e-8 of e^-r. Both sums are 2^64 times smaller: so it goes through the denormals to
// zero.
STATEWISE_INLINE vf sigmoid(vf x) {
  constexpr float magic =
      1.5f * (1 << 20) - 64;  // adding it rounds to eighths, and divides by 2^64
  const vf held = at_most(40.0f, at_least(-104.0f, x));
  const vf n = fused(held, splat(-1.44269504088896341f), splat(magic));
  const vf r = fused(n - magic, splat(0.693147180559945309f), held);  // not rounded in between
  const vf power = (vf)(((vu)n << 20) + root(n));
  vf p = fused(r, splat(-0.166668587f), splat(0.500064537f));
  p = fused(p, r, splat(-1.0f));
  p = fused(p, r, splat(1.0f));
  return 0x1p-64f / fused(p, power, splat(0x1p-64f));
}
#else
STATEWISE_INLINE vf sigmoid(vf x) {
  const vf falling = (vf)((vi)x | (int32_t)0x80000000);  // -|x|
  const vf e = power(at_least(-104.0f, falling), vi{} + 191 * exponent_one, splat(0x1p-64f));
  return (x < 0.0f ? e : splat(1.0f)) / (1.0f + e);
}
#endif

// x p / q, within 9e-9 of it as far as it is held; there the quotient comes to 1 exactly.
STATEWISE_INLINE vf tanh(vf x) {
  constexpr float most = 8.03398514f;
  const vf c = at_most(most, at_least(-most, x));
  const vf z = c * c;
  vf p = z * 1.49078954e-08f + 2.16866156e-05f;
  p = p * z + 3.55973863e-03f;
  p = p * z + 0.134347171f;
  p = p * z + 1.0f;
  vf q = z * 8.39834286e-07f + 3.39139107e-04f;
  q = q * z + 0.026119981f;
  q = q * z + 0.467680454f;
  q = q * z + 1.0f;
  return c * (p / q);
}
