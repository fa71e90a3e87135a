#pragma once
#include <cstdint>

namespace fastconv {

// F(m x m, 3 x 3) with m = 2 or 4: a tile of m x m outputs of a 3 x 3 convolution from alpha x alpha inputs,
// alpha = m + 2, through alpha^2 products a pair of channels. Planes are numbered i * alpha + j.

// v[plane][c] = (B' x B)[plane] for the alpha x alpha pixels at x. Channels after the last are written as zeros up to
// a whole vector.
template <class T>
struct WinogradInputArgs {
  int m;
  const T* x;
  std::int64_t x_row, x_pixel;
  std::int64_t channels;
  const T* next;  // the tile m pixels further, to be fetched meanwhile, or null
  T* v;
  std::int64_t v_plane;
};

// y[row][column][c] = clamp((A' s A)[row][column] + bias[c] + residual[row][column][c]) for the first rows x columns
// of the m x m outputs. s has whole vectors of channels.
template <class T>
struct WinogradOutputArgs {
  int m;
  const T* s;
  std::int64_t s_plane;
  std::int64_t channels;
  const T* bias;      // or null
  const T* residual;  // lies as y does (may be y itself), or null
  T* y;
  std::int64_t y_row, y_pixel;
  int rows, columns;
  const T* next;  // where the next tile's go, to be fetched meanwhile, or null
  bool clamp;     // y = min(max(y, lo), hi); NaN stays NaN
  T lo, hi;
};

// u[plane][e] = (G w G')[plane] for `run` kernels w[tap][e], tap = 3 * row + column; run is whole vectors.
template <class T>
struct WinogradWeightsArgs {
  int m;
  const T* w;
  std::int64_t w_tap;
  std::int64_t run;
  T* u;
  std::int64_t u_plane;
};

}  // namespace fastconv
