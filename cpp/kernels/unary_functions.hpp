// The functions of unary.inc on vectors: forward(x) and backward(dy, s), s being what unary.inc says the derivative
// reads. NaN: forward passes it on; backward does what PyTorch does.
#pragma once
#include "kernels/elementwise_args.hpp"
#include "kernels/math.hpp"

// Functions that networks rarely use are the C library's, element by element; <cmath> would bring inline functions.
#define FASTCONV_LIBRARY_FUNCTIONS(X) \
  X(sin) X(cos) X(tan) X(asin) X(acos) X(atan) X(sinh) X(cosh) X(asinh) X(acosh) X(atanh)
extern "C" {
#define FASTCONV_DECLARE(name) \
  double name(double);         \
  float name##f(float);
FASTCONV_LIBRARY_FUNCTIONS(FASTCONV_DECLARE)
#undef FASTCONV_DECLARE
}

namespace fastconv::FASTCONV_ISA {

template <class V>
struct Parameters {
  explicit Parameters(const UnaryParameters& p)
      : a(V::set(static_cast<typename V::Element>(p.a))),
        b(V::set(static_cast<typename V::Element>(p.b))),
        reads_input(p.reads_input) {}
  V a, b;
  bool reads_input;
  V zero = V::zero(), one = V::set(1), half = V::set(0.5);
};

#define FASTCONV_FUNCTION(name) \
  template <class V>            \
  struct name##_function : Parameters<V>
#define FASTCONV_PARAMETERS                         \
  using P = Parameters<V>;                          \
  using P::P, P::a, P::b, P::zero, P::one, P::half; \
  using T = typename V::Element

FASTCONV_FUNCTION(relu) {
  FASTCONV_PARAMETERS;
  V forward(V x) const { return max(zero, x); }
  V backward(V dy, V y) const { return select(less_equal(y, zero), zero, dy); }
};

FASTCONV_FUNCTION(leaky_relu) {
  FASTCONV_PARAMETERS;
  V forward(V x) const { return select(less(zero, x), x, a * x); }
  V backward(V dy, V s) const { return select(less(zero, s), dy, a * dy); }
};

FASTCONV_FUNCTION(sigmoid) {
  FASTCONV_PARAMETERS;
  V forward(V x) const { return sigmoid(x); }
  V backward(V dy, V y) const { return dy * (y * (one - y)); }
};

FASTCONV_FUNCTION(tanh) {
  FASTCONV_PARAMETERS;
  V forward(V x) const { return tanh(x); }
  V backward(V dy, V y) const { return dy * fma(zero - y, y, one); }
};

FASTCONV_FUNCTION(elu) {
  FASTCONV_PARAMETERS;
  V forward(V x) const { return select(less(zero, x), x, a * expm1_negative(min(zero, x))); }
  // From x: the output plus a would cancel where x is far below 0.
  V backward(V dy, V x) const { return select(less_equal(x, zero), dy * (a * exp(min(zero, x))), dy); }
};

FASTCONV_FUNCTION(selu) {
  FASTCONV_PARAMETERS;
  const V alpha = V::set(T(1.6732632423543772848170429916717));
  const V factor = V::set(T(1.0507009873554804934193349852946));
  V forward(V x) const { return factor * select(less(zero, x), x, alpha * expm1_negative(min(zero, x))); }
  V backward(V dy, V y) const { return dy * select(less_equal(y, zero), fma(factor, alpha, y), factor); }
};

// x * the normal distribution's cumulative function, or (a = 1) its approximation by tanh, written with
// (1 + tanh(u)) / 2 = sigmoid(2 u), which keeps its digits where that is near 0.
FASTCONV_FUNCTION(gelu) {
  explicit gelu_function(const UnaryParameters& p) : Parameters<V>(p), approximate(p.a != 0) {}
  using P = Parameters<V>;
  using P::one;
  using T = typename V::Element;
  bool approximate;
  const V k = V::set(T(1.5957691216057307118)), c = V::set(T(0.044715));  // 2 sqrt(2 / pi)
  V forward(V x) const {
    if (!approximate) return x * normal_cdf(x);
    return x * sigmoid(k * fma(c * x * x, x, x));
  }
  V backward(V dy, V x) const {
    if (!approximate) {
      const V density = V::set(T(0.39894228040143267794)) * exp(V::set(T(-0.5)) * x * x);
      return dy * fma(x, density, normal_cdf(x));
    }
    const V s = sigmoid(k * fma(c * x * x, x, x));
    const V inner = k * fma(V::set(3) * c * x, x, one);
    return dy * s * fma(x * (one - s), inner, one);
  }
};

FASTCONV_FUNCTION(silu) {
  FASTCONV_PARAMETERS;
  V forward(V x) const { return silu(x); }
  V backward(V dy, V x) const {
    const V s = sigmoid(x);
    return dy * s * fma(x, one - s, one);
  }
};

FASTCONV_FUNCTION(hard_swish) {
  FASTCONV_PARAMETERS;
  const V three = V::set(3), sixth = V::set(T(1.0 / 6));
  V forward(V x) const { return x * min(one, max(zero, (x + three) * sixth)); }
  V backward(V dy, V x) const {
    const V inside = dy * (x / three + half);
    return select(less_equal(x, zero - three), zero, select(less(x, three), inside, dy));
  }
};

// alpha * (x + beta / alpha) is exact at the corners, where alpha * x + beta may miss 0 by a rounding error.
FASTCONV_FUNCTION(hard_sigmoid) {
  explicit hard_sigmoid_function(const UnaryParameters& p)
      : Parameters<V>(p), shift(V::set(static_cast<typename V::Element>(p.b / p.a))) {}
  using P = Parameters<V>;
  using P::a, P::zero, P::one;
  V shift;
  V forward(V x) const { return min(one, max(zero, a * (x + shift))); }
  V backward(V dy, V y) const { return select(less(zero, y), select(less(y, one), a * dy, zero), zero); }
};

FASTCONV_FUNCTION(softplus) {
  FASTCONV_PARAMETERS;
  V forward(V x) const { return softplus(x); }
  V backward(V dy, V y) const { return (zero - dy) * expm1_negative(zero - y); }
};

FASTCONV_FUNCTION(softsign) {
  FASTCONV_PARAMETERS;
  V forward(V x) const { return x / (one + abs(x)); }
  V backward(V dy, V x) const {
    const V d = one + abs(x);
    return dy / (d * d);
  }
};

FASTCONV_FUNCTION(exp) {
  FASTCONV_PARAMETERS;
  V forward(V x) const { return exp(x); }
  V backward(V dy, V y) const { return dy * y; }
};

FASTCONV_FUNCTION(log) {
  FASTCONV_PARAMETERS;
  V forward(V x) const { return log(x); }
  V backward(V dy, V x) const { return dy / x; }
};

FASTCONV_FUNCTION(sqrt) {
  FASTCONV_PARAMETERS;
  V forward(V x) const { return sqrt(x); }
  V backward(V dy, V y) const { return dy / (y + y); }
};

FASTCONV_FUNCTION(rsqrt) {
  FASTCONV_PARAMETERS;
  V forward(V x) const { return one / sqrt(x); }
  V backward(V dy, V y) const { return V::set(T(-0.5)) * dy * (y * y * y); }
};

FASTCONV_FUNCTION(square) {
  FASTCONV_PARAMETERS;
  V forward(V x) const { return x * x; }
  V backward(V dy, V x) const { return dy * (x + x); }
};

FASTCONV_FUNCTION(sign) {
  FASTCONV_PARAMETERS;
  V forward(V x) const { return select(less(zero, x), one, select(less(x, zero), zero - one, zero)); }
};

FASTCONV_FUNCTION(abs) {
  FASTCONV_PARAMETERS;
  V forward(V x) const { return abs(x); }
  V backward(V dy, V x) const { return dy * sign_function<V>(UnaryParameters{}).forward(x); }
};

FASTCONV_FUNCTION(reciprocal) {
  FASTCONV_PARAMETERS;
  V forward(V x) const { return one / x; }
  V backward(V dy, V y) const { return (zero - dy) * (y * y); }
};

FASTCONV_FUNCTION(erf) {
  FASTCONV_PARAMETERS;
  V forward(V x) const { return erf(x); }
  V backward(V dy, V x) const { return dy * V::set(T(1.12837916709551257390)) * exp(zero - x * x); }
};

// The gradient is 0 at the bounds too, as of PyTorch's relu6 and hardtanh.
FASTCONV_FUNCTION(clip) {
  FASTCONV_PARAMETERS;
  V forward(V x) const { return min(b, max(a, x)); }
  V backward(V dy, V y) const { return select(less(a, y), select(less(y, b), dy, zero), zero); }
};

FASTCONV_FUNCTION(neg) {
  FASTCONV_PARAMETERS;
  V forward(V x) const { return zero - x; }
};

FASTCONV_FUNCTION(scale) {
  FASTCONV_PARAMETERS;
  V forward(V x) const { return fma(a, x, b); }
};

FASTCONV_FUNCTION(identity) {
  FASTCONV_PARAMETERS;
  V forward(V x) const { return x; }
};

// With e = exp(x): tanh(log(1 + e)) = n / (n + 2), n = e (e + 2); 1 from x = 20 on.
FASTCONV_FUNCTION(mish) {
  FASTCONV_PARAMETERS;
  const V two = V::set(2), most = V::set(20);
  V forward(V x) const {
    const V e = exp(min(most, x)), n = e * (e + two);
    return x * (n / (n + two));
  }
  V backward(V dy, V x) const {
    x = min(most, x);
    const V e = exp(x), n = e * (e + two), d = n + two;
    return dy * (n / d + x * (V::set(4) * e * (one + e) / (d * d)));
  }
};

// max(0, x) + min(0, alpha * (exp(x / alpha) - 1)); exp(u) - 1 = -e exp(u) with e = exp(-u) - 1.
FASTCONV_FUNCTION(celu) {
  FASTCONV_PARAMETERS;
  V forward(V x) const {
    const V u = x / a, e = expm1_negative(zero - abs(u));
    return select(less(zero, x), x, a * select(less(zero, u), zero - e * exp(u), e));
  }
  V backward(V dy, V x) const { return select(less(zero, x), dy, dy * exp(x / a)); }
};

FASTCONV_FUNCTION(thresholded_relu) {
  FASTCONV_PARAMETERS;
  V forward(V x) const { return select(less_equal(x, a), zero, x); }
  V backward(V dy, V x) const { return select(less_equal(x, a), zero, dy); }
};

FASTCONV_FUNCTION(floor) {
  FASTCONV_PARAMETERS;
  V forward(V x) const {
    const V r = round(x);
    return select(less(x, r), r - one, r);
  }
};

FASTCONV_FUNCTION(ceil) {
  FASTCONV_PARAMETERS;
  V forward(V x) const {
    const V r = round(x);
    return select(less(r, x), r + one, r);
  }
};

FASTCONV_FUNCTION(round) {
  FASTCONV_PARAMETERS;
  V forward(V x) const { return round(x); }
};

#define FASTCONV_LIBRARY_FUNCTION(name)                      \
  FASTCONV_FUNCTION(name) {                                  \
    FASTCONV_PARAMETERS;                                     \
    static float value(float x) { return ::name##f(x); }     \
    static double value(double x) { return ::name(x); }      \
    V forward(V x) const {                                   \
      T e[V::width];                                         \
      x.store(e);                                            \
      for (int i = 0; i < V::width; ++i) e[i] = value(e[i]); \
      return V::load(e);                                     \
    }                                                        \
  };
FASTCONV_LIBRARY_FUNCTIONS(FASTCONV_LIBRARY_FUNCTION)
#undef FASTCONV_LIBRARY_FUNCTION
#undef FASTCONV_LIBRARY_FUNCTIONS

#undef FASTCONV_FUNCTION
#undef FASTCONV_PARAMETERS

}  // namespace fastconv::FASTCONV_ISA
