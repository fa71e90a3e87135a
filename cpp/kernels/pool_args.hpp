// Pooling. Every element of the output reduces over some rows times some columns of the source. Lists of both are
// made at plan time, clipped at the edges; so padding, dilation, ceil_mode, adaptive windows and the gradients (the
// same lists transposed) are all alike to the kernels.
#pragma once
#include <cstdint>

namespace fastconv {

struct PoolTap {
  std::int32_t source;  // row or column of the source
  std::int32_t tap;     // its place in the window, before clipping
  double weight;        // 1 / the window's extent; in weighted sums only
};

// Output columns whose taps are alike: each column's lie one source column after those of the column before.
struct PoolGroup {
  std::int32_t out, columns;  // the first one, how many
  std::int32_t first, last;   // its taps
  double divisor;             // the window's extent
};

// One row of the output.
template <class T>
struct PoolArgs {
  const T* x;
  std::int64_t row_step, pixel;
  const PoolTap* rows;
  std::int64_t row_count;
  double divisor;  // the window's extent along h
  const PoolGroup* groups;
  std::int64_t group_count;
  const PoolTap* taps;
  std::int64_t channels;  // less than `pixel` only where all groups have one column
  T* y;
  bool weighted;  // sums: times the weights, not by the divisors
  // Maxima: the winning tap, row * window_columns + column, as bytes or, in windows of more than 256 taps, as T.
  // Written like y, or, for the gradient, read like x. Bytes are read up to one vector too far.
  std::int32_t window_columns;
  std::uint8_t* winners;
  T* wide_winners;
};

// Maxima of windows that lie side by side: rows x columns of them, window_h x window_w each, side by side in x.
template <class T>
struct PoolWindowsArgs {
  std::int64_t window_h, window_w;
  const T* x;
  std::int64_t x_row, x_pixel;
  std::int64_t rows, columns, channels;
  T* y;
  std::uint8_t* winners;  // lie as y: tap row * window_w + column of each maximum; or null
  std::int64_t y_row, y_pixel;
};

// The gradient of such maxima: dx[row][column] for rows [row, row + rows) x columns [column, column + columns) of the
// map, all of them in windows; dy and winners begin at the map's first window.
template <class T>
struct SpreadWindowsArgs {
  std::int64_t window_h, window_w;
  const T* dy;
  const std::uint8_t* winners;  // are read up to one vector too far
  std::int64_t dy_row, dy_pixel;
  std::int64_t row, column, rows, columns, channels;
  T* dx;
  std::int64_t dx_row, dx_pixel;
  bool whole;  // zeros are written up to a whole vector
};

// Pooling of planes (channels first): rows are combined into the buffer, then its columns.
template <class T>
struct PoolPlanesArgs {
  bool maximum;  // else sums, divided by row_extents[row] * column_extents[column]
  const T* x;
  T* y;
  std::int64_t planes, x_plane, y_plane;
  std::int64_t in_w, out_h, out_w;
  const std::int32_t* row_first;  // out_h + 1: each row's taps
  const PoolTap* rows;
  const T *row_extents, *column_extents;
  // Columns: taps k < taps of column o lie at o * stride + k * step - left, inside or not; stride is 1 or 2. With
  // column_first they are listed instead, all inside.
  std::int64_t stride, step, taps, left;
  const std::int32_t* column_first;
  const PoolTap* columns;
  // `line` elements for a row with what lies beside it, then, for a stride of 2, twice line / 2 for its halves. line:
  // even, at least four vectors more than the taps reach.
  T* buffer;
  std::int64_t line;
};

// The gradient of maxima of planes, found again from x: windows of 2 x 2 (side by side) or 3 x 3, always two apart.
// Done are output rows [row_begin, row_end) and of the input the rows from where the first of them begins to where the
// next one would; or to the end after the last.
template <class T>
struct MaxPlanesBackwardArgs {
  std::int64_t window;  // 2 or 3
  const T *x, *dy;
  T* dx;
  std::int64_t planes, in_h, in_w, out_h, out_w;
  std::int64_t row_begin, row_end;
  std::int64_t top, left;  // padding of windows of 3: 0 or 1; windows may reach over the other edges
  // For windows of 3: 16 lines of `line` elements, two vectors more than half a row and its last window have.
  T* buffer;
  std::int64_t line;
};

// y[i] = factor[i] * x[i]^exponent (factor may be null, y may be x or factor). Whole exponents keep the sign, others
// give NaN for negative x. With `zero_to_zero`, 0 where x is 0.
template <class T>
struct PowerArgs {
  const T* x;
  const T* factor;
  T* y;
  std::int64_t n;
  double exponent;
  bool zero_to_zero;
};

}  // namespace fastconv
