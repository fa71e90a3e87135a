// Depthwise convolution on NHWC: vectors run along channels, each with its own weights.
#include "kernels/conv_args.hpp"
#include "kernels/depthwise_parts.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

// What a sum starts with and what comes after it: copies, since a store might change the arguments for all GCC knows.
template <class T, bool whole>
struct Epilogue {
  using VT = Vec<T>;
  FASTCONV_INLINE Epilogue(const DepthwiseArgs<T>& a, Channels<T, whole> v, std::int64_t c)
      : v(v),
        bias(a.bias ? a.bias + c : nullptr),
        residual(a.residual ? a.residual + c : nullptr),
        y(a.y + c),
        pixel(a.y_pixel),
        lo(VT::set(a.lo)),
        hi(VT::set(a.hi)),
        clamp(a.clamp) {}
  template <int P>
  FASTCONV_INLINE void start(VT (&acc)[P], std::int64_t channel) const {
    const VT b = bias ? v.load(bias + channel) : VT::zero();
    FASTCONV_UNROLL for (int p = 0; p < P; ++p) acc[p] = b;
  }
  template <int P>
  FASTCONV_INLINE void finish(VT (&acc)[P], std::int64_t at) const {
    if (residual) {
      const T* from = residual + at;
      FASTCONV_UNROLL for (int p = 0; p < P; ++p, from += pixel) acc[p] = acc[p] + v.load(from);
    }
    if (clamp) FASTCONV_UNROLL for (int p = 0; p < P; ++p) acc[p] = min(hi, max(lo, acc[p]));
    T* to = y + at;
    FASTCONV_UNROLL for (int p = 0; p < P; ++p, to += pixel) v.store(acc[p], to);
  }
  Channels<T, whole> v;
  const T *bias, *residual;
  T* y;
  std::int64_t pixel;
  VT lo, hi;
  bool clamp;
};

// P pixels from pixel p0 in every row, K adjacent taps, stride S, of the vectors from channel c. An input vector is
// loaded once for all outputs of a row that read it; K weights and P sums stay in registers. `edge`: some columns may
// lie outside.
template <class T, int K, int S, int P, bool edge, bool whole>
FASTCONV_NOINLINE void strip(const DepthwiseArgs<T>& a, Channels<T, whole> v, std::int64_t c, std::int64_t p0) {
  using VT = Vec<T>;
  constexpr int J = (P - 1) * S + K;
  const Epilogue<T, whole> epilogue(a, v, c);
  const std::int64_t col = a.col + p0 * S, step = a.x_pixel, row = a.step_h * a.x_row, tap = a.w_tap;
  const std::int64_t rows = a.rows, step_h = a.step_h, taps_h = a.taps_h, in_h = a.in_h, stride_h = a.stride_h;
  const std::int64_t channels = v.vectors * VT::width, x_next = stride_h * a.x_row, y_next = a.y_row;
  unsigned inside = 0;
  if constexpr (edge)
    for (int j = 0; j < J; ++j) inside |= (col + j >= 0 && col + j < a.in_w ? 1u : 0u) << j;
  std::int64_t top = a.row, at = p0 * a.y_pixel;
  const T *x_top = a.x + top * a.x_row + col * step + c, *weights = a.w + c;
  for (std::int64_t r = 0; r < rows; ++r, top += stride_h, at += y_next, x_top += x_next) {
    const Taps t = taps_inside(top, step_h, taps_h, in_h);
    const T *x0 = x_top + t.begin * row, *w0 = weights + t.begin * K * tap;
    for (std::int64_t o = 0; o < channels; o += VT::width) {
      VT acc[P];
      epilogue.start(acc, o);
      const T *w = w0 + o, *x = x0 + o;
      for (std::int64_t th = t.end - t.begin; th > 0; --th, w += K * tap, x += row) {
        VT wv[K];
        FASTCONV_UNROLL for (int k = 0; k < K; ++k) wv[k] = v.load_once(w + k * tap);
        const T* base = x;
        FASTCONV_UNROLL for (int j = 0; j < J; ++j) {
          if (j && j % 3 == 0) base += 3 * step;
          if (edge && !(inside >> j & 1u)) continue;
          const VT in = v.load_once(base + j % 3 * step);
          FASTCONV_UNROLL for (int p = 0; p < P; ++p) {
            const int k = j - p * S;
            if (k >= 0 && k < K) acc[p] = fma(in, wv[k], acc[p]);
          }
        }
      }
      epilogue.finish(acc, at + o);
    }
  }
}

