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

// The sums of P vectors of pixels, channels `plane` apart.
template <class T, int C, int P>
FASTCONV_NOINLINE void sums(const ConvNarrowArgs<T>& a, const T* x, T* y, std::int64_t plane) {
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
  FASTCONV_UNROLL for (int c = 0; c < C; ++c) {
    if (c >= a.channels) break;
    FASTCONV_UNROLL for (int p = 0; p < P; ++p) acc[p][c].store(y + c * plane + p * W);
  }
}

// Elements of n <= W pixels, `channels` each, from planes that many elements apart.
template <int C, class T, class Put>
FASTCONV_INLINE void turn(const T* planes, std::int64_t plane, int channels, Put&& put) {
  using VT = Vec<T>;
  constexpr int W = VT::width;
  FASTCONV_UNROLL for (int g = 0; g < C; g += W) {
    VT r[W];
    FASTCONV_UNROLL for (int i = 0; i < W; ++i) r[i] =
        i < C - g && g + i < channels ? VT::load(planes + (g + i) * plane) : VT::zero();
    VT::transpose(r);
    FASTCONV_UNROLL for (int i = 0; i < W; ++i) put(r[i], i, g);
  }
}

// What lies past a pixel's channels is written over by the next pixel, but for the last ones.
template <class T, int C>
FASTCONV_NOINLINE void put_pixels(const T* planes, std::int64_t plane, int channels, T* y, std::int64_t n) {
  constexpr int W = Vec<T>::width;
  turn<C>(planes, plane, channels, [=](Vec<T> v, int pixel, int g) {
    T* to = y + pixel * channels + g;
    if (C <= W && pixel * channels + W <= n * channels)
      v.store(to);
    else if (pixel < n)
      v.store(to, channels - g < W ? channels - g : W);
  });
}

template <class T, int C>
FASTCONV_NOINLINE void put_bytes(const T* planes, std::int64_t plane, int channels, std::uint8_t* y, std::int64_t n) {
  constexpr int W = Vec<T>::width;
  turn<C>(planes, plane, channels, [=](Vec<T> v, int pixel, int g) {
    std::uint8_t* to = y + pixel * channels + g;
    if (C <= W && pixel * channels + W <= n * channels) return v.store_bytes(to);
    if (pixel >= n) return;
    std::uint8_t bytes[W];
    v.store_bytes(bytes);
    for (int c = 0; c < W && g + c < channels; ++c) to[c] = bytes[c];
  });
}

// n valid pixels.
template <class T, int C, int P>
FASTCONV_INLINE void tile(const ConvNarrowArgs<T>& a, const T* x, T* y, std::int64_t n) {
  constexpr int W = Vec<T>::width;
  if (a.y_plane) return sums<T, C, P>(a, x, y, a.y_plane);
  alignas(64) T planes[C * P * W];
  sums<T, C, P>(a, x, planes, P * W);
  for (int p = 0; p < P && p * W < n; ++p)
    put_pixels<T, C>(planes + p * W, P * W, a.channels, y + p * W * a.channels, n - p * W < W ? n - p * W : W);
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

// W windows, into planes of one vector. The first of equal elements wins, the last of NaNs.
template <class T, bool Keep>
FASTCONV_NOINLINE void pool(const PoolNarrowArgs<T>& a, const T* x, T* best, T* winners) {
  using VT = Vec<T>;
  constexpr int W = VT::width;
  for (int c = 0; c < a.channels; ++c, x += a.plane) {
    VT most = VT::zero(), winner = most;
    const auto take = [&](VT v, std::int64_t tap) {
      if constexpr (Keep) {
        const VT t = VT::set(static_cast<T>(tap));
        winner = select(is_nan(v), t, select(less(most, v), t, winner));
      }
      most = select(is_nan(v), v, max(v, most));  // max keeps a NaN that is its second operand
    };
    const T* from = x;
    for (std::int64_t row = 0; row < a.rows; ++row, from += a.channels * a.plane) {
      VT even, odd;
      VT::part(VT::load(from), VT::load(from + W), even, odd);
      if (row)
        take(even, 2 * row);
      else
        most = even;
      take(odd, 2 * row + 1);
    }
    most.store(best + c * W);
    if constexpr (Keep) winner.store(winners + c * W);
  }
}

template <class T, int C>
void pool_row(const PoolNarrowArgs<T>& a) {
  constexpr int W = Vec<T>::width;
  alignas(64) T best[C * W], winners[C * W];
  for (std::int64_t p = 0; p < a.windows; p += W) {
    const std::int64_t n = a.windows - p < W ? a.windows - p : W;
    a.winners ? pool<T, true>(a, a.x + 2 * p, best, winners) : pool<T, false>(a, a.x + 2 * p, best, winners);
    put_pixels<T, C>(best, W, a.channels, a.y + p * a.channels, n);
    if (a.winners) put_bytes<T, C>(winners, W, a.channels, a.winners + p * a.channels, n);
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
