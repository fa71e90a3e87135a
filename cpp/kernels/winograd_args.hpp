#pragma once
#include <cstdint>

namespace fastconv {

// Whether a convolution is the transpose of one with stride 2: its outputs have one tap and two in turns.
enum class HalfStride : std::uint8_t { no, one_tap_first, two_taps_first };

// F(m x m, taps x taps): a tile of m x m outputs of a convolution from inputs() x inputs() pixels, through alpha^2
// products a pair of channels. Along each axis m and taps are 2 to 6 and 3, or 2 to 4 and 5, or the other way round, as
// weight gradients have them; with stride 2 one of them is 2 or 4 and the other 3. With half the stride m + 1 samples
// make 2 m outputs. Planes are numbered i * alpha + j, those of the weights i * weights + j.
struct WinogradSize {
  int m, taps, stride;
  HalfStride half = HalfStride::no;  // of `stride` 2

  constexpr bool up() const { return half != HalfStride::no; }
  constexpr int alpha() const { return stride == 1 ? m + taps - 1 : 2 * (m + taps - 3) + 1; }
  constexpr int inputs() const { return up() ? m + 1 : alpha(); }
  constexpr int outputs() const { return up() ? 2 * m : m; }
  constexpr int step() const { return up() ? m : m * stride; }  // input from one tile to the next
  // How many transformed weights there are along an axis, and which of them product i takes: with stride 2 the last
  // ones have one in common.
  constexpr int weights() const { return m + taps - 1; }
  constexpr int weight(int i) const { return i < weights() ? i : weights() - 1; }
};

template <class T>
struct WinogradInputArgs {
  WinogradSize size;
  const T* x;
  std::int64_t x_row, x_pixel;
  std::int64_t channels;
  const T* next;  // the tile step() pixels further, to be fetched meanwhile, or null
  T* v;
  std::int64_t v_plane;
};

// y[row][column][c] = clamp((A' s A)[row][column] + bias[c] + residual[row][column][c]) for the first rows x columns
// of the outputs. s has whole vectors of channels, and weights()^2 planes where m and taps are those of a weight
// gradient with stride 2: the products that share a weight in the forward pass are added up.
template <class T>
struct WinogradOutputArgs {
  WinogradSize size;
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

// u[plane][i][e] = (G w[i] G')[plane], a plane for each product in weight gradients with stride 2, for `count` times
// `run` kernels w[i][tap][e], tap = taps * row + column, densely but for u's planes; run is whole vectors.
template <class T>
struct WinogradWeightsArgs {
  WinogradSize size;
  const T* w;
  std::int64_t count, run;
  T* u;
  std::int64_t u_plane;
  bool output = false;  // by A, the matrix of the outputs, instead of G
};

// x[i][j][c] += (B s B')[i][j][c], the transpose of the input's transform: a tile's part of the input's gradient.
template <class T>
struct WinogradScatterArgs {
  WinogradSize size;
  const T* s;
  std::int64_t s_plane;
  std::int64_t channels;
  T* x;
  std::int64_t x_row, x_pixel;
};

}  // namespace fastconv