// The same for any taps; all columns of taps [begin, end) lie inside.
template <class T, int P, bool whole>
FASTCONV_NOINLINE void any_strip(const DepthwiseArgs<T>& a, Channels<T, whole> v, std::int64_t c, std::int64_t p0,
                                 Taps columns) {
  using VT = Vec<T>;
  const std::int64_t step = a.stride_w * a.x_pixel, tap = a.step_w * a.x_pixel;
  const std::int64_t first = (a.col + p0 * a.stride_w) * a.x_pixel + columns.begin * tap + c;
  const Epilogue<T, whole> epilogue(a, v, c);
  for (std::int64_t r = 0; r < a.rows; ++r) {
    const std::int64_t top = a.row + r * a.stride_h;
    const Taps t = taps_inside(top, a.step_h, a.taps_h, a.in_h);
    for (std::int64_t o = 0; o < v.vectors * VT::width; o += VT::width) {
      VT acc[P];
      epilogue.start(acc, o);
      for (std::int64_t th = t.begin; th < t.end; ++th) {
        const T* w = a.w + (th * a.taps_w + columns.begin) * a.w_tap + c + o;
        const T* x = a.x + (top + th * a.step_h) * a.x_row + first + o;
        for (std::int64_t tw = columns.begin; tw < columns.end; ++tw, w += a.w_tap, x += tap) {
          const VT wv = v.load(w);
          FASTCONV_UNROLL for (int p = 0; p < P; ++p) acc[p] = fma(v.load(x + p * step), wv, acc[p]);
        }
      }
      epilogue.finish(acc, r * a.y_row + p0 * a.y_pixel + o);
    }
  }
}

template <class T, int K, int S, int P, bool whole>
FASTCONV_INLINE void choose(int pixels, bool edge, const DepthwiseArgs<T>& a, Channels<T, whole> v, std::int64_t c,
                            std::int64_t p0) {
  // The few vectors of a tail are no reason for more code.
  if (pixels == P && (edge || !whole)) return strip<T, K, S, P, true>(a, v, c, p0);
  if constexpr (whole)
    if (pixels == P) return strip<T, K, S, P, false>(a, v, c, p0);
  if constexpr (P > 1) choose<T, K, S, P - 1>(pixels, edge, a, v, c, p0);
}

template <class T>
constexpr int most_pixels() {
  return sizeof(T) == 4 ? 8 : 4;
}

// Calls fn(pixels, edge, first pixel) for strips of nearly equal width; at an edge some columns may lie outside.
template <class T, int K, int S, class Fn>
FASTCONV_INLINE void for_strips(std::int64_t pixels, std::int64_t col, std::int64_t in_w, Fn&& fn) {
  const std::int64_t count = (pixels + most_pixels<T>() - 1) / most_pixels<T>();
  for (std::int64_t i = 0, p = 0; i < count; ++i) {
    const auto n = static_cast<int>((pixels - p + count - i - 1) / (count - i));
    fn(n, col + p * S < 0 || col + (p + n - 1) * S + K - 1 >= in_w, p);
    p += n;
  }
}

template <class T, int K, int S, bool whole>
void strips(const DepthwiseArgs<T>& a, Channels<T, whole> v, std::int64_t c) {
  for_strips<T, K, S>(a.pixels, a.col, a.in_w, [&](int n, bool edge, std::int64_t p) {
    choose<T, K, S, most_pixels<T>()>(n, edge, a, v, c, p);
  });
}

template <class T, bool whole>
void any_strips(const DepthwiseArgs<T>& a, Channels<T, whole> v, std::int64_t c) {
  const auto columns = [&a](std::int64_t p) { return taps_inside(a.col + p * a.stride_w, a.step_w, a.taps_w, a.in_w); };
  for (std::int64_t p = 0; p < a.pixels;) {
    std::int64_t n = 0;  // pixels that have all taps
    while (n < 8 && p + n < a.pixels && columns(p + n).end - columns(p + n).begin == a.taps_w) ++n;
    if (n == 8)
      any_strip<T, 8>(a, v, c, p, {0, a.taps_w});
    else if (n >= 4)
      any_strip<T, 4>(a, v, c, p, {0, a.taps_w}), n = 4;
    else
      any_strip<T, 1>(a, v, c, p, columns(p)), n = 1;
    p += n;
  }
}

