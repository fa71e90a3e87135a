// Batch normalization of tensors with channels first: a piece does some channels from statistics to result, while
// their planes are in the cache.
#include "backend/cpu/planes.hpp"

#include <algorithm>
#include <cmath>

#include "core/cpu.hpp"

namespace fastconv::cpu {
namespace {

constexpr std::int64_t kGrain = 16384;      // elements of a piece: fewer do not pay for another thread
constexpr std::int64_t kPlane = 64;         // elements that cost as much as what a plane costs besides its own
constexpr std::int64_t kBlock = 16;         // channels done together
constexpr std::size_t kStreamed = 1 << 20;  // bytes of a gradient that the second-level cache would not keep

struct Geometry {
  std::int64_t images, channels, size;
  std::int64_t grain;  // channels of a piece
  explicit Geometry(const Shape& x) : images(x[0]), channels(x[1]), size(product(x, 2, x.size())), grain(1) {
    grain = std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, images * (size + kPlane)));
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
void for_channels(const Geometry& g, Fn fn, std::int64_t most = kBlock) {
  parallel_range(g.channels, g.grain, [&](std::int64_t begin, std::int64_t end, int) {
    const std::int64_t block = std::min(most, g.grain);
    for (std::int64_t c = begin; c < end; c += block) fn(c, std::min(block, end - c));
  });
}

// Of some channels: mean and sum of squared deviations, and the sums of dy and of dy times the deviations.
struct Sums {
  double mean[kBlock] = {}, m2[kBlock] = {}, dy[kBlock] = {}, dot[kBlock] = {};
};

// Where the sums of a plane are taken around: the mean of four elements, if that is finite.
template <class T>
T near_mean(const T* plane, std::int64_t step) {
  const T mean = ((plane[0] + plane[step]) + (plane[2 * step] + plane[3 * step])) * T(0.25);
  return mean - mean == 0 ? mean : T(0);
}

// Of n channels; without dy not the sums of it. Where a plane's mean turns out to be some deviations off from what its
// sums were taken around, they are taken again; images are joined by Chan's formula, for all channels of a block, so
// that the loops are ones of vectors.
template <class T>
Sums sums_of(const Geometry& g, std::int64_t channel, std::int64_t n, const T* x, const T* dy) {
  Sums s;
  if (g.size == 0) return s;
  const auto size = static_cast<double>(g.size);
  const double share_of_one = 1 / size;
  // The sums of dy are moved by as much: they start closer to the mean.
  const std::int64_t step = dy ? g.size / 4 : 0;
  const double most = (dy ? 4 : 16) * share_of_one;
  for (std::int64_t i = 0; i < g.images; ++i) {
    const std::int64_t at = (i * g.channels + channel) * g.size;
    const double before = static_cast<double>(i) * size, share = size / (before + size);
    T shift[kBlock] = {};
    double first[kBlock] = {}, second[kBlock] = {}, dy_sum[kBlock] = {}, dy_dot[kBlock] = {};
    for (std::int64_t c = 0; c < n; ++c) shift[c] = near_mean(x + at + c * g.size, step);
    const T* gradient = dy ? dy + at : nullptr;
    kernels<T>().plane_sums({x + at, shift, n, g.size, first, second, gradient, dy_sum, dy_dot});
    std::int64_t far[kBlock];
    for (int c = 0; c < kBlock; ++c) {
      const double d = first[c] * share_of_one, squares = second[c] - d * first[c];
      far[c] = d * d > most * squares;
    }
    for (std::int64_t c = 0; c < n; ++c) {
      if (!far[c]) continue;
      const auto around = static_cast<T>(static_cast<double>(shift[c]) + first[c] * share_of_one);
      if (around - around != 0) continue;  // not finite
      shift[c] = around;
      first[c] = second[c] = dy_sum[c] = dy_dot[c] = 0;
      kernels<T>().plane_sums({x + at + c * g.size, shift + c, 1, g.size, first + c, second + c,
                               dy ? gradient + c * g.size : nullptr, dy_sum + c, dy_dot + c});
    }
    for (int c = 0; c < kBlock; ++c) {
      const double around = static_cast<double>(shift[c]), d = first[c] * share_of_one;
      const double squares = std::max(0.0, second[c] - d * first[c]);
      const double off = around + d - s.mean[c], mean = s.mean[c] + off * share;
      s.m2[c] += squares + off * off * before * share;
      s.dot[c] += dy_dot[c] - (mean - around) * dy_sum[c] - (mean - s.mean[c]) * s.dy[c];
      s.dy[c] += dy_sum[c];
      s.mean[c] = mean;
    }
  }
  return s;
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
      const Sums s = sums_of<T>(g, channel, n, run.data<T>(x), nullptr);
      Parameters<T> p;
      for (std::int64_t i = 0; i < n; ++i) {
        const std::int64_t at = channel + i;
        const double var = s.m2[i] / values, inv = 1 / std::sqrt(var + eps);
        run.data<T>(mean_id)[at] = p.mean[i] = static_cast<T>(s.mean[i]);
        run.data<T>(inv_id)[at] = static_cast<T>(inv);
        run.data<T>(var_id)[at] = static_cast<T>(var);
        p.scale[i] = static_cast<T>(inv * static_cast<double>(weight ? weight[at] : T(1)));
        // What rounding took from the mean goes into the shift.
        p.shift[i] = static_cast<T>(static_cast<double>(bias ? bias[at] : T(0)) -
                                    (s.mean[i] - static_cast<double>(p.mean[i])) * static_cast<double>(p.scale[i]));
        if (running_mean == kNone || count == 0) continue;
        T &old_mean = run.data<T>(running_mean)[at], &old_var = run.data<T>(running_var)[at];
        old_mean = static_cast<T>((1 - momentum) * old_mean + momentum * s.mean[i]);
        old_var = static_cast<T>((1 - momentum) * old_var + momentum * s.m2[i] / counted);
      }
      apply(g, channel, n, p, run.data<T>(x), run.data<T>(y));
    });
  };
  return step;
}

