// The products of Strassen's algorithm (Winograd's form) for matrices: pixels x channels, as conv_row has them, but
// with the algorithm's additions in the shadow of the multiplications. Where FMAs are the limit, loads, stores and
// plain additions cost nothing beside them: the first tile makes its sum of weights and leaves it for the others, and
// sums of the input are made a vector a turn. Alone, they would wait for L2 (docs/adr/0010-strassen.md).
#include "kernels/isa.hpp"
#include "kernels/strassen_args.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

constexpr int kChannels = 4;  // a turn of the innermost loop

// The next vector of sums, if one is left.
template <class T>
FASTCONV_INLINE void sum_vector(StrassenSums<T>& j) {
  using VT = Vec<T>;
  if (j.pixels <= 0) return;
  const T *x = j.x + j.at, *d = x + j.down;
  T* s = j.s + j.at;
  const VT a11 = VT::load(x), a21 = VT::load(d), s1 = a21 + VT::load(d + j.run);
  s1.store(s);
  s += j.s_plane;
  const VT s2 = s1 - a11;
  s2.store(s);
  s += j.s_plane;
  (a11 - a21).store(s);
  s += j.s_plane;
  (VT::load(x + j.run) - s2).store(s);
  j.at += VT::width;
  if (j.at == j.run) j.at = 0, --j.pixels, j.x += j.x_pixel, j.s += j.s_pixel;
}

struct Fetch {
  const char* from;
  int lines;  // a turn
};

template <class T, int P, StrassenWeights kWeights, bool kSums>
FASTCONV_NOINLINE void tiles(const StrassenRowArgs<T>& a, std::int64_t first, std::int64_t count, Fetch& fetch) {
  using VT = Vec<T>;
  constexpr int V = Tile<T>::vectors, W = VT::width, U = kChannels;
  constexpr int B = (P + 2) / 3;  // one base address for three pixels
  const char* from = fetch.from;
  StrassenSums<T> sums{};
  if constexpr (kSums) sums = *a.sums;
  for (; count > 0; --count, first += P) {
    VT acc[P][V];
    FASTCONV_UNROLL for (int v = 0; v < V; ++v) {
      const VT b = a.bias ? VT::load(a.bias + v * W) : VT::zero();
      FASTCONV_UNROLL for (int p = 0; p < P; ++p) acc[p][v] = b;
    }
    const std::int64_t step = a.x_pixel;
    const T *w = a.w, *other = a.other;
    T* made = a.made;
    const T* base[B];
    FASTCONV_UNROLL for (int i = 0; i < B; ++i) base[i] = a.x + (first + 3 * i) * step;
    for (std::int64_t r = a.run; r >= U; r -= U) {
      for (int i = 0; i < fetch.lines; ++i, from += 64) FASTCONV_PREFETCH(from);
      if constexpr (kSums) sum_vector(sums);
      FASTCONV_UNROLL for (int c = 0; c < U; ++c) {
        VT wv[V];
        FASTCONV_UNROLL for (int v = 0; v < V; ++v) {
          const int at = (c * V + v) * W;
          wv[v] = VT::load(w + at);
          if constexpr (kWeights == StrassenWeights::sum) wv[v] = wv[v] + VT::load(other + at);
          if constexpr (kWeights == StrassenWeights::difference) wv[v] = wv[v] - VT::load(other + at);
          if constexpr (kWeights != StrassenWeights::plain) wv[v].store(made + at);
        }
        FASTCONV_UNROLL for (int p = 0; p < P; ++p) {
          const auto b = VT::broadcast(base[p / 3] + (p % 3) * step + c);
          FASTCONV_UNROLL for (int v = 0; v < V; ++v) VT::accumulate(acc[p][v], wv[v], b);
        }
      }
      w += U * V * W;
      if constexpr (kWeights != StrassenWeights::plain) other += U * V * W, made += U * V * W;
      FASTCONV_UNROLL for (int i = 0; i < B; ++i) base[i] += U;
    }

    const std::int64_t dense = first * V * W;
    if (a.also) {
      T* to = a.also + dense;
      FASTCONV_UNROLL for (int p = 0; p < P; ++p)
          FASTCONV_UNROLL for (int v = 0; v < V; ++v)(VT::load(to + (p * V + v) * W) + acc[p][v])
              .store(to + (p * V + v) * W);
    }
    if (a.partial) {
      const T* f = a.partial + dense;
      FASTCONV_UNROLL for (int p = 0; p < P; ++p) FASTCONV_UNROLL for (int v = 0; v < V; ++v) acc[p][v] =
          acc[p][v] + VT::load(f + (p * V + v) * W);
    }
    if (a.residual) {
      const T* f = a.residual + first * a.y_pixel;
      FASTCONV_UNROLL for (int p = 0; p < P; ++p) FASTCONV_UNROLL for (int v = 0; v < V; ++v) acc[p][v] =
          acc[p][v] + VT::load(f + p * a.y_pixel + v * W);
    }
    if (a.clamp) {
      const VT lo = VT::set(a.lo), hi = VT::set(a.hi);
      FASTCONV_UNROLL for (int p = 0; p < P; ++p) FASTCONV_UNROLL for (int v = 0; v < V; ++v) acc[p][v] =
          min(hi, max(lo, acc[p][v]));
    }
    T* y = a.y + first * a.y_pixel;
    FASTCONV_UNROLL for (int p = 0; p < P; ++p) FASTCONV_UNROLL for (int v = 0; v < V; ++v) acc[p][v].store(
        y + p * a.y_pixel + v * W);
  }
  fetch.from = from;
  if constexpr (kSums) *a.sums = sums;
}

