// Weight gradient of a direct convolution: a tile of contiguous input elements (channels, or kernel columns x
// channels) x vectors of output channels stays in registers while it is summed over pixels.
#include "kernels/conv_args.hpp"
#include "kernels/isa.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

template <class VT, int R, int V, class T>
FASTCONV_INLINE void pixel(VT (&acc)[R][V], const T* x, const T* dy) {
  VT g[V];
  FASTCONV_UNROLL for (int v = 0; v < V; ++v) g[v] = VT::load(dy + v * VT::width);
  FASTCONV_UNROLL for (int r = 0; r < R; ++r) {
    const auto b = VT::broadcast(x + r);
    FASTCONV_UNROLL for (int v = 0; v < V; ++v) VT::accumulate(acc[r][v], g[v], b);
  }
}

template <class T, int R, int V>
FASTCONV_NOINLINE void tile(const ConvWeightsArgs<T>& a, const T* x, T* dw) {
  using VT = Vec<T>;
  VT acc[R][V];
  FASTCONV_UNROLL for (int r = 0; r < R; ++r) FASTCONV_UNROLL for (int v = 0; v < V; ++v) acc[r][v] =
      VT::load(dw + r * a.dw_row + v * VT::width);
  for (std::int64_t n = 0; n < a.images; ++n) {
    for (std::int64_t row = 0; row < a.rows; ++row) {
      const T* xp = x + n * a.x_image + row * a.x_row;
      const T* dp = a.dy + n * a.dy_image + row * a.dy_row;
      std::int64_t p = a.pixels;
      for (; p >= 2; p -= 2) {
        pixel<VT, R, V>(acc, xp, dp);
        pixel<VT, R, V>(acc, xp + a.x_pixel, dp + a.dy_pixel);
        xp += 2 * a.x_pixel;
        dp += 2 * a.dy_pixel;
      }
      if (p) pixel<VT, R, V>(acc, xp, dp);
    }
  }
  FASTCONV_UNROLL for (int r = 0; r < R; ++r) FASTCONV_UNROLL for (int v = 0; v < V; ++v) acc[r][v].store(
      dw + r * a.dw_row + v * VT::width);
}

template <class T, int V, int R>
FASTCONV_INLINE void choose(int rows, const ConvWeightsArgs<T>& a, const T* x, T* dw) {
  if (rows == R) return tile<T, R, V>(a, x, dw);
  if constexpr (R > 1) choose<T, V, R - 1>(rows, a, x, dw);
}

template <class T, int V, int R>
void all(const ConvWeightsArgs<T>& a) {
  const std::int64_t tiles = (a.run + R - 1) / R;
  for (std::int64_t i = 0, r = 0; i < tiles; ++i) {
    const auto n = static_cast<int>((a.run - r + tiles - i - 1) / (tiles - i));
    choose<T, V, R>(n, a, a.x + r, a.dw + r * a.dw_row);
    r += n;
  }
}

}  // namespace

template <class T>
void conv_weights(const ConvWeightsArgs<T>& a) {
  if constexpr (Tile<T>::vectors >= 4)
    if (a.vectors == 4) return all<T, 4, Tile<T>::weight_rows>(a);
  if (a.vectors == 2) return all<T, 2, Tile<T>::weight_rows2>(a);
  all<T, 1, Tile<T>::weight_rows2>(a);
}

template void conv_weights<float>(const ConvWeightsArgs<float>&);
template void conv_weights<double>(const ConvWeightsArgs<double>&);

}  // namespace fastconv::FASTCONV_ISA
