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

// What an activation's gradient lets through of g.
template <class V>
FASTCONV_INLINE V let_through(V z, V g, V lo, V hi) {
  return select(less_equal(z, lo), V::zero(), select(less_equal(hi, z), V::zero(), g));
}

enum class Sums { statistics, gradient, masked, masked_by_z };

template <Sums kind, int V, bool Masked, class T>
FASTCONV_INLINE void sum_tile(const ColumnSumsArgs<T>& a, std::int64_t row, std::int64_t rows, std::int64_t column,
                              int n) {
  using VT = Vec<T>;
  VT shift[V], first[V], second[V], scale[V], offset[V];
  FASTCONV_UNROLL for (int v = 0; v < V; ++v) {
    shift[v] = get<T, V, Masked>(a.shift + column, v, n);
    if constexpr (kind == Sums::masked) {
      scale[v] = get<T, V, Masked>(a.scale + column, v, n);
      offset[v] = get<T, V, Masked>(a.offset + column, v, n);
    }
    first[v] = second[v] = VT::zero();
  }
  const VT lo = VT::set(a.lo), hi = VT::set(a.hi);
  std::int64_t i = row * a.columns + column;
  for (std::int64_t r = 0; r < rows; ++r, i += a.columns) {
    FASTCONV_UNROLL for (int v = 0; v < V; ++v) {
      const VT d = get<T, V, Masked>(a.x + i, v, n) - shift[v];
      VT g = d;
      if constexpr (kind != Sums::statistics) g = get<T, V, Masked>(a.dy + i, v, n);
      if constexpr (kind == Sums::masked) g = let_through(fma(scale[v], d, offset[v]), g, lo, hi);
      if constexpr (kind == Sums::masked_by_z) {
        g = let_through(get<T, V, Masked>(a.z + i, v, n), g, lo, hi);
        put<T, V, Masked>(g, a.masked + i, v, n);
      }
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

template <Sums kind, class T>
FASTCONV_NOINLINE void sums(const ColumnSumsArgs<T>& a) {
  const std::int64_t step = tile_rows<T>(a.columns);
  for (std::int64_t block = 0; block < a.rows; block += kBlockRows) {
    const std::int64_t block_end = block + kBlockRows < a.rows ? block + kBlockRows : a.rows;
    for (std::int64_t i = 0; i < 2 * a.columns; ++i) a.buffer[i] = 0;
    for (std::int64_t row = block; row < block_end; row += step) {
      const std::int64_t rows = block_end - row < step ? block_end - row : step;
      for_columns<T>(
          a.columns, [&](std::int64_t c) { sum_tile<kind, 4, false>(a, row, rows, c, 0); },
          [&](std::int64_t c) { sum_tile<kind, 1, false>(a, row, rows, c, 0); },
          [&](std::int64_t c, int n) { sum_tile<kind, 1, true>(a, row, rows, c, n); });
    }
    for (std::int64_t i = 0; i < a.columns; ++i) {
      a.first[i] += static_cast<double>(a.buffer[i]);
      a.second[i] += static_cast<double>(a.buffer[a.columns + i]);
    }
  }
}

enum class Affine { plain, residual, gradient, masked_gradient };

template <Affine kind, bool Stream, int V, bool Masked, class T>
FASTCONV_INLINE void affine_tile(const ColumnAffineArgs<T>& p, std::int64_t row, std::int64_t rows, std::int64_t column,
                                 int n) {
  using VT = Vec<T>;
  constexpr bool gradient = kind == Affine::gradient || kind == Affine::masked_gradient;
  VT mean[V], a[V], b[V], c[V], offset[V];
  FASTCONV_UNROLL for (int v = 0; v < V; ++v) {
    mean[v] = get<T, V, Masked>(p.mean + column, v, n);
    if constexpr (gradient) a[v] = get<T, V, Masked>(p.a + column, v, n);
    b[v] = get<T, V, Masked>(p.b + column, v, n);
    c[v] = get<T, V, Masked>(p.c + column, v, n);
    if constexpr (kind == Affine::masked_gradient) offset[v] = get<T, V, Masked>(p.offset + column, v, n);
  }
  const bool limited = p.clamp || kind == Affine::masked_gradient;
  const VT lo = VT::set(limited ? p.lo : -static_cast<T>(__builtin_inff()));
  const VT hi = VT::set(limited ? p.hi : static_cast<T>(__builtin_inff()));
  std::int64_t i = row * p.columns + column, from = i + row * p.x_gap;
  for (std::int64_t r = 0; r < rows; ++r, i += p.columns, from += p.columns + p.x_gap) {
    FASTCONV_UNROLL for (int v = 0; v < V; ++v) {
      const VT d = get<T, V, Masked>(p.x + from, v, n) - mean[v];
      VT y = fma(b[v], d, c[v]);
      if constexpr (gradient) {
        VT g = get<T, V, Masked>(p.dy + i, v, n);
        if constexpr (kind == Affine::masked_gradient) g = let_through(fma(a[v], d, offset[v]), g, lo, hi);
        y = fma(a[v], g, y);
      } else {
        if constexpr (kind == Affine::residual) y = y + get<T, V, Masked>(p.residual + i, v, n);
        y = min(hi, max(lo, y));
      }
      if constexpr (Stream)
        y.stream(p.y + i + v * VT::width);
      else
        put<T, V, Masked>(y, p.y + i, v, n);
    }
  }
}

template <Affine kind, bool Stream, class T>
FASTCONV_NOINLINE void affine(const ColumnAffineArgs<T>& a) {
  const std::int64_t step = tile_rows<T>(a.columns);
  for (std::int64_t row = 0; row < a.rows; row += step) {
    const std::int64_t rows = a.rows - row < step ? a.rows - row : step;
    for_columns<T>(
        a.columns, [&](std::int64_t c) { affine_tile<kind, Stream, 4, false>(a, row, rows, c, 0); },
        [&](std::int64_t c) { affine_tile<kind, Stream, 1, false>(a, row, rows, c, 0); },
        [&](std::int64_t c, int n) { affine_tile<kind, false, 1, true>(a, row, rows, c, n); });
  }
  if constexpr (Stream) Vec<T>::end_stream();
}

// Whether all vectors of y begin at a multiple of their size.
template <class T>
bool aligned(const ColumnAffineArgs<T>& a) {
  constexpr int W = Vec<T>::width;
  return a.columns % W == 0 && reinterpret_cast<std::uintptr_t>(a.y) % (W * sizeof(T)) == 0;
}

}  // namespace

template <class T>
void column_sums(const ColumnSumsArgs<T>& a) {
  if (a.z) return sums<Sums::masked_by_z>(a);
  if (a.offset) return sums<Sums::masked>(a);
  a.dy ? sums<Sums::gradient>(a) : sums<Sums::statistics>(a);
}

template <class T>
void column_affine(const ColumnAffineArgs<T>& a) {
  if (a.dy) return a.offset ? affine<Affine::masked_gradient, false>(a) : affine<Affine::gradient, false>(a);
  if (a.stream && aligned(a)) return a.residual ? affine<Affine::residual, true>(a) : affine<Affine::plain, true>(a);
  a.residual ? affine<Affine::residual, false>(a) : affine<Affine::plain, false>(a);
}

template void column_sums<float>(const ColumnSumsArgs<float>&);
template void column_sums<double>(const ColumnSumsArgs<double>&);
template void column_affine<float>(const ColumnAffineArgs<float>&);
template void column_affine<double>(const ColumnAffineArgs<double>&);

}  // namespace fastconv::FASTCONV_ISA
