// Random numbers as pure functions of (seed, salt, element index): dropout and random_uniform.
#include <algorithm>

#include "backend/cpu/cpu.hpp"

namespace fastconv::cpu {
namespace {

constexpr std::int64_t kGrain = 16384;

// Finalizer of splitmix64 (Steele et al. 2014).
std::uint64_t mix64(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

std::uint64_t key_of(std::int64_t seed, std::uint64_t salt) {
  return mix64(static_cast<std::uint64_t>(seed) ^ mix64(salt + 0x9e3779b97f4a7c15u));
}

Step plan_dropout(PlanContext& context) {
  const int in = context.in(0), seed = context.in(1), out = context.out();
  const std::int64_t n = context.out_type().size();
  const double rate = context.attrs().real("rate", 0);
  const auto salt = static_cast<std::uint64_t>(context.attrs().integer("salt", 0));
  const auto threshold = static_cast<std::uint32_t>(std::min(rate * 4294967296.0, 4294967295.0));
  return by_dtype(context.dtype(), [&](auto t) {
    using T = decltype(t);
    Step step;
    step.algorithm = "counter-based";
    step.run = [=](const RunContext& run) {
      const std::uint64_t key = key_of(*run.data<std::int64_t>(seed), salt);
      const T* x = run.data<T>(in);
      T* y = run.data<T>(out);
      const T scale = rate < 1 ? static_cast<T>(1 / (1 - rate)) : T(0);
      parallel_range(n, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
        // The element's index: its low half is the counter, its high half (the same in a piece) enters the key.
        const std::uint64_t k = mix64(key + (static_cast<std::uint64_t>(begin) >> 32));
        DropoutArgs<T> args{x + begin, y + begin, end - begin, static_cast<std::uint32_t>(begin), {}, threshold, scale};
        args.key[0] = static_cast<std::uint32_t>(k);
        args.key[1] = static_cast<std::uint32_t>(k >> 32);
        kernels<T>().dropout(args);
      });
    };
    return step;
  });
}
const RegisterCpu dropout_step{"dropout", plan_dropout};

Step plan_uniform(PlanContext& context) {
  const int seed = context.in(0), out = context.out();
  const std::int64_t n = context.out_type().size();
  const double low = context.attrs().real("low", 0), high = context.attrs().real("high", 1);
  const auto salt = static_cast<std::uint64_t>(context.attrs().integer("salt", 0));
  return by_dtype(context.dtype(), [&](auto t) {
    using T = decltype(t);
    Step step;
    step.algorithm = "counter-based";
    step.run = [=](const RunContext& run) {
      const std::uint64_t key = key_of(*run.data<std::int64_t>(seed), salt);
      T* y = run.data<T>(out);
      parallel_range(n, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
        for (std::int64_t i = begin; i < end; ++i) {
          const std::uint64_t bits = mix64(key + static_cast<std::uint64_t>(i) * 0x9e3779b97f4a7c15u) >> 11;
          y[i] = static_cast<T>(low + static_cast<double>(bits) * 0x1p-53 * (high - low));
        }
      });
    };
    return step;
  });
}
const RegisterCpu uniform_step{"random_uniform", plan_uniform};

}  // namespace
}  // namespace fastconv::cpu
