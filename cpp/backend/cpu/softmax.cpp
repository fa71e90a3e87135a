// Softmax and cross-entropy losses.
#include <algorithm>

#include "backend/cpu/cpu.hpp"

namespace fastconv::cpu {
namespace {

constexpr std::int64_t kGrain = 16384;  // elements of a piece

// x -> y, or, the gradient, y, dy -> dx.
template <bool Log>
Step plan_softmax(PlanContext& c) {
  return by_dtype(c.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const Shape& shape = c.in_shape(0);
    std::int64_t axis = c.attrs().integer("axis", -1);
    if (axis < 0) axis += static_cast<std::int64_t>(shape.size());
    const std::int64_t outer = product(shape, 0, axis), length = shape[axis];
    const std::int64_t inner = product(shape, axis + 1, shape.size());
    const std::int64_t fit = std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, length));
    Step step;
    step.algorithm = inner == 1 ? "rows" : "columns";
    step.run = [=, x = c.in(0), dy = c.in(1), y = c.out()](const RunContext& run) {
      if (length == 0 || inner == 0) return;
      SoftmaxArgs<T> proto{
          run.data<T>(x), dy == kNone ? nullptr : run.data<T>(dy), run.data<T>(y), 0, length, inner, Log};
      const auto call = [&](std::int64_t at, std::int64_t rows) {
        SoftmaxArgs<T> a = proto;
        a.x += at, a.y += at;
        if (a.dy) a.dy += at;
        a.rows = rows;
        kernels<T>().softmax(a);
      };
      if (inner == 1)
        return parallel_range(outer, fit,
                              [&](std::int64_t begin, std::int64_t end, int) { call(begin * length, end - begin); });
      const std::int64_t width = std::min(inner, round_up(fit, 64)), parts = ceil_div(inner, width);
      const std::int64_t grain = std::max<std::int64_t>(1, fit / std::max<std::int64_t>(1, inner));
      parallel_range(outer * parts, grain, [&](std::int64_t begin, std::int64_t end, int) {
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t from = i % parts * width;
          call(i / parts * length * inner + from, std::min(width, inner - from));
        }
      });
    };
    return step;
  });
}

void check_labels(const std::int64_t* labels, std::int64_t n, std::int64_t classes, std::int64_t ignore) {
  for (std::int64_t i = 0; i < n; ++i)
    if (labels[i] != ignore && (labels[i] < 0 || labels[i] >= classes))
      throw Error("softmax_cross_entropy: target " + std::to_string(labels[i]) + " at index " + std::to_string(i) +
                  " is outside [0, " + std::to_string(classes) + ")");
}

// logits, target -> loss, or, the gradient, logits, target, dloss -> dlogits.
Step plan_cross_entropy(PlanContext& c) {
  return by_dtype(c.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const std::int64_t classes = c.in_shape(0).back();
    const std::int64_t rows = product(c.in_shape(0), 0, c.in_shape(0).size() - 1);
    CrossEntropyArgs<T> proto{};
    proto.classes = classes;
    proto.ignore_index = c.attrs().integer("ignore_index", -100);
    proto.smoothing = static_cast<T>(c.attrs().real("label_smoothing", 0));
    Step step;
    const bool hard = c.in_type(1).dtype == DType::i64;
    step.algorithm = hard ? "labels" : "probabilities";
    step.run = [=, x = c.in(0), target = c.in(1), dloss = c.in(2), y = c.out()](const RunContext& run) {
      if (hard) check_labels(run.data<std::int64_t>(target), rows, classes, proto.ignore_index);
      const std::int64_t grain = std::max<std::int64_t>(1, kGrain / classes);
      parallel_range(rows, grain, [&](std::int64_t begin, std::int64_t end, int) {
        CrossEntropyArgs<T> a = proto;
        a.x = run.data<T>(x) + begin * classes;
        if (hard)
          a.labels = run.data<std::int64_t>(target) + begin;
        else
          a.probabilities = run.data<T>(target) + begin * classes;
        if (dloss != kNone) a.dloss = run.data<T>(dloss) + begin;
        a.y = run.data<T>(y) + begin * (dloss == kNone ? 1 : classes);
        a.rows = end - begin;
        kernels<T>().cross_entropy(a);
      });
    };
    return step;
  });
}

Step plan_sigmoid_cross_entropy(PlanContext& c) {
  return by_dtype(c.dtype(), [&](auto zero) {
    using T = decltype(zero);
    Step step;
    step.algorithm = "elementwise";
    step.run = [n = c.out_type().size(), x = c.in(0), target = c.in(1), dloss = c.in(2),
                y = c.out()](const RunContext& run) {
      parallel_range(n, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
        kernels<T>().sigmoid_cross_entropy({run.data<T>(x) + begin, run.data<T>(target) + begin,
                                            dloss == kNone ? nullptr : run.data<T>(dloss) + begin,
                                            run.data<T>(y) + begin, end - begin});
      });
    };
    return step;
  });
}

const RegisterCpu softmax{"softmax", plan_softmax<false>};
const RegisterCpu softmax_backward{"softmax_backward", plan_softmax<false>};
const RegisterCpu log_softmax{"log_softmax", plan_softmax<true>};
const RegisterCpu log_softmax_backward{"log_softmax_backward", plan_softmax<true>};
const RegisterCpu cross_entropy{"softmax_cross_entropy", plan_cross_entropy};
const RegisterCpu cross_entropy_backward{"softmax_cross_entropy_backward", plan_cross_entropy};
const RegisterCpu sigmoid_cross_entropy{"sigmoid_cross_entropy", plan_sigmoid_cross_entropy};
const RegisterCpu sigmoid_cross_entropy_backward{"sigmoid_cross_entropy_backward", plan_sigmoid_cross_entropy};

}  // namespace
}  // namespace fastconv::cpu
