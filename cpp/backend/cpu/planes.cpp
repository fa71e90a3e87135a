// Batch normalization of tensors with channels first: a piece does some channels from statistics to result, while
// their planes are in the cache.
#include "backend/cpu/planes.hpp"

#include <algorithm>
#include <cmath>

namespace fastconv::cpu {
namespace {

constexpr std::int64_t kGrain = 65536;  // elements of a piece: fewer do not pay for another thread
constexpr std::int64_t kBlock = 16;     // channels done together

struct Geometry {
  std::int64_t images, channels, size;
  std::int64_t grain;  // channels of a piece
  explicit Geometry(const Shape& x) : images(x[0]), channels(x[1]), size(product(x, 2, x.size())), grain(1) {
    grain = std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, images * size));
  }
};

template <class T>
const T* optional(const RunContext& run, int value) {
  return value == kNone ? nullptr : run.data<T>(value);
}

template <class T>
struct Parameters {
  T mean[kBlock], scale[kBlock], shift[kBlock];
};

template <class T>
void apply(const Geometry& g, std::int64_t channel, std::int64_t n, const Parameters<T>& p, const T* x, T* y) {
  for (std::int64_t i = 0; i < g.images; ++i) {
    const std::int64_t at = (i * g.channels + channel) * g.size;
    kernels<T>().plane_affine({x + at, y + at, n, g.size, p.mean, p.scale, p.shift});
  }
}

// fn(first channel, channels), at most kBlock at a time, and as many as fit the cache.
template <class Fn>
void for_channels(const Geometry& g, Fn fn) {
  parallel_range(g.channels, g.grain, [&](std::int64_t begin, std::int64_t end, int) {
    const std::int64_t block = std::min(kBlock, g.grain);
    for (std::int64_t c = begin; c < end; c += block) fn(c, std::min(block, end - c));
  });
}

// Mean and sum of squared deviations of n channels. The sums of a plane are taken around its first element, or, where
// that turns out to be many deviations off, again around the mean just found; images are joined by Chan's formula.
template <class T>
void statistics(const Geometry& g, std::int64_t channel, std::int64_t n, const T* x, double* mean, double* m2) {
  std::fill_n(mean, n, 0.0);
  std::fill_n(m2, n, 0.0);
  const auto size = static_cast<double>(g.size);
  for (std::int64_t i = 0; i < g.images; ++i) {
    const T* planes = x + (i * g.channels + channel) * g.size;
    const double before = static_cast<double>(i) * size, share = size / (before + size);
    T shift[kBlock];
    double first[kBlock] = {}, second[kBlock] = {};
    for (std::int64_t c = 0; c < n; ++c) {
      const T start = planes[c * g.size];
      shift[c] = start - start == 0 ? start : T(0);  // not finite
    }
    kernels<T>().plane_sums({planes, shift, n, g.size, first, second});
    for (std::int64_t c = 0; c < n; ++c) {
      double d = first[c] / size, squares = second[c] - d * first[c];
      const auto around = static_cast<T>(static_cast<double>(shift[c]) + d);
      if (d * d > 16 * squares / size && around - around == 0) {
        shift[c] = around;
        first[c] = second[c] = 0;
        kernels<T>().plane_sums({planes + c * g.size, shift + c, 1, g.size, first + c, second + c});
        d = first[c] / size, squares = second[c] - d * first[c];
      }
      squares = squares < 0 ? 0 : squares;
      const double m = static_cast<double>(shift[c]) + d, off = m - mean[c];
      mean[c] += off * share;
      m2[c] += squares + off * off * before * share;
    }
  }
}

}  // namespace

template <class T>
Step plan_planes_inference(PlanContext& c) {
  const Geometry g(c.in_shape(0));
  Step step;
  step.algorithm = "planes";
  step.run = [g, eps = c.attrs().real("eps", 1e-5), x = c.in(0), gamma = c.in(1), beta = c.in(2), mean = c.in(3),
              var = c.in(4), y = c.out()](const RunContext& run) {
    const T *weight = optional<T>(run, gamma), *bias = optional<T>(run, beta);
    for_channels(g, [&](std::int64_t channel, std::int64_t n) {
      Parameters<T> p;
      for (std::int64_t i = 0; i < n; ++i) {
        p.mean[i] = run.data<T>(mean)[channel + i];
        p.scale[i] =
            (weight ? weight[channel + i] : T(1)) / std::sqrt(run.data<T>(var)[channel + i] + static_cast<T>(eps));
        p.shift[i] = bias ? bias[channel + i] : T(0);
      }
      apply(g, channel, n, p, run.data<T>(x), run.data<T>(y));
    });
  };
  return step;
}

