// Weight gradient from a pooled map's maxima: few of the map's gradients are not zero, and each adds a window of the
// input, some rows of one or two vectors.
#include "kernels/conv_winners_args.hpp"
#include "kernels/isa.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

// K channels from channel k, R rows of the window, V vectors each: their sums stay in registers.
template <class T, int R, int V, int K>
FASTCONV_NOINLINE void channels(const ConvWinnersArgs<T>& a, std::int64_t k) {
  using VT = Vec<T>;
  constexpr int W = VT::width;
  const std::int64_t step = a.x_tap_h, channels = a.channels, columns = a.columns;
  const std::int64_t* taps = a.taps;
  T* dw = a.dw + k * R * V * W;
  VT acc[K][R][V];
  FASTCONV_UNROLL for (int i = 0; i < K; ++i) FASTCONV_UNROLL for (int r = 0; r < R; ++r)
      FASTCONV_UNROLL for (int v = 0; v < V; ++v) acc[i][r][v] = VT::load(dw + ((i * R + r) * V + v) * W);
  const T* dy = a.dy + k;
  const std::uint8_t* winners = a.winners + k;
  for (std::int64_t row = 0; row < a.rows; ++row) {
    const T* x = a.x + row * a.x_row;
    for (std::int64_t column = 0; column < columns; ++column, x += a.x_column, dy += channels, winners += channels)
      FASTCONV_UNROLL for (int i = 0; i < K; ++i) {
        const VT g = VT::in_register(VT::set(dy[i]));
        const T* from = x + taps[winners[i]];
        FASTCONV_UNROLL for (int r = 0; r < R; ++r, from += step) FASTCONV_UNROLL for (int v = 0; v < V; ++v)
            acc[i][r][v] = fma(VT::load(from + v * W), g, acc[i][r][v]);
      }
  }
  FASTCONV_UNROLL for (int i = 0; i < K; ++i) FASTCONV_UNROLL for (int r = 0; r < R; ++r)
      FASTCONV_UNROLL for (int v = 0; v < V; ++v) acc[i][r][v]
          .store(dw + ((i * R + r) * V + v) * W);
}

template <class T, int V, int R>
void all(const ConvWinnersArgs<T>& a) {
  if (a.taps_h != R) {
    if constexpr (R > 1) all<T, V, R - 1>(a);
    return;
  }
  std::int64_t k = 0;
  if constexpr (2 * R * V <= kWinnerSums)  // FMAs of one channel would wait for one another
    for (; k + 2 <= a.channels; k += 2) channels<T, R, V, 2>(a, k);
  for (; k < a.channels; ++k) channels<T, R, V, 1>(a, k);
}

}  // namespace

template <class T>
void conv_winners(const ConvWinnersArgs<T>& a) {
  if (a.vectors == 1) return all<T, 1, 7>(a);
  all<T, 2, kWinnerSums / 2>(a);
}

template void conv_winners<float>(const ConvWinnersArgs<float>&);
template void conv_winners<double>(const ConvWinnersArgs<double>&);

}  // namespace fastconv::FASTCONV_ISA
