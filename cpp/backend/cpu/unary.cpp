// Elementwise operators of one input.
#include "backend/cpu/cpu.hpp"
#include "backend/cpu/integers.hpp"
#include "ops/elementwise.hpp"

namespace fastconv::cpu {
namespace {

// Elements of a piece: enough that handing it out costs little beside the work.
constexpr std::int64_t kGrain = 32768;

template <Unary f>
Step plan_unary(PlanContext& context) {
  if (!is_floating(context.dtype())) return plan_integer_unary(context, f);
  const UnaryParameters parameters = unary_parameters(unary_info(f), context.attrs());
  const int in = context.in(0), out = context.out();
  const std::int64_t n = context.out_type().size();
  return by_dtype(context.dtype(), [&](auto t) {
    using T = decltype(t);
    Step step;
    step.algorithm = "elementwise";
    step.flops = static_cast<double>(n);
    step.run = [=](const RunContext& run) {
      const T* x = run.data<T>(in);
      T* y = run.data<T>(out);
      parallel_range(n, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
        kernels<T>().unary({f, parameters, x + begin, y + begin, end - begin});
      });
    };
    return step;
  });
}

template <Unary f>
Step plan_unary_grad(PlanContext& context) {
  const UnaryParameters parameters = unary_parameters(unary_info(f), context.attrs());
  const int dy = context.in(0), s = context.in(1), out = context.out();
  const std::int64_t n = context.out_type().size();
  return by_dtype(context.dtype(), [&](auto t) {
    using T = decltype(t);
    Step step;
    step.algorithm = "elementwise";
    step.flops = static_cast<double>(n);
    step.run = [=](const RunContext& run) {
      const T *g = run.data<T>(dy), *read = run.data<T>(s);
      T* dx = run.data<T>(out);
      parallel_range(n, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
        kernels<T>().unary_grad({f, parameters, g + begin, read + begin, dx + begin, end - begin});
      });
    };
    return step;
  });
}

#define FASTCONV_UNARY(name, reads, a, a_default, b, b_default)  \
  const RegisterCpu name##_step{#name, plan_unary<Unary::name>}; \
  const RegisterCpu name##_grad_step{#name "_grad", plan_unary_grad<Unary::name>};
#define FASTCONV_UNARY_PLAIN(name, a, a_default, b, b_default) \
  const RegisterCpu name##_step{#name, plan_unary<Unary::name>};
#include "kernels/unary.inc"
#undef FASTCONV_UNARY
#undef FASTCONV_UNARY_PLAIN

}  // namespace
}  // namespace fastconv::cpu
