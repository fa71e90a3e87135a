#pragma once
#include <cstdint>

namespace fastconv {

// y[c * y_row + r] = x[r * x_row + c], times scale[r] if there is one; without, bits are moved, so doubles stand for
// any 8 bytes.
template <class T>
struct TransposeArgs {
  const T* x;
  T* y;
  std::int64_t rows, columns;
  std::int64_t x_row, y_row;
  const T* scale = nullptr;
};

// y[r * y_row + c] = x[r * x_row + c], and zeros after them up to a whole vector.
template <class T>
struct CopyRowsArgs {
  const T* x;
  T* y;
  std::int64_t rows, columns;
  std::int64_t x_row, y_row;
};

// y[3 * i + c] = x[c * x_plane + i] for three planes.
template <class T>
struct InterleaveArgs {
  const T* x;
  std::int64_t x_plane;
  T* y;
  std::int64_t n;
};

// Which inputs one output position along an axis is made of: entries start[i] to start[i + 1] of index and weight.
template <class T>
struct TapsView {
  const std::int32_t* start;
  const std::int32_t* index;
  const T* weight;
};

// y[i] = the sum over the taps of output row `row` of weight * x[index * x_row + i].
template <class T>
struct CombineRowsArgs {
  const T* x;
  T* y;
  std::int64_t row, n, x_row;
  TapsView<T> taps;
};

// y[w][c] = the sum over the taps of w of weight * x[index][c]. x may be read up to a vector past its end.
template <class T>
struct CombinePixelsArgs {
  const T* x;
  T* y;
  std::int64_t width, channels;
  TapsView<T> taps;
};

}  // namespace fastconv
