#pragma once
#include <cstdint>

namespace fastconv {

// One row of output pixels, one group of up to tile_vectors vectors of output channels:
// y[p][c] = bias[c] + sum over taps and r of x[p * x_pixel + th * x_tap_h + tw * x_tap_w + r] * w[th][tw][r][c]
template <class T>
struct ConvRowArgs {
  const T* x;
  std::int64_t x_pixel;
  std::int64_t x_tap_h, x_tap_w;
  std::int64_t taps_h, taps_w;
  std::int64_t run;  // contiguous elements of one tap; weights follow as [taps_h][taps_w][run][vectors * width]
  const T* w;
  int vectors;        // 1 to tile_vectors
  int channels;       // valid ones, in ((vectors - 1) * width, vectors * width]
  const T* bias;      // `channels` elements, or null
  const T* residual;  // added before the clamp; lies as y does (may be y itself), or null
  T* y;
  std::int64_t y_pixel;
  std::int64_t pixels;
  bool clamp;  // y = min(max(y, lo), hi); NaN stays NaN
  T lo, hi;
  const T* next;            // weights that a later call reads, to be fetched into L2 meanwhile, or null
  std::int64_t next_lines;  // cache lines of 64 bytes there; a few more are fetched
};

// y[r * y_row + p] = bias[r] + sum over i < n of w[r * w_row + i] * x[p * x_row + i]
template <class T>
struct ConvDotsArgs {
  const T* w;
  std::int64_t w_row, rows;
  const T* x;
  std::int64_t x_row;
  int pixels;  // 1 to 4
  std::int64_t n;
  const T* bias;  // or null
  T* y;
  std::int64_t y_row;
  bool clamp;  // y = min(max(y, lo), hi); NaN stays NaN
  T lo, hi;
};

// y[i * step + c] += x[i * x_run + c] for c < n, run after run.
template <class T>
struct OverlapArgs {
  const T* x;
  std::int64_t x_run;
  std::int64_t runs, n, step;
  T* y;
};

// Where the elements of one pixel begin in two tensors.
struct PixelPair {
  std::int64_t x, dy;
};

// dw[r][c] (+)= sum over the list's pixels of x[pixel.x + r] * dy[pixel.dy + c], for `run` contiguous elements of x and
// `vectors` (4, 2 or 1) whole vectors of dy.
template <class T>
struct ConvWeightsArgs {
  const T* x;
  const T* dy;
  const PixelPair* list;
  std::int64_t pixels;
  std::int64_t run;
  int vectors;
  T* dw;
  std::int64_t dw_row;
  bool add;                   // to what dw holds
  const PixelPair* next;      // `pixels` pixels that a later call reads, to be fetched into L2 meanwhile:
  const T *next_x, *next_dy;  // `run` elements and `vectors` vectors of each; null: none
};

// Rows x pixels of output, `channels` of them: y[r][p][c] = bias[c] + sum over taps of x[...][c] * w[tap][c].
// Output (r, p) reads input row row + r * stride_h + th * step_h and column col + p * stride_w + tw * step_w, zeros
// where the input has none.
template <class T>
struct DepthwiseArgs {
  const T* x;  // input row 0, column 0
  std::int64_t x_row, x_pixel;
  std::int64_t in_h, in_w;
  std::int64_t row, col;
  std::int64_t stride_h, stride_w, step_h, step_w;
  std::int64_t taps_h, taps_w;
  const T* w;  // [taps_h * taps_w][w_tap]
  std::int64_t w_tap;
  const T* bias;
  const T* residual;  // added before the clamp; lies as y does (may be y itself), or null
  T* y;
  std::int64_t y_row, y_pixel;
  std::int64_t rows, pixels;
  std::int64_t channels;
  bool clamp;
  T lo, hi;
};

// Rows [first, first + rows) of the transpose of a depthwise convolution of stride 2 and dilation 1 with 3 or 5 columns
// of taps: output (r, p) is the sum of input ((r + top - th) / 2, (p + left - tw) / 2) times w[th][tw] over the taps
// that make both whole and inside.
template <class T>
struct DepthwiseTransposedArgs {
  const T* x;  // input row 0, column 0
  std::int64_t x_row, x_pixel;
  std::int64_t in_h, in_w;
  std::int64_t top, left;
  std::int64_t taps_h, taps_w;
  const T* w;  // [taps_h * taps_w][w_tap]
  std::int64_t w_tap;
  const T* bias;
  const T* residual;  // added before the clamp; lies as y does (may be y itself), or null
  T* y;               // row `first`
  std::int64_t y_row, y_pixel;
  std::int64_t first, rows, pixels, channels;
  bool clamp;
  T lo, hi;
  bool stream;  // y is too large to meet it in the cache again: past it, where aligned pixels let
};

// dw[tap][c] += sum over rows and pixels of x[...][c] * dy[r][p][c], with x as DepthwiseArgs has it.
template <class T>
struct DepthwiseWeightsArgs {
  const T* x;  // input row 0, column 0
  std::int64_t x_row, x_pixel;
  std::int64_t in_h, in_w;
  std::int64_t row, col;
  std::int64_t stride_h, stride_w, step_h, step_w;
  std::int64_t taps_h, taps_w;
  const T* dy;
  std::int64_t dy_row, dy_pixel;
  std::int64_t rows, pixels, channels;
  T* dw;  // [taps_h * taps_w][dw_tap]
  std::int64_t dw_tap;
};

}  // namespace fastconv
