// Convolution of one input channel with stride 1, at most 8 output channels.
#pragma once
#include <cstdint>

namespace fastconv {

// One row of output pixels:
// y[p * channels + c] = bias[c] + sum over taps of x[p + th * x_tap_h + tw * x_tap_w] * w[th][tw][c]
template <class T>
struct ConvNarrowArgs {
  const T* x;  // is read up to a whole vector of pixels
  std::int64_t x_tap_h, x_tap_w;
  std::int64_t taps_h, taps_w;
  const T* w;    // [taps_h][taps_w][channels, rounded up to an even number]
  int channels;  // 1 to 8
  const T* bias;
  T* y;                  // dense
  std::int64_t y_plane;  // if not 0: y[c * y_plane + p] instead, up to a whole vector of pixels
  std::int64_t pixels;
  bool clamp;
  T lo, hi;
};

// Maxima of a row of windows rows x 2, side by side, of such planes, as pool_windows has them of pixels.
template <class T>
struct PoolNarrowArgs {
  const T* x;  // [rows][channels][plane]; is read up to two whole vectors
  std::int64_t plane;
  std::int64_t rows, windows;
  int channels;           // 1 to 8
  T* y;                   // dense, as the winners
  std::uint8_t* winners;  // or null
};

}  // namespace fastconv
