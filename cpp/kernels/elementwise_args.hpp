#pragma once
#include <cstdint>

namespace fastconv {

enum class Unary : std::uint8_t {
#define FASTCONV_UNARY(name, reads, a, a_default, b, b_default) name,
#define FASTCONV_UNARY_PLAIN(name, a, a_default, b, b_default) name,
#include "kernels/unary.inc"
#undef FASTCONV_UNARY
#undef FASTCONV_UNARY_PLAIN
};

enum class Binary : std::uint8_t {
#define FASTCONV_BINARY(name) name,
#include "kernels/binary.inc"
#undef FASTCONV_BINARY
};

struct UnaryParameters {
  double a = 0, b = 0;       // the attributes of unary.inc
  bool reads_input = false;  // a derivative gets x where y would not do (negative slopes)
};

template <class T>
struct UnaryArgs {
  Unary function;
  UnaryParameters parameters;
  const T* x;
  T* y;
  std::int64_t n;
  std::int64_t rows = 1, row = 0;  // so many times n elements, each `row` after the last, in x and y
};

// dx = dy * f'(s), s being the input or the output of f.
template <class T>
struct UnaryGradArgs {
  Unary function;
  UnaryParameters parameters;
  const T* dy;
  const T* s;
  T* dx;
  std::int64_t n;
};

// y[r][i] = f(a[r * a_row + i * a_step], b[r * b_row + i * b_step]); steps are 0 or 1.
template <class T>
struct BinaryArgs {
  Binary function;
  const T* a;
  const T* b;
  T* y;
  std::int64_t rows, n;
  std::int64_t a_row, b_row, y_row;
  std::int64_t a_step, b_step;
};

// y = a * b + c, in rows as above. The output may lie on any operand.
template <class T>
struct MulAddArgs {
  const T* a;
  const T* b;
  const T* c;
  T* y;
  std::int64_t rows, n;
  std::int64_t a_row, b_row, c_row, y_row;
  std::int64_t a_step, b_step, c_step;
  bool clamp;  // y = min(max(y, lo), hi); NaN stays NaN
  T lo, hi;
};

// y[i] = x[i] * scale where the hash of counter + i is at least `threshold`, else x[i] * 0.
template <class T>
struct DropoutArgs {
  const T* x;
  T* y;
  std::int64_t n;
  std::uint32_t counter, key[2];
  std::uint32_t threshold;
  T scale;
};

}  // namespace fastconv
