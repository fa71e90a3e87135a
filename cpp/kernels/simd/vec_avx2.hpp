// Vectors of AVX2 and FMA.
#pragma once
#include <immintrin.h>

#include <cstdint>

namespace fastconv::avx2 {

template <class T>
struct Vec;

template <>
struct Vec<float> {
  static constexpr int width = 8;
  using Element = float;
  __m256 v;

  static Vec zero() { return {_mm256_setzero_ps()}; }
  static Vec set(float x) { return {_mm256_set1_ps(x)}; }
  static Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
  // The first n (0 to width) elements; the others are zero and their memory is not touched.
  static Vec load(const float* p, int n) { return {_mm256_maskload_ps(p, lanes(n))}; }
  void store(float* p) const { _mm256_storeu_ps(p, v); }
  void stream(float* p) const { _mm256_stream_ps(p, v); }
  static void end_stream() { _mm_sfence(); }
  void store(float* p, int n) const { _mm256_maskstore_ps(p, lanes(n), v); }
  static __m256i lanes(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }

  friend Vec operator+(Vec a, Vec b) { return {_mm256_add_ps(a.v, b.v)}; }
  friend Vec operator-(Vec a, Vec b) { return {_mm256_sub_ps(a.v, b.v)}; }
  friend Vec operator*(Vec a, Vec b) { return {_mm256_mul_ps(a.v, b.v)}; }
  friend Vec operator/(Vec a, Vec b) { return {_mm256_div_ps(a.v, b.v)}; }
  friend Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }  // a * b + c
  // Stays in a register: folded into each FMA that reads it, it would be loaded again.
  static Vec load_once(const float* p) { return in_register(load(p)); }
  static Vec load_once(const float* p, int n) { return in_register(load(p, n)); }
  static Vec in_register(Vec a) {
#if defined(__GNUC__)
    asm("" : "+x"(a.v));
#endif
    return a;
  }
  // The second operand when either is NaN.
  friend Vec max(Vec a, Vec b) { return {_mm256_max_ps(a.v, b.v)}; }
  friend Vec min(Vec a, Vec b) { return {_mm256_min_ps(a.v, b.v)}; }
  friend Vec sqrt(Vec a) { return {_mm256_sqrt_ps(a.v)}; }
  friend Vec abs(Vec a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
  // Comparisons give a Mask; select(m, a, b) is m ? a : b. Ordered: false for NaN.
  struct Mask {
    __m256 m;
  };
  friend Mask less(Vec a, Vec b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
  friend Mask less_equal(Vec a, Vec b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LE_OQ)}; }
  friend Mask equal(Vec a, Vec b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_EQ_OQ)}; }
  friend Mask is_nan(Vec a) { return {_mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q)}; }
  friend Vec select(Mask m, Vec a, Vec b) { return {_mm256_blendv_ps(b.v, a.v, m.m)}; }
  friend Vec round(Vec a) { return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
  // a * 2^n for integral n in [-252, 254], in two steps so that the powers stay normal.
  friend Vec ldexp(Vec a, Vec n) {
    const __m256i i = _mm256_cvtps_epi32(n.v), half = _mm256_srai_epi32(i, 1), bias = _mm256_set1_epi32(127);
    const __m256i lo = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
    const __m256i hi = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(i, half), bias), 23);
    return {_mm256_mul_ps(_mm256_mul_ps(a.v, _mm256_castsi256_ps(lo)), _mm256_castsi256_ps(hi))};
  }
  // 2^(k / power_steps) for whole numbers k that make it normal, a being k + 1.5 * 2^23. The table has the bits of
  // 2^(j / power_steps) less j << 20, so that adding k << 20 needs no split of k.
  static constexpr int power_steps = 8;
  friend Vec power_of_2(Vec a) {
    const __m256i k = _mm256_castps_si256(a.v);
    const __m256i table = _mm256_setr_epi32(0x3f800000, 0x3f7b95c2, 0x3f7837f0, 0x3f75fed7, 0x3f7504f3, 0x3f75672a,
                                            0x3f7744fd, 0x3f7ac0c7);
    const __m256i power = _mm256_permutevar8x32_epi32(table, k);
    return {_mm256_castsi256_ps(_mm256_add_epi32(power, _mm256_slli_epi32(k, 20)))};
  }
  // Of positive normal numbers: a = mantissa(a) * 2^exponent(a), the mantissa in [1, 2).
  friend Vec exponent(Vec a) {
    return {
        _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_srli_epi32(_mm256_castps_si256(a.v), 23), _mm256_set1_epi32(127)))};
  }
  friend Vec mantissa(Vec a) {
    const __m256i bits = _mm256_and_si256(_mm256_castps_si256(a.v), _mm256_set1_epi32(0x007fffff));
    return {_mm256_castsi256_ps(_mm256_or_si256(bits, _mm256_set1_epi32(0x3f800000)))};
  }
  friend float largest(Vec a) {  // of its elements; arbitrary with NaN among them
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_shuffle_ps(s, s, 1)));
  }
  // Small whole numbers as bytes; equal_bytes reads at least `width` bytes.
  void store_bytes(std::uint8_t* p) const {
    const __m256i i = _mm256_cvtps_epi32(v);
    const __m128i s = _mm_packs_epi32(_mm256_castsi256_si128(i), _mm256_extracti128_si256(i, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(s, s));
  }
  static Mask equal_bytes(const std::uint8_t* p, int x) {
    const __m256i i = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
    return {_mm256_castsi256_ps(_mm256_cmpeq_epi32(i, _mm256_set1_epi32(x)))};
  }
  friend float sum(Vec a) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
  }

  // The elements of even and of odd places in a, then b.
  static void part(Vec a, Vec b, Vec& even, Vec& odd) {
    const auto sorted = [](__m256 v) { return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(v), 0xd8)); };
    even.v = sorted(_mm256_shuffle_ps(a.v, b.v, 0x88));
    odd.v = sorted(_mm256_shuffle_ps(a.v, b.v, 0xdd));
  }
  // Element j of r[i] and element i of r[j] change places.
  static void transpose(Vec (&r)[8]) {
    __m256 a[8], b[8];
    for (int i = 0; i < 8; i += 2) {
      a[i] = _mm256_unpacklo_ps(r[i].v, r[i + 1].v);
      a[i + 1] = _mm256_unpackhi_ps(r[i].v, r[i + 1].v);
    }
    for (int i = 0; i < 8; i += 4) {
      b[i] = _mm256_shuffle_ps(a[i], a[i + 2], 0x44);
      b[i + 1] = _mm256_shuffle_ps(a[i], a[i + 2], 0xee);
      b[i + 2] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0x44);
      b[i + 3] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0xee);
    }
    for (int j = 0; j < 4; ++j) {
      r[j].v = _mm256_permute2f128_ps(b[j], b[4 + j], 0x20);
      r[4 + j].v = _mm256_permute2f128_ps(b[j], b[4 + j], 0x31);
    }
  }

  // Element i of r[c] goes to place 3 * i + c of them all.
  static void interleave(Vec (&r)[3]) {
    const __m256 a = _mm256_permutevar8x32_ps(r[0].v, _mm256_setr_epi32(0, 3, 6, 1, 4, 7, 2, 5));
    const __m256 b = _mm256_permutevar8x32_ps(r[1].v, _mm256_setr_epi32(5, 0, 3, 6, 1, 4, 7, 2));
    const __m256 c = _mm256_permutevar8x32_ps(r[2].v, _mm256_setr_epi32(2, 5, 0, 3, 6, 1, 4, 7));
    constexpr int second = 0x92, third = 0x24;  // places 1, 4, 7 and 2, 5
    r[0].v = _mm256_blend_ps(_mm256_blend_ps(a, b, second), c, third);
    r[1].v = _mm256_blend_ps(_mm256_blend_ps(c, a, second), b, third);
    r[2].v = _mm256_blend_ps(_mm256_blend_ps(b, c, second), a, third);
  }

  using Broadcast = Vec;
  static Broadcast broadcast(const float* p) {
    Vec b{_mm256_broadcast_ss(p)};
#if defined(__GNUC__)
    asm("" : "+x"(b.v));  // keeps it in a register: folded into each FMA it would be loaded again
#endif
    return b;
  }
  // acc += w * b. One instruction on registers: from intrinsics GCC folds the weights' loads into the FMAs.
  static void accumulate(Vec& acc, Vec w, Broadcast b) {
#if defined(__GNUC__)
    asm("vfmadd231ps %2, %1, %0" : "+x"(acc.v) : "x"(w.v), "x"(b.v));
#else
    acc.v = _mm256_fmadd_ps(w.v, b.v, acc.v);
#endif
  }
};

