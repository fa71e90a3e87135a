// Functions on vectors beyond exp and log, for float and double: within 4 ulp, NaN and infinity as IEEE says.
#pragma once
#include "kernels/math_exp.hpp"

namespace fastconv::FASTCONV_ISA {

// erf(x) = x P(x^2) for |x| < 1; erfc(x) = exp(-x^2) Q(scale / (scale + x) - centre) for x >= 0. Chebyshev
// interpolants, computed with mpmath.
template <class T>
struct Erf;

template <>
struct Erf<float> {
  static constexpr float near[7] = {1.12837917f,    -0.376126267f,    0.112835947f,  -0.026854212f,
                                    0.00518908742f, -0.000801686429f, 7.87587506e-5f};
  static constexpr float scale = 3, centre = 0.6875;
  static constexpr float far[10] = {0.345402048f, 1.18293315f,    1.95569833f,   2.36543582f,    1.98837856f,
                                    0.965123558f, 0.00868047333f, -0.292410044f, -0.0729570848f, 0.0882840942f};
};

template <>
struct Erf<double> {
  static constexpr double near[12] = {1.12837916709551257,     -0.376126389031835404,     0.112837916709450063,
                                      -0.0268661706432377704,  0.00522397760711642273,    -0.000854832597538969208,
                                      0.000120552949048397079, -0.0000149247369074196603, 1.64474247033173624e-6,
                                      -1.62084838018717059e-7, 1.37200645467776856e-8,    -7.79589882700214224e-10};
  static constexpr double scale = 4, centre = 0.6875;
  static constexpr double far[21] = {0.276294382840337053,    1.04661533961205707,      2.16142577699656312,
                                     3.68170241753508527,     5.17345964273862651,      5.92906263701140629,
                                     5.38429879139454587,     3.62301240818246277,      1.47337439359731007,
                                     -0.0423899774705430038,  -0.479738270069491963,    -0.21169291985574261,
                                     0.0880475864024540951,   0.105890051122568453,     -0.00966515237495165987,
                                     -0.0448340729518236621,  -0.000645283974058545329, 0.0193213795961989424,
                                     0.000200004383302054829, -0.00729315090171781078,  0.000573367355375924072};
};

template <class V>
FASTCONV_INLINE V erfc_positive(V x) {
  using C = Erf<typename V::Element>;
  const V scale = V::set(C::scale), w = scale / (scale + x) - V::set(C::centre);
  return exp(V::zero() - x * x) * polynomial(w, C::far);
}

template <class V>
FASTCONV_INLINE V erf(V x) {
  using C = Erf<typename V::Element>;
  const V a = abs(x), one = V::set(1);
  const V far = one - erfc_positive(a);
  return select(less(a, one), x * polynomial(x * x, C::near), select(less(x, V::zero()), V::zero() - far, far));
}

// The normal distribution's cumulative function, (1 + erf(x / sqrt 2)) / 2, without cancellation at its lower end.
template <class V>
FASTCONV_INLINE V normal_cdf(V x) {
  const V tail = V::set(0.5) * erfc_positive(abs(x) * V::set(0.70710678118654752));
  return select(less(x, V::zero()), tail, V::set(1) - tail);
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

// 2 artanh(s) = 2 s + s z P(z) with z = s^2 <= 1 / 9.
template <class T>
struct Artanh;

template <>
struct Artanh<float> {
  static constexpr float c[5] = {0.666666673f, 0.399997063f, 0.28592358f, 0.217065758f, 0.232243292f};
};

template <>
struct Artanh<double> {
  static constexpr double c[11] = {0.666666666666666669, 0.399999999999995225, 0.285714285716000993,
                                   0.222222221982367706, 0.181818198979627144, 0.153845439648605493,
                                   0.133351786314492558, 0.117342790613031975, 0.108451783948800148,
                                   0.074921437955507673, 0.156305778009228504};
};

// log(1 + x) for 0 <= x <= 1.
template <class V>
FASTCONV_INLINE V log1p_unit(V x) {
  const V s = x / (x + V::set(2)), z = s * s;
  return fma(s * z, polynomial(z, Artanh<typename V::Element>::c), s + s);
}

template <class V>
FASTCONV_INLINE V tanh(V x) {
  const V t = expm1_negative(V::set(-2) * abs(x)), r = t / (t + V::set(2));
  return select(less(x, V::zero()), r, V::zero() - r);
}

// exp(-s) = 1 + s P(s) for |s| <= ln(2) / (2 N), within half an ulp.
template <int N>
struct ExpPart;

template <>
struct ExpPart<32> {
  static constexpr float c[2] = {-1.00001466f, 0.49999997f};
};

template <>
struct ExpPart<8> {
  static constexpr float c[3] = {-1.0f, 0.50006485f, -0.166642964f};
};

// 1 + exp(-x). Of a clamped x overflow and underflow cannot happen, so exp is cheaper than in general, and its
// error of 2e-9 of x is none of the result's where that is not tiny.
template <class V>
FASTCONV_INLINE V sigmoid_divisor(V x) {
  const V one = V::set(1);
  constexpr int N = V::power_steps;
  if constexpr (N > 0) {
    // Above, the result is 1; below, infinity. min and max keep a NaN that is their second operand.
    const V low = V::set(-88), clamped = min(V::set(64), max(low, x));
    const V whole = V::set(12582912.0f);  // 1.5 * 2^23: adding it leaves no bits for a fraction
    const V k = fma(clamped, V::set(-1.44269504f * N), whole);
    const V s = fma(k - whole, V::set(0.693147181f / N), clamped), power = power_of_2(k);
    const V sum = fma(power, s * polynomial(s, ExpPart<N>::c), power + one);
    return select(less(x, low), V::set(__builtin_inff()), sum);
  } else {
    return one + exp(V::zero() - x);
  }
}

template <class V>
FASTCONV_INLINE V sigmoid(V x) {
  return V::set(1) / sigmoid_divisor(x);
}

template <class V>
FASTCONV_INLINE V silu(V x) {
  return x / sigmoid_divisor(x);
}

// log(1 + exp(x))
template <class V>
FASTCONV_INLINE V softplus(V x) {
  return max(V::zero(), x) + log1p_unit(exp(V::zero() - abs(x)));
}

}  // namespace fastconv::FASTCONV_ISA
