#pragma once
#include <cstdint>

namespace fastconv {

// Vectors of a channel's sums: as many as registers hold on every instruction set.
constexpr int kWinnerSums = 12;

// Weight gradient of a convolution whose output is pooled by maxima, from the maxima alone:
// dw[k][th][i] += sum over windows of dy[window][k] * x[window + taps[winner of window and k] + th * x_tap_h + i], for
// i in `vectors` whole vectors.
template <class T>
struct ConvWinnersArgs {
  const T* x;                    // of the first window's first output
  std::int64_t x_row, x_column;  // from a window to the next
  const std::int64_t* taps;      // 256: where the input of a window's output lies
  std::int64_t x_tap_h;
  int taps_h, vectors;  // 1 to 7, 1 or 2; their product is at most kWinnerSums
  const T* dy;          // [rows][columns][channels], as the winners
  const std::uint8_t* winners;
  std::int64_t rows, columns, channels;
  T* dw;  // [channels][taps_h][vectors]
};

}  // namespace fastconv
