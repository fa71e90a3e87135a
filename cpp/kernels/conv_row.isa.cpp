// Direct convolution on NHWC: pixels x vectors accumulators stay in registers over the whole reduction; the input
// is read where it lies, weights are packed in the order of use. 1x1, dense layers and the input gradient (one
// call a phase) run through it too.
#include "kernels/conv_args.hpp"
#include "kernels/isa.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

constexpr int kChannels = 4;  // a turn of the innermost loop; more gain nothing and cost instruction cache

// What a tile fetches into L2 meanwhile: `lines` cache lines a turn.
struct Fetch {
  const char* from;
  int lines;
};

// The lines that a tile will write, or add to what it computes, fetched while the tile before it is computed: after a
// short reduction nothing else hides the way to them.
template <class T, int P, int V>
FASTCONV_INLINE void fetch_lines(const T* y, std::int64_t pixel) {
  constexpr int line = 64 / static_cast<int>(sizeof(T));
  FASTCONV_UNROLL for (int p = 0; p < P; ++p) FASTCONV_UNROLL for (int i = 0; i < V * Vec<T>::width; i += line)
      FASTCONV_PREFETCH(y + p * pixel + i);
}

// `count` tiles side by side: a call each would cost as much as a short reduction.
template <class T, int P, int V>
FASTCONV_NOINLINE void tiles(const ConvRowArgs<T>& a, const T* x, T* y, std::int64_t count, Fetch& fetch) {
  using VT = Vec<T>;
  constexpr int W = VT::width;
  constexpr int B = (P + 2) / 3;  // one base address for three pixels: base, base + step, base + 2 * step
  constexpr int U = kChannels;
  const int tail = a.channels - (V - 1) * W;

  constexpr std::int64_t kShort = 128;
  const bool is_short = a.taps_h * a.taps_w * a.run <= kShort;
  const char* from = fetch.from;
  for (; count > 0; --count, x += P * a.x_pixel, y += P * a.y_pixel) {
    VT acc[P][V];
    FASTCONV_UNROLL for (int v = 0; v < V; ++v) {
      VT b = VT::zero();
      if (a.bias) b = v + 1 < V || tail == W ? VT::load(a.bias + v * W) : VT::load(a.bias + v * W, tail);
      FASTCONV_UNROLL for (int p = 0; p < P; ++p) acc[p][v] = b;
    }

    if (count > 1) {
      if (is_short) fetch_lines<T, P, V>(y + P * a.y_pixel, a.y_pixel);
      if (a.residual && a.residual != a.y) fetch_lines<T, P, V>(a.residual + (y - a.y) + P * a.y_pixel, a.y_pixel);
    }
    const std::int64_t step = a.x_pixel, run = a.run;
    const T* w = a.w;
    for (std::int64_t th = 0; th < a.taps_h; ++th) {
      for (std::int64_t tw = 0; tw < a.taps_w; ++tw) {
        const T* base[B];
        FASTCONV_UNROLL for (int i = 0; i < B; ++i) base[i] = x + th * a.x_tap_h + tw * a.x_tap_w + 3 * i * step;
        std::int64_t r = run;
        for (; r >= U; r -= U) {
          for (int i = 0; i < fetch.lines; ++i, from += 64) FASTCONV_PREFETCH(from);
          FASTCONV_UNROLL for (int c = 0; c < U; ++c) {
            VT wv[V];
            FASTCONV_UNROLL for (int v = 0; v < V; ++v) wv[v] = VT::load(w + (c * V + v) * W);
            FASTCONV_UNROLL for (int p = 0; p < P; ++p) {
              const auto b = VT::broadcast(base[p / 3] + (p % 3) * step + c);
              FASTCONV_UNROLL for (int v = 0; v < V; ++v) VT::accumulate(acc[p][v], wv[v], b);
            }
          }
          w += U * V * W;
          FASTCONV_UNROLL for (int i = 0; i < B; ++i) base[i] += U;
        }
        for (; r > 0; --r) {
          VT wv[V];
          FASTCONV_UNROLL for (int v = 0; v < V; ++v) wv[v] = VT::load(w + v * W);
          FASTCONV_UNROLL for (int p = 0; p < P; ++p) {
            const auto b = VT::broadcast(base[p / 3] + (p % 3) * step);
            FASTCONV_UNROLL for (int v = 0; v < V; ++v) VT::accumulate(acc[p][v], wv[v], b);
          }
          w += V * W;
          FASTCONV_UNROLL for (int i = 0; i < B; ++i) base[i] += 1;
        }
      }
    }

    if (a.residual) {
      const T* from = a.residual + (y - a.y);
      FASTCONV_UNROLL for (int p = 0; p < P; ++p) {
        FASTCONV_UNROLL for (int v = 0; v < V; ++v) {
          const T* f = from + p * a.y_pixel + v * W;
          acc[p][v] = acc[p][v] + (v + 1 < V || tail == W ? VT::load(f) : VT::load(f, tail));
        }
      }
    }
    if (a.clamp) {
      const VT lo = VT::set(a.lo), hi = VT::set(a.hi);
      FASTCONV_UNROLL for (int p = 0; p < P; ++p) FASTCONV_UNROLL for (int v = 0; v < V; ++v) acc[p][v] =
          min(hi, max(lo, acc[p][v]));
    }
    if (tail == W) {
      FASTCONV_UNROLL for (int p = 0; p < P; ++p) FASTCONV_UNROLL for (int v = 0; v < V; ++v) acc[p][v].store(
          y + p * a.y_pixel + v * W);
    } else {
      FASTCONV_UNROLL for (int p = 0; p < P; ++p) {
        FASTCONV_UNROLL for (int v = 0; v + 1 < V; ++v) acc[p][v].store(y + p * a.y_pixel + v * W);
        acc[p][V - 1].store(y + p * a.y_pixel + (V - 1) * W, tail);
      }
    }
  }
  fetch.from = from;
}