template <class T, int P>
FASTCONV_INLINE void choose(std::int64_t pixels, const StrassenRowArgs<T>& a, StrassenWeights weights,
                            std::int64_t first, std::int64_t count, Fetch& fetch) {
  using W = StrassenWeights;
  if (pixels == P) {
    if (weights == W::sum) return tiles<T, P, W::sum, false>(a, first, count, fetch);
    if (weights == W::difference) return tiles<T, P, W::difference, false>(a, first, count, fetch);
    if (a.sums && a.sums->pixels > 0) return tiles<T, P, W::plain, true>(a, first, count, fetch);
    return tiles<T, P, W::plain, false>(a, first, count, fetch);
  }
  if constexpr (P > 1) choose<T, P - 1>(pixels, a, weights, first, count, fetch);
}

}  // namespace

template <class T>
void strassen_row(const StrassenRowArgs<T>& args) {
  constexpr int most = tile_pixels<T, Tile<T>::vectors>();
  if (args.pixels <= 0) return;
  StrassenRowArgs<T> a = args;
  // Tiles of nearly equal width, as conv_row has them.
  const std::int64_t n = (a.pixels + most - 1) / most, width = a.pixels / n, wider = a.pixels % n;
  const std::int64_t turns = n * (a.run / kChannels);
  Fetch fetch{reinterpret_cast<const char*>(a.next), 0};
  if (a.next && turns > 0) fetch.lines = static_cast<int>((a.next_lines + turns - 1) / turns);
  std::int64_t first = 0;
  const auto some = [&](std::int64_t pixels, std::int64_t count) {
    if (count > 0 && a.weights != StrassenWeights::plain) {
      choose<T, most>(pixels, a, a.weights, first, 1, fetch);
      first += pixels, --count;
      a.w = a.made, a.weights = StrassenWeights::plain;
    }
    if (count > 0) choose<T, most>(pixels, a, StrassenWeights::plain, first, count, fetch);
    first += pixels * count;
  };
  some(width + 1, wider);
  some(width, n - wider);
}

template <class T>
void strassen_sums(const StrassenSums<T>& args) {
  StrassenSums<T> sums = args;
  while (sums.pixels > 0) sum_vector(sums);
}

template void strassen_row<float>(const StrassenRowArgs<float>&);
template void strassen_row<double>(const StrassenRowArgs<double>&);
template void strassen_sums<float>(const StrassenSums<float>&);
template void strassen_sums<double>(const StrassenSums<double>&);

}  // namespace fastconv::FASTCONV_ISA
