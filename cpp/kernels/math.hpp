// Functions on vectors beyond exp and log, for float and double: within 4 ulp, NaN and infinity as IEEE says.
#pragma once
#include "kernels/math_exp.hpp"

namespace fastconv::FASTCONV_ISA {

// erf(x) = x P(x^2) for |x| < 1; erfc(x) = exp(-x^2) Q(2 / (2 + x) - centre) for x >= 1. Chebyshev interpolants,
// computed with mpmath.
template <class T>
struct Erf;

template <>
struct Erf<float> {
  static constexpr float near[7] = {1.12837917f,    -0.376126267f,    0.112835947f,    -0.026854212f,
                                    0.00518908742f, -0.000801686429f, 7.87587506e-5f};
  static constexpr float centre = 0.5f;
  static constexpr float far[8] = {0.255395676f,  0.854371697f,  0.966632881f,   0.631827571f,
                                   0.0597102078f, -0.223782996f, -0.0534341285f, 0.119635708f};
};

template <>
struct Erf<double> {
  static constexpr double near[12] = {1.12837916709551257,      -0.376126389031835404,    0.112837916709450063,
                                      -0.0268661706432377704,   0.00522397760711642273,   -0.000854832597538969208,
                                      0.000120552949048397079,  -0.0000149247369074196603, 1.64474247033173624e-6,
                                      -1.62084838018717059e-7,  1.37200645467776856e-8,   -7.79589882700214224e-10};
  static constexpr double centre = 0.4375;
  static constexpr double far[19] = {0.205620220828102339,  0.740871791739751464,   0.850096521024346703,
                                     0.608481058227387174,  0.125472985281782394,   -0.19360571520022245,
                                     -0.106095133168953546, 0.107063794543198237,   0.0636392797280914921,
                                     -0.0919339252115301279, -0.0235620361935316714, 0.0897878953029052232,
                                     -0.0228826989486102204, -0.0749534013891985997, 0.0729288312215943438,
                                     0.0282901256094410607,  -0.0984689204838531045, 0.0375612910846598718,
                                     0.0427648085555623921};
};

// erfc(a) for a >= 1.
template <class V>
FASTCONV_INLINE V erfc_far(V a) {
  using C = Erf<typename V::Element>;
  const V w = V::set(2) / (V::set(2) + a) - V::set(C::centre);
  return exp(V::zero() - a * a) * polynomial(w, C::far);
}

template <class V>
FASTCONV_INLINE V erf(V x) {
  using C = Erf<typename V::Element>;
  const V a = abs(x), one = V::set(1);
  const V far = one - erfc_far(a);
  return select(less(a, one), x * polynomial(x * x, C::near), select(less(x, V::zero()), V::zero() - far, far));
}

// The normal distribution's cumulative function, (1 + erf(x / sqrt 2)) / 2, without cancellation at either end.
template <class V>
FASTCONV_INLINE V normal_cdf(V x) {
  using C = Erf<typename V::Element>;
  const V u = x * V::set(0.70710678118654752), a = abs(u), one = V::set(1), half = V::set(0.5);
  const V tail = half * erfc_far(a);
  const V near = fma(half * u, polynomial(u * u, C::near), half);
  return select(less(a, one), near, select(less(x, V::zero()), tail, one - tail));
}

// exp(x) - 1 for x <= 0.
template <class V>
FASTCONV_INLINE V expm1_negative(V x) {
  using C = ExpLog<typename V::Element>;
  x = max(V::set(C::exp_low), x);
  const V n = round(x * V::set(C::inv_ln2)), one = V::set(1);
  V r = fma(n, V::set(-C::ln2_high), x);
  r = fma(n, V::set(-C::ln2_low), r);
  const V q = fma(polynomial(r, C::exp_c) * r, r, r), power = ldexp(one, n);
  return fma(power, q, power - one);
}

// log(1 + x) for x >= 0: what is lost in 1 + x is given back by the quotient.
template <class V>
FASTCONV_INLINE V log1p_positive(V x) {
  const V one = V::set(1), w = one + x, d = w - one;
  return select(equal(d, V::zero()), x, log(w) * (x / d));
}

template <class V>
FASTCONV_INLINE V tanh(V x) {
  const V t = expm1_negative(V::set(-2) * abs(x)), r = t / (t + V::set(2));
  return select(less(x, V::zero()), r, V::zero() - r);
}

template <class V>
FASTCONV_INLINE V sigmoid(V x) {
  return V::set(1) / (V::set(1) + exp(V::zero() - x));
}

// log(1 + exp(x))
template <class V>
FASTCONV_INLINE V softplus(V x) {
  return max(V::zero(), x) + log1p_positive(exp(V::zero() - abs(x)));
}

}  // namespace fastconv::FASTCONV_ISA
