// The transpose of depthwise convolution with stride 2 (the gradient of its input): all four kinds of output pixels at
// once, so that rows are written from begin to end. It is bound by what it writes.
#include "kernels/conv_args.hpp"
#include "kernels/depthwise_parts.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

constexpr int kPairs = 4;  // of columns, for which 8 sums stay in registers

// The row of output, with those taps that lie inside: every second one, on rows of input that go backwards.
template <class T>
struct Row {
  const T *x, *w;
  std::int64_t taps, at;  // at: of the output
};

template <class T>
Row<T> row_at(const DepthwiseTransposedArgs<T>& a, std::int64_t r) {
  const std::int64_t from = a.first + r + a.top, k0 = from & 1, last = from >> 1;
  const std::int64_t begin = last < a.in_h ? 0 : last - a.in_h + 1;
  const std::int64_t all = k0 < a.taps_h ? (a.taps_h - k0 + 1) / 2 : 0, end = all < last + 1 ? all : last + 1;
  return {a.x + (last - begin) * a.x_row, a.w + (k0 + 2 * begin) * a.taps_w * a.w_tap, end > begin ? end - begin : 0,
          r * a.y_row};
}

// Columns 2 * (pair + p) and the one after it, p < P, counted from `left` before the output. `edge`: some of them or of
// the input's columns do not exist.
template <class T, int K, int P, bool edge, bool whole>
FASTCONV_NOINLINE void strip(const DepthwiseTransposedArgs<T>& a, const Row<T>& row, Channels<T, whole> v,
                             std::int64_t c, std::int64_t pair) {
  using VT = Vec<T>;
  constexpr int H = (K - 1) / 2, J = P + H;
  const std::int64_t col = pair - H, out = 2 * pair - a.left, step = a.x_pixel, tap = a.w_tap, pixel = a.y_pixel;
  unsigned inside = ~0u, written = ~0u;
  if constexpr (edge) {
    inside = written = 0;
    for (int j = 0; j < J; ++j) inside |= (col + j >= 0 && col + j < a.in_w ? 1u : 0u) << j;
    for (int q = 0; q < 2 * P; ++q) written |= (out + q >= 0 && out + q < a.pixels ? 1u : 0u) << q;
  }
  const T *x0 = row.x + col * step + c, *w0 = row.w + c, *bias = a.bias ? a.bias + c : nullptr;
  const std::int64_t taps = row.taps, x_row = a.x_row, channels = v.vectors * VT::width, at = row.at + out * pixel + c;
  T* y = a.y + at;
  const T* residual = a.residual ? a.residual + at : nullptr;
  const VT lo = VT::set(a.lo), hi = VT::set(a.hi);
  const bool clamp = a.clamp, stream = whole && a.stream;
  for (std::int64_t o = 0; o < channels; o += VT::width) {
    VT acc[2 * P];
    const VT b = bias ? v.load(bias + o) : VT::zero();
    FASTCONV_UNROLL for (int q = 0; q < 2 * P; ++q) acc[q] = b;
    const T *x = x0 + o, *w = w0 + o;
    for (std::int64_t t = taps; t > 0; --t, x -= x_row, w += 2 * K * tap) {
      VT wv[K];
      FASTCONV_UNROLL for (int k = 0; k < K; ++k) wv[k] = v.load_once(w + k * tap);
      FASTCONV_UNROLL for (int j = 0; j < J; ++j) {
        if (edge && !(inside >> j & 1u)) continue;
        const VT in = v.load_once(x + j * step);
        FASTCONV_UNROLL for (int p = 0; p < P; ++p) {
          const int k = 2 * (p + H - j);
          if (k >= 0 && k < K) acc[2 * p] = fma(in, wv[k >= 0 && k < K ? k : 0], acc[2 * p]);
          if (k >= 0 && k + 1 < K) acc[2 * p + 1] = fma(in, wv[k >= 0 && k + 1 < K ? k + 1 : 0], acc[2 * p + 1]);
        }
      }
    }
    if (residual)
      FASTCONV_UNROLL for (int q = 0; q < 2 * P; ++q) if (!edge || written >> q & 1u) acc[q] =
          acc[q] + v.load(residual + q * pixel + o);
    if (clamp) FASTCONV_UNROLL for (int q = 0; q < 2 * P; ++q) acc[q] = min(hi, max(lo, acc[q]));
    if (stream) {
      FASTCONV_UNROLL for (int q = 0; q < 2 * P; ++q) if (!edge || written >> q & 1u) acc[q].stream(y + q * pixel + o);
    } else {
      FASTCONV_UNROLL for (int q = 0; q < 2 * P; ++q) if (!edge || written >> q & 1u)
          v.store(acc[q], y + q * pixel + o);
    }
  }
}

template <class T, int K, int P, bool whole>
FASTCONV_INLINE void choose(int pairs, bool edge, const DepthwiseTransposedArgs<T>& a, const Row<T>& row,
                            Channels<T, whole> v, std::int64_t c, std::int64_t pair) {
  // The few vectors of a tail are no reason for more code.
  if (pairs == P && (edge || !whole)) return strip<T, K, P, true>(a, row, v, c, pair);
  if constexpr (whole)
    if (pairs == P) return strip<T, K, P, false>(a, row, v, c, pair);
  if constexpr (P > 1) choose<T, K, P - 1>(pairs, edge, a, row, v, c, pair);
}

template <class T, int K, bool whole>
void strips(const DepthwiseTransposedArgs<T>& a, const Row<T>& row, Channels<T, whole> v, std::int64_t c) {
  const std::int64_t end = (a.left + a.pixels + 1) / 2;
  std::int64_t p = a.left / 2;
  for (std::int64_t count = (end - p + kPairs - 1) / kPairs; count > 0; --count) {
    const auto n = static_cast<int>((end - p + count - 1) / count);
    const bool edge = p < (K - 1) / 2 || p + n > a.in_w || 2 * p < a.left || 2 * (p + n) > a.left + a.pixels;
    choose<T, K, kPairs>(n, edge, a, row, v, c, p);
    p += n;
  }
}

template <class T, int K>
void rows(const DepthwiseTransposedArgs<T>& a) {
  constexpr int W = Vec<T>::width;
  const std::int64_t vectors = a.channels / W, c = vectors * W;
  for (std::int64_t r = 0; r < a.rows; ++r) {
    const Row<T> row = row_at(a, r);
    if (c) strips<T, K>(a, row, Channels<T, true>{vectors, W}, 0);
    if (c < a.channels) strips<T, K>(a, row, Channels<T, false>{1, static_cast<int>(a.channels - c)}, c);
  }
}

}  // namespace

template <class T>
void depthwise_transposed(const DepthwiseTransposedArgs<T>& a) {
  constexpr int W = Vec<T>::width;
  DepthwiseTransposedArgs<T> b = a;
  b.stream = a.stream && a.residual != a.y && a.y_pixel % W == 0 && a.y_row % W == 0 &&
             reinterpret_cast<std::uintptr_t>(a.y) % sizeof(Vec<T>) == 0;
  if (a.taps_w == 3)
    rows<T, 3>(b);
  else
    rows<T, 5>(b);
  if (b.stream) Vec<T>::end_stream();
}

template void depthwise_transposed<float>(const DepthwiseTransposedArgs<float>&);
template void depthwise_transposed<double>(const DepthwiseTransposedArgs<double>&);

}  // namespace fastconv::FASTCONV_ISA
