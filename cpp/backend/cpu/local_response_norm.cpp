#include <algorithm>

#include "backend/cpu/cpu.hpp"

namespace fastconv::cpu {
namespace {

// x -> y, or, the gradient, x, dy -> dx.
Step plan_local_response_norm(PlanContext& c) {
  return by_dtype(c.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const Attrs& attrs = c.attrs();
    const std::int64_t channels = c.in_shape(0).back(), size = attrs.integer("size");
    const std::int64_t pixels = channels ? c.in_type(0).size() / channels : 0;
    LocalResponseNormArgs<T> proto{};
    proto.channels = channels;
    // Margins past the channels hold zeros only: no more of them than there are channels.
    proto.before = std::min(size / 2, channels);
    proto.after = std::min((size - 1) / 2, channels);
    proto.k = static_cast<T>(attrs.real("k", 1));
    proto.alpha = static_cast<T>(attrs.real("alpha", 1e-4) / static_cast<double>(size));
    proto.beta = static_cast<T>(attrs.real("beta", 0.75));
    const std::int64_t buffer = (channels + proto.before + proto.after) * (c.has(1) ? 2 : 1);
    Step step;
    step.algorithm = "window";
    step.scratch = static_cast<std::size_t>(buffer) * sizeof(T);
    step.run = [=, x = c.in(0), dy = c.in(1), y = c.out()](const RunContext& run) {
      const std::int64_t grain = std::max<std::int64_t>(1, 16384 / std::max<std::int64_t>(1, channels));
      parallel_range(pixels, grain, [&](std::int64_t begin, std::int64_t end, int thread) {
        LocalResponseNormArgs<T> a = proto;
        a.buffer = reinterpret_cast<T*>(run.scratch(thread));
        std::fill(a.buffer, a.buffer + buffer, T(0));
        a.x = run.data<T>(x) + begin * channels;
        a.y = run.data<T>(y) + begin * channels;
        if (dy != kNone) a.dy = run.data<T>(dy) + begin * channels;
        a.pixels = end - begin;
        kernels<T>().local_response_norm(a);
      });
    };
    return step;
  });
}

const RegisterCpu forward{"local_response_norm", plan_local_response_norm};
const RegisterCpu backward{"local_response_norm_backward", plan_local_response_norm};

}  // namespace
}  // namespace fastconv::cpu
