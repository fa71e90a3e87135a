#pragma once
#include <cstdint>

namespace fastconv {

enum class Reduce : std::uint8_t { sum, max, min, prod };

// y[r] = scale * the reduction of x[r * x_row ...] over n contiguous elements (n > 0 unless sum).
template <class T>
struct ReduceRowsArgs {
  Reduce op;
  const T* x;
  T* y;
  std::int64_t rows, n, x_row;
  T scale;
};

// y[c] = scale * the reduction over r of x[r * x_row + c] (rows > 0 unless sum).
template <class T>
struct ReduceColumnsArgs {
  Reduce op;
  const T* x;
  T* y;
  std::int64_t rows, columns, x_row;
  T scale;
};

}  // namespace fastconv
