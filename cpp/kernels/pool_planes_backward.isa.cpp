// The gradient of max pooling of planes. Vectors run along the rows, as in pool_planes: a plane lies in padded lines,
// for a stride of two parted into even and odd columns, and so do the sums of its gradient.
#include <cstring>

#include "kernels/isa.hpp"
#include "kernels/pool_args.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

constexpr auto kNothing = -__builtin_inff();

// Columns that tap `at` (k * step) of neighbouring windows reads in a line.
template <class T, class P>
FASTCONV_INLINE P columns_of(const PoolPlanesArgs<T>& p, P line, std::int64_t at) {
  return p.stride == 1 ? line + at : line + (at & 1 ? p.line / 2 : 0) + at / 2;
}

template <class T>
FASTCONV_INLINE void make_lines(const PoolPlanesBackwardArgs<T>& a, const T* x) {
  using V = Vec<T>;
  constexpr std::int64_t W = V::width;
  const PoolPlanesArgs<T>& p = a.pool;
  const std::int64_t half = p.out_w + (p.taps - 1) * p.step / 2;
  T* whole = a.lines + a.in_h * p.line;
  for (std::int64_t h = 0; h < a.in_h; ++h, x += p.in_w) {
    T* line = a.lines + h * p.line;
    std::memcpy((p.stride == 1 ? line : whole) + p.left, x, static_cast<std::size_t>(p.in_w) * sizeof(T));
    if (p.stride == 1) continue;
    for (std::int64_t i = 0; i < half; i += W) {
      V even, odd;
      V::part(V::load(whole + 2 * i), V::load(whole + 2 * i + W), even, odd);
      even.store(line + i);
      odd.store(line + p.line / 2 + i);
    }
  }
}

template <class T>
FASTCONV_INLINE void add_row(const PoolPlanesBackwardArgs<T>& a, const PoolTap* begin, const PoolTap* end,
                             const T* dy) {
  using V = Vec<T>;
  const PoolPlanesArgs<T>& p = a.pool;
  for (std::int64_t o = 0; o < p.out_w; o += V::width) {
    const int n = p.out_w - o < V::width ? static_cast<int>(p.out_w - o) : V::width;
    V best = V::set(kNothing), winner = V::load(a.first + o, n) + V::set(static_cast<T>(begin->tap * p.taps));
    for (const PoolTap* r = begin; r != end; ++r)
      for (std::int64_t k = 0; k < p.taps; ++k) {
        const V x = V::load(columns_of(p, a.lines + r->source * p.line, k * p.step) + o);
        const V tap = V::set(static_cast<T>(r->tap * p.taps + k));
        winner = select(is_nan(x), tap, select(less(best, x), tap, winner));
        best = select(is_nan(x), x, max(x, best));
      }
    const V g = V::load(dy + o, n);
    for (const PoolTap* r = begin; r != end; ++r)
      for (std::int64_t k = 0; k < p.taps; ++k) {
        T* to = columns_of(p, a.sums + r->source * p.line, k * p.step) + o;
        const V tap = V::set(static_cast<T>(r->tap * p.taps + k));
        (V::load(to) + select(equal(winner, tap), g, V::zero())).store(to);
      }
  }
}

template <class T>
FASTCONV_INLINE void join_lines(const PoolPlanesBackwardArgs<T>& a, T* dx) {
  const PoolPlanesArgs<T>& p = a.pool;
  for (std::int64_t h = 0; h < a.in_h; ++h, dx += p.in_w) {
    const T* line = a.sums + h * p.line;
    if (p.stride == 1) {
      std::memcpy(dx, line + p.left, static_cast<std::size_t>(p.in_w) * sizeof(T));
      continue;
    }
    const T* first = columns_of(p, line, p.left);
    const T* second = columns_of(p, line, p.left + 1);
    for (std::int64_t i = 0; i < p.in_w / 2; ++i) {
      dx[2 * i] = first[i];
      dx[2 * i + 1] = second[i];
    }
    if (p.in_w & 1) dx[p.in_w - 1] = first[p.in_w / 2];
  }
}

template <class T>
FASTCONV_INLINE void listed_row(const PoolPlanesBackwardArgs<T>& a, const PoolTap* begin, const PoolTap* end,
                                const T* x, const T* dy, T* dx) {
  const PoolPlanesArgs<T>& p = a.pool;
  for (std::int64_t o = 0; o < p.out_w; ++o) {
    if (p.column_first[o] == p.column_first[o + 1]) continue;
    T best = static_cast<T>(kNothing);
    std::int64_t winner = begin->source * p.in_w + p.columns[p.column_first[o]].source;
    for (const PoolTap* r = begin; r != end; ++r)
      for (std::int32_t t = p.column_first[o]; t < p.column_first[o + 1]; ++t) {
        const std::int64_t at = r->source * p.in_w + p.columns[t].source;
        if (!(x[at] > best || x[at] != x[at])) continue;
        best = x[at];
        winner = at;
      }
    dx[winner] += dy[o];
  }
}

}  // namespace

template <class T>
void pool_planes_backward(const PoolPlanesBackwardArgs<T>& a) {
  const PoolPlanesArgs<T>& p = a.pool;
  if (!p.column_first)
    for (std::int64_t i = 0; i < (a.in_h + 1) * p.line; ++i) a.lines[i] = static_cast<T>(kNothing);
  for (std::int64_t plane = 0; plane < p.planes; ++plane) {
    const T* x = p.x + plane * p.x_plane;
    const T* dy = a.dy + plane * p.y_plane;
    T* dx = a.dx + plane * p.x_plane;
    if (p.column_first) {
      std::memset(dx, 0, static_cast<std::size_t>(p.x_plane) * sizeof(T));
    } else {
      make_lines(a, x);
      std::memset(a.sums, 0, static_cast<std::size_t>(a.in_h * p.line) * sizeof(T));
    }
    for (std::int64_t h = 0; h < p.out_h; ++h, dy += p.out_w) {
      const PoolTap *begin = p.rows + p.row_first[h], *end = p.rows + p.row_first[h + 1];
      if (begin == end) continue;
      if (p.column_first)
        listed_row(a, begin, end, x, dy, dx);
      else
        add_row(a, begin, end, dy);
    }
    if (!p.column_first) join_lines(a, dx);
  }
}

template void pool_planes_backward<float>(const PoolPlanesBackwardArgs<float>&);
template void pool_planes_backward<double>(const PoolPlanesBackwardArgs<double>&);

}  // namespace fastconv::FASTCONV_ISA
