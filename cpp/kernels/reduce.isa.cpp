// Reductions of rows and of columns of a matrix. A NaN among max's or min's elements is the result.
#include "kernels/isa.hpp"
#include "kernels/reduce_args.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

template <Reduce op, class V>
FASTCONV_INLINE V combine(V acc, V x) {
  if constexpr (op == Reduce::sum) return acc + x;
  if constexpr (op == Reduce::prod) return acc * x;
  if constexpr (op == Reduce::max) return select(is_nan(x), x, max(x, acc));
  return select(is_nan(x), x, min(x, acc));
}

template <Reduce op, class T>
FASTCONV_INLINE T combine_scalar(T acc, T x) {
  if constexpr (op == Reduce::sum) return acc + x;
  if constexpr (op == Reduce::prod) return acc * x;
  if (x != x || acc != acc) return x != x ? x : acc;
  return (op == Reduce::max) == (x > acc) ? x : acc;
}

template <Reduce op, class V>
FASTCONV_INLINE typename V::Element across(V v) {
  if constexpr (op == Reduce::sum) return sum(v);
  typename V::Element e[V::width];
  v.store(e);
  for (int i = 1; i < V::width; ++i) e[0] = combine_scalar<op>(e[0], e[i]);
  return e[0];
}

template <class T, Reduce op>
FASTCONV_NOINLINE void rows(const ReduceRowsArgs<T>& a) {
  using V = Vec<T>;
  constexpr int W = V::width, U = 4;
  for (std::int64_t r = 0; r < a.rows; ++r) {
    const T* x = a.x + r * a.x_row;
    T result;
    if (a.n >= W) {
      V acc;
      std::int64_t i = 0;
      if (a.n >= U * W) {
        // Blocks bound how many roundings a sum's element goes through.
        while (i + U * W <= a.n) {
          const bool first = i == 0;
          V v[U];
          FASTCONV_UNROLL for (int u = 0; u < U; ++u) v[u] = V::load(x + i + u * W);
          i += U * W;
          for (int turn = 1; turn < 64 && i + U * W <= a.n; ++turn, i += U * W)
            FASTCONV_UNROLL for (int u = 0; u < U; ++u) v[u] = combine<op>(v[u], V::load(x + i + u * W));
          const V block = combine<op>(combine<op>(v[0], v[1]), combine<op>(v[2], v[3]));
          acc = first ? block : combine<op>(acc, block);
        }
      } else {
        acc = V::load(x);
        i = W;
      }
      for (; i + W <= a.n; i += W) acc = combine<op>(acc, V::load(x + i));
      if (op != Reduce::prod && i < a.n) {
        // For max and min elements may be met twice; zeros fill up a sum.
        acc = combine<op>(acc, op == Reduce::sum ? V::load(x + i, static_cast<int>(a.n - i)) : V::load(x + a.n - W));
      }
      result = across<op>(acc);
      if (op == Reduce::prod)
        for (; i < a.n; ++i) result = combine_scalar<op>(result, x[i]);
    } else if (op == Reduce::sum) {
      result = sum(V::load(x, static_cast<int>(a.n)));
    } else {
      result = x[0];
      for (std::int64_t i = 1; i < a.n; ++i) result = combine_scalar<op>(result, x[i]);
    }
    a.y[r] = result * a.scale;
  }
}

// Few columns: their accumulators stay in registers.
template <class T, Reduce op, int N>
FASTCONV_INLINE void narrow(const ReduceColumnsArgs<T>& a, std::int64_t c, int tail) {
  using V = Vec<T>;
  constexpr int W = V::width;
  const T* x = a.x + c;
  const auto load = [&](const T* p, int v) {
    return v + 1 < N || tail == W ? V::load(p + v * W) : V::load(p + v * W, tail);
  };
  V acc[N];
  FASTCONV_UNROLL for (int v = 0; v < N; ++v) acc[v] = load(x, v);
  for (std::int64_t r = 1; r < a.rows; ++r) {
    x += a.x_row;
    FASTCONV_UNROLL for (int v = 0; v < N; ++v) acc[v] = combine<op>(acc[v], load(x, v));
  }
  const V scale = V::set(a.scale);
  FASTCONV_UNROLL for (int v = 0; v < N; ++v) {
    const V y = acc[v] * scale;
    if (v + 1 < N || tail == W)
      y.store(a.y + c + v * W);
    else
      y.store(a.y + c + v * W, tail);
  }
}

