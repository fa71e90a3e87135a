// Convolution of one input channel to few output channels: vectors run along the pixels, so that no lanes stay empty,
// and are turned into channels-last order as they are stored.
#include "kernels/conv_narrow_args.hpp"
#include "kernels/isa.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

// Vectors of pixels beside each other: accumulators for C channels each.
template <class T>
constexpr int pixel_vectors() {
  return Tile<T>::vectors >= 4 ? 2 : 1;
}

// W pixels of C <= W channels from a vector of each channel; n are valid. Elements past a pixel's channels are written
// over by the next pixel, but for the last ones.
template <int C, class VT, class Put>
FASTCONV_INLINE void put_pixels(const VT (&channels)[C], Put&& put) {
  constexpr int W = VT::width;
  FASTCONV_UNROLL for (int g = 0; g < C; g += W) {
    VT r[W];
    FASTCONV_UNROLL for (int i = 0; i < W; ++i) r[i] = g + i < C ? channels[g + i < C ? g + i : 0] : VT::zero();
    VT::transpose(r);
    FASTCONV_UNROLL for (int i = 0; i < W; ++i) put(r[i], i, g);
  }
}

// The first elements of a pixel's vector from channel g, of n pixels.
template <int C, class T>
FASTCONV_INLINE void put_pixel(Vec<T> v, T* y, std::int64_t pixel, std::int64_t n, int channels, int g) {
  constexpr int W = Vec<T>::width;
  T* to = y + pixel * channels + g;
  if (C <= W && pixel * channels + W <= n * channels)
    v.store(to);
  else if (pixel < n)
    v.store(to, channels - g < W ? channels - g : W);
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
  if (a.y_plane) {
    FASTCONV_UNROLL for (int c = 0; c < C; ++c) if (c < a.channels) FASTCONV_UNROLL for (int p = 0; p < P; ++p)
        acc[p][c]
            .store(y + c * a.y_plane + p * W);
    return;
  }
  FASTCONV_UNROLL for (int p = 0; p < P; ++p)
      put_pixels<C>(acc[p], [&](VT v, int i, int g) { put_pixel<C>(v, y, p * W + i, n, a.channels, g); });
}

template <class T, int C>
void row(const ConvNarrowArgs<T>& a) {
  constexpr int P = pixel_vectors<T>(), W = Vec<T>::width;
  const std::int64_t y_pixel = a.y_plane ? 1 : a.channels;
  std::int64_t p = 0;
  for (; a.pixels - p > (P - 1) * W; p += P * W) {
    const std::int64_t n = a.pixels - p < P * W ? a.pixels - p : P * W;
    tile<T, C, P>(a, a.x + p, a.y + p * y_pixel, n);
  }
  if constexpr (P > 1)
    if (p < a.pixels) tile<T, C, 1>(a, a.x + p, a.y + p * y_pixel, a.pixels - p);
}

// W windows of C channels, n of them valid. The first of equal elements wins, the last of NaNs.
template <class T, int C, bool Keep>
FASTCONV_NOINLINE void pool(const PoolNarrowArgs<T>& a, const T* x, T* y, std::uint8_t* winners, std::int64_t n) {
  using VT = Vec<T>;
  constexpr int W = VT::width;
  VT best[C], winner[C];
  FASTCONV_UNROLL for (int c = 0; c < C; ++c) {
    best[c] = winner[c] = VT::zero();
    if (c >= a.channels) continue;
    const T* from = x + c * a.plane;
    const auto take = [&](VT v, std::int64_t tap) {
      if constexpr (Keep) {
        const VT t = VT::set(static_cast<T>(tap));
        winner[c] = select(is_nan(v), t, select(less(best[c], v), t, winner[c]));
      }
      best[c] = select(is_nan(v), v, max(v, best[c]));  // max keeps a NaN that is its second operand
    };
    for (std::int64_t row = 0; row < a.rows; ++row, from += a.channels * a.plane) {
      VT even, odd;
      VT::part(VT::load(from), VT::load(from + W), even, odd);
      if (row)
        take(even, 2 * row);
      else
        best[c] = even;
      take(odd, 2 * row + 1);
    }
  }
  put_pixels<C>(best, [&](VT v, int i, int g) { put_pixel<C>(v, y, i, n, a.channels, g); });
  if constexpr (Keep)
    put_pixels<C>(winner, [&](VT v, int i, int g) {
      if (i >= n) return;
      std::uint8_t bytes[W];
      v.store_bytes(bytes);
      std::uint8_t* to = winners + i * a.channels + g;
      for (int c = 0; c < W && g + c < a.channels; ++c) to[c] = bytes[c];
    });
}

template <class T, int C>
void pool_row(const PoolNarrowArgs<T>& a) {
  constexpr int W = Vec<T>::width;
  for (std::int64_t p = 0; p < a.windows; p += W) {
    const std::int64_t n = a.windows - p < W ? a.windows - p : W;
    if (a.winners)
      pool<T, C, true>(a, a.x + 2 * p, a.y + p * a.channels, a.winners + p * a.channels, n);
    else
      pool<T, C, false>(a, a.x + 2 * p, a.y + p * a.channels, nullptr, n);
  }
}

}  // namespace

template <class T>
void conv_narrow(const ConvNarrowArgs<T>& a) {
  if (a.channels <= 2) return row<T, 2>(a);
  if (a.channels <= 4) return row<T, 4>(a);
  if (a.channels <= 6) return row<T, 6>(a);
  row<T, 8>(a);
}

template <class T>
void pool_narrow(const PoolNarrowArgs<T>& a) {
  if (a.channels <= 2) return pool_row<T, 2>(a);
  if (a.channels <= 4) return pool_row<T, 4>(a);
  if (a.channels <= 6) return pool_row<T, 6>(a);
  pool_row<T, 8>(a);
}

template void conv_narrow<float>(const ConvNarrowArgs<float>&);
template void conv_narrow<double>(const ConvNarrowArgs<double>&);
template void pool_narrow<float>(const PoolNarrowArgs<float>&);
template void pool_narrow<double>(const PoolNarrowArgs<double>&);

}  // namespace fastconv::FASTCONV_ISA
