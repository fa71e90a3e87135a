// Vectors of NEON on 64-bit Arm (Advanced SIMD, part of every such processor).
#pragma once
#include <arm_neon.h>

#include <cstdint>

namespace fastconv::neon {

template <class T>
struct Vec;

template <>
struct Vec<float> {
  static constexpr int width = 4;
  using Element = float;
  static constexpr int power_steps = 0;  // no power_of_2: tables are looked up by bytes, which takes as long as exp
  float32x4_t v;

  static Vec zero() { return {vdupq_n_f32(0)}; }
  static Vec set(float x) { return {vdupq_n_f32(x)}; }
  static Vec load(const float* p) { return {vld1q_f32(p)}; }
  // The first n (0 to width) elements; the others are zero and their memory is not touched.
  static Vec load(const float* p, int n) {
    if (n >= width) return load(p);
    float32x2_t low = vdup_n_f32(0), high = low;
    if (n & 2) low = vld1_f32(p);
    if (n == 1) low = vld1_lane_f32(p, low, 0);
    if (n == 3) high = vld1_lane_f32(p + 2, high, 0);
    return {vcombine_f32(low, high)};
  }
  void store(float* p) const { vst1q_f32(p, v); }
  void stream(float* p) const { store(p); }
  static void end_stream() {}
  void store(float* p, int n) const {
    if (n >= width) return store(p);
    if (n & 2) vst1_f32(p, vget_low_f32(v));
    if (n == 1) vst1q_lane_f32(p, v, 0);
    if (n == 3) vst1q_lane_f32(p + 2, v, 2);
  }

