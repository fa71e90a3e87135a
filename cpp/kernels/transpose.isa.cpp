// Transposition of matrices by squares of one vector's width in registers. The caller cuts large matrices into
// blocks that fit the caches.
#include "kernels/isa.hpp"
#include "kernels/shape_args.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

constexpr int kAhead = 8;  // squares, fetched into L2 meanwhile: rows are too many streams for the processor

template <class T>
FASTCONV_INLINE void full_square(const T* x, std::int64_t x_row, T* y, std::int64_t y_row, const T* scale) {
  constexpr int W = Vec<T>::width;
  Vec<T> v[W];
  FASTCONV_UNROLL for (int i = 0; i < W; ++i) {
    FASTCONV_PREFETCH(x + i * x_row + kAhead * W);
    v[i] = Vec<T>::load(x + i * x_row);
  }
  Vec<T>::transpose(v);
  if (scale) {
    const Vec<T> s = Vec<T>::load(scale);
    FASTCONV_UNROLL for (int i = 0; i < W; ++i) v[i] = v[i] * s;
  }
  FASTCONV_UNROLL for (int i = 0; i < W; ++i) v[i].store(y + i * y_row);
}

template <class T>
FASTCONV_NOINLINE void part_square(const T* x, std::int64_t x_row, int rows, int columns, T* y, std::int64_t y_row,
                                   const T* scale) {
  constexpr int W = Vec<T>::width;
  Vec<T> v[W];
  for (int i = 0; i < W; ++i) v[i] = i < rows ? Vec<T>::load(x + i * x_row, columns) : Vec<T>::zero();
  Vec<T>::transpose(v);
  if (scale) {
    const Vec<T> s = Vec<T>::load(scale, rows);
    for (int i = 0; i < columns; ++i) v[i] = v[i] * s;
  }
  for (int i = 0; i < columns; ++i) v[i].store(y + i * y_row, rows);
}

}  // namespace

// The squares below each other come first: their results lie side by side.
template <class T>
void transpose(const TransposeArgs<T>& a) {
  constexpr int W = Vec<T>::width;
  for (std::int64_t c = 0; c < a.columns; c += W) {
    const int columns = a.columns - c < W ? static_cast<int>(a.columns - c) : W;
    for (std::int64_t r = 0; r < a.rows; r += W) {
      const int rows = a.rows - r < W ? static_cast<int>(a.rows - r) : W;
      const T* x = a.x + r * a.x_row + c;
      T* y = a.y + c * a.y_row + r;
      const T* scale = a.scale ? a.scale + r : nullptr;
      if (rows == W && columns == W)
        full_square(x, a.x_row, y, a.y_row, scale);
      else
        part_square(x, a.x_row, rows, columns, y, a.y_row, scale);
    }
  }
}

template void transpose<float>(const TransposeArgs<float>&);
template void transpose<double>(const TransposeArgs<double>&);

}  // namespace fastconv::FASTCONV_ISA
