#include "backend/cpu/integers.hpp"

#include <limits>

#include "backend/cpu/broadcast.hpp"

namespace fastconv::cpu {
namespace {

// Arithmetic that wraps around: unsigned, and wide enough that nothing is promoted to int.
template <class T>
using Wide = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;

template <class T>
T negative(T a) {
  return static_cast<T>(Wide<T>(0) - static_cast<Wide<T>>(a));
}

template <class T>
T multiply(T a, T b) {
  return static_cast<T>(static_cast<Wide<T>>(a) * static_cast<Wide<T>>(b));
}

// a / 0 is 0, and the lowest number / -1 is itself.
template <class T>
T divide(T a, T b) {
  if (b == 0) return 0;
  if constexpr (std::is_signed_v<T>)
    if (b == -1) return negative(a);
  return static_cast<T>(a / b);
}

// a % 0 is 0. With the sign of a, or with that of b.
template <bool of_a, class T>
T modulo(T a, T b) {
  if (b == 0) return 0;
  if constexpr (std::is_signed_v<T>) {
    if (b == -1) return 0;
    const T r = static_cast<T>(a % b);
    return !of_a && r != 0 && (r < 0) != (b < 0) ? static_cast<T>(r + b) : r;
  }
  return static_cast<T>(a % b);
}

// By squaring. A negative exponent gives the float result cut off: 0 but for bases of 0, 1 and -1.
template <class T>
T power(T a, T b) {
  if constexpr (std::is_signed_v<T>) {
    if (b < 0) {
      if (a == 0) return std::numeric_limits<T>::max();
      if (a == 1) return 1;
      return a != -1 ? 0 : b % 2 ? -1 : 1;
    }
  }
  T result = 1;
  for (auto e = static_cast<std::uint64_t>(b); e; e >>= 1) {
    if (e & 1) result = multiply(result, a);
    a = multiply(a, a);
  }
  return result;
}

template <Binary f, class T>
T apply(T a, T b) {
  if constexpr (f == Binary::add) return static_cast<T>(static_cast<Wide<T>>(a) + static_cast<Wide<T>>(b));
  if constexpr (f == Binary::sub) return static_cast<T>(static_cast<Wide<T>>(a) - static_cast<Wide<T>>(b));
  if constexpr (f == Binary::mul) return multiply(a, b);
  if constexpr (f == Binary::div) return divide(a, b);
  if constexpr (f == Binary::maximum) return a < b ? b : a;
  if constexpr (f == Binary::minimum) return b < a ? b : a;
  if constexpr (f == Binary::pow) return power(a, b);
  if constexpr (f == Binary::mod) return modulo<false>(a, b);
  if constexpr (f == Binary::fmod) return modulo<true>(a, b);
  if constexpr (f == Binary::prelu) return a < 0 ? multiply(a, b) : a;
}

template <Binary f, class T>
Step plan_as(PlanContext& context) {
  const int a = context.in(0), b = context.in(1), out = context.out();
  const std::int64_t n = context.out_type().size();
  const Broadcast<2> broadcast(context.out_shape(), {context.in_shape(0), context.in_shape(1)});
  Step step;
  step.algorithm = "elementwise";
  step.flops = static_cast<double>(n);
  step.run = [=](const RunContext& run) {
    if (!n) return;
    broadcast_map(broadcast, run.data<T>(a), run.data<T>(b), run.data<T>(out), [](T x, T y) { return apply<f>(x, y); });
  };
  return step;
}

template <Binary f>
Step plan_as(PlanContext& context) {
  return visit(context.dtype(), [&](auto t) -> Step {
    using T = decltype(t);
    constexpr bool any_sign = f == Binary::add || f == Binary::sub || f == Binary::mul;
    if constexpr (std::is_integral_v<T>) return plan_as<f, std::conditional_t<any_sign, Unsigned<T>, T>>(context);
    return {};
  });
}

template <class T>
T apply_unary(Unary f, T x, T low, T high) {
  switch (f) {
    case Unary::relu: return x < 0 ? T(0) : x;
    case Unary::clip: return std::min(high, std::max(low, x));
    case Unary::neg: return negative(x);
    case Unary::abs: return x < 0 ? negative(x) : x;
    case Unary::sign: return static_cast<T>((x > 0) - (x < 0));
    default: return x;
  }
}

template <Unary f>
Step plan_unary_as(PlanContext& context) {
  const int in = context.in(0), out = context.out();
  const std::int64_t n = context.out_type().size();
  return visit(context.dtype(), [&](auto t) -> Step {
    using T = decltype(t);
    Step step;
    if constexpr (std::is_integral_v<T>) {
      constexpr double infinity = std::numeric_limits<double>::infinity();
      const T low = attribute_as<T>(context.attrs(), "min", -infinity);
      const T high = attribute_as<T>(context.attrs(), "max", infinity);
      step.algorithm = "elementwise";
      step.flops = static_cast<double>(n);
      step.run = [=](const RunContext& run) {
        parallel_map(n, run.data<T>(in), run.data<T>(out), [=](T x) { return apply_unary(f, x, low, high); });
      };
    }
    return step;
  });
}

Step plan_copy(PlanContext& context) {
  const int in = context.in(0), out = context.out();
  const auto bytes = static_cast<std::int64_t>(context.out_type().bytes());
  Step step;
  step.algorithm = "copy";
  step.run = [=](const RunContext& run) {
    parallel_map(bytes, run.data<std::uint8_t>(in), run.data<std::uint8_t>(out), [](std::uint8_t x) { return x; });
  };
  return step;
}

}  // namespace

Step plan_integer_binary(PlanContext& context, Binary function) {
  switch (function) {
#define FASTCONV_CASE(name) \
  case Binary::name: return plan_as<Binary::name>(context);
    FASTCONV_CASE(add)
    FASTCONV_CASE(sub)
    FASTCONV_CASE(mul)
    FASTCONV_CASE(div)
    FASTCONV_CASE(maximum)
    FASTCONV_CASE(minimum)
    FASTCONV_CASE(pow)
    FASTCONV_CASE(mod)
    FASTCONV_CASE(fmod)
    FASTCONV_CASE(prelu)
#undef FASTCONV_CASE
    default: return {};
  }
}

Step plan_integer_unary(PlanContext& context, Unary function) {
  switch (function) {
    case Unary::relu: return plan_unary_as<Unary::relu>(context);
    case Unary::clip: return plan_unary_as<Unary::clip>(context);
    case Unary::neg: return plan_unary_as<Unary::neg>(context);
    case Unary::abs: return plan_unary_as<Unary::abs>(context);
    case Unary::sign: return plan_unary_as<Unary::sign>(context);
    case Unary::identity: return plan_copy(context);
    default: return {};
  }
}

}  // namespace fastconv::cpu
