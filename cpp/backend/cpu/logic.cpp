// Comparisons, logic, where, cast, isnan and isinf.
#include <cstring>
#include <limits>

#include "backend/cpu/broadcast.hpp"

namespace fastconv::cpu {
namespace {

// y = fn(a, b) for elements of type T.
template <class T, class Y, class Fn>
Step map_pairs(PlanContext& context, bool swapped, Fn fn) {
  const int a = context.in(swapped), b = context.in(!swapped), out = context.out();
  const std::int64_t n = context.out_type().size();
  const Broadcast<2> broadcast(context.out_shape(), {context.in_shape(swapped), context.in_shape(!swapped)});
  Step step;
  step.algorithm = "elementwise";
  step.flops = static_cast<double>(n);
  step.run = [=](const RunContext& run) {
    if (n) broadcast_map(broadcast, run.data<T>(a), run.data<T>(b), run.data<Y>(out), fn);
  };
  return step;
}

template <class X, class Y, class Fn>
Step map_elements(PlanContext& context, Fn fn) {
  const int in = context.in(0), out = context.out();
  const std::int64_t n = context.out_type().size();
  Step step;
  step.algorithm = "elementwise";
  step.flops = static_cast<double>(n);
  step.run = [=](const RunContext& run) { parallel_map(n, run.data<X>(in), run.data<Y>(out), fn); };
  return step;
}

template <class T>
Step plan_equal(PlanContext& context, bool wanted) {
  if (wanted) return map_pairs<T, Bool>(context, false, [](T a, T b) { return Bool(a == b); });
  return map_pairs<T, Bool>(context, false, [](T a, T b) { return Bool(a != b); });
}

Step plan_compare(PlanContext& context) {
  const std::string kind = context.attrs().text("kind", "");
  const bool swapped = kind[0] == 'g';
  return visit(context.in_type(0).dtype, [&](auto t) {
    using T = decltype(t);
    if (kind == "eq" || kind == "ne") return plan_equal<Unsigned<T>>(context, kind == "eq");
    if (kind == "lt" || kind == "gt") return map_pairs<T, Bool>(context, swapped, [](T a, T b) { return Bool(a < b); });
    return map_pairs<T, Bool>(context, swapped, [](T a, T b) { return Bool(a <= b); });
  });
}

Step plan_logical(PlanContext& context) {
  const std::string kind = context.attrs().text("kind", "");
  if (kind == "and") return map_pairs<Bool, Bool>(context, false, [](Bool a, Bool b) { return Bool(a & b); });
  if (kind == "or") return map_pairs<Bool, Bool>(context, false, [](Bool a, Bool b) { return Bool(a | b); });
  return map_pairs<Bool, Bool>(context, false, [](Bool a, Bool b) { return Bool(a != b); });
}

Step plan_logical_not(PlanContext& context) {
  return map_elements<Bool, Bool>(context, [](Bool x) { return Bool(!x); });
}

Step plan_isnan(PlanContext& context) {
  return by_dtype(context.in_type(0).dtype, [&](auto t) {
    using T = decltype(t);
    return map_elements<T, Bool>(context, [](T x) { return Bool(x != x); });
  });
}

Step plan_isinf(PlanContext& context) {
  const bool positive = context.attrs().boolean("detect_positive", true);
  const bool negative = context.attrs().boolean("detect_negative", true);
  return by_dtype(context.in_type(0).dtype, [&](auto t) {
    using T = decltype(t);
    // Nothing is above infinity.
    const T largest = std::numeric_limits<T>::max(), infinity = std::numeric_limits<T>::infinity();
    const T high = positive ? largest : infinity, low = negative ? -largest : -infinity;
    return map_elements<T, Bool>(context, [=](T x) { return Bool((x > high) | (x < low)); });
  });
}

template <class X, class Y>
Step plan_cast_as(PlanContext& context) {
  return map_elements<X, Y>(context, [](X x) { return convert<Y>(x); });
}

Step plan_cast(PlanContext& context) {
  return visit(context.in_type(0).dtype, [&](auto from) {
    return visit(context.dtype(), [&](auto to) {
      using X = decltype(from);
      using Y = decltype(to);
      // Between integers the result's sign does not matter, and the source's only where it is extended.
      if constexpr (std::is_integral_v<X> && std::is_integral_v<Y>)
        return plan_cast_as<std::conditional_t<(sizeof(X) < sizeof(Y)), X, Unsigned<X>>, Unsigned<Y>>(context);
      else
        return plan_cast_as<X, Y>(context);
    });
  });
}

template <class T, class A, class B>
void choose(const Bool* condition, std::int64_t n, A a, B b, T* y) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = condition[i] ? a(i) : b(i);
}

template <class T>
void where_row(const Bool* condition, bool varies, const T* a, bool a_varies, const T* b, bool b_varies, T* y,
               std::int64_t n) {
  if (!varies) {
    const T* from = *condition ? a : b;
    if (!(*condition ? a_varies : b_varies))
      std::fill_n(y, n, *from);
    else if (from != y)
      std::memcpy(y, from, static_cast<std::size_t>(n) * sizeof(T));
    return;
  }
  const auto a_row = [a](std::int64_t i) { return a[i]; };
  const auto b_row = [b](std::int64_t i) { return b[i]; };
  const auto a_one = [v = *a](std::int64_t) { return v; };
  const auto b_one = [v = *b](std::int64_t) { return v; };
  if (a_varies) {
    if (b_varies) return choose(condition, n, a_row, b_row, y);
    return choose(condition, n, a_row, b_one, y);
  }
  if (b_varies) return choose(condition, n, a_one, b_row, y);
  choose(condition, n, a_one, b_one, y);
}

Step plan_where(PlanContext& context) {
  const int condition = context.in(0), a = context.in(1), b = context.in(2), out = context.out();
  const std::int64_t n = context.out_type().size();
  const Broadcast<3> broadcast(context.out_shape(), {context.in_shape(0), context.in_shape(1), context.in_shape(2)});
  return visit_bits(size_of(context.dtype()), [&](auto t) {
    using T = decltype(t);
    Step step;
    step.algorithm = "elementwise";
    step.flops = static_cast<double>(n);
    step.run = [=](const RunContext& run) {
      if (!n) return;
      const Bool* c0 = run.data<Bool>(condition);
      const T *a0 = run.data<T>(a), *b0 = run.data<T>(b);
      T* y = run.data<T>(out);
      broadcast.for_blocks([&](const Broadcast<3>::Block& k) {
        for (std::int64_t r = 0; r < k.rows; ++r)
          where_row(c0 + k.at[0] + r * k.row[0], k.step[0] != 0, a0 + k.at[1] + r * k.row[1], k.step[1] != 0,
                    b0 + k.at[2] + r * k.row[2], k.step[2] != 0, y + k.y + r * k.y_row, k.n);
      });
    };
    return step;
  });
}

const RegisterCpu compare_step{"compare", plan_compare};
const RegisterCpu logical_step{"logical", plan_logical};
const RegisterCpu logical_not_step{"logical_not", plan_logical_not};
const RegisterCpu where_step{"where", plan_where};
const RegisterCpu cast_step{"cast", plan_cast};
const RegisterCpu isnan_step{"isnan", plan_isnan};
const RegisterCpu isinf_step{"isinf", plan_isinf};

}  // namespace
}  // namespace fastconv::cpu
