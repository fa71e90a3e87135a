// The gradient of max-pooling of planes, windows two apart. Vectors run along the rows, in which even and odd columns
// are parted: x is read once, dx is written once. As in PyTorch the first of equal elements wins, the last of NaNs.
#include "kernels/isa.hpp"
#include "kernels/pool_args.hpp"
#include "kernels/simd/pairs.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

template <class T>
constexpr T kPlaces[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

template <class T>
constexpr T kNothing = -static_cast<T>(__builtin_inff());

constexpr std::int64_t least(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

// What is left of a row is `n` elements; others are zero.
template <class T>
FASTCONV_INLINE Vec<T> get(const T* p, std::int64_t n) {
  if (n >= Vec<T>::width) return Vec<T>::load(p);
  return n > 0 ? Vec<T>::load(p, static_cast<int>(n)) : Vec<T>::zero();
}

template <class T>
FASTCONV_INLINE void put(Vec<T> v, T* p, std::int64_t n) {
  if (n >= Vec<T>::width)
    v.store(p);
  else if (n > 0)
    v.store(p, static_cast<int>(n));
}

// v, where there are no more than n elements what never wins.
template <class T>
FASTCONV_INLINE Vec<T> within(Vec<T> v, std::int64_t n) {
  using V = Vec<T>;
  if (n >= V::width) return v;
  return select(less(V::load(kPlaces<T>), V::set(static_cast<T>(n))), v, V::set(kNothing<T>));
}

// Of two elements that follow each other: yb where b wins, else ya.
template <class V>
FASTCONV_INLINE V winners(V a, V b, V ya, V yb) {
  return select(is_nan(b), yb, select(less(a, b), yb, ya));
}

// Two rows of x with n columns left, and of dx.
template <class T>
FASTCONV_INLINE void two_by_two(const T* top, const T* bottom, const T* dy, T* to_top, T* to_bottom, std::int64_t n,
                                std::int64_t windows) {
  using V = Vec<T>;
  constexpr int W = V::width;
  const auto read = [&](const T* row, V& even, V& odd) {
    if (!row)
      even = odd = V::set(kNothing<T>);
    else
      V::part(within(get(row, n), n), within(get(row + W, n - W), n - W), even, odd);
  };
  V a, b, c, d;
  read(top, a, b), read(bottom, c, d);
  const V g = get(dy, windows), zero = V::zero();
  const V first = winners(a, b, a, b), second = winners(c, d, c, d);
  const V above = winners(first, second, g, zero), below = winners(first, second, zero, g);
  V from, to;
  join(winners(a, b, above, zero), winners(a, b, zero, above), from, to);
  put(from, to_top, n), put(to, to_top + W, n - W);
  if (!bottom) return;
  join(winners(c, d, below, zero), winners(c, d, zero, below), from, to);
  put(from, to_bottom, n), put(to, to_bottom + W, n - W);
}

template <class T>
FASTCONV_NOINLINE void twos(const MaxPlanesBackwardArgs<T>& a) {
  constexpr std::int64_t W = Vec<T>::width;
  for (std::int64_t p = 0; p < a.planes; ++p) {
    const T *x = a.x + p * a.in_h * a.in_w, *dy = a.dy + p * a.out_h * a.out_w;
    T* dx = a.dx + p * a.in_h * a.in_w;
    for (std::int64_t r = a.row_begin; r < a.row_end; ++r) {
      const std::int64_t at = 2 * r * a.in_w;
      const T *top = x + at, *bottom = 2 * r + 1 < a.in_h ? top + a.in_w : nullptr, *g = dy + r * a.out_w;
      T *to_top = dx + at, *to_bottom = to_top + a.in_w;
      std::int64_t c = 0;
      for (; bottom && c + 2 * W <= least(a.in_w, 2 * a.out_w); c += 2 * W)
        two_by_two(top + c, bottom + c, g + c / 2, to_top + c, to_bottom + c, 2 * W, W);
      for (; c < a.in_w; c += 2 * W)
        two_by_two(top + c, bottom ? bottom + c : nullptr, g + c / 2, to_top + c, to_bottom + c, a.in_w - c,
                   a.out_w - c / 2);
    }
    if (a.row_end == a.out_h)
      for (std::int64_t i = 2 * a.out_h * a.in_w; i < a.in_h * a.in_w; ++i) dx[i] = 0;
  }
}

// The columns 0, 2, ... and 1, 3, ... of a row with its padding.
template <class T>
struct Line {
  T *even, *odd;
};

// Null is a row of padding. Returns zeros, and NaN if not all of the row is finite.
template <class T>
FASTCONV_INLINE Vec<T> read_line(const MaxPlanesBackwardArgs<T>& a, const T* x, const Line<T>& line) {
  using V = Vec<T>;
  constexpr std::int64_t W = V::width;
  V finite = V::zero();
  if (!x) {
    for (std::int64_t k = 0; k < a.line; ++k) line.even[k] = line.odd[k] = kNothing<T>;
    return finite;
  }
  T *first = a.left ? line.odd : line.even, *second = a.left ? line.even + 1 : line.odd;
  if (a.left) line.even[0] = kNothing<T>;
  const auto split = [&](std::int64_t c, std::int64_t n) {
    const V u = get(x + c, n), v = get(x + c + W, n - W);
    finite = fma(u + v, V::zero(), finite);
    V even, odd;
    V::part(within(u, n), within(v, n - W), even, odd);
    even.store(first + c / 2);
    odd.store(second + c / 2);
  };
  std::int64_t c = 0;
  for (; c + 2 * W <= a.in_w; c += 2 * W) split(c, 2 * W);
  if (c < a.in_w) split(c, a.in_w - c);
  return finite;
}

template <class T>
FASTCONV_INLINE void write_line(const MaxPlanesBackwardArgs<T>& a, const Line<T>& line, T* dx) {
  using V = Vec<T>;
  constexpr std::int64_t W = V::width;
  const T *first = a.left ? line.odd : line.even, *second = a.left ? line.even + 1 : line.odd;
  const auto write = [&](std::int64_t c, std::int64_t n) {
    V from, to;
    join(V::load(first + c / 2), V::load(second + c / 2), from, to);
    put(from, dx + c, n);
    put(to, dx + c + W, n - W);
  };
  std::int64_t c = 0;
  for (; c + 2 * W <= a.in_w; c += 2 * W) write(c, 2 * W);
  if (c < a.in_w) write(c, a.in_w - c);
}

// A row of windows, all finite: adds its gradients to those of its first row, which the windows before have left in
// rows[2], and gives all three.
template <class T>
FASTCONV_INLINE void three_by_three(const MaxPlanesBackwardArgs<T>& a, const Line<T> (&x)[3], const T* dy,
                                    const Line<T> (&rows)[3]) {
  using V = Vec<T>;
  constexpr std::int64_t W = V::width;
  const V zero = V::zero();
  V before[3] = {zero, zero, zero};  // what the last column of a row's windows gets, and the next ones share
  for (std::int64_t k = 0; k <= a.out_w; k += W) {
    V left[3], middle[3], right[3], best[3], g[3];
    FASTCONV_UNROLL for (int i = 0; i < 3; ++i) {
      left[i] = V::load(x[i].even + k), middle[i] = V::load(x[i].odd + k), right[i] = V::load(x[i].even + k + 1);
      best[i] = max(max(left[i], middle[i]), right[i]);
    }
    const V dys = get(dy + k, a.out_w - k), upper = max(best[0], best[1]);
    g[2] = select(less(upper, best[2]), dys, zero);
    const V others = select(less(upper, best[2]), zero, dys);
    g[1] = select(less(best[0], best[1]), others, zero);
    g[0] = select(less(best[0], best[1]), zero, others);
    FASTCONV_UNROLL for (int i = 0; i < 3; ++i) {
      const auto last = less(max(left[i], middle[i]), right[i]), second = less(left[i], middle[i]);
      const V shared = select(last, g[i], zero), rest = select(last, zero, g[i]);
      V even = shift_in(before[i], shared), odd = select(second, rest, zero);
      before[i] = shared;
      if (i == 0) even = even + V::load(rows[2].even + k), odd = odd + V::load(rows[2].odd + k);
      even = even + select(second, zero, rest);
      even.store(rows[i].even + k);
      odd.store(rows[i].odd + k);
    }
  }
}

// The same for any values, one by one.
template <class T>
FASTCONV_NOINLINE void any_three_by_three(const MaxPlanesBackwardArgs<T>& a, const T* x, std::int64_t row, const T* dy,
                                          const Line<T> (&rows)[3]) {
  for (std::int64_t k = 0; k < a.line; ++k) {
    rows[0].even[k] = rows[2].even[k], rows[0].odd[k] = rows[2].odd[k];
    rows[1].even[k] = rows[1].odd[k] = rows[2].even[k] = rows[2].odd[k] = 0;
  }
  for (std::int64_t o = 0; o < a.out_w; ++o) {
    T best = 0;
    std::int64_t winner = -1;
    for (std::int64_t i = 0; i < 3; ++i)
      for (std::int64_t j = 0; j < 3; ++j) {
        const std::int64_t h = 2 * row + i - a.top, w = 2 * o + j - a.left;
        if (h < 0 || h >= a.in_h || w < 0 || w >= a.in_w) continue;
        const T v = x[h * a.in_w + w];
        if (winner < 0 || v > best || v != v) best = v, winner = 3 * i + j;
      }
    if (winner < 0) continue;
    const Line<T>& to = rows[winner / 3];
    (winner % 3 == 1 ? to.odd[o] : to.even[o + winner % 3 / 2]) += dy[o];
  }
}

template <class T>
FASTCONV_NOINLINE void threes(const MaxPlanesBackwardArgs<T>& a) {
  using V = Vec<T>;
  using L = Line<T>;
  const auto line = [&](std::int64_t i) { return L{a.buffer + 2 * i * a.line, a.buffer + (2 * i + 1) * a.line}; };
  for (std::int64_t i = 0; i < 10 * a.line; ++i) a.buffer[i] = kNothing<T>;
  for (std::int64_t i = 10 * a.line; i < 16 * a.line; ++i) a.buffer[i] = 0;
  L lines[5] = {line(0), line(1), line(2), line(3), line(4)};
  const L rows[3] = {line(5), line(6), line(7)};
  for (std::int64_t p = 0; p < a.planes; ++p) {
    const T *x = a.x + p * a.in_h * a.in_w, *dy = a.dy + p * a.out_h * a.out_w;
    T* dx = a.dx + p * a.in_h * a.in_w;
    const auto inside = [&](std::int64_t row) { return row >= a.top && row - a.top < a.in_h; };
    const auto read = [&](std::int64_t row, const L& to) {
      return read_line(a, inside(row) ? x + (row - a.top) * a.in_w : nullptr, to);
    };
    const auto write = [&](std::int64_t row, const L& from) {
      if (inside(row)) write_line(a, from, dx + (row - a.top) * a.in_w);
    };
    for (std::int64_t k = 0; k < a.line; ++k) rows[2].even[k] = rows[2].odd[k] = 0;
    // The windows before the first also have a part in the first row.
    const std::int64_t begin = a.row_begin > 0 ? a.row_begin - 1 : 0;
    V f0 = read(2 * begin, lines[0]), f1 = read(2 * begin + 1, lines[1]), f2 = read(2 * begin + 2, lines[2]);
    V f3 = V::zero(), f4 = V::zero();
    for (std::int64_t o = begin; o < a.row_end; ++o) {
      // Two rows more than are needed yet: loads of parts of two stores wait until these have reached the cache.
      if (o + 1 < a.row_end) f3 = read(2 * o + 3, lines[3]), f4 = read(2 * o + 4, lines[4]);
      const L windows[3] = {lines[0], lines[1], lines[2]};
      if (sum(f0 + f1 + f2) == 0)
        three_by_three(a, windows, dy + o * a.out_w, rows);
      else
        any_three_by_three(a, x, o, dy + o * a.out_w, rows);
      if (o >= a.row_begin) write(2 * o, rows[0]), write(2 * o + 1, rows[1]);
      const L used[2] = {lines[0], lines[1]};
      lines[0] = lines[2], lines[1] = lines[3], lines[2] = lines[4], lines[3] = used[0], lines[4] = used[1];
      f0 = f2, f1 = f3, f2 = f4;
    }
    if (a.row_end < a.out_h) continue;
    write(2 * a.out_h, rows[2]);
    for (std::int64_t h = 2 * a.out_h + 1 - a.top; h < a.in_h; ++h)
      for (std::int64_t i = 0; i < a.in_w; ++i) dx[h * a.in_w + i] = 0;
  }
}

}  // namespace

template <class T>
void max_planes_backward(const MaxPlanesBackwardArgs<T>& a) {
  a.window == 2 ? twos(a) : threes(a);
}

template void max_planes_backward<float>(const MaxPlanesBackwardArgs<float>&);
template void max_planes_backward<double>(const MaxPlanesBackwardArgs<double>&);

}  // namespace fastconv::FASTCONV_ISA
