// Convolution of one input channel to few output channels: vectors run along the pixels, so that no lanes stay empty,
// and are turned into channels-last order as they are stored.
#include "kernels/conv_args.hpp"
#include "kernels/isa.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

// Vectors of pixels beside each other: accumulators for C channels each.
template <class T>
constexpr int pixel_vectors() {
  return Tile<T>::vectors >= 4 ? 2 : 1;
}

// n valid pixels.
template <class T, int C, int P>
FASTCONV_NOINLINE void tile(const ConvNarrowArgs<T>& a, const T* x, T* y, std::int64_t n) {
  using VT = Vec<T>;
  constexpr int W = VT::width;
  VT acc[P][C];
  FASTCONV_UNROLL for (int c = 0; c < C; ++c) {
    const VT b = VT::set(a.bias && c < a.channels ? a.bias[c] : T(0));
    FASTCONV_UNROLL for (int p = 0; p < P; ++p) acc[p][c] = b;
  }
  const T* w = a.w;
  for (std::int64_t th = 0; th < a.taps_h; ++th) {
    const T* from = x + th * a.x_tap_h;
    for (std::int64_t tw = 0; tw < a.taps_w; ++tw, from += a.x_tap_w, w += C) {
      VT xv[P];
      FASTCONV_UNROLL for (int p = 0; p < P; ++p) xv[p] = VT::load(from + p * W);
      FASTCONV_UNROLL for (int c = 0; c < C; ++c) {
        const auto b = VT::broadcast(w + c);
        FASTCONV_UNROLL for (int p = 0; p < P; ++p) VT::accumulate(acc[p][c], xv[p], b);
      }
    }
  }
  if (a.clamp) {
    const VT lo = VT::set(a.lo), hi = VT::set(a.hi);
    FASTCONV_UNROLL for (int p = 0; p < P; ++p) FASTCONV_UNROLL for (int c = 0; c < C; ++c) acc[p][c] =
        min(hi, max(lo, acc[p][c]));
  }
  // Groups of W channels at most, turned from pixels x channels; a pixel's elements past its channels are written
  // over by the next pixel, but for the last ones.
  FASTCONV_UNROLL for (int p = 0; p < P; ++p) {
    FASTCONV_UNROLL for (int g = 0; g < C; g += W) {
      VT r[W];
      FASTCONV_UNROLL for (int i = 0; i < W; ++i) r[i] = g + i < C ? acc[p][g + i < C ? g + i : 0] : VT::zero();
      VT::transpose(r);
      const int valid = a.channels - g < W ? a.channels - g : W;
      FASTCONV_UNROLL for (int i = 0; i < W; ++i) {
        const std::int64_t pixel = p * W + i;
        T* to = y + pixel * a.channels + g;
        if (C <= W && pixel * a.channels + W <= n * a.channels)
          r[i].store(to);
        else if (pixel < n)
          r[i].store(to, valid);
      }
    }
  }
}

template <class T, int C>
void row(const ConvNarrowArgs<T>& a) {
  constexpr int P = pixel_vectors<T>(), W = Vec<T>::width;
  std::int64_t p = 0;
  for (; a.pixels - p > (P - 1) * W; p += P * W) {
    const std::int64_t n = a.pixels - p < P * W ? a.pixels - p : P * W;
    tile<T, C, P>(a, a.x + p, a.y + p * a.channels, n);
  }
  if constexpr (P > 1)
    if (p < a.pixels) tile<T, C, 1>(a, a.x + p, a.y + p * a.channels, a.pixels - p);
}

}  // namespace

template <class T>
void conv_narrow(const ConvNarrowArgs<T>& a) {
  if (a.channels <= 2) return row<T, 2>(a);
  if (a.channels <= 4) return row<T, 4>(a);
  if (a.channels <= 6) return row<T, 6>(a);
  row<T, 8>(a);
}

template void conv_narrow<float>(const ConvNarrowArgs<float>&);
template void conv_narrow<double>(const ConvNarrowArgs<double>&);

}  // namespace fastconv::FASTCONV_ISA