template <class T>
Step plan_planes_training(PlanContext& c) {
  const Geometry g(c.in_shape(0));
  Step step;
  step.algorithm = "planes";
  step.run = [g, eps = c.attrs().real("eps", 1e-5), momentum = c.attrs().real("momentum", 0.1),
              unbiased = c.attrs().boolean("unbiased", true), x = c.in(0), gamma = c.in(1), beta = c.in(2),
              running_mean = c.in(3), running_var = c.in(4), y = c.out(), mean_id = c.out(1), inv_id = c.out(2),
              var_id = c.out(3)](const RunContext& run) {
    const T *weight = optional<T>(run, gamma), *bias = optional<T>(run, beta);
    const std::int64_t count = g.images * g.size;
    const auto values = static_cast<double>(std::max<std::int64_t>(1, count));
    const auto counted = static_cast<double>(std::max<std::int64_t>(1, unbiased ? count - 1 : count));
    for_channels(g, [&](std::int64_t channel, std::int64_t n) {
      double mean[kBlock], m2[kBlock];
      statistics(g, channel, n, run.data<T>(x), mean, m2);
      Parameters<T> p;
      for (std::int64_t i = 0; i < n; ++i) {
        const std::int64_t at = channel + i;
        const double var = m2[i] / values, inv = 1 / std::sqrt(var + eps);
        run.data<T>(mean_id)[at] = p.mean[i] = static_cast<T>(mean[i]);
        run.data<T>(inv_id)[at] = static_cast<T>(inv);
        run.data<T>(var_id)[at] = static_cast<T>(var);
        p.scale[i] = static_cast<T>(inv * static_cast<double>(weight ? weight[at] : T(1)));
        // What rounding took from the mean goes into the shift.
        p.shift[i] = static_cast<T>(static_cast<double>(bias ? bias[at] : T(0)) -
                                    (mean[i] - static_cast<double>(p.mean[i])) * static_cast<double>(p.scale[i]));
        if (running_mean == kNone || count == 0) continue;
        T &old_mean = run.data<T>(running_mean)[at], &old_var = run.data<T>(running_var)[at];
        old_mean = static_cast<T>((1 - momentum) * old_mean + momentum * mean[i]);
        old_var = static_cast<T>((1 - momentum) * old_var + momentum * m2[i] / counted);
      }
      apply(g, channel, n, p, run.data<T>(x), run.data<T>(y));
    });
  };
  return step;
}

namespace {

// Statistics again, as nothing was kept of a forward pass, the gradient's sums, and the gradient.
Step plan_planes_backward(PlanContext& c) {
  return by_dtype(c.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const Geometry g(c.in_shape(0));
    Step step;
    step.algorithm = "planes";
    step.run = [g, eps = c.attrs().real("eps", 1e-5), x = c.in(0), gamma = c.in(1), dy = c.in(2), dx = c.out(0),
                dgamma = c.out(1), dbeta = c.out(2)](const RunContext& run) {
      const T* weight = optional<T>(run, gamma);
      const auto values = static_cast<double>(std::max<std::int64_t>(1, g.images * g.size));
      for_channels(g, [&](std::int64_t channel, std::int64_t n) {
        double mean[kBlock], m2[kBlock], first[kBlock] = {}, second[kBlock] = {};
        statistics(g, channel, n, run.data<T>(x), mean, m2);
        Parameters<T> p;
        T slope[kBlock];
        for (std::int64_t i = 0; i < n; ++i) p.mean[i] = static_cast<T>(mean[i]);
        const auto planes = [&](std::int64_t image) { return (image * g.channels + channel) * g.size; };
        for (std::int64_t i = 0; i < g.images; ++i)
          kernels<T>().plane_sums(
              {run.data<T>(x) + planes(i), p.mean, n, g.size, first, second, run.data<T>(dy) + planes(i)});
        for (std::int64_t i = 0; i < n; ++i) {
          const std::int64_t at = channel + i;
          const double inv = 1 / std::sqrt(m2[i] / values + eps);
          const double scale = inv * static_cast<double>(weight ? weight[at] : T(1));
          run.data<T>(dgamma)[at] = static_cast<T>(second[i] * inv);
          run.data<T>(dbeta)[at] = static_cast<T>(first[i]);
          p.scale[i] = static_cast<T>(scale);
          slope[i] = static_cast<T>(-scale * inv * inv * second[i] / values);
          p.shift[i] = static_cast<T>(-scale * first[i] / values);
        }
        for (std::int64_t i = 0; i < g.images; ++i)
          kernels<T>().plane_affine({run.data<T>(x) + planes(i), run.data<T>(dx) + planes(i), n, g.size, p.mean, slope,
                                     p.shift, run.data<T>(dy) + planes(i), p.scale});
      });
    };
    return step;
  });
}
const RegisterCpu planes_backward{"batch_norm_planes_backward", plan_planes_backward};

}  // namespace

template Step plan_planes_inference<float>(PlanContext&);
template Step plan_planes_inference<double>(PlanContext&);
template Step plan_planes_training<float>(PlanContext&);
template Step plan_planes_training<double>(PlanContext&);

}  // namespace fastconv::cpu
