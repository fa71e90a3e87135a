// Vectors of AVX-512 (F, BW, DQ, VL).
#pragma once
#include <immintrin.h>

#include <cstdint>

namespace fastconv::avx512 {

template <class T>
struct Vec;

template <>
struct Vec<float> {
  static constexpr int width = 16;
  using Element = float;
  using Int = __m512i;
  __m512 v;

  static Vec zero() { return {_mm512_setzero_ps()}; }
  static Vec set(float x) { return {_mm512_set1_ps(x)}; }
  static Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
  // The first n (0 to width) elements; the others are zero and their memory is not touched.
  static Vec load(const float* p, int n) { return {_mm512_maskz_loadu_ps(mask(n), p)}; }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  // To memory past the caches: p is a multiple of the vector's size. Other threads see it after end_stream().
  void stream(float* p) const { _mm512_stream_ps(p, v); }
  static void end_stream() { _mm_sfence(); }
  void store(float* p, int n) const { _mm512_mask_storeu_ps(p, mask(n), v); }
  static __mmask16 mask(int n) { return static_cast<__mmask16>((1u << n) - 1u); }

  friend Vec operator+(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
  friend Vec operator-(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
  friend Vec operator*(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
  friend Vec operator/(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
  friend Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }  // a * b + c
  // Stays in a register: folded into each FMA that reads it, it would be loaded again.
  static Vec load_once(const float* p) { return in_register(load(p)); }
  static Vec load_once(const float* p, int n) { return in_register(load(p, n)); }
  static Vec in_register(Vec a) {
#if defined(__GNUC__)
    asm("" : "+v"(a.v));
#endif
    return a;
  }
  // The second operand when either is NaN.
  friend Vec max(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }
  friend Vec min(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }
  friend Vec sqrt(Vec a) { return {_mm512_sqrt_ps(a.v)}; }
  friend Vec abs(Vec a) { return {_mm512_abs_ps(a.v)}; }
  // Comparisons give a Mask; select(m, a, b) is m ? a : b. Ordered: false for NaN.
  using Mask = __mmask16;
  friend Mask less(Vec a, Vec b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ); }
  friend Mask less_equal(Vec a, Vec b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ); }
  friend Mask equal(Vec a, Vec b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ); }
  friend Mask is_nan(Vec a) { return _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q); }
  friend Vec select(Mask m, Vec a, Vec b) { return {_mm512_mask_blend_ps(m, b.v, a.v)}; }
  friend Vec round(Vec a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
  // a * 2^n for integral n (subnormal results flushed or rounded).
  friend Vec ldexp(Vec a, Vec n) { return {_mm512_scalef_ps(a.v, n.v)}; }
  // 2^(k / power_steps) for whole numbers k that make it normal, a being k + 1.5 * 2^23. The table has the bits of
  // 2^(j / power_steps) less j << 18, so that adding k << 18 needs no split of k.
  static constexpr int power_steps = 32;
  friend Vec power_of_2(Vec a) {
    const __m512i k = _mm512_castps_si512(a.v);
    const __m512i low = _mm512_setr_epi32(0x3f800000, 0x3f7ecd87, 0x3f7daac3, 0x3f7c980f, 0x3f7b95c2, 0x3f7aa43a,
                                          0x3f79c3d3, 0x3f78f4f0, 0x3f7837f0, 0x3f778d3a, 0x3f76f532, 0x3f767043,
                                          0x3f75fed7, 0x3f75a15b, 0x3f75583f, 0x3f7523f6);
    const __m512i high = _mm512_setr_epi32(0x3f7504f3, 0x3f74fbaf, 0x3f7508a4, 0x3f752c4d, 0x3f75672a, 0x3f75b9be,
                                           0x3f76248c, 0x3f76a81e, 0x3f7744fd, 0x3f77fbb8, 0x3f78ccdf, 0x3f79b907,
                                           0x3f7ac0c7, 0x3f7be4ba, 0x3f7d257d, 0x3f7e83b3);
    const __m512i power = _mm512_permutex2var_epi32(low, k, high);
    return {_mm512_castsi512_ps(_mm512_add_epi32(power, _mm512_slli_epi32(k, 18)))};
  }
  // Of positive normal numbers: a = mantissa(a) * 2^exponent(a), the mantissa in [1, 2).
  friend Vec exponent(Vec a) { return {_mm512_getexp_ps(a.v)}; }
  friend Vec mantissa(Vec a) { return {_mm512_getmant_ps(a.v, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src)}; }
  friend float largest(Vec a) { return _mm512_reduce_max_ps(a.v); }  // of its elements; arbitrary with NaN among them
  // Small whole numbers as bytes; equal_bytes reads at least `width` bytes.
  void store_bytes(std::uint8_t* p) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v)));
  }
  static Mask equal_bytes(const std::uint8_t* p, int x) {
    return _mm_cmpeq_epi8_mask(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)),
                               _mm_set1_epi8(static_cast<char>(x)));
  }
  friend float sum(Vec a) { return _mm512_reduce_add_ps(a.v); }

  // The elements of even and of odd places in a, then b.
  static void part(Vec a, Vec b, Vec& even, Vec& odd) {
    const __m512i e = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    even.v = _mm512_permutex2var_ps(a.v, e, b.v);
    odd.v = _mm512_permutex2var_ps(a.v, _mm512_add_epi32(e, _mm512_set1_epi32(1)), b.v);
  }
  // Element j of r[i] and element i of r[j] change places.
  static void transpose(Vec (&r)[16]) {
    __m512 a[16], b[16];
    for (int i = 0; i < 16; i += 2) {
      a[i] = _mm512_unpacklo_ps(r[i].v, r[i + 1].v);
      a[i + 1] = _mm512_unpackhi_ps(r[i].v, r[i + 1].v);
    }
    const auto low = [](__m512 x, __m512 y) {
      return _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(x), _mm512_castps_pd(y)));
    };
    const auto high = [](__m512 x, __m512 y) {
      return _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(x), _mm512_castps_pd(y)));
    };
    for (int i = 0; i < 16; i += 4) {  // b[i + j]: column j of every 4 x 4 block of four rows
      b[i] = low(a[i], a[i + 2]);
      b[i + 1] = high(a[i], a[i + 2]);
      b[i + 2] = low(a[i + 1], a[i + 3]);
      b[i + 3] = high(a[i + 1], a[i + 3]);
    }
    for (int j = 0; j < 4; ++j) {
      const __m512 p = _mm512_shuffle_f32x4(b[j], b[4 + j], 0x88), q = _mm512_shuffle_f32x4(b[8 + j], b[12 + j], 0x88);
      const __m512 s = _mm512_shuffle_f32x4(b[j], b[4 + j], 0xdd), t = _mm512_shuffle_f32x4(b[8 + j], b[12 + j], 0xdd);
      r[j].v = _mm512_shuffle_f32x4(p, q, 0x88);
      r[8 + j].v = _mm512_shuffle_f32x4(p, q, 0xdd);
      r[4 + j].v = _mm512_shuffle_f32x4(s, t, 0x88);
      r[12 + j].v = _mm512_shuffle_f32x4(s, t, 0xdd);
    }
  }

  // Element i of r[c] goes to place 3 * i + c of them all.
  static void interleave(Vec (&r)[3]) {
    const __m512 a =
        _mm512_permutexvar_ps(_mm512_setr_epi32(0, 11, 6, 1, 12, 7, 2, 13, 8, 3, 14, 9, 4, 15, 10, 5), r[0].v);
    const __m512 b =
        _mm512_permutexvar_ps(_mm512_setr_epi32(5, 0, 11, 6, 1, 12, 7, 2, 13, 8, 3, 14, 9, 4, 15, 10), r[1].v);
    const __m512 c =
        _mm512_permutexvar_ps(_mm512_setr_epi32(10, 5, 0, 11, 6, 1, 12, 7, 2, 13, 8, 3, 14, 9, 4, 15), r[2].v);
    constexpr __mmask16 second = 0x2492, third = 0x4924;  // places 1, 4, ... and 2, 5, ...
    r[0].v = _mm512_mask_blend_ps(third, _mm512_mask_blend_ps(second, a, b), c);
    r[1].v = _mm512_mask_blend_ps(third, _mm512_mask_blend_ps(second, b, c), a);
    r[2].v = _mm512_mask_blend_ps(third, _mm512_mask_blend_ps(second, c, a), b);
  }

  // A factor for accumulate: stays in memory, the FMA broadcasts it.
  struct Broadcast {
    const float* p;
  };
  static Broadcast broadcast(const float* p) { return {p}; }
  // acc += w * b. One instruction: intrinsics would share and spill the broadcasts.
  static void accumulate(Vec& acc, Vec w, Broadcast b) {
#if defined(__GNUC__)
    asm("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(acc.v) : "v"(w.v), "m"(*b.p));
#else
    acc.v = _mm512_fmadd_ps(w.v, _mm512_set1_ps(*b.p), acc.v);
#endif
  }
};