template <class T, int V, int P>
FASTCONV_INLINE void choose(std::int64_t pixels, const ConvRowArgs<T>& a, const T* x, T* y, std::int64_t count,
                            Fetch& fetch) {
  if (pixels == P) return tiles<T, P, V>(a, x, y, count, fetch);
  if constexpr (P > 1) choose<T, V, P - 1>(pixels, a, x, y, count, fetch);
}

// Cuts the row into tiles of nearly equal width: 11 pixels are 6 + 5, not 7 + 4.
template <class T, int V>
void row(const ConvRowArgs<T>& a) {
  constexpr int most = tile_pixels<T, V>();
  if (a.pixels <= 0) return;
  const std::int64_t n = (a.pixels + most - 1) / most, width = a.pixels / n, wider = a.pixels % n;
  const std::int64_t turns = n * a.taps_h * a.taps_w * (a.run / kChannels), split = wider * (width + 1);
  Fetch fetch{reinterpret_cast<const char*>(a.next), 0};
  if (a.next && turns > 0) fetch.lines = static_cast<int>((a.next_lines + turns - 1) / turns);
  if (wider) choose<T, V, most>(width + 1, a, a.x, a.y, wider, fetch);
  choose<T, V, most>(width, a, a.x + split * a.x_pixel, a.y + split * a.y_pixel, n - wider, fetch);
}

}  // namespace

template <class T>
void conv_row(const ConvRowArgs<T>& a) {
  if constexpr (Tile<T>::vectors >= 4) {
    if (a.vectors == 4) return row<T, 4>(a);
    if (a.vectors == 3) return row<T, 3>(a);
  }
  if (a.vectors == 2) return row<T, 2>(a);
  row<T, 1>(a);
}

template void conv_row<float>(const ConvRowArgs<float>&);
template void conv_row<double>(const ConvRowArgs<double>&);

}  // namespace fastconv::FASTCONV_ISA