  friend Vec operator+(Vec a, Vec b) { return {vaddq_f32(a.v, b.v)}; }
  friend Vec operator-(Vec a, Vec b) { return {vsubq_f32(a.v, b.v)}; }
  friend Vec operator*(Vec a, Vec b) { return {vmulq_f32(a.v, b.v)}; }
  friend Vec operator/(Vec a, Vec b) { return {vdivq_f32(a.v, b.v)}; }
  friend Vec fma(Vec a, Vec b, Vec c) { return {vfmaq_f32(c.v, a.v, b.v)}; }  // a * b + c
  // Instructions have no operands in memory: what is loaded is in a register.
  static Vec load_once(const float* p) { return load(p); }
  static Vec load_once(const float* p, int n) { return load(p, n); }
  static Vec in_register(Vec a) { return a; }
  // The second operand when either is NaN, or both are zeros. FMAX would give NaN and the positive zero.
  friend Vec max(Vec a, Vec b) { return {vbslq_f32(vcgtq_f32(a.v, b.v), a.v, b.v)}; }
  friend Vec min(Vec a, Vec b) { return {vbslq_f32(vcltq_f32(a.v, b.v), a.v, b.v)}; }
  friend Vec sqrt(Vec a) { return {vsqrtq_f32(a.v)}; }
  friend Vec abs(Vec a) { return {vabsq_f32(a.v)}; }
  // Comparisons give a Mask; select(m, a, b) is m ? a : b. Ordered: false for NaN.
  struct Mask {
    uint32x4_t m;
  };
  friend Mask less(Vec a, Vec b) { return {vcltq_f32(a.v, b.v)}; }
  friend Mask less_equal(Vec a, Vec b) { return {vcleq_f32(a.v, b.v)}; }
  friend Mask equal(Vec a, Vec b) { return {vceqq_f32(a.v, b.v)}; }
  friend Mask is_nan(Vec a) { return {vmvnq_u32(vceqq_f32(a.v, a.v))}; }
  friend Vec select(Mask m, Vec a, Vec b) { return {vbslq_f32(m.m, a.v, b.v)}; }
  friend Vec round(Vec a) { return {vrndnq_f32(a.v)}; }
  // a * 2^n for integral n in [-252, 254], in two steps so that the powers stay normal.
  friend Vec ldexp(Vec a, Vec n) {
    const int32x4_t i = vcvtnq_s32_f32(n.v), half = vshrq_n_s32(i, 1), bias = vdupq_n_s32(127);
    const int32x4_t lo = vshlq_n_s32(vaddq_s32(half, bias), 23);
    const int32x4_t hi = vshlq_n_s32(vaddq_s32(vsubq_s32(i, half), bias), 23);
    return {vmulq_f32(vmulq_f32(a.v, vreinterpretq_f32_s32(lo)), vreinterpretq_f32_s32(hi))};
  }
  // Of positive normal numbers: a = mantissa(a) * 2^exponent(a), the mantissa in [1, 2).
  friend Vec exponent(Vec a) {
    return {vcvtq_f32_s32(vsubq_s32(vshrq_n_s32(vreinterpretq_s32_f32(a.v), 23), vdupq_n_s32(127)))};
  }
  friend Vec mantissa(Vec a) { return {vbslq_f32(vdupq_n_u32(0x007fffff), a.v, vdupq_n_f32(1))}; }
  friend float largest(Vec a) { return vmaxvq_f32(a.v); }  // of its elements; arbitrary with NaN among them
  // Small whole numbers as bytes; equal_bytes reads at least `width` bytes.
  void store_bytes(std::uint8_t* p) const {
    const uint16x4_t s = vmovn_u32(vcvtq_u32_f32(v));
    const std::uint32_t bytes = vget_lane_u32(vreinterpret_u32_u8(vmovn_u16(vcombine_u16(s, s))), 0);
    __builtin_memcpy(p, &bytes, sizeof bytes);
  }
  static Mask equal_bytes(const std::uint8_t* p, int x) {
    std::uint32_t bytes;
    __builtin_memcpy(&bytes, p, sizeof bytes);
    const uint16x8_t s = vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(bytes)));
    return {vceqq_u32(vmovl_u16(vget_low_u16(s)), vdupq_n_u32(static_cast<std::uint32_t>(x)))};
  }
  friend float sum(Vec a) { return vaddvq_f32(a.v); }

  // The elements of even and of odd places in a, then b.
  static void part(Vec a, Vec b, Vec& even, Vec& odd) {
    even.v = vuzp1q_f32(a.v, b.v);
    odd.v = vuzp2q_f32(a.v, b.v);
  }
  // Element j of r[i] and element i of r[j] change places.
  static void transpose(Vec (&r)[4]) {
    const float32x4_t a0 = vtrn1q_f32(r[0].v, r[1].v), a1 = vtrn2q_f32(r[0].v, r[1].v);
    const float32x4_t a2 = vtrn1q_f32(r[2].v, r[3].v), a3 = vtrn2q_f32(r[2].v, r[3].v);
    r[0].v = vcombine_f32(vget_low_f32(a0), vget_low_f32(a2));
    r[1].v = vcombine_f32(vget_low_f32(a1), vget_low_f32(a3));
    r[2].v = vcombine_f32(vget_high_f32(a0), vget_high_f32(a2));
    r[3].v = vcombine_f32(vget_high_f32(a1), vget_high_f32(a3));
  }

  // Element i of r[c] goes to place 3 * i + c of them all.
  static void interleave(Vec (&r)[3]) {
    const float32x4_t a = r[0].v, b = r[1].v, c = r[2].v, next = vextq_f32(a, a, 1);
    const float32x4_t ab0 = vzip1q_f32(a, b), ab2 = vzip2q_f32(a, b);  // a0 b0 a1 b1, a2 b2 a3 b3
    const float32x4_t bc0 = vzip1q_f32(b, c), bc2 = vzip2q_f32(b, c);
    const float32x4_t ca0 = vzip1q_f32(c, next), ca2 = vzip2q_f32(c, next);  // c0 a1 c1 a2, c2 a3 c3 a0
    r[0].v = vcombine_f32(vget_low_f32(ab0), vget_low_f32(ca0));
    r[1].v = vcombine_f32(vget_high_f32(bc0), vget_low_f32(ab2));
    r[2].v = vcombine_f32(vget_low_f32(ca2), vget_high_f32(bc2));
  }

  // A factor for accumulate, one element of a register: FMAs that take it need no copies of it, whose making would cost
  // the units that compute.
  struct Broadcast {
    float v;
  };
  static Broadcast broadcast(const float* p) { return {*p}; }
  // acc += w * b. One instruction: from intrinsics GCC makes the copies.
  static void accumulate(Vec& acc, Vec w, Broadcast b) {
#if defined(__GNUC__)
    asm("fmla %0.4s, %1.4s, %2.s[0]" : "+w"(acc.v) : "w"(w.v), "w"(b.v));
#else
    acc.v = vfmaq_n_f32(acc.v, w.v, b.v);
#endif
  }
};

template <>
struct Vec<double> {
  static constexpr int width = 2;
  using Element = double;
  static constexpr int power_steps = 0;  // no power_of_2
  float64x2_t v;

  static Vec zero() { return {vdupq_n_f64(0)}; }
  static Vec set(double x) { return {vdupq_n_f64(x)}; }
  static Vec load(const double* p) { return {vld1q_f64(p)}; }
  static Vec load(const double* p, int n) {
    if (n >= width) return load(p);
    return n == 1 ? Vec{vld1q_lane_f64(p, vdupq_n_f64(0), 0)} : zero();
  }
  void store(double* p) const { vst1q_f64(p, v); }
  void stream(double* p) const { store(p); }
  static void end_stream() {}
  void store(double* p, int n) const {
    if (n >= width) return store(p);
    if (n == 1) vst1q_lane_f64(p, v, 0);
  }