template <>
struct Vec<double> {
  static constexpr int width = 8;
  using Element = double;
  static constexpr int power_steps = 0;  // no power_of_2
  __m512d v;

  static Vec zero() { return {_mm512_setzero_pd()}; }
  static Vec set(double x) { return {_mm512_set1_pd(x)}; }
  static Vec load(const double* p) { return {_mm512_loadu_pd(p)}; }
  static Vec load(const double* p, int n) { return {_mm512_maskz_loadu_pd(mask(n), p)}; }
  void store(double* p) const { _mm512_storeu_pd(p, v); }
  void stream(double* p) const { _mm512_stream_pd(p, v); }
  static void end_stream() { _mm_sfence(); }
  void store(double* p, int n) const { _mm512_mask_storeu_pd(p, mask(n), v); }
  static __mmask8 mask(int n) { return static_cast<__mmask8>((1u << n) - 1u); }

  friend Vec operator+(Vec a, Vec b) { return {_mm512_add_pd(a.v, b.v)}; }
  friend Vec operator-(Vec a, Vec b) { return {_mm512_sub_pd(a.v, b.v)}; }
  friend Vec operator*(Vec a, Vec b) { return {_mm512_mul_pd(a.v, b.v)}; }
  friend Vec operator/(Vec a, Vec b) { return {_mm512_div_pd(a.v, b.v)}; }
  friend Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_pd(a.v, b.v, c.v)}; }
  // Stays in a register: folded into each FMA that reads it, it would be loaded again.
  static Vec load_once(const double* p) { return in_register(load(p)); }
  static Vec load_once(const double* p, int n) { return in_register(load(p, n)); }
  static Vec in_register(Vec a) {
#if defined(__GNUC__)
    asm("" : "+v"(a.v));
#endif
    return a;
  }
  friend Vec max(Vec a, Vec b) { return {_mm512_max_pd(a.v, b.v)}; }
  friend Vec min(Vec a, Vec b) { return {_mm512_min_pd(a.v, b.v)}; }
  friend Vec sqrt(Vec a) { return {_mm512_sqrt_pd(a.v)}; }
  friend Vec abs(Vec a) { return {_mm512_abs_pd(a.v)}; }
  using Mask = __mmask8;
  friend Mask less(Vec a, Vec b) { return _mm512_cmp_pd_mask(a.v, b.v, _CMP_LT_OQ); }
  friend Mask less_equal(Vec a, Vec b) { return _mm512_cmp_pd_mask(a.v, b.v, _CMP_LE_OQ); }
  friend Mask equal(Vec a, Vec b) { return _mm512_cmp_pd_mask(a.v, b.v, _CMP_EQ_OQ); }
  friend Mask is_nan(Vec a) { return _mm512_cmp_pd_mask(a.v, a.v, _CMP_UNORD_Q); }
  friend Vec select(Mask m, Vec a, Vec b) { return {_mm512_mask_blend_pd(m, b.v, a.v)}; }
  friend Vec round(Vec a) { return {_mm512_roundscale_pd(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
  friend Vec ldexp(Vec a, Vec n) { return {_mm512_scalef_pd(a.v, n.v)}; }
  friend Vec exponent(Vec a) { return {_mm512_getexp_pd(a.v)}; }
  friend Vec mantissa(Vec a) { return {_mm512_getmant_pd(a.v, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src)}; }
  friend double largest(Vec a) { return _mm512_reduce_max_pd(a.v); }
  void store_bytes(std::uint8_t* p) const {
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm256_cvtepi32_epi8(_mm512_cvtpd_epi32(v)));
  }
  static Mask equal_bytes(const std::uint8_t* p, int x) {
    return static_cast<Mask>(
        _mm_cmpeq_epi8_mask(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)), _mm_set1_epi8(static_cast<char>(x))));
  }
  friend double sum(Vec a) { return _mm512_reduce_add_pd(a.v); }

  static void part(Vec a, Vec b, Vec& even, Vec& odd) {
    const __m512i e = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
    even.v = _mm512_permutex2var_pd(a.v, e, b.v);
    odd.v = _mm512_permutex2var_pd(a.v, _mm512_add_epi64(e, _mm512_set1_epi64(1)), b.v);
  }
  static void transpose(Vec (&r)[8]) {
    __m512d a[8];
    for (int i = 0; i < 8; i += 2) {
      a[i] = _mm512_unpacklo_pd(r[i].v, r[i + 1].v);
      a[i + 1] = _mm512_unpackhi_pd(r[i].v, r[i + 1].v);
    }
    for (int j = 0; j < 2; ++j) {
      const __m512d p = _mm512_shuffle_f64x2(a[j], a[2 + j], 0x88), q = _mm512_shuffle_f64x2(a[4 + j], a[6 + j], 0x88);
      const __m512d s = _mm512_shuffle_f64x2(a[j], a[2 + j], 0xdd), t = _mm512_shuffle_f64x2(a[4 + j], a[6 + j], 0xdd);
      r[j].v = _mm512_shuffle_f64x2(p, q, 0x88);
      r[4 + j].v = _mm512_shuffle_f64x2(p, q, 0xdd);
      r[2 + j].v = _mm512_shuffle_f64x2(s, t, 0x88);
      r[6 + j].v = _mm512_shuffle_f64x2(s, t, 0xdd);
    }
  }

  static void interleave(Vec (&r)[3]) {
    const __m512d a = _mm512_permutexvar_pd(_mm512_setr_epi64(0, 3, 6, 1, 4, 7, 2, 5), r[0].v);
    const __m512d b = _mm512_permutexvar_pd(_mm512_setr_epi64(5, 0, 3, 6, 1, 4, 7, 2), r[1].v);
    const __m512d c = _mm512_permutexvar_pd(_mm512_setr_epi64(2, 5, 0, 3, 6, 1, 4, 7), r[2].v);
    constexpr __mmask8 second = 0x92, third = 0x24;
    r[0].v = _mm512_mask_blend_pd(third, _mm512_mask_blend_pd(second, a, b), c);
    r[1].v = _mm512_mask_blend_pd(third, _mm512_mask_blend_pd(second, c, a), b);
    r[2].v = _mm512_mask_blend_pd(third, _mm512_mask_blend_pd(second, b, c), a);
  }

  struct Broadcast {
    const double* p;
  };
  static Broadcast broadcast(const double* p) { return {p}; }
  static void accumulate(Vec& acc, Vec w, Broadcast b) {
#if defined(__GNUC__)
    asm("vfmadd231pd %2%{1to8%}, %1, %0" : "+v"(acc.v) : "v"(w.v), "m"(*b.p));
#else
    acc.v = _mm512_fmadd_pd(w.v, _mm512_set1_pd(*b.p), acc.v);
#endif
  }
};

}  // namespace fastconv::avx512
