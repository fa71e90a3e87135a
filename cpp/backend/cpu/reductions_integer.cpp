// Reductions of integers and truth values: plain loops, which compilers vectorise.
#include <algorithm>

#include "backend/cpu/reductions.hpp"
#include "ops/shapes.hpp"

namespace fastconv::cpu {
namespace {

// Wraps around.
template <Reduce op, class T>
T combine(T a, T b) {
  if constexpr (op == Reduce::max) {
    return a < b ? b : a;
  } else if constexpr (op == Reduce::min) {
    return b < a ? b : a;
  } else {
    using Wide = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;
    const auto x = static_cast<Wide>(a), y = static_cast<Wide>(b);
    return static_cast<T>(op == Reduce::sum ? x + y : x * y);
  }
}

template <Reduce op, class From, class T>
void reduce(const ReducePass& pass, const From* x, T* y) {
  run_pass(
      pass, x, y,
      [](const From* from, T* to, std::int64_t rows, std::int64_t n) {
        for (std::int64_t r = 0; r < rows; ++r, from += n) {
          T value = static_cast<T>(from[0]);
          for (std::int64_t i = 1; i < n; ++i) value = combine<op, T>(value, static_cast<T>(from[i]));
          to[r] = value;
        }
      },
      [](const From* from, T* to, std::int64_t rows, std::int64_t n, std::int64_t stride) {
        for (std::int64_t i = 0; i < n; ++i) to[i] = static_cast<T>(from[i]);
        for (std::int64_t r = 1; r < rows; ++r) {
          from += stride;
          for (std::int64_t i = 0; i < n; ++i) to[i] = combine<op, T>(to[i], static_cast<T>(from[i]));
        }
      });
}

// Sums for a mean are as wide as there are integers, so that those of 8 bits do not wrap around at once.
template <Reduce op, class T, bool mean>
Step plan_as(PlanContext& context) {
  using Sum = std::conditional_t<mean, std::conditional_t<std::is_signed_v<T>, std::int64_t, std::uint64_t>, T>;
  const Shape& shape = context.in_shape(0);
  const std::vector<bool> flags = axis_flags(context.attrs(), shape.size());
  const int in = context.in(0), out = context.out();
  const std::int64_t n = context.out_type().size(), size = context.in_type(0).size();
  Step step;
  step.algorithm = "tree";
  step.flops = static_cast<double>(size);
  if (size == 0) {
    step.run = [=](const RunContext& run) { std::fill_n(run.data<T>(out), n, reduction_of_nothing<T>(op, mean)); };
    return step;
  }
  const std::vector<ReducePass> passes = reduction_passes(shape, flags);
  std::vector<std::size_t> offset;  // of a pass's result in the workspace; the last one's is the output but for a mean
  std::size_t elements = 0;
  for (std::size_t i = 0; i + (mean ? 0 : 1) < passes.size(); ++i) {
    offset.push_back(elements);
    elements += static_cast<std::size_t>(passes[i].results());
  }
  step.workspace = elements * sizeof(Sum);
  const auto count = static_cast<Sum>(size / n);
  step.run = [=](const RunContext& run) {
    Sum* workspace = reinterpret_cast<Sum*>(run.workspace());
    const Sum* from = nullptr;
    for (std::size_t i = 0; i < passes.size(); ++i) {
      Sum* to = i < offset.size() ? workspace + offset[i] : run.data<Sum>(out);
      if (i == 0)
        reduce<op>(passes[i], run.data<T>(in), to);
      else
        reduce<op>(passes[i], from, to);
      from = to;
    }
    if constexpr (mean)
      parallel_range(n, kReduceGrain, [&](std::int64_t begin, std::int64_t end, int) {
        for (std::int64_t i = begin; i < end; ++i) run.data<T>(out)[i] = static_cast<T>(from[i] / count);
      });
  };
  return step;
}

}  // namespace

Step plan_integer_reduce(PlanContext& context, Reduce op, bool mean) {
  return visit(context.dtype(), [&](auto t) -> Step {
    using T = decltype(t);
    if constexpr (!std::is_floating_point_v<T>) {
      if (op == Reduce::max) return plan_as<Reduce::max, T, false>(context);
      if (op == Reduce::min) return plan_as<Reduce::min, T, false>(context);
      if constexpr (!std::is_same_v<T, Bool>) {
        if (op == Reduce::prod) return plan_as<Reduce::prod, Unsigned<T>, false>(context);
        return mean ? plan_as<Reduce::sum, T, true>(context) : plan_as<Reduce::sum, Unsigned<T>, false>(context);
      }
    }
    return {};
  });
}

}  // namespace fastconv::cpu
