#pragma once
#include <cstdint>

namespace fastconv {

// y[c * y_row + r] = x[r * x_row + c]; moves bits only, so doubles stand for any 8 bytes.
template <class T>
struct TransposeArgs {
  const T* x;
  T* y;
  std::int64_t rows, columns;
  std::int64_t x_row, y_row;
};

// Which inputs one output position along an axis is made of: entries start[i] to start[i + 1] of index and weight.
template <class T>
struct TapsView {
  const std::int32_t* start;
  const std::int32_t* index;
  const T* weight;
};

// One row of pixels: y[w][c] = sum over the taps h of `row` and the taps of w of the weights times x[h][w'][c].
template <class T>
struct ResampleRowArgs {
  const T* x;
  T* y;
  std::int64_t row;  // which output row
  std::int64_t width, channels;
  std::int64_t x_row;
  TapsView<T> h, w;
};

}  // namespace fastconv