template <class T, bool whole>
void vectors(const DepthwiseArgs<T>& a, Channels<T, whole> v, std::int64_t c) {
  if (a.step_w == 1 && a.taps_w == 3) {
    if (a.stride_w == 1) return strips<T, 3, 1>(a, v, c);
    if (a.stride_w == 2) return strips<T, 3, 2>(a, v, c);
  }
  if (a.step_w == 1 && a.taps_w == 5) {
    if (a.stride_w == 1) return strips<T, 5, 1>(a, v, c);
    if (a.stride_w == 2) return strips<T, 5, 2>(a, v, c);
  }
  // The phases of an input gradient of stride 2.
  if (a.stride_w == 1 && (a.step_w == 1 || a.taps_w == 1)) {
    if (a.taps_w == 2) return strips<T, 2, 1>(a, v, c);
    if (a.taps_w == 1) return strips<T, 1, 1>(a, v, c);
  }
  any_strips(a, v, c);
}

// The products of P pixels from pixel p0 of row r with K adjacent taps, stride S, added to all vectors of dw from
// channel c. The output's gradient stays in registers, and an input vector is loaded once for all taps of a row that
// read it.
template <class T, int K, int S, int P, bool edge, bool whole>
FASTCONV_NOINLINE void weights_strip(const DepthwiseWeightsArgs<T>& a, Channels<T, whole> v, std::int64_t c,
                                     std::int64_t r, std::int64_t p0) {
  using VT = Vec<T>;
  constexpr int J = (P - 1) * S + K;
  const std::int64_t col = a.col + p0 * S, step = a.x_pixel, row = a.step_h * a.x_row, tap = a.dw_tap;
  const std::int64_t top = a.row + r * a.stride_h, dy_pixel = a.dy_pixel, channels = v.vectors * VT::width;
  const Taps t = taps_inside(top, a.step_h, a.taps_h, a.in_h);
  unsigned inside = 0;
  if constexpr (edge)
    for (int j = 0; j < J; ++j) inside |= (col + j >= 0 && col + j < a.in_w ? 1u : 0u) << j;
  const T *x0 = a.x + (top + t.begin * a.step_h) * a.x_row + col * step + c,
          *dy0 = a.dy + r * a.dy_row + p0 * dy_pixel + c;
  T* dw0 = a.dw + t.begin * K * tap + c;
  for (std::int64_t o = 0; o < channels; o += VT::width) {
    VT g[P];
    FASTCONV_UNROLL for (int p = 0; p < P; ++p) g[p] = v.load_once(dy0 + p * dy_pixel + o);
    const T* x = x0 + o;
    T* dw = dw0 + o;
    for (std::int64_t th = t.end - t.begin; th > 0; --th, dw += K * tap, x += row) {
      VT acc[K];
      FASTCONV_UNROLL for (int k = 0; k < K; ++k) acc[k] = v.load_once(dw + k * tap);
      const T* base = x;
      FASTCONV_UNROLL for (int j = 0; j < J; ++j) {
        if (j && j % 3 == 0) base += 3 * step;
        if (edge && !(inside >> j & 1u)) continue;
        const VT in = v.load_once(base + j % 3 * step);
        FASTCONV_UNROLL for (int p = 0; p < P; ++p) {
          const int k = j - p * S;
          if (k >= 0 && k < K) acc[k] = fma(in, g[p], acc[k]);
        }
      }
      FASTCONV_UNROLL for (int k = 0; k < K; ++k) v.store(acc[k], dw + k * tap);
    }
  }
}

template <class T, int K, int S, int P, bool whole>
FASTCONV_INLINE void choose_weights(int pixels, bool edge, const DepthwiseWeightsArgs<T>& a, Channels<T, whole> v,
                                    std::int64_t c, std::int64_t r, std::int64_t p0) {
  if (pixels == P && (edge || !whole)) return weights_strip<T, K, S, P, true>(a, v, c, r, p0);
  if constexpr (whole)
    if (pixels == P) return weights_strip<T, K, S, P, false>(a, v, c, r, p0);
  if constexpr (P > 1) choose_weights<T, K, S, P - 1>(pixels, edge, a, v, c, r, p0);
}

template <class T, int K, int S, bool whole>
void weights_row(const DepthwiseWeightsArgs<T>& a, Channels<T, whole> v, std::int64_t c, std::int64_t r) {
  for_strips<T, K, S>(a.pixels, a.col, a.in_w, [&](int n, bool edge, std::int64_t p) {
    choose_weights<T, K, S, most_pixels<T>()>(n, edge, a, v, c, r, p);
  });
}

