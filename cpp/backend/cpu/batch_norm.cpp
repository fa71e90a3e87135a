// Batch normalization: statistics in a fixed number of chunks of rows, then one pass over the elements.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>

#include "backend/cpu/columns.hpp"
#include "backend/cpu/conv.hpp"
#include "backend/cpu/planes.hpp"
#include "ops/elementwise.hpp"

namespace fastconv::cpu {
namespace {

using namespace columns;

constexpr std::int64_t kStreamed = 1 << 20;  // bytes of an output that the second-level cache would not keep

// 1 / sqrt(var + eps), once where var is known before the run.
template <class T>
int pack_inverse_deviation(PlanContext& c, std::int64_t channels, double eps) {
  std::int64_t bits = 0;
  std::memcpy(&bits, &eps, sizeof bits);
  return c.pack({c.in(4), static_cast<std::size_t>(channels) * sizeof(T),
                 [=](const void* from, const void*, void* to) {
                   for (std::int64_t i = 0; i < channels; ++i)
                     static_cast<T*>(to)[i] = T(1) / std::sqrt(static_cast<const T*>(from)[i] + static_cast<T>(eps));
                 },
                 "inverse deviation " + join({static_cast<std::int64_t>(sizeof(T)), channels, bits})});
}

template <class T>
void activated_affine(const Layout& l, const Activation& activation, ColumnAffineArgs<T> a) {
  a.clamp = activation.clamp, a.lo = static_cast<T>(activation.lo), a.hi = static_cast<T>(activation.hi);
  affine<T>(l, a, [&](const ColumnAffineArgs<T>& rows, int) {
    kernels<T>().column_affine(rows);
    activate(activation, rows.y, 1, rows.rows * rows.columns, rows.rows * rows.columns);
  });
}

Step plan_inference(PlanContext& c) {
  return by_dtype(c.dtype(), [&](auto zero) {
    using T = decltype(zero);
    if (c.node().channels_first.input) return plan_planes_inference<T>(c);
    const Layout l(c.in_shape(0), c.row(c.in(0)));
    Activation activation;
    set_activation(activation, c.attrs());
    const int slot = pack_inverse_deviation<T>(c, l.channels, c.attrs().real("eps", 1e-5));
    Step step;
    step.algorithm = algorithm(l);
    step.workspace = static_cast<std::size_t>(3 * l.columns) * sizeof(T);
    step.run = [l, activation, slot, x = c.in(0), gamma = c.in(1), beta = c.in(2), mean = c.in(3),
                y = c.out()](const RunContext& run) {
      const T *g = optional<T>(run, gamma), *b = optional<T>(run, beta);
      T* m = reinterpret_cast<T*>(run.workspace());
      T *scale = m + l.columns, *shift = scale + l.columns;
      for (std::int64_t i = 0; i < l.channels; ++i) {
        m[i] = run.data<T>(mean)[i];
        scale[i] = at_or(g, i, T(1)) * run.packed<T>(slot)[i];
        shift[i] = at_or(b, i, T(0));
      }
      for (T* p : {m, scale, shift}) repeat(p, l);
      activated_affine<T>(l, activation, {run.data<T>(x), nullptr, run.data<T>(y), 0, 0, m, nullptr, scale, shift});
    };
    return step;
  });
}

template <class T>
void update_running(const Layout& l, const RunContext& run, int mean_id, int var_id, const double* mean,
                    const double* m2, double momentum, bool unbiased) {
  if (mean_id == kNone || !l.pixels) return;
  const auto n = static_cast<double>(unbiased ? std::max<std::int64_t>(1, l.pixels - 1) : l.pixels);
  T *running_mean = run.data<T>(mean_id), *running_var = run.data<T>(var_id);
  for (std::int64_t i = 0; i < l.channels; ++i) {
    running_mean[i] = static_cast<T>((1 - momentum) * running_mean[i] + momentum * mean[i]);
    running_var[i] = static_cast<T>((1 - momentum) * running_var[i] + momentum * m2[i] / n);
  }
}

Step plan_training(PlanContext& c) {
  return by_dtype(c.dtype(), [&](auto zero) {
    using T = decltype(zero);
    if (c.node().channels_first.input) return plan_planes_training<T>(c);
    const Layout l(c.in_shape(0));
    Activation activation;
    set_activation(activation, c.attrs());
    Step step;
    step.algorithm = algorithm(l);
    step.scratch = SumScratch<T>::bytes(l);
    step.workspace = static_cast<std::size_t>(2 * l.chunks * l.channels) * sizeof(double) +
                     static_cast<std::size_t>(3 * l.columns) * sizeof(T);
    step.run = [l, activation, eps = c.attrs().real("eps", 1e-5), momentum = c.attrs().real("momentum", 0.1),
                unbiased = c.attrs().boolean("unbiased", true), x = c.in(0), gamma = c.in(1), beta = c.in(2),
                running_mean = c.in(3), running_var = c.in(4), residual = c.in(5), y = c.out(), mean_id = c.out(1),
                inv_id = c.out(2), var_id = c.out(3),
                shift_id = c.outputs() > 4 ? c.out(4) : kNone](const RunContext& run) {
      auto* mean = reinterpret_cast<double*>(run.workspace());
      double* m2 = mean + l.chunks * l.channels;
      T* m = reinterpret_cast<T*>(m2 + l.chunks * l.channels);
      T *scale = m + l.columns, *shift = scale + l.columns;
      if (l.pixels) {
        parallel_for(l.chunks, [&](std::int64_t chunk, int thread) {
          SumScratch<T> s(run.scratch(thread), l);
          chunk_statistics<T>(l, chunk, run.data<T>(x), s, mean + chunk * l.channels, m2 + chunk * l.channels);
        });
        combine_statistics(l, mean, m2);
      } else {
        std::fill(mean, mean + 2 * l.chunks * l.channels, 0.0);
      }
      const T *g = optional<T>(run, gamma), *b = optional<T>(run, beta);
      const double n = static_cast<double>(std::max<std::int64_t>(1, l.pixels));
      for (std::int64_t i = 0; i < l.channels; ++i) {
        const double var = m2[i] / n;
        const T inv = static_cast<T>(1 / std::sqrt(var + eps));
        run.data<T>(mean_id)[i] = m[i] = static_cast<T>(mean[i]);
        run.data<T>(inv_id)[i] = inv;
        run.data<T>(var_id)[i] = static_cast<T>(var);
        scale[i] = inv * at_or(g, i, T(1));  // as the gradient computes it
        // What rounding took from the mean goes into the shift.
        shift[i] = static_cast<T>(static_cast<double>(at_or(b, i, T(0))) -
                                  (mean[i] - static_cast<double>(m[i])) * static_cast<double>(scale[i]));
      }
      if (shift_id != kNone) std::copy(shift, shift + l.channels, run.data<T>(shift_id));
      update_running<T>(l, run, running_mean, running_var, mean, m2, momentum, unbiased);
      for (T* p : {m, scale, shift}) repeat(p, l);
      ColumnAffineArgs<T> a{run.data<T>(x), nullptr, run.data<T>(y), 0, 0, m, nullptr, scale, shift};
      a.residual = optional<T>(run, residual);
      a.stream = a.y != a.x && a.y != a.residual && l.pixels * l.channels * std::int64_t{sizeof(T)} > kStreamed;
      activated_affine<T>(l, activation, a);
    };
    return step;
  });
}

// Sums over all pixels of dy and of dy * (x - mean), into `first` and `second` of the workspace's first chunk, by
// add(args of some rows, thread). The arrays of channels in `args` are repeated.
template <class T, class Add>
void gradient_sums(const Layout& l, const RunContext& run, const ColumnSumsArgs<T>& args, double* first, double* second,
                   Add add) {
  parallel_for(l.chunks, [&](std::int64_t chunk, int thread) {
    SumScratch<T> s(run.scratch(thread), l);
    sum_chunk<T>(l, chunk, args, s, [&](const ColumnSumsArgs<T>& rows) { add(rows, thread); });
    std::copy(s.first, s.first + l.channels, first + chunk * l.channels);
    std::copy(s.second, s.second + l.channels, second + chunk * l.channels);
  });
  for (std::int64_t chunk = 1; chunk < l.chunks; ++chunk)
    for (std::int64_t i = 0; i < l.channels; ++i) {
      first[i] += first[chunk * l.channels + i];
      second[i] += second[chunk * l.channels + i];
    }
}

// The gradient of an activation that is more than a mask, a few rows at a time in a thread's memory: batch
// normalization's output is computed from x again.
template <class T>
struct ActivationGradient {
  Unary function;
  UnaryParameters parameters;
  bool from_y;
  std::int64_t block;  // elements
  ActivationGradient(const Layout& l, const Activation& a)
      : function(a.function), parameters(a.parameters), block(std::max<std::int64_t>(16384, l.columns)) {
    from_y = gradient_from_output(unary_info(function), parameters);
    parameters.reads_input = !from_y;
  }
  std::size_t bytes() const { return static_cast<std::size_t>(2 * block) * sizeof(T); }