// Many columns: four rows at a time, in order of memory, onto results that stay in the first-level cache.
template <class T, Reduce op>
FASTCONV_NOINLINE void wide(const ReduceColumnsArgs<T>& a) {
  using V = Vec<T>;
  constexpr int W = V::width;
  const V scale = V::set(a.scale);
  const std::int64_t s = a.x_row;
  for (std::int64_t r = 0; r < a.rows;) {
    const int group = a.rows - r >= 4 ? 4 : 1;
    const bool first = r == 0, last = r + group == a.rows;
    const T* x = a.x + r * s;
    for (std::int64_t c = 0; c < a.columns; c += W) {
      const int n = a.columns - c < W ? static_cast<int>(a.columns - c) : W;
      const auto load = [&](const T* p) { return n == W ? V::load(p) : V::load(p, n); };
      V acc = load(x + c);
      if (group == 4)
        acc = combine<op>(combine<op>(acc, load(x + s + c)), combine<op>(load(x + 2 * s + c), load(x + 3 * s + c)));
      if (!first) acc = combine<op>(load(a.y + c), acc);
      if (last) acc = acc * scale;
      if (n == W)
        acc.store(a.y + c);
      else
        acc.store(a.y + c, n);
    }
    r += group;
  }
}

template <class T, Reduce op>
FASTCONV_NOINLINE void columns(const ReduceColumnsArgs<T>& a) {
  constexpr int W = Vec<T>::width;
  if (a.rows == 0) {
    for (std::int64_t c = 0; c < a.columns; ++c) a.y[c] = T(0) * a.scale;
    return;
  }
  if (a.columns > 8 * W) return wide<T, op>(a);
  std::int64_t c = 0;
  while (c < a.columns) {
    const std::int64_t left = a.columns - c, vectors = (left + W - 1) / W;
    const int tail = left % W ? static_cast<int>(left % W) : W;
    if (vectors >= 8) {
      narrow<T, op, 8>(a, c, vectors == 8 ? tail : W), c += 8 * W;
    } else if (vectors >= 4) {
      narrow<T, op, 4>(a, c, vectors == 4 ? tail : W), c += 4 * W;
    } else if (vectors >= 2) {
      narrow<T, op, 2>(a, c, vectors == 2 ? tail : W), c += 2 * W;
    } else {
      narrow<T, op, 1>(a, c, tail), c += W;
    }
  }
}

}  // namespace

template <class T>
void reduce_rows(const ReduceRowsArgs<T>& a) {
  if (a.op == Reduce::sum) return rows<T, Reduce::sum>(a);
  if (a.op == Reduce::max) return rows<T, Reduce::max>(a);
  if (a.op == Reduce::prod) return rows<T, Reduce::prod>(a);
  rows<T, Reduce::min>(a);
}

template <class T>
void reduce_columns(const ReduceColumnsArgs<T>& a) {
  if (a.op == Reduce::sum) return columns<T, Reduce::sum>(a);
  if (a.op == Reduce::max) return columns<T, Reduce::max>(a);
  if (a.op == Reduce::prod) return columns<T, Reduce::prod>(a);
  columns<T, Reduce::min>(a);
}

template void reduce_rows<float>(const ReduceRowsArgs<float>&);
template void reduce_rows<double>(const ReduceRowsArgs<double>&);
template void reduce_columns<float>(const ReduceColumnsArgs<float>&);
template void reduce_columns<double>(const ReduceColumnsArgs<double>&);

}  // namespace fastconv::FASTCONV_ISA