// The same for any taps.
template <class T, bool whole>
void any_weights_row(const DepthwiseWeightsArgs<T>& a, Channels<T, whole> v, std::int64_t c, std::int64_t r) {
  using VT = Vec<T>;
  constexpr int U = 4;  // sums, so that they need not wait for one another
  const std::int64_t top = a.row + r * a.stride_h, step = a.stride_w * a.x_pixel;
  const Taps t = taps_inside(top, a.step_h, a.taps_h, a.in_h);
  for (std::int64_t th = t.begin; th < t.end; ++th)
    for (std::int64_t tw = 0; tw < a.taps_w; ++tw) {
      const std::int64_t col = a.col + tw * a.step_w;
      const Taps pixels = taps_inside(col, a.stride_w, a.pixels, a.in_w);
      const T* x0 = a.x + (top + th * a.step_h) * a.x_row + (col + pixels.begin * a.stride_w) * a.x_pixel + c;
      const T* dy0 = a.dy + r * a.dy_row + pixels.begin * a.dy_pixel + c;
      T* dw = a.dw + (th * a.taps_w + tw) * a.dw_tap + c;
      for (std::int64_t o = 0; o < v.vectors * VT::width; o += VT::width) {
        const T *x = x0 + o, *dy = dy0 + o;
        VT acc[U] = {v.load(dw + o), VT::zero(), VT::zero(), VT::zero()};
        std::int64_t n = pixels.end - pixels.begin;
        for (; n >= U; n -= U, x += U * step, dy += U * a.dy_pixel)
          FASTCONV_UNROLL for (int u = 0; u < U; ++u) acc[u] =
              fma(v.load(x + u * step), v.load(dy + u * a.dy_pixel), acc[u]);
        for (; n > 0; --n, x += step, dy += a.dy_pixel) acc[0] = fma(v.load(x), v.load(dy), acc[0]);
        v.store((acc[0] + acc[1]) + (acc[2] + acc[3]), dw + o);
      }
    }
}

template <class T, bool whole>
void weights_of_row(const DepthwiseWeightsArgs<T>& a, Channels<T, whole> v, std::int64_t c, std::int64_t r) {
  if (a.step_w == 1 && a.taps_w == 3) {
    if (a.stride_w == 1) return weights_row<T, 3, 1>(a, v, c, r);
    if (a.stride_w == 2) return weights_row<T, 3, 2>(a, v, c, r);
  }
  if (a.step_w == 1 && a.taps_w == 5) {
    if (a.stride_w == 1) return weights_row<T, 5, 1>(a, v, c, r);
    if (a.stride_w == 2) return weights_row<T, 5, 2>(a, v, c, r);
  }
  any_weights_row(a, v, c, r);
}

}  // namespace

// A few rows at a time, all channels of a strip one after the other: the input comes from far as a stream.
template <class T>
void depthwise(const DepthwiseArgs<T>& a) {
  constexpr int W = Vec<T>::width;
  constexpr std::int64_t together = 4;
  const std::int64_t vectors_whole = a.channels / W, c = vectors_whole * W;
  DepthwiseArgs<T> b = a;
  for (std::int64_t r = 0; r < a.rows; r += together) {
    b.rows = a.rows - r < together ? a.rows - r : together;
    b.row = a.row + r * a.stride_h;
    b.y = a.y + r * a.y_row;
    b.residual = a.residual ? a.residual + r * a.y_row : nullptr;
    if (c) vectors(b, Channels<T, true>{vectors_whole, W}, 0);
    if (c < a.channels) vectors(b, Channels<T, false>{1, static_cast<int>(a.channels - c)}, c);
  }
}

template <class T>
void depthwise_weights(const DepthwiseWeightsArgs<T>& a) {
  constexpr int W = Vec<T>::width;
  const std::int64_t vectors_whole = a.channels / W, c = vectors_whole * W;
  for (std::int64_t r = 0; r < a.rows; ++r) {
    if (c) weights_of_row(a, Channels<T, true>{vectors_whole, W}, 0, r);
    if (c < a.channels) weights_of_row(a, Channels<T, false>{1, static_cast<int>(a.channels - c)}, c, r);
  }
}

template void depthwise<float>(const DepthwiseArgs<float>&);
template void depthwise<double>(const DepthwiseArgs<double>&);
template void depthwise_weights<float>(const DepthwiseWeightsArgs<float>&);
template void depthwise_weights<double>(const DepthwiseWeightsArgs<double>&);

}  // namespace fastconv::FASTCONV_ISA