  // fn(first element, rows, gradient) for some rows after the other, with z = scale * (x - mean) + offset.
  template <class Fn>
  void for_rows(const T* x, const T* dy, std::int64_t rows, std::int64_t columns, const T* mean, const T* scale,
                const T* offset, std::byte* memory, Fn fn) const {
    T *z = reinterpret_cast<T*>(memory), *g = z + block;
    for (std::int64_t row = 0, most = block / std::max<std::int64_t>(1, columns); row < rows; row += most) {
      const std::int64_t some = std::min(most, rows - row), n = some * columns, at = row * columns;
      kernels<T>().column_affine({x + at, nullptr, z, some, columns, mean, nullptr, scale, offset});
      if (from_y) kernels<T>().unary({function, parameters, z, z, n});
      kernels<T>().unary_grad({function, parameters, dy + at, z, g, n});
      fn(at, some, g);
    }
  }
};

// Of batch normalization and what follows it, whose gradient dy is.
struct TrainingBackward {
  int x, gamma, mean, inv_std, dy;
  int shift = kNone;              // the activation's gradient is had from x again
  int y = kNone, masked = kNone;  // or from its output, and written
  int dx = kNone, dgamma = kNone, dbeta = kNone;
  Activation activation{};
};

template <class T>
Step plan_training_backward(const Layout& l, const TrainingBackward& p) {
  Step step;
  step.algorithm = algorithm(l);
  const ActivationGradient<T> activation(l, p.activation);
  const bool remade = p.activation.activate;
  step.scratch = SumScratch<T>::bytes(l) + (remade ? activation.bytes() : 0);
  step.workspace = static_cast<std::size_t>(2 * l.chunks * l.channels) * sizeof(double) +
                   static_cast<std::size_t>(5 * l.columns) * sizeof(T);
  step.run = [l, p, activation, remade](const RunContext& run) {
    auto* first = reinterpret_cast<double*>(run.workspace());
    double* second = first + l.chunks * l.channels;
    T* m = reinterpret_cast<T*>(second + l.chunks * l.channels);
    T *a = m + l.columns, *b = a + l.columns, *c = b + l.columns, *offset = c + l.columns;
    const T *g = optional<T>(run, p.gamma), *inv_std = run.data<T>(p.inv_std), *shift = optional<T>(run, p.shift);
    for (std::int64_t i = 0; i < l.channels; ++i) {
      m[i] = run.data<T>(p.mean)[i];
      a[i] = inv_std[i] * at_or(g, i, T(1));
      offset[i] = at_or(shift, i, T(0));
    }
    for (T* array : {m, a, offset}) repeat(array, l);
    const T lo = static_cast<T>(p.activation.lo);
    const T hi = p.activation.hi < std::numeric_limits<double>::infinity() ? static_cast<T>(p.activation.hi)
                                                                           : std::numeric_limits<T>::quiet_NaN();
    ColumnSumsArgs<T> sums{run.data<T>(p.x), run.data<T>(p.dy), m, 0, 0, nullptr, nullptr, nullptr};
    if (shift) sums.scale = a, sums.offset = offset;
    sums.z = optional<T>(run, p.y);
    if (sums.z) sums.masked = run.data<T>(p.masked);
    sums.lo = lo, sums.hi = hi;
    const auto memory = [&](int thread) { return run.scratch(thread) + SumScratch<T>::bytes(l); };
    gradient_sums<T>(l, run, sums, first, second, [&](const ColumnSumsArgs<T>& rows, int thread) {
      if (!remade) return kernels<T>().column_sums(rows);
      ColumnSumsArgs<T> some = rows;
      some.scale = some.offset = nullptr;
      activation.for_rows(rows.x, rows.dy, rows.rows, rows.columns, m, a, offset, memory(thread),
                          [&](std::int64_t at, std::int64_t n, const T* gradient) {
                            some.x = rows.x + at, some.dy = gradient, some.rows = n;
                            kernels<T>().column_sums(some);
                          });
    });
    const double n = static_cast<double>(std::max<std::int64_t>(1, l.pixels));
    for (std::int64_t i = 0; i < l.channels; ++i) {
      const double inv = inv_std[i], scale = a[i];
      run.data<T>(p.dgamma)[i] = static_cast<T>(second[i] * inv);
      run.data<T>(p.dbeta)[i] = static_cast<T>(first[i]);
      b[i] = static_cast<T>(-scale * inv * inv * second[i] / n);
      c[i] = static_cast<T>(-scale * first[i] / n);
    }
    for (T* array : {b, c}) repeat(array, l);
    ColumnAffineArgs<T> args{sums.x, sums.masked ? sums.masked : sums.dy, run.data<T>(p.dx), 0, 0, m, a, b, c};
    if (shift) args.offset = offset;
    args.lo = lo, args.hi = hi;
    affine<T>(l, args, [&](const ColumnAffineArgs<T>& rows, int thread) {
      if (!remade) return kernels<T>().column_affine(rows);
      ColumnAffineArgs<T> some = rows;
      some.offset = nullptr;
      activation.for_rows(rows.x, rows.dy, rows.rows, rows.columns, m, a, offset, memory(thread),
                          [&](std::int64_t at, std::int64_t n, const T* gradient) {
                            some.x = rows.x + at, some.y = rows.y + at, some.dy = gradient, some.rows = n;
                            kernels<T>().column_affine(some);
                          });
    });
  };
  return step;
}

Step plan_backward(PlanContext& c) {
  TrainingBackward p{c.in(0), c.in(1), c.in(2), c.in(3), c.in(4)};
  p.shift = c.in(5);
  p.dx = c.out(0), p.dgamma = c.out(1), p.dbeta = c.out(2);
  set_activation(p.activation, c.attrs());
  return by_dtype(c.dtype(), [&](auto t) { return plan_training_backward<decltype(t)>(Layout(c.in_shape(0)), p); });
}

Step plan_residual_backward(PlanContext& c) {
  TrainingBackward p{c.in(0), c.in(1), c.in(2), c.in(3), c.in(4)};
  p.y = c.in(5);
  p.masked = c.out(0), p.dx = c.out(1), p.dgamma = c.out(2), p.dbeta = c.out(3);
  set_activation(p.activation, c.attrs());
  return by_dtype(c.dtype(), [&](auto t) { return plan_training_backward<decltype(t)>(Layout(c.in_shape(0)), p); });
}

Step plan_inference_backward(PlanContext& c) {
  return by_dtype(c.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const Layout l(c.in_shape(0));
    Step step;
    step.algorithm = algorithm(l);
    step.scratch = SumScratch<T>::bytes(l);
    step.workspace = static_cast<std::size_t>(2 * l.chunks * l.channels) * sizeof(double) +
                     static_cast<std::size_t>(3 * l.columns) * sizeof(T);
    step.run = [l, eps = c.attrs().real("eps", 1e-5), x = c.in(0), gamma = c.in(1), mean = c.in(2), var = c.in(3),
                dy = c.in(4), out = c.node().outputs](const RunContext& run) {
      auto* first = reinterpret_cast<double*>(run.workspace());
      double* second = first + l.chunks * l.channels;
      T* none = reinterpret_cast<T*>(second + l.chunks * l.channels);
      T *scale = none + l.columns, *m = scale + l.columns;
      std::copy(run.data<T>(mean), run.data<T>(mean) + l.channels, m);
      repeat(m, l);
      gradient_sums<T>(l, run, {run.data<T>(x), run.data<T>(dy), m, 0, 0, nullptr, nullptr, nullptr}, first, second,
                       [](const ColumnSumsArgs<T>& rows, int) { kernels<T>().column_sums(rows); });
      const T* g = optional<T>(run, gamma);
      for (std::int64_t i = 0; i < l.channels; ++i) {
        const double inv = 1 / std::sqrt(static_cast<double>(run.data<T>(var)[i]) + eps);
        const double s = inv * static_cast<double>(at_or(g, i, T(1)));
        run.data<T>(out[1])[i] = static_cast<T>(second[i] * inv);
        run.data<T>(out[2])[i] = static_cast<T>(first[i]);
        run.data<T>(out[3])[i] = static_cast<T>(-first[i] * s);
        run.data<T>(out[4])[i] = static_cast<T>(-0.5 * second[i] * s * inv * inv);
        none[i] = 0;
        scale[i] = static_cast<T>(s);
      }
      for (T* p : {none, scale}) repeat(p, l);
      affine<T>(l, {run.data<T>(dy), nullptr, run.data<T>(out[0]), 0, 0, none, nullptr, scale, none});
    };
    return step;
  });
}

const RegisterCpu inference{"batch_norm_inference", plan_inference, kReadsFirst};
const RegisterCpu training{"batch_norm_training", plan_training};
const RegisterCpu training_backward{"batch_norm_training_backward", plan_backward};
const RegisterCpu residual_backward{"batch_norm_residual_backward", plan_residual_backward};
const RegisterCpu inference_backward{"batch_norm_inference_backward", plan_inference_backward};

}  // namespace
}  // namespace fastconv::cpu
