// Weight gradient of a direct convolution: a tile of contiguous input elements x vectors of output channels stays in
// registers while it is summed over pixels.
#include "kernels/conv_args.hpp"
#include "kernels/isa.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

template <class VT, int R, int V, class T>
FASTCONV_INLINE void pixel(VT (&acc)[R][V], const T* x, const T* dy) {
  VT g[V];
  FASTCONV_UNROLL for (int v = 0; v < V; ++v) g[v] = VT::load_once(dy + v * VT::width);
  FASTCONV_UNROLL for (int r = 0; r < R; ++r) {
    if constexpr (V == 1) {
      VT::accumulate(acc[r][0], g[0], VT::broadcast(x + r));
    } else {  // one load for all vectors: with one for each FMA, loads would be the limit
      const VT b = VT::in_register(VT::set(x[r]));
      FASTCONV_UNROLL for (int v = 0; v < V; ++v) acc[r][v] = fma(g[v], b, acc[r][v]);
    }
  }
}

// What a tile fetches of each pixel: cache lines, or null.
template <class T>
struct Fetch {
  const T *x, *dy, *dy2;
};

template <class T, int R, int V, bool kFetch>
FASTCONV_NOINLINE void tile(const ConvWeightsArgs<T>& a, const T* x, T* dw, Fetch<T> fetch) {
  using VT = Vec<T>;
  VT acc[R][V];
  FASTCONV_UNROLL for (int r = 0; r < R; ++r) FASTCONV_UNROLL for (int v = 0; v < V; ++v) acc[r][v] =
      a.add ? VT::load(dw + r * a.dw_row + v * VT::width) : VT::zero();
  const PixelPair* next = a.next;
  const T* dy = a.dy;
  for (const PixelPair *p = a.list, *end = p + a.pixels; p != end; ++p) {
    if constexpr (kFetch) {
      if (fetch.x) FASTCONV_PREFETCH(fetch.x + next->x);
      if (fetch.dy) FASTCONV_PREFETCH(fetch.dy + next->dy);
      if (fetch.dy2) FASTCONV_PREFETCH(fetch.dy2 + next->dy);
      ++next;
    }
    pixel<VT, R, V>(acc, x + p->x, dy + p->dy);
  }
  FASTCONV_UNROLL for (int r = 0; r < R; ++r) FASTCONV_UNROLL for (int v = 0; v < V; ++v) acc[r][v].store(
      dw + r * a.dw_row + v * VT::width);
}

template <class T, int V, int R>
FASTCONV_INLINE void choose(int rows, const ConvWeightsArgs<T>& a, const T* x, T* dw, Fetch<T> fetch) {
  if (rows == R) {
    if (fetch.x || fetch.dy) return tile<T, R, V, true>(a, x, dw, fetch);
    return tile<T, R, V, false>(a, x, dw, fetch);
  }
  if constexpr (R > 1) choose<T, V, R - 1>(rows, a, x, dw, fetch);
}

template <class T, int V, int R>
void all(const ConvWeightsArgs<T>& a) {
  constexpr std::int64_t line = 64 / sizeof(T);
  constexpr std::int64_t lines = (V * Vec<T>::width + line - 1) / line;
  const std::int64_t tiles = (a.run + R - 1) / R, each = tiles < lines ? 2 : 1;
  for (std::int64_t i = 0, r = 0; i < tiles; ++i) {
    const auto n = static_cast<int>((a.run - r + tiles - i - 1) / (tiles - i));
    const std::int64_t begins = (r + line - 1) / line * line;  // the next line
    Fetch<T> fetch{};
    if (a.next_x && begins < r + n) fetch.x = a.next_x + begins;
    if (a.next_dy && i * each < lines) {
      fetch.dy = a.next_dy + i * each * line;
      if (each == 2) fetch.dy2 = fetch.dy + line;
    }
    choose<T, V, R>(n, a, a.x + r, a.dw + r * a.dw_row, fetch);
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