  friend Vec operator+(Vec a, Vec b) { return {vaddq_f64(a.v, b.v)}; }
  friend Vec operator-(Vec a, Vec b) { return {vsubq_f64(a.v, b.v)}; }
  friend Vec operator*(Vec a, Vec b) { return {vmulq_f64(a.v, b.v)}; }
  friend Vec operator/(Vec a, Vec b) { return {vdivq_f64(a.v, b.v)}; }
  friend Vec fma(Vec a, Vec b, Vec c) { return {vfmaq_f64(c.v, a.v, b.v)}; }
  static Vec load_once(const double* p) { return load(p); }
  static Vec load_once(const double* p, int n) { return load(p, n); }
  static Vec in_register(Vec a) { return a; }
  friend Vec max(Vec a, Vec b) { return {vbslq_f64(vcgtq_f64(a.v, b.v), a.v, b.v)}; }
  friend Vec min(Vec a, Vec b) { return {vbslq_f64(vcltq_f64(a.v, b.v), a.v, b.v)}; }
  friend Vec sqrt(Vec a) { return {vsqrtq_f64(a.v)}; }
  friend Vec abs(Vec a) { return {vabsq_f64(a.v)}; }
  struct Mask {
    uint64x2_t m;
  };
  friend Mask less(Vec a, Vec b) { return {vcltq_f64(a.v, b.v)}; }
  friend Mask less_equal(Vec a, Vec b) { return {vcleq_f64(a.v, b.v)}; }
  friend Mask equal(Vec a, Vec b) { return {vceqq_f64(a.v, b.v)}; }
  friend Mask is_nan(Vec a) { return {vreinterpretq_u64_u32(vmvnq_u32(vreinterpretq_u32_u64(vceqq_f64(a.v, a.v))))}; }
  friend Vec select(Mask m, Vec a, Vec b) { return {vbslq_f64(m.m, a.v, b.v)}; }
  friend Vec round(Vec a) { return {vrndnq_f64(a.v)}; }
  // a * 2^n for integral n in [-2044, 2046].
  friend Vec ldexp(Vec a, Vec n) {
    const int64x2_t i = vcvtnq_s64_f64(n.v), half = vshrq_n_s64(i, 1), bias = vdupq_n_s64(1023);
    const int64x2_t lo = vshlq_n_s64(vaddq_s64(half, bias), 52);
    const int64x2_t hi = vshlq_n_s64(vaddq_s64(vsubq_s64(i, half), bias), 52);
    return {vmulq_f64(vmulq_f64(a.v, vreinterpretq_f64_s64(lo)), vreinterpretq_f64_s64(hi))};
  }
  friend Vec exponent(Vec a) {
    return {vcvtq_f64_s64(vsubq_s64(vshrq_n_s64(vreinterpretq_s64_f64(a.v), 52), vdupq_n_s64(1023)))};
  }
  friend Vec mantissa(Vec a) { return {vbslq_f64(vdupq_n_u64(0x000fffffffffffff), a.v, vdupq_n_f64(1))}; }
  friend double largest(Vec a) { return vmaxvq_f64(a.v); }
  void store_bytes(std::uint8_t* p) const {
    const uint64x2_t i = vcvtq_u64_f64(v);
    p[0] = static_cast<std::uint8_t>(vgetq_lane_u64(i, 0));
    p[1] = static_cast<std::uint8_t>(vgetq_lane_u64(i, 1));
  }
  static Mask equal_bytes(const std::uint8_t* p, int x) {
    const uint64x2_t i = vcombine_u64(vcreate_u64(p[0]), vcreate_u64(p[1]));
    return {vceqq_u64(i, vdupq_n_u64(static_cast<std::uint64_t>(x)))};
  }
  friend double sum(Vec a) { return vaddvq_f64(a.v); }

  static void part(Vec a, Vec b, Vec& even, Vec& odd) {
    even.v = vzip1q_f64(a.v, b.v);
    odd.v = vzip2q_f64(a.v, b.v);
  }
  static void transpose(Vec (&r)[2]) { part(r[0], r[1], r[0], r[1]); }

  static void interleave(Vec (&r)[3]) {
    const float64x2_t a = r[0].v, b = r[1].v, c = r[2].v;
    r[0].v = vzip1q_f64(a, b);
    r[1].v = vcombine_f64(vget_low_f64(c), vget_high_f64(a));
    r[2].v = vzip2q_f64(b, c);
  }

  struct Broadcast {
    double v;
  };
  static Broadcast broadcast(const double* p) { return {*p}; }
  static void accumulate(Vec& acc, Vec w, Broadcast b) {
#if defined(__GNUC__)
    asm("fmla %0.2d, %1.2d, %2.d[0]" : "+w"(acc.v) : "w"(w.v), "w"(b.v));
#else
    acc.v = vfmaq_n_f64(acc.v, w.v, b.v);
#endif
  }
};

}  // namespace fastconv::neon
