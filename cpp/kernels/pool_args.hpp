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