template <>
struct Vec<double> {
  static constexpr int width = 4;
  using Element = double;
  static constexpr int power_steps = 0;  // no power_of_2
  __m256d v;

  static Vec zero() { return {_mm256_setzero_pd()}; }
  static Vec set(double x) { return {_mm256_set1_pd(x)}; }
  static Vec load(const double* p) { return {_mm256_loadu_pd(p)}; }
  static Vec load(const double* p, int n) { return {_mm256_maskload_pd(p, lanes(n))}; }
  void store(double* p) const { _mm256_storeu_pd(p, v); }
  void stream(double* p) const { _mm256_stream_pd(p, v); }
  static void end_stream() { _mm_sfence(); }
  void store(double* p, int n) const { _mm256_maskstore_pd(p, lanes(n), v); }
  static __m256i lanes(int n) { return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3)); }

  friend Vec operator+(Vec a, Vec b) { return {_mm256_add_pd(a.v, b.v)}; }
  friend Vec operator-(Vec a, Vec b) { return {_mm256_sub_pd(a.v, b.v)}; }
  friend Vec operator*(Vec a, Vec b) { return {_mm256_mul_pd(a.v, b.v)}; }
  friend Vec operator/(Vec a, Vec b) { return {_mm256_div_pd(a.v, b.v)}; }
  friend Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_pd(a.v, b.v, c.v)}; }
  // Stays in a register: folded into each FMA that reads it, it would be loaded again.
  static Vec load_once(const double* p) { return in_register(load(p)); }
  static Vec load_once(const double* p, int n) { return in_register(load(p, n)); }
  static Vec in_register(Vec a) {
#if defined(__GNUC__)
    asm("" : "+x"(a.v));
#endif
    return a;
  }
  friend Vec max(Vec a, Vec b) { return {_mm256_max_pd(a.v, b.v)}; }
  friend Vec min(Vec a, Vec b) { return {_mm256_min_pd(a.v, b.v)}; }
  friend Vec sqrt(Vec a) { return {_mm256_sqrt_pd(a.v)}; }
  friend Vec abs(Vec a) { return {_mm256_andnot_pd(_mm256_set1_pd(-0.0), a.v)}; }
  struct Mask {
    __m256d m;
  };
  friend Mask less(Vec a, Vec b) { return {_mm256_cmp_pd(a.v, b.v, _CMP_LT_OQ)}; }
  friend Mask less_equal(Vec a, Vec b) { return {_mm256_cmp_pd(a.v, b.v, _CMP_LE_OQ)}; }
  friend Mask equal(Vec a, Vec b) { return {_mm256_cmp_pd(a.v, b.v, _CMP_EQ_OQ)}; }
  friend Mask is_nan(Vec a) { return {_mm256_cmp_pd(a.v, a.v, _CMP_UNORD_Q)}; }
  friend Vec select(Mask m, Vec a, Vec b) { return {_mm256_blendv_pd(b.v, a.v, m.m)}; }
  friend Vec round(Vec a) { return {_mm256_round_pd(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
  // a * 2^n for integral n in [-2044, 2046].
  friend Vec ldexp(Vec a, Vec n) {
    const __m128i i = _mm256_cvtpd_epi32(n.v), half = _mm_srai_epi32(i, 1), bias = _mm_set1_epi32(1023);
    const __m256i lo = _mm256_slli_epi64(_mm256_cvtepi32_epi64(_mm_add_epi32(half, bias)), 52);
    const __m256i hi = _mm256_slli_epi64(_mm256_cvtepi32_epi64(_mm_add_epi32(_mm_sub_epi32(i, half), bias)), 52);
    return {_mm256_mul_pd(_mm256_mul_pd(a.v, _mm256_castsi256_pd(lo)), _mm256_castsi256_pd(hi))};
  }
  friend Vec exponent(Vec a) {
    // The biased exponent becomes the low bits of 2^52 + exponent.
    const __m256i biased = _mm256_srli_epi64(_mm256_castpd_si256(a.v), 52);
    const __m256i shifted = _mm256_or_si256(biased, _mm256_set1_epi64x(0x4330000000000000));
    return {_mm256_sub_pd(_mm256_castsi256_pd(shifted), _mm256_set1_pd(4503599627370496.0 + 1023.0))};
  }
  friend Vec mantissa(Vec a) {
    const __m256i bits = _mm256_and_si256(_mm256_castpd_si256(a.v), _mm256_set1_epi64x(0x000fffffffffffff));
    return {_mm256_castsi256_pd(_mm256_or_si256(bits, _mm256_set1_epi64x(0x3ff0000000000000)))};
  }
  friend double largest(Vec a) {
    const __m128d s = _mm_max_pd(_mm256_castpd256_pd128(a.v), _mm256_extractf128_pd(a.v, 1));
    return _mm_cvtsd_f64(_mm_max_sd(s, _mm_unpackhi_pd(s, s)));
  }
  void store_bytes(std::uint8_t* p) const {
    const __m128i s = _mm_packs_epi32(_mm256_cvtpd_epi32(v), _mm_setzero_si128());
    const int bytes = _mm_cvtsi128_si32(_mm_packus_epi16(s, s));
    __builtin_memcpy(p, &bytes, 4);
  }
  static Mask equal_bytes(const std::uint8_t* p, int x) {
    int bytes;
    __builtin_memcpy(&bytes, p, 4);
    const __m256i i = _mm256_cvtepu8_epi64(_mm_cvtsi32_si128(bytes));
    return {_mm256_castsi256_pd(_mm256_cmpeq_epi64(i, _mm256_set1_epi64x(x)))};
  }
  friend double sum(Vec a) {
    const __m128d s = _mm_add_pd(_mm256_castpd256_pd128(a.v), _mm256_extractf128_pd(a.v, 1));
    return _mm_cvtsd_f64(_mm_add_sd(s, _mm_unpackhi_pd(s, s)));
  }

  static void part(Vec a, Vec b, Vec& even, Vec& odd) {
    even.v = _mm256_permute4x64_pd(_mm256_unpacklo_pd(a.v, b.v), 0xd8);
    odd.v = _mm256_permute4x64_pd(_mm256_unpackhi_pd(a.v, b.v), 0xd8);
  }
  static void transpose(Vec (&r)[4]) {
    const __m256d a0 = _mm256_unpacklo_pd(r[0].v, r[1].v), a1 = _mm256_unpackhi_pd(r[0].v, r[1].v);
    const __m256d a2 = _mm256_unpacklo_pd(r[2].v, r[3].v), a3 = _mm256_unpackhi_pd(r[2].v, r[3].v);
    r[0].v = _mm256_permute2f128_pd(a0, a2, 0x20);
    r[1].v = _mm256_permute2f128_pd(a1, a3, 0x20);
    r[2].v = _mm256_permute2f128_pd(a0, a2, 0x31);
    r[3].v = _mm256_permute2f128_pd(a1, a3, 0x31);
  }

  static void interleave(Vec (&r)[3]) {
    const __m256d a = _mm256_permute4x64_pd(r[0].v, 0x6c), b = _mm256_permute4x64_pd(r[1].v, 0xb1);
    const __m256d c = _mm256_permute4x64_pd(r[2].v, 0xc6);
    constexpr int second = 0x2, third = 0x4;
    r[0].v = _mm256_blend_pd(_mm256_blend_pd(a, b, second), c, third);
    r[1].v = _mm256_blend_pd(_mm256_blend_pd(b, c, second), a, third);
    r[2].v = _mm256_blend_pd(_mm256_blend_pd(c, a, second), b, third);
  }

  using Broadcast = Vec;
  static Broadcast broadcast(const double* p) {
    Vec b{_mm256_broadcast_sd(p)};
#if defined(__GNUC__)
    asm("" : "+x"(b.v));
#endif
    return b;
  }
  static void accumulate(Vec& acc, Vec w, Broadcast b) {
#if defined(__GNUC__)
    asm("vfmadd231pd %2, %1, %0" : "+x"(acc.v) : "x"(w.v), "x"(b.v));
#else
    acc.v = _mm256_fmadd_pd(w.v, b.v, acc.v);
#endif
  }
};

}  // namespace fastconv::avx2
