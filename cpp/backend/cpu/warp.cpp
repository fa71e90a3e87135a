// warp and warp_backward: sampling at positions given by one affine map an image.
//
// Written on plain loops: the work is finding pixels, a pixel has few channels, and positions in double precision
// without fused operations choose the same pixels with every instruction set.
#include <algorithm>

#include "backend/cpu/cpu.hpp"

namespace fastconv::cpu {
namespace {

constexpr std::int64_t kGrain = 4096;
constexpr std::int64_t kOutside = -1;  // the index of what the fill value stands for
constexpr double kFar = 1e15;          // positions beyond it, and NaN, count as this far outside

enum class Fill { constant, grid_constant, nearest, reflect, wrap, grid_wrap };

Fill fill_of(const std::string& name) {
  if (name == "constant") return Fill::constant;
  if (name == "grid-constant") return Fill::grid_constant;
  if (name == "reflect") return Fill::reflect;
  if (name == "wrap") return Fill::wrap;
  return name == "grid-wrap" ? Fill::grid_wrap : Fill::nearest;
}

// The two pixels along an axis that a position lies between, and the second one's weight.
struct Between {
  std::int64_t low, high;
  double weight;
};

std::int64_t floor_of(double a) {  // std::floor is a call without SSE4.1
  const auto i = static_cast<std::int64_t>(a);
  return i - (static_cast<double>(i) > a);
}

std::int64_t times(double a, std::int64_t n) { return static_cast<std::int64_t>(a / static_cast<double>(n)); }

// Brings a position into the axis, as scipy.ndimage's modes of these names do.
double folded(double at, std::int64_t n, Fill fill) {
  const double last = static_cast<double>(n - 1);
  if (at >= 0 && at <= last) return at;
  switch (fill) {
    case Fill::constant:
    case Fill::grid_constant: return at;
    case Fill::nearest: return at < 0 ? 0 : last;
    case Fill::reflect: {
      if (n == 1) return 0;
      const auto period = static_cast<double>(2 * n);
      if (at < 0) {
        if (at < -period) at += period * static_cast<double>(times(-at, 2 * n));
        return at < static_cast<double>(-n) ? at + period : -at - 1;
      }
      at -= period * static_cast<double>(times(at, 2 * n));
      return at >= static_cast<double>(n) ? period - at - 1 : at;
    }
    case Fill::wrap:
      if (n == 1) return 0;
      if (at < 0) return at + last * static_cast<double>(times(-at, n - 1) + 1);
      return at - last * static_cast<double>(times(at, n - 1));
    case Fill::grid_wrap:
      if (at < 0) return at + static_cast<double>(n) * static_cast<double>(times(-at, n) + 1);
      return at - static_cast<double>(n) * static_cast<double>(times(at, n));
  }
  return at;
}

std::int64_t pixel(std::int64_t i, std::int64_t n, Fill fill) {
  if (i >= 0 && i < n) return i;
  if (fill == Fill::grid_constant) return kOutside;
  if (fill == Fill::grid_wrap) return (i % n + n) % n;
  return i < 0 ? 0 : n - 1;
}

template <int Order>
Between between(double at, std::int64_t n, Fill fill) {
  if (!(at > -kFar && at < kFar)) at = -kFar;
  at = folded(at, n, fill);
  if (fill == Fill::constant && !(at >= 0 && at <= static_cast<double>(n - 1))) return {kOutside, kOutside, 0};
  const std::int64_t low = floor_of(Order ? at : at + 0.5);
  if (!Order) return {pixel(low, n, fill), kOutside, 0};
  return {pixel(low, n, fill), pixel(low + 1, n, fill), at - static_cast<double>(low)};
}

struct Warp {
  std::int64_t n, in_h, in_w, out_h, out_w, channels;
  Fill fill;
  double value;
};

// Calls fn(the pixel's number in its row, its place along the rows, along the columns) for a row of the output.
template <int Order, class Fn>
void for_row(const Warp& w, const double* m, std::int64_t row, Fn&& fn) {
  const double r = static_cast<double>(row), y0 = m[2] + r * m[0], x0 = m[5] + r * m[3];
  const double last_y = static_cast<double>(w.in_h - 1), last_x = static_cast<double>(w.in_w - 1);
  for (std::int64_t j = 0; j < w.out_w; ++j) {
    const double c = static_cast<double>(j), y = y0 + c * m[1], x = x0 + c * m[4];
    if (!Order && y >= 0 && y <= last_y && x >= 0 && x <= last_x) {
      fn(j, Between{static_cast<std::int64_t>(y + 0.5), kOutside, 0},
         Between{static_cast<std::int64_t>(x + 0.5), kOutside, 0});
    } else if (Order && y >= 0 && y < last_y && x >= 0 && x < last_x) {
      const auto top = static_cast<std::int64_t>(y), left = static_cast<std::int64_t>(x);
      fn(j, Between{top, top + 1, y - static_cast<double>(top)},
         Between{left, left + 1, x - static_cast<double>(left)});
    } else {
      fn(j, between<Order>(y, w.in_h, w.fill), between<Order>(x, w.in_w, w.fill));
    }
  }
}

// Channels: their number, 0 for any.
template <class T, int Order, int Channels>
void sample_row(const Warp& w, const double* m, const T* image, const T* outside, std::int64_t row, T* y) {
  const std::int64_t channels = Channels ? Channels : w.channels;
  const auto at = [&](std::int64_t i, std::int64_t j) {
    return i == kOutside || j == kOutside ? outside : image + (i * w.in_w + j) * channels;
  };
  for_row<Order>(w, m, row, [&](std::int64_t j, const Between& v, const Between& h) {
    T* to = y + j * channels;
    const T* a = at(v.low, h.low);
    const T *b = a, *d = a, *e = a;
    if (Order) b = at(v.low, h.high), d = at(v.high, h.low), e = at(v.high, h.high);
    if (!Order || (a == b && b == d && d == e)) {  // one pixel, or all outside: its value, not rounded
      for (std::int64_t c = 0; c < channels; ++c) to[c] = a[c];
      return;
    }
    const T right = static_cast<T>(h.weight), left = 1 - right, bottom = static_cast<T>(v.weight), top = 1 - bottom;
    for (std::int64_t c = 0; c < channels; ++c)
      to[c] = top * (left * a[c] + right * b[c]) + bottom * (left * d[c] + right * e[c]);
  });
}

template <class T, int Order>
auto row_sampler(std::int64_t channels) {
  switch (channels) {
    case 1: return sample_row<T, Order, 1>;
    case 3: return sample_row<T, Order, 3>;
    case 4: return sample_row<T, Order, 4>;
    default: return sample_row<T, Order, 0>;
  }
}

Warp warp_of(const PlanContext& context, const Shape& in, const Shape& out) {
  return {in[0],
          in[1],
          in[2],
          out[1],
          out[2],
          in[3],
          fill_of(context.attrs().text("fill", "nearest")),
          context.attrs().real("value", 0)};
}

Step plan_warp(PlanContext& context) {
  const Warp w = warp_of(context, context.in_shape(0), context.out_shape());
  const bool linear = context.attrs().integer("order", 1) == 1;
  return by_dtype(context.dtype(), [&](auto t) {
    using T = decltype(t);
    const auto sample = linear ? row_sampler<T, 1>(w.channels) : row_sampler<T, 0>(w.channels);
    Step step;
    step.algorithm = linear ? "bilinear" : "nearest";
    step.flops = static_cast<double>(w.n * w.out_h * w.out_w) * static_cast<double>(8 + (linear ? 9 * w.channels : 0));
    step.run = [=, outside = std::vector<T>(static_cast<std::size_t>(w.channels), static_cast<T>(w.value)),
                x_id = context.in(0), m_id = context.in(1), y_id = context.out()](const RunContext& run) {
      const T* x = run.data<T>(x_id);
      const double* m = run.data<double>(m_id);
      T* y = run.data<T>(y_id);
      const std::int64_t image = w.in_h * w.in_w * w.channels, row = w.out_w * w.channels;
      parallel_range(w.n * w.out_h, std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(row, 1)),
                     [&](std::int64_t begin, std::int64_t end, int) {
                       for (std::int64_t r = begin; r < end; ++r) {
                         const std::int64_t i = r / w.out_h;
                         sample(w, m + i * 6, x + i * image, outside.data(), r % w.out_h, y + r * row);
                       }
                     });
    };
    return step;
  });
}

// dy lies on the warp's output, dx on its input.
template <class T, int Order>
void scatter_image(const Warp& w, const double* m, const T* dy, T* dx) {
  const std::int64_t channels = w.channels;
  std::fill_n(dx, w.in_h * w.in_w * channels, T(0));
  for (std::int64_t row = 0; row < w.out_h; ++row) {
    const T* from_row = dy + row * w.out_w * channels;
    for_row<Order>(w, m, row, [&](std::int64_t j, const Between& v, const Between& h) {
      const T* from = from_row + j * channels;
      const auto add = [&](std::int64_t y, std::int64_t x, double weight) {
        if (y == kOutside || x == kOutside || weight == 0) return;
        T* to = dx + (y * w.in_w + x) * channels;
        for (std::int64_t c = 0; c < channels; ++c) to[c] += static_cast<T>(weight) * from[c];
      };
      add(v.low, h.low, (1 - v.weight) * (1 - h.weight));
      if (!Order) return;
      add(v.low, h.high, (1 - v.weight) * h.weight);
      add(v.high, h.low, v.weight * (1 - h.weight));
      add(v.high, h.high, v.weight * h.weight);
    });
  }
}

Step plan_warp_backward(PlanContext& context) {
  const Warp w = warp_of(context, context.out_shape(), context.in_shape(0));
  const bool linear = context.attrs().integer("order", 1) == 1;
  return by_dtype(context.dtype(), [&](auto t) {
    using T = decltype(t);
    const auto scatter = linear ? scatter_image<T, 1> : scatter_image<T, 0>;
    Step step;
    step.algorithm = linear ? "bilinear" : "nearest";
    step.flops = static_cast<double>(w.n * w.out_h * w.out_w) * static_cast<double>(8 + 8 * w.channels);
    step.run = [=, dy_id = context.in(0), m_id = context.in(1), dx_id = context.out()](const RunContext& run) {
      const T* dy = run.data<T>(dy_id);
      const double* m = run.data<double>(m_id);
      T* dx = run.data<T>(dx_id);
      // Pixels of one image are added to in one order.
      parallel_for(w.n, [&](std::int64_t i, int) {
        scatter(w, m + i * 6, dy + i * w.out_h * w.out_w * w.channels, dx + i * w.in_h * w.in_w * w.channels);
      });
    };
    return step;
  });
}

const RegisterCpu warp_step{"warp", plan_warp};
const RegisterCpu warp_backward_step{"warp_backward", plan_warp_backward};

}  // namespace
}  // namespace fastconv::cpu
