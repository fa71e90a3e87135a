// Depthwise convolution on NHWC: vectors run along channels, each with its own weights.
#include "kernels/conv_args.hpp"
#include "kernels/isa.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

// P pixels of one vector of channels; n < width in the last one.
template <class T, int P, bool whole>
FASTCONV_NOINLINE void pixels(const DepthwiseRowArgs<T>& a, const T* x, T* y, std::int64_t c, int n) {
  using VT = Vec<T>;
  const auto load = [n](const T* p) { return whole ? VT::load(p) : VT::load(p, n); };
  VT acc[P];
  const VT bias = a.bias ? load(a.bias + c) : VT::zero();
  FASTCONV_UNROLL for (int p = 0; p < P; ++p) acc[p] = bias;
  const T* w = a.w + c;
  for (std::int64_t th = 0; th < a.taps_h; ++th) {
    const T* xt = x + th * a.x_tap_h;
    for (std::int64_t tw = 0; tw < a.taps_w; ++tw, w += a.w_tap, xt += a.x_tap_w) {
      const VT wv = load(w);
      FASTCONV_UNROLL for (int p = 0; p < P; ++p) acc[p] = fma(load(xt + p * a.x_pixel), wv, acc[p]);
    }
  }
  if (a.residual) {
    const T* from = a.residual + (y - a.y);
    FASTCONV_UNROLL for (int p = 0; p < P; ++p) acc[p] = acc[p] + load(from + p * a.y_pixel);
  }
  if (a.clamp) {
    const VT lo = VT::set(a.lo), hi = VT::set(a.hi);
    FASTCONV_UNROLL for (int p = 0; p < P; ++p) acc[p] = min(hi, max(lo, acc[p]));
  }
  FASTCONV_UNROLL for (int p = 0; p < P; ++p) {
    if constexpr (whole)
      acc[p].store(y + p * a.y_pixel);
    else
      acc[p].store(y + p * a.y_pixel, n);
  }
}

template <class T, bool whole>
void channel_vector(const DepthwiseRowArgs<T>& a, std::int64_t c, int n) {
  constexpr int P = 8;
  std::int64_t p = 0;
  for (; p + P <= a.pixels; p += P) pixels<T, P, whole>(a, a.x + p * a.x_pixel + c, a.y + p * a.y_pixel + c, c, n);
  for (; p + 4 <= a.pixels; p += 4) pixels<T, 4, whole>(a, a.x + p * a.x_pixel + c, a.y + p * a.y_pixel + c, c, n);
  for (; p < a.pixels; ++p) pixels<T, 1, whole>(a, a.x + p * a.x_pixel + c, a.y + p * a.y_pixel + c, c, n);
}

// K kernel columns of one kernel row, summed over pixels.
template <class T, int K, bool whole>
FASTCONV_NOINLINE void columns(const DepthwiseWeightsArgs<T>& a, std::int64_t th, std::int64_t tw, std::int64_t c,
                               int n) {
  using VT = Vec<T>;
  const auto load = [n](const T* p) { return whole ? VT::load(p) : VT::load(p, n); };
  T* dw = a.dw + (th * a.taps_w + tw) * a.dw_tap + c;
  VT acc[K];
  FASTCONV_UNROLL for (int k = 0; k < K; ++k) acc[k] = load(dw + k * a.dw_tap);
  const T* x = a.x + th * a.x_tap_h + tw * a.x_tap_w + c;
  for (std::int64_t row = 0; row < a.rows; ++row) {
    const T* xp = x + row * a.x_row;
    const T* dp = a.dy + row * a.dy_row + c;
    for (std::int64_t p = 0; p < a.pixels; ++p, xp += a.x_pixel, dp += a.dy_pixel) {
      const VT g = load(dp);
      FASTCONV_UNROLL for (int k = 0; k < K; ++k) acc[k] = fma(load(xp + k * a.x_tap_w), g, acc[k]);
    }
  }
  FASTCONV_UNROLL for (int k = 0; k < K; ++k) {
    if constexpr (whole)
      acc[k].store(dw + k * a.dw_tap);
    else
      acc[k].store(dw + k * a.dw_tap, n);
  }
}

template <class T, bool whole>
void taps(const DepthwiseWeightsArgs<T>& a, std::int64_t c, int n) {
  for (std::int64_t th = 0; th < a.taps_h; ++th) {
    std::int64_t tw = 0;
    for (; tw + 5 <= a.taps_w; tw += 5) columns<T, 5, whole>(a, th, tw, c, n);
    for (; tw + 3 <= a.taps_w; tw += 3) columns<T, 3, whole>(a, th, tw, c, n);
    for (; tw < a.taps_w; ++tw) columns<T, 1, whole>(a, th, tw, c, n);
  }
}

}  // namespace

template <class T>
void depthwise_row(const DepthwiseRowArgs<T>& a) {
  constexpr int W = Vec<T>::width;
  std::int64_t c = 0;
  for (; c + W <= a.channels; c += W) channel_vector<T, true>(a, c, W);
  if (c < a.channels) channel_vector<T, false>(a, c, static_cast<int>(a.channels - c));
}

template <class T>
void depthwise_weights(const DepthwiseWeightsArgs<T>& a) {
  constexpr int W = Vec<T>::width;
  std::int64_t c = 0;
  for (; c + W <= a.channels; c += W) taps<T, true>(a, c, W);
  if (c < a.channels) taps<T, false>(a, c, static_cast<int>(a.channels - c));
}

template void depthwise_row<float>(const DepthwiseRowArgs<float>&);
template void depthwise_row<double>(const DepthwiseRowArgs<double>&);
template void depthwise_weights<float>(const DepthwiseWeightsArgs<float>&);
template void depthwise_weights<double>(const DepthwiseWeightsArgs<double>&);

}  // namespace fastconv::FASTCONV_ISA
