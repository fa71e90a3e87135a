// Max-pooling by windows side by side, and its gradient, on blocks that lie in the cache. Vectors run along the
// channels.
#include "kernels/isa.hpp"
#include "kernels/pool_args.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

template <bool Tail, class T>
FASTCONV_INLINE Vec<T> load(const T* p, int n) {
  if constexpr (Tail)
    return Vec<T>::load(p, n);
  else
    return Vec<T>::load(p);
}

template <bool Tail, class T>
FASTCONV_INLINE void store(Vec<T> v, T* p, int n) {
  if constexpr (Tail)
    v.store(p, n);
  else
    v.store(p);
}

// A window's maximum: the first of equal elements wins, the last of NaNs. Two: all windows are 2 x 2.
template <bool Keep, bool Two, bool Tail, class T>
FASTCONV_INLINE void window(const PoolWindowsArgs<T>& a, const T* x, std::int64_t at, int n) {
  using VT = Vec<T>;
  VT best = load<Tail>(x, n), winner = VT::zero();
  const auto take = [&](std::int64_t i, std::int64_t j, std::int64_t tap) {
    const VT v = load<Tail>(x + i * a.x_row + j * a.x_pixel, n);
    if constexpr (Keep) {
      const VT t = VT::set(static_cast<T>(tap));
      winner = select(is_nan(v), t, select(less(best, v), t, winner));
    }
    best = select(is_nan(v), v, max(v, best));  // max keeps a NaN that is its second operand
  };
  if constexpr (Two) {
    take(0, 1, 1), take(1, 0, 2), take(1, 1, 3);
  } else {
    for (std::int64_t i = 0; i < a.window_h; ++i)
      for (std::int64_t j = i ? 0 : 1; j < a.window_w; ++j) take(i, j, i * a.window_w + j);
  }
  store<Tail>(best, a.y + at, n);
  if constexpr (Keep && Tail) {
    std::uint8_t bytes[VT::width];
    winner.store_bytes(bytes);
    for (int i = 0; i < n; ++i) a.winners[at + i] = bytes[i];
  } else if constexpr (Keep) {
    winner.store_bytes(a.winners + at);
  }
}

template <bool Keep, bool Two, class T>
FASTCONV_NOINLINE void windows(const PoolWindowsArgs<T>& a) {
  constexpr int W = Vec<T>::width;
  for (std::int64_t row = 0; row < a.rows; ++row)
    for (std::int64_t column = 0; column < a.columns; ++column) {
      const T* x = a.x + row * a.window_h * a.x_row + column * a.window_w * a.x_pixel;
      const std::int64_t at = row * a.y_row + column * a.y_pixel;
      std::int64_t c = 0;
      for (; c + W <= a.channels; c += W) window<Keep, Two, false>(a, x + c, at + c, W);
      if (c < a.channels) window<Keep, Two, true>(a, x + c, at + c, static_cast<int>(a.channels - c));
    }
}

// The first vector of each of some neighbours in a window's row, the first of which is element `tap` of it.
template <bool Tail, class T>
FASTCONV_INLINE void spread(const SpreadWindowsArgs<T>& a, std::int64_t from, T* dx, int tap, std::int64_t columns,
                            int n) {
  using VT = Vec<T>;
  const VT dy = load<Tail>(a.dy + from, n);
  for (std::int64_t j = 0; j < columns; ++j, dx += a.dx_pixel) {
    const VT v = select(VT::equal_bytes(a.winners + from, tap + static_cast<int>(j)), dy, VT::zero());
    if (Tail && !a.whole)
      v.store(dx, n);
    else
      v.store(dx);
  }
}

// All channels of them.
template <class T>
FASTCONV_INLINE void spread_all(const SpreadWindowsArgs<T>& a, std::int64_t from, T* dx, int tap,
                                std::int64_t columns) {
  constexpr int W = Vec<T>::width;
  std::int64_t c = 0;
  for (; c + W <= a.channels; c += W) spread<false>(a, from + c, dx + c, tap, columns, W);
  if (c < a.channels) spread<true>(a, from + c, dx + c, tap, columns, static_cast<int>(a.channels - c));
}

}  // namespace

template <class T>
void pool_windows(const PoolWindowsArgs<T>& a) {
  const bool two = a.window_h == 2 && a.window_w == 2;
  if (a.winners) return two ? windows<true, true>(a) : windows<true, false>(a);
  two ? windows<false, true>(a) : windows<false, false>(a);
}

template <class T>
void spread_windows(const SpreadWindowsArgs<T>& a) {
  const std::int64_t skipped = a.column % a.window_w;
  std::int64_t row = a.row / a.window_h, i = a.row % a.window_h;
  for (std::int64_t r = 0; r < a.rows; ++r) {
    std::int64_t from = row * a.dy_row + a.column / a.window_w * a.dy_pixel, left = a.columns;
    const auto tap = static_cast<int>(i * a.window_w);
    T* dx = a.dx + r * a.dx_row;
    if (skipped) {
      const std::int64_t n = left < a.window_w - skipped ? left : a.window_w - skipped;
      spread_all(a, from, dx, tap + static_cast<int>(skipped), n);
      dx += n * a.dx_pixel, from += a.dy_pixel, left -= n;
    }
    for (; left > 0; left -= a.window_w, dx += a.window_w * a.dx_pixel, from += a.dy_pixel) {
      if (a.window_w == 2 && left >= 2)
        spread_all(a, from, dx, tap, 2);
      else
        spread_all(a, from, dx, tap, left < a.window_w ? left : a.window_w);
    }
    if (++i == a.window_h) ++row, i = 0;
  }
}

template void pool_windows<float>(const PoolWindowsArgs<float>&);
template void pool_windows<double>(const PoolWindowsArgs<double>&);
template void spread_windows<float>(const SpreadWindowsArgs<float>&);
template void spread_windows<double>(const SpreadWindowsArgs<double>&);

}  // namespace fastconv::FASTCONV_ISA
