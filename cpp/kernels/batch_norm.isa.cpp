// Passes over a matrix with one parameter a column, at the speed of memory.
#include "kernels/isa.hpp"
#include "kernels/norm_args.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

// Rows of a tile whose sums or parameters stay in registers. Many rows at a stride of pages would push each other
// out of the cache.
template <class T>
FASTCONV_INLINE std::int64_t tile_rows(std::int64_t columns) {
  return columns * static_cast<std::int64_t>(sizeof(T)) >= 4096 ? 4 : 16;
}

constexpr std::int64_t kBlockRows = 256;  // summed in T before they go into doubles

// Calls fn(column, V) for tiles of 4 vectors, single vectors, and fn.tail for the columns left.
template <class T, class Wide, class Single, class Tail>
FASTCONV_INLINE void for_columns(std::int64_t columns, Wide wide, Single single, Tail tail) {
  constexpr int W = Vec<T>::width;
  std::int64_t c = 0;
  for (; c + 4 * W <= columns; c += 4 * W) wide(c);
  for (; c + W <= columns; c += W) single(c);
  if (c < columns) tail(c, static_cast<int>(columns - c));
}

template <class T, int V, bool Masked>
FASTCONV_INLINE Vec<T> get(const T* p, int v, int n) {
  if constexpr (Masked) return Vec<T>::load(p, n);
  return Vec<T>::load(p + v * Vec<T>::width);
}

template <class T, int V, bool Masked>
FASTCONV_INLINE void put(Vec<T> x, T* p, int v, int n) {
  if constexpr (Masked)
    x.store(p, n);
  else
    x.store(p + v * Vec<T>::width);
}

template <bool Gradient, int V, bool Masked, class T>
FASTCONV_INLINE void sum_tile(const ColumnSumsArgs<T>& a, std::int64_t row, std::int64_t rows, std::int64_t column,
                              int n) {
  using VT = Vec<T>;
  VT shift[V], first[V], second[V];
  FASTCONV_UNROLL for (int v = 0; v < V; ++v) {
    shift[v] = get<T, V, Masked>(a.shift + column, v, n);
    first[v] = second[v] = VT::zero();
  }
  std::int64_t i = row * a.columns + column;
  for (std::int64_t r = 0; r < rows; ++r, i += a.columns) {
    FASTCONV_UNROLL for (int v = 0; v < V; ++v) {
      const VT d = get<T, V, Masked>(a.x + i, v, n) - shift[v];
      const VT g = Gradient ? get<T, V, Masked>(a.dy + i, v, n) : d;
      first[v] = first[v] + g;
      second[v] = fma(g, d, second[v]);
    }
  }
  T* to = a.buffer + column;
  FASTCONV_UNROLL for (int v = 0; v < V; ++v) {
    put<T, V, Masked>(get<T, V, Masked>(to, v, n) + first[v], to, v, n);
    put<T, V, Masked>(get<T, V, Masked>(to + a.columns, v, n) + second[v], to + a.columns, v, n);
  }
}

template <bool Gradient, class T>
FASTCONV_NOINLINE void sums(const ColumnSumsArgs<T>& a) {
  const std::int64_t step = tile_rows<T>(a.columns);
  for (std::int64_t block = 0; block < a.rows; block += kBlockRows) {
    const std::int64_t block_end = block + kBlockRows < a.rows ? block + kBlockRows : a.rows;
    for (std::int64_t i = 0; i < 2 * a.columns; ++i) a.buffer[i] = 0;
    for (std::int64_t row = block; row < block_end; row += step) {
      const std::int64_t rows = block_end - row < step ? block_end - row : step;
      for_columns<T>(
          a.columns, [&](std::int64_t c) { sum_tile<Gradient, 4, false>(a, row, rows, c, 0); },
          [&](std::int64_t c) { sum_tile<Gradient, 1, false>(a, row, rows, c, 0); },
          [&](std::int64_t c, int n) { sum_tile<Gradient, 1, true>(a, row, rows, c, n); });
    }
    for (std::int64_t i = 0; i < a.columns; ++i) {
      a.first[i] += static_cast<double>(a.buffer[i]);
      a.second[i] += static_cast<double>(a.buffer[a.columns + i]);
    }
  }
}

template <bool Gradient, bool Clamp, int V, bool Masked, class T>
FASTCONV_INLINE void affine_tile(const ColumnAffineArgs<T>& p, std::int64_t row, std::int64_t rows, std::int64_t column,
                                 int n) {
  using VT = Vec<T>;
  VT mean[V], a[V], b[V], c[V];
  FASTCONV_UNROLL for (int v = 0; v < V; ++v) {
    mean[v] = get<T, V, Masked>(p.mean + column, v, n);
    if constexpr (Gradient) a[v] = get<T, V, Masked>(p.a + column, v, n);
    b[v] = get<T, V, Masked>(p.b + column, v, n);
    c[v] = get<T, V, Masked>(p.c + column, v, n);
  }
  const VT lo = VT::set(p.lo), hi = VT::set(p.hi);
  std::int64_t i = row * p.columns + column, from = i + row * p.x_gap;
  for (std::int64_t r = 0; r < rows; ++r, i += p.columns, from += p.columns + p.x_gap) {
    FASTCONV_UNROLL for (int v = 0; v < V; ++v) {
      const VT d = get<T, V, Masked>(p.x + from, v, n) - mean[v];
      VT y = fma(b[v], d, c[v]);
      if constexpr (Gradient) y = fma(a[v], get<T, V, Masked>(p.dy + i, v, n), y);
      if constexpr (Clamp) y = min(hi, max(lo, y));
      put<T, V, Masked>(y, p.y + i, v, n);
    }
  }
}

template <bool Gradient, bool Clamp, class T>
FASTCONV_NOINLINE void affine(const ColumnAffineArgs<T>& a) {
  const std::int64_t step = tile_rows<T>(a.columns);
  for (std::int64_t row = 0; row < a.rows; row += step) {
    const std::int64_t rows = a.rows - row < step ? a.rows - row : step;
    for_columns<T>(
        a.columns, [&](std::int64_t c) { affine_tile<Gradient, Clamp, 4, false>(a, row, rows, c, 0); },
        [&](std::int64_t c) { affine_tile<Gradient, Clamp, 1, false>(a, row, rows, c, 0); },
        [&](std::int64_t c, int n) { affine_tile<Gradient, Clamp, 1, true>(a, row, rows, c, n); });
  }
}

}  // namespace

template <class T>
void column_sums(const ColumnSumsArgs<T>& a) {
  a.dy ? sums<true>(a) : sums<false>(a);
}

template <class T>
void column_affine(const ColumnAffineArgs<T>& a) {
  a.dy ? affine<true, false>(a) : a.clamp ? affine<false, true>(a) : affine<false, false>(a);
}

template void column_sums<float>(const ColumnSumsArgs<float>&);
template void column_sums<double>(const ColumnSumsArgs<double>&);
template void column_affine<float>(const ColumnAffineArgs<float>&);
template void column_affine<double>(const ColumnAffineArgs<double>&);

}  // namespace fastconv::FASTCONV_ISA
