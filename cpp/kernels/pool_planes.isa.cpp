// Pooling of planes. Vectors run along the rows: first the rows of a window are combined, then, from the first-level
// cache, its columns; for a stride of two even and odd columns are parted before.
#include "kernels/isa.hpp"
#include "kernels/pool_args.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

template <bool Maximum, class V>
FASTCONV_INLINE V combine(V acc, V x) {
  if constexpr (Maximum) return select(is_nan(x), x, max(x, acc));  // max keeps a NaN that is its second operand
  return acc + x;
}

template <bool Maximum, class T>
FASTCONV_INLINE T nothing() {
  return Maximum ? static_cast<T>(-__builtin_inff()) : T(0);
}

template <bool Maximum, class T>
FASTCONV_INLINE void combine_rows(const PoolPlanesArgs<T>& a, const T* x, const PoolTap* first, const PoolTap* last,
                                  T* to) {
  using V = Vec<T>;
  constexpr std::int64_t W = V::width;
  std::int64_t c = 0;
  for (; c + W <= a.in_w; c += W) {
    V acc = V::set(nothing<Maximum, T>());
    for (const PoolTap* r = first; r != last; ++r) acc = combine<Maximum>(acc, V::load(x + r->source * a.in_w + c));
    acc.store(to + c);
  }
  if (c == a.in_w) return;
  if (c > 0) {  // overlaps the vector before
    c = a.in_w - W;
    V acc = V::set(nothing<Maximum, T>());
    for (const PoolTap* r = first; r != last; ++r) acc = combine<Maximum>(acc, V::load(x + r->source * a.in_w + c));
    return acc.store(to + c);
  }
  const int n = static_cast<int>(a.in_w);
  V acc = V::set(nothing<Maximum, T>());
  for (const PoolTap* r = first; r != last; ++r) acc = combine<Maximum>(acc, V::load(x + r->source * a.in_w, n));
  acc.store(to, n);
}

template <class V, class T>
FASTCONV_INLINE void put(V v, T* to, std::int64_t left) {
  if (left >= V::width)
    v.store(to);
  else
    v.store(to, static_cast<int>(left));
}

template <bool Maximum, class T>
FASTCONV_INLINE void combine_columns(const PoolPlanesArgs<T>& a, const T* even, const T* odd, T row_extent, T* y) {
  using V = Vec<T>;
  for (std::int64_t o = 0; o < a.out_w; o += V::width) {
    V acc = V::set(nothing<Maximum, T>());
    for (std::int64_t k = 0, at = 0; k < a.taps; ++k, at += a.step) {
      const T* from = a.stride == 1 ? even + at : (at & 1 ? odd : even) + at / 2;
      acc = combine<Maximum>(acc, V::load(from + o));
    }
    const std::int64_t left = a.out_w - o;
    if constexpr (!Maximum) {
      const int n = left < V::width ? static_cast<int>(left) : V::width;
      acc = acc / (V::set(row_extent) * V::load(a.column_extents + o, n));
    }
    put(acc, y + o, left);
  }
}

template <bool Maximum, class T>
FASTCONV_INLINE void listed_columns(const PoolPlanesArgs<T>& a, T row_extent, T* y) {
  for (std::int64_t o = 0; o < a.out_w; ++o) {
    T acc = nothing<Maximum, T>();
    for (std::int32_t t = a.column_first[o]; t < a.column_first[o + 1]; ++t) {
      const T x = a.buffer[a.columns[t].source];
      if constexpr (Maximum)
        acc = x > acc || x != x ? x : acc;  // a NaN stays: nothing is greater
      else
        acc += x;
    }
    y[o] = Maximum ? acc : acc / (row_extent * a.column_extents[o]);
  }
}

template <bool Maximum, class T>
FASTCONV_NOINLINE void planes(const PoolPlanesArgs<T>& a) {
  using V = Vec<T>;
  constexpr std::int64_t W = V::width;
  T *even = a.buffer + a.line, *odd = even + a.line / 2;
  const std::int64_t left = a.column_first ? 0 : a.left;
  for (std::int64_t i = 0; i < a.line; ++i) a.buffer[i] = nothing<Maximum, T>();
  const std::int64_t half = (a.out_w - 1 + (a.taps - 1) * a.step / 2) + 1;  // of the columns that are read
  for (std::int64_t p = 0; p < a.planes; ++p) {
    const T* x = a.x + p * a.x_plane;
    T* y = a.y + p * a.y_plane;
    for (std::int64_t h = 0; h < a.out_h; ++h, y += a.out_w) {
      combine_rows<Maximum>(a, x, a.rows + a.row_first[h], a.rows + a.row_first[h + 1], a.buffer + left);
      const T extent = Maximum ? T(1) : a.row_extents[h];
      if (a.column_first) {
        listed_columns<Maximum>(a, extent, y);
        continue;
      }
      if (a.stride == 1) {
        combine_columns<Maximum>(a, a.buffer, a.buffer, extent, y);
        continue;
      }
      for (std::int64_t i = 0; i < half; i += W) {
        V e, o;
        V::part(V::load(a.buffer + 2 * i), V::load(a.buffer + 2 * i + W), e, o);
        e.store(even + i);
        o.store(odd + i);
      }
      combine_columns<Maximum>(a, even, odd, extent, y);
    }
  }
}

}  // namespace

template <class T>
void pool_planes(const PoolPlanesArgs<T>& a) {
  a.maximum ? planes<true>(a) : planes<false>(a);
}

template void pool_planes<float>(const PoolPlanesArgs<float>&);
template void pool_planes<double>(const PoolPlanesArgs<double>&);

}  // namespace fastconv::FASTCONV_ISA
