// Batch normalization over a matrix whose columns are the channels (repeated, when there are few, so that a row
// fills vectors), and local response normalization.
#pragma once
#include <cstdint>

namespace fastconv {

// Adds, for every column, with d = x - shift: the sums of d and d^2, or, when dy is given, of dy and dy * d.
// Of an activation's gradient only those dy count whose z lies between lo and hi: z = scale * d + offset, or what `z`
// has, and then `masked` gets the dy that count and zeros. No comparison with NaN holds: such a z counts, and a hi of
// NaN is none.
template <class T>
struct ColumnSumsArgs {
  const T* x;
  const T* dy;
  const T* shift;
  std::int64_t rows, columns;
  double *first, *second;
  T* buffer;  // 2 * columns
  const T *scale = nullptr, *offset = nullptr;
  const T* z = nullptr;
  T* masked = nullptr;
  T lo = 0, hi = 0;
};

// y = b * (x - mean) + c, plus `residual` where it is given; with `clamp` between lo and hi, but NaN stays NaN. Rows of
// x may lie apart. Or, when dy is given, a * dy + b * (x - mean) + c; where `offset` is given too, only those dy count
// whose z = a * (x - mean) + offset lies between lo and hi, as in ColumnSumsArgs.
template <class T>
struct ColumnAffineArgs {
  const T* x;
  const T* dy;
  T* y;
  std::int64_t rows, columns;
  const T *mean, *a, *b, *c;
  std::int64_t x_gap = 0;  // elements between the end of a row of x and the next
  const T *residual = nullptr, *offset = nullptr;
  bool clamp = false;
  T lo = 0, hi = 0;
  bool stream = false;  // y is too large to meet it in the cache again: past it, where aligned rows and vectors let
};

// Adds, for every plane of `size` elements, with d = x - shift[plane]: the sums of d and d^2 and, when dy is given, of
// dy and dy * d.
template <class T>
struct PlaneSumsArgs {
  const T* x;
  const T* shift;
  std::int64_t planes, size;
  double *first, *second;
  const T* dy = nullptr;
  double *dy_sum = nullptr, *dy_dot = nullptr;
};

// y = b[plane] * (x - mean[plane]) + c[plane], or, when dy is given, a[plane] * dy more.
template <class T>
struct PlaneAffineArgs {
  const T* x;
  T* y;
  std::int64_t planes, size;
  const T *mean, *b, *c;
  const T *dy = nullptr, *a = nullptr;
  bool stream = false;  // y is too large to meet it in the cache again: past it
};

// y[r][i] = (x[r][i] - mean[r]) * inv_std[r] * gamma[i] + beta[i], inv_std = 1 / sqrt(variance + epsilon) of the row.
template <class T>
struct RowNormArgs {
  const T* x;
  T* y;
  const T *gamma, *beta;  // n elements, or null
  T *mean, *inv_std;      // one a row, written
  std::int64_t rows, n;   // n > 0
  double epsilon;
};

// y[c] = x[c] * s[c]^-beta with s[c] = k + alpha * sum of x[j]^2 for c - before <= j <= c + after; with dy the
// gradient: y[c] = dy[c] * s[c]^-beta - 2 alpha beta x[c] * sum of dy[j] x[j] s[j]^(-beta - 1), c in j's window.
template <class T>
struct LocalResponseNormArgs {
  const T* x;
  const T* dy;
  T* y;
  std::int64_t pixels, channels, before, after;
  T k, alpha, beta;
  T* buffer;  // channels + before + after elements, or twice that with dy; all zero, and left zero at the margins
};

}  // namespace fastconv
