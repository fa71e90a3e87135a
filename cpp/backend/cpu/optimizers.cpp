// Optimizer steps. The plan marks their variables as changed.
#include <cmath>

#include "backend/cpu/cpu.hpp"

namespace fastconv::cpu {
namespace {

constexpr std::int64_t kGrain = 16384;

// Runs the kernel on pieces of the parameter; `advance` moves the arguments' pointers to a piece's beginning.
template <class Args>
void over_pieces(std::int64_t n, void (*kernel)(const Args&), const Args& whole, void (*advance)(Args&, std::int64_t)) {
  parallel_range(n, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
    Args part = whole;
    advance(part, begin);
    part.n = end - begin;
    kernel(part);
  });
}

template <class T>
void move(T*& p, std::int64_t n) {
  if (p) p += n;
}

template <class T>
T* maybe(const RunContext& run, int value) {
  return value == kNone ? nullptr : run.data<T>(value);
}

Step plan_sgd(PlanContext& c) {
  const int param = c.in(0), grad = c.in(1), lr = c.in(3);
  const double momentum = c.attrs().real("momentum", 0), decay = c.attrs().real("weight_decay", 0);
  const int velocity = momentum != 0 ? c.in(2) : kNone;
  const bool nesterov = c.attrs().boolean("nesterov", false);
  const std::int64_t n = c.in_type(0).size();
  return by_dtype(c.in_type(0).dtype, [&](auto t) {
    using T = decltype(t);
    Step step;
    step.algorithm = "fused";
    step.run = [=](const RunContext& run) {
      const double rate = *run.data<T>(lr);
      const SgdArgs<T> args{run.data<T>(param),           run.data<T>(grad),    maybe<T>(run, velocity),  n,
                            static_cast<T>(rate * decay), static_cast<T>(rate), static_cast<T>(momentum), nesterov};
      over_pieces<SgdArgs<T>>(n, kernels<T>().sgd_update, args,
                              [](SgdArgs<T>& a, std::int64_t i) { a.param += i, a.grad += i, move(a.velocity, i); });
    };
    return step;
  });
}

Step plan_adam(PlanContext& c) {
  const int param = c.in(0), grad = c.in(1), m = c.in(2), v = c.in(3), vhat = c.in(4), lr = c.in(5), count = c.in(6);
  const double beta1 = c.attrs().real("beta1", 0.9), beta2 = c.attrs().real("beta2", 0.999);
  const double epsilon = c.attrs().real("epsilon", 1e-7), decay = c.attrs().real("weight_decay", 0);
  const std::int64_t n = c.in_type(0).size();
  return by_dtype(c.in_type(0).dtype, [&](auto t) {
    using T = decltype(t);
    Step step;
    step.algorithm = "fused";
    step.run = [=](const RunContext& run) {
      const double rate = *run.data<T>(lr), s = *run.data<T>(count);
      const double corrected = rate * std::sqrt(1 - std::pow(beta2, s)) / (1 - std::pow(beta1, s));
      const AdamArgs<T> args{run.data<T>(param),
                             run.data<T>(grad),
                             run.data<T>(m),
                             run.data<T>(v),
                             maybe<T>(run, vhat),
                             n,
                             static_cast<T>(rate * decay),
                             static_cast<T>(corrected),
                             static_cast<T>(1 - beta1),
                             static_cast<T>(1 - beta2),
                             static_cast<T>(epsilon)};
      over_pieces<AdamArgs<T>>(n, kernels<T>().adam_update, args, [](AdamArgs<T>& a, std::int64_t i) {
        a.param += i, a.grad += i, a.m += i, a.v += i, move(a.vhat, i);
      });
    };
    return step;
  });
}

Step plan_rmsprop(PlanContext& c) {
  const int param = c.in(0), grad = c.in(1), v = c.in(2), mean = c.in(4), lr = c.in(5);
  const double rho = c.attrs().real("rho", 0.9), momentum = c.attrs().real("momentum", 0);
  const double epsilon = c.attrs().real("epsilon", 1e-7), decay = c.attrs().real("weight_decay", 0);
  const int buffer = momentum != 0 ? c.in(3) : kNone;
  const std::int64_t n = c.in_type(0).size();
  return by_dtype(c.in_type(0).dtype, [&](auto t) {
    using T = decltype(t);
    Step step;
    step.algorithm = "fused";
    step.run = [=](const RunContext& run) {
      const double rate = *run.data<T>(lr);
      const RmspropArgs<T> args{run.data<T>(param),           run.data<T>(grad),        run.data<T>(v),
                                maybe<T>(run, buffer),        maybe<T>(run, mean),      n,
                                static_cast<T>(rate * decay), static_cast<T>(rate),     static_cast<T>(rho),
                                static_cast<T>(1 - rho),      static_cast<T>(momentum), static_cast<T>(epsilon)};
      over_pieces<RmspropArgs<T>>(n, kernels<T>().rmsprop_update, args, [](RmspropArgs<T>& a, std::int64_t i) {
        a.param += i, a.grad += i, a.v += i, move(a.momentum_buffer, i), move(a.mean, i);
      });
    };
    return step;
  });
}

Step plan_adagrad(PlanContext& c) {
  const int param = c.in(0), grad = c.in(1), accumulator = c.in(2), lr = c.in(3);
  const double epsilon = c.attrs().real("epsilon", 1e-7), decay = c.attrs().real("weight_decay", 0);
  const std::int64_t n = c.in_type(0).size();
  return by_dtype(c.in_type(0).dtype, [&](auto t) {
    using T = decltype(t);
    Step step;
    step.algorithm = "fused";
    step.run = [=](const RunContext& run) {
      const double rate = *run.data<T>(lr);
      const AdagradArgs<T> args{run.data<T>(param),           run.data<T>(grad),    run.data<T>(accumulator), n,
                                static_cast<T>(rate * decay), static_cast<T>(rate), static_cast<T>(epsilon)};
      over_pieces<AdagradArgs<T>>(n, kernels<T>().adagrad_update, args, [](AdagradArgs<T>& a, std::int64_t i) {
        a.param += i, a.grad += i, a.accumulator += i;
      });
    };
    return step;
  });
}

const RegisterCpu sgd_step{"sgd_update", plan_sgd};
const RegisterCpu adam_step{"adam_update", plan_adam};
const RegisterCpu rmsprop_step{"rmsprop_update", plan_rmsprop};
const RegisterCpu adagrad_step{"adagrad_update", plan_adagrad};

}  // namespace
}  // namespace fastconv::cpu
