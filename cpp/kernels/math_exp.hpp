// exp and log on vectors, for float and double. Within 2 ulp; NaN, infinities, overflow and underflow as IEEE says.
// The coefficients are Chebyshev interpolants, computed with mpmath.
#pragma once
#include "kernels/isa.hpp"

namespace fastconv::FASTCONV_ISA {

template <class T>
struct ExpLog;

template <>
struct ExpLog<float> {
  static constexpr float exp_low = -104.0f, exp_high = 89.0f;  // beyond: 0 and infinity
  static constexpr float inv_ln2 = 1.44269504f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
  static constexpr int exp_terms = 5, log_terms = 3;
  static constexpr float exp_c[exp_terms] = {0.5f, 0.166665768f, 0.0416665544f, 0.00836320297f, 0.00139262135f};
  static constexpr float log_c[log_terms] = {0.666666851f, 0.399887691f, 0.295804677f};
  static constexpr float min_normal = 1.17549435e-38f, lift = 16777216.0f, lift_exponent = 24.0f;
};

template <>
struct ExpLog<double> {
  static constexpr double exp_low = -746.0, exp_high = 710.0;
  static constexpr double inv_ln2 = 1.4426950408889634, ln2_high = 6.93147180369123816490e-01,
                          ln2_low = 1.90821492927058770002e-10;
  static constexpr int exp_terms = 10, log_terms = 7;
  static constexpr double exp_c[exp_terms] = {0.500000000000000103,   0.166666666666666675,   0.0416666666666239915,
                                              0.00833333333333005135, 0.00138888889172817933, 0.000198412698631059687,
                                              2.48015211902177277e-5, 2.75572683786841929e-6, 2.76201387197339956e-7,
                                              2.51004241570050668e-8};
  static constexpr double log_c[log_terms] = {0.66666666666666697,  0.399999999998991979, 0.285714286261145183,
                                              0.222222111121049474, 0.181828907780261303, 0.153316666765971743,
                                              0.146171283998072999};
  static constexpr double min_normal = 2.2250738585072014e-308, lift = 18014398509481984.0, lift_exponent = 54.0;
};

template <class V, int N>
FASTCONV_INLINE V polynomial(V x, const typename V::Element (&c)[N]) {
  V p = V::set(c[N - 1]);
  FASTCONV_UNROLL for (int i = N - 2; i >= 0; --i) p = fma(p, x, V::set(c[i]));
  return p;
}

template <class V>
FASTCONV_INLINE V exp(V x) {
  using C = ExpLog<typename V::Element>;
  // exp(n ln 2 + r) = 2^n exp(r), |r| <= ln(2) / 2. min and max keep a NaN that is their second operand.
  x = min(V::set(C::exp_high), max(V::set(C::exp_low), x));
  const V n = round(x * V::set(C::inv_ln2));
  V r = fma(n, V::set(-C::ln2_high), x);
  r = fma(n, V::set(-C::ln2_low), r);
  const V one = V::set(1);
  return ldexp(one + fma(polynomial(r, C::exp_c) * r, r, r), n);
}

template <class V>
FASTCONV_INLINE V log(V x) {
  using C = ExpLog<typename V::Element>;
  const V zero = V::zero(), one = V::set(1), half = V::set(0.5), infinity = V::set(__builtin_inff());
  const auto tiny = less(x, V::set(C::min_normal));
  const V lifted = select(tiny, x * V::set(C::lift), x);
  V e = exponent(lifted) - select(tiny, V::set(C::lift_exponent), zero);
  V m = mantissa(lifted);
  const auto upper = less(V::set(1.4142135623730951), m);
  m = select(upper, m * half, m);
  e = select(upper, e + one, e);
  // log(1 + f) = 2 artanh(s) = f - f^2 / 2 + s (f^2 / 2 + R(s^2)) with s = f / (2 + f)
  const V f = m - one, s = f / (f + V::set(2)), z = s * s;
  const V h = half * f * f;
  const V r = fma(polynomial(z, C::log_c), z, h);
  const V low = fma(s, r, e * V::set(C::ln2_low));
  V y = fma(e, V::set(C::ln2_high), f - (h - low));
  y = select(less(x, infinity), y, x);  // infinity and NaN stay
  y = select(less(x, zero), V::set(__builtin_nanf("")), y);
  return select(equal(x, zero), zero - infinity, y);
}

}  // namespace fastconv::FASTCONV_ISA