namespace {

// Statistics again, as nothing was kept of a forward pass, together with the gradient's sums, then the gradient.
Step plan_planes_backward(PlanContext& c) {
  return by_dtype(c.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const Geometry g(c.in_shape(0));
    // Both passes over a block read x and dy: so many channels that the second finds them in the first-level cache.
    const auto bytes = static_cast<std::int64_t>(2 * sizeof(T)) * std::max<std::int64_t>(1, g.images * g.size);
    const auto most = std::clamp<std::int64_t>(static_cast<std::int64_t>(caches().l1d * 3 / 4) / bytes, 1, kBlock);
    const bool stream = num_elements(c.in_shape(0)) * sizeof(T) > kStreamed;
    Step step;
    step.algorithm = "planes";
    step.run = [g, most, stream, eps = c.attrs().real("eps", 1e-5), x_id = c.in(0), gamma = c.in(1), dy_id = c.in(2),
                dx_id = c.out(0), dgamma_id = c.out(1), dbeta_id = c.out(2)](const RunContext& run) {
      const T *weight = optional<T>(run, gamma), *x = run.data<T>(x_id), *dy = run.data<T>(dy_id);
      T *dx = run.data<T>(dx_id), *dgamma = run.data<T>(dgamma_id), *dbeta = run.data<T>(dbeta_id);
      const double share = 1 / static_cast<double>(std::max<std::int64_t>(1, g.images * g.size));
      for_channels(
          g,
          [&](std::int64_t channel, std::int64_t n) {
            const Sums s = sums_of<T>(g, channel, n, x, dy);
            Parameters<T> p;
            T slope[kBlock], factor[kBlock], gamma_sum[kBlock], beta_sum[kBlock];
            for (int i = 0; i < kBlock; ++i) factor[i] = T(1);
            if (weight) std::copy_n(weight + channel, n, factor);
            for (int i = 0; i < kBlock; ++i) {
              const double inv = 1 / std::sqrt(s.m2[i] * share + eps), scale = inv * static_cast<double>(factor[i]);
              const double down = -scale * inv * inv * s.dot[i] * share;
              gamma_sum[i] = static_cast<T>(s.dot[i] * inv);
              beta_sum[i] = static_cast<T>(s.dy[i]);
              p.mean[i] = static_cast<T>(s.mean[i]);
              p.scale[i] = static_cast<T>(scale);
              slope[i] = static_cast<T>(down);
              // What rounding took from the mean goes into the shift.
              p.shift[i] =
                  static_cast<T>((static_cast<double>(p.mean[i]) - s.mean[i]) * down - scale * s.dy[i] * share);
            }
            std::copy_n(gamma_sum, n, dgamma + channel);
            std::copy_n(beta_sum, n, dbeta + channel);
            for (std::int64_t i = 0; i < g.images; ++i) {
              const std::int64_t at = (i * g.channels + channel) * g.size;
              kernels<T>().plane_affine({x + at, dx + at, n, g.size, p.mean, slope, p.shift, dy + at, p.scale, stream});
            }
          },
          most);
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
