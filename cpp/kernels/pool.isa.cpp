// Pooling forward and backward. Vectors run along the channels.
#include "kernels/isa.hpp"
#include "kernels/pool_args.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

// Where a block of vectors of the output lies: `at` elements after its group's first; `n` are valid in its only
// vector when Masked.
struct Place {
  std::int64_t at;
  int n;
};

template <bool Masked, class T>
FASTCONV_INLINE Vec<T> load(const T* p, Place place) {
  if constexpr (Masked) return Vec<T>::load(p, place.n);
  return Vec<T>::load(p);
}

template <bool Masked, class T>
FASTCONV_INLINE void store(Vec<T> v, T* p, Place place) {
  if constexpr (Masked)
    v.store(p, place.n);
  else
    v.store(p);
}

// Calls body(pointer to the tap's first vector, row tap, column tap) for every tap of the group's windows.
template <class T, class Body>
FASTCONV_INLINE void for_taps(const PoolArgs<T>& a, const PoolGroup& g, std::int64_t at, Body body) {
  for (const PoolTap *r = a.rows, *end = a.rows + a.row_count; r != end; ++r) {
    const std::int64_t row = r->source * a.row_step + at;
    for (const PoolTap *t = a.taps + g.first, *last = a.taps + g.last; t != last; ++t)
      body(row + t->source * a.pixel, *r, *t);
  }
}

template <bool Weighted>
struct Sum {
  template <int V, bool Masked, class T>
  static FASTCONV_INLINE void run(const PoolArgs<T>& a, const PoolGroup& g, Place place) {
    using VT = Vec<T>;
    VT acc[V];
    FASTCONV_UNROLL for (int v = 0; v < V; ++v) acc[v] = VT::zero();
    for_taps(a, g, place.at, [&](std::int64_t i, const PoolTap& r, const PoolTap& t) {
      const VT w = VT::set(Weighted ? static_cast<T>(r.weight * t.weight) : T(0));
      FASTCONV_UNROLL for (int v = 0; v < V; ++v) {
        const VT x = load<Masked>(a.x + i + v * VT::width, place);
        acc[v] = Weighted ? fma(x, w, acc[v]) : acc[v] + x;
      }
    });
    T* y = a.y + g.out * a.pixel + place.at;
    const VT divisor = VT::set(static_cast<T>(Weighted ? 1 : a.divisor * g.divisor));
    FASTCONV_UNROLL for (int v = 0; v < V; ++v)
        store<Masked>(Weighted ? acc[v] : acc[v] / divisor, y + v * VT::width, place);
  }
};

struct Max {
  template <int V, bool Masked, class T>
  static FASTCONV_INLINE void run(const PoolArgs<T>& a, const PoolGroup& g, Place place) {
    using VT = Vec<T>;
    VT acc[V];
    const auto take = [&](std::int64_t i) {
      FASTCONV_UNROLL for (int v = 0; v < V; ++v) {
        const VT x = load<Masked>(a.x + i + v * VT::width, place);
        acc[v] = select(is_nan(x), x, max(x, acc[v]));  // max keeps a NaN that is its second operand
      }
    };
    if (a.row_count == 2 && g.last - g.first == 2) {  // the usual window; on few channels the loops would cost most
      const std::int64_t top = a.rows[0].source * a.row_step + place.at;
      const std::int64_t bottom = a.rows[1].source * a.row_step + place.at;
      const std::int64_t left = a.taps[g.first].source * a.pixel, right = a.taps[g.first + 1].source * a.pixel;
      FASTCONV_UNROLL for (int v = 0; v < V; ++v) acc[v] = load<Masked>(a.x + top + left + v * VT::width, place);
      take(top + right), take(bottom + left), take(bottom + right);
    } else {
      FASTCONV_UNROLL for (int v = 0; v < V; ++v) acc[v] = VT::set(-__builtin_inff());
      for_taps(a, g, place.at, [&](std::int64_t i, const PoolTap&, const PoolTap&) { take(i); });
    }
    T* y = a.y + g.out * a.pixel + place.at;
    FASTCONV_UNROLL for (int v = 0; v < V; ++v) store<Masked>(acc[v], y + v * VT::width, place);
  }
};

// The first of equal elements wins, the last of NaNs.
template <bool Wide>
struct MaxWinners {
  template <int V, bool Masked, class T>
  static FASTCONV_INLINE void run(const PoolArgs<T>& a, const PoolGroup& g, Place place) {
    using VT = Vec<T>;
    VT acc[V], winner[V];
    const T first = a.row_count > 0 && g.last > g.first
                        ? static_cast<T>(a.rows->tap * a.window_columns + a.taps[g.first].tap)
                        : T(0);
    FASTCONV_UNROLL for (int v = 0; v < V; ++v) {
      acc[v] = VT::set(-__builtin_inff());
      winner[v] = VT::set(first);
    }
    for_taps(a, g, place.at, [&](std::int64_t i, const PoolTap& r, const PoolTap& t) {
      const VT tap = VT::set(static_cast<T>(r.tap * a.window_columns + t.tap));
      FASTCONV_UNROLL for (int v = 0; v < V; ++v) {
        const VT x = load<Masked>(a.x + i + v * VT::width, place);
        winner[v] = select(is_nan(x), tap, select(less(acc[v], x), tap, winner[v]));
        acc[v] = select(is_nan(x), x, max(x, acc[v]));
      }
    });
    const std::int64_t out = g.out * a.pixel + place.at;
    FASTCONV_UNROLL for (int v = 0; v < V; ++v) {
      store<Masked>(acc[v], a.y + out + v * VT::width, place);
      if constexpr (Wide) {
        store<Masked>(winner[v], a.wide_winners + out + v * VT::width, place);
      } else if constexpr (Masked) {
        std::uint8_t bytes[VT::width];
        winner[v].store_bytes(bytes);
        for (int i = 0; i < place.n; ++i) a.winners[out + i] = bytes[i];
      } else {
        winner[v].store_bytes(a.winners + out + v * VT::width);
      }
    }
  }
};

template <bool Wide>
struct MaxBackward {
  template <int V, bool Masked, class T>
  static FASTCONV_INLINE void run(const PoolArgs<T>& a, const PoolGroup& g, Place place) {
    using VT = Vec<T>;
    VT acc[V];
    FASTCONV_UNROLL for (int v = 0; v < V; ++v) acc[v] = VT::zero();
    for_taps(a, g, place.at, [&](std::int64_t i, const PoolTap& r, const PoolTap& t) {
      const std::int32_t tap = r.tap * a.window_columns + t.tap;
      FASTCONV_UNROLL for (int v = 0; v < V; ++v) {
        const VT dy = load<Masked>(a.x + i + v * VT::width, place);
        if constexpr (Wide) {
          const VT winner = load<Masked>(a.wide_winners + i + v * VT::width, place);
          acc[v] = acc[v] + select(equal(winner, VT::set(static_cast<T>(tap))), dy, VT::zero());
        } else {
          acc[v] = acc[v] + select(VT::equal_bytes(a.winners + i + v * VT::width, tap), dy, VT::zero());
        }
      }
    });
    T* dx = a.y + g.out * a.pixel + place.at;
    FASTCONV_UNROLL for (int v = 0; v < V; ++v) store<Masked>(acc[v], dx + v * VT::width, place);
  }
};

template <class Kernel, class T>
FASTCONV_NOINLINE void row(const PoolArgs<T>& a) {
  constexpr std::int64_t W = Vec<T>::width;
  for (const PoolGroup *p = a.groups, *end = a.groups + a.group_count; p != end; ++p) {
    const PoolGroup g = *p;
    const std::int64_t n = g.columns * a.channels;
    std::int64_t i = 0;
    for (; i + 4 * W <= n; i += 4 * W) Kernel::template run<4, false>(a, g, {i, 0});
    for (; i + W <= n; i += W) Kernel::template run<1, false>(a, g, {i, 0});
    if (i == n) continue;
    if (n >= W)
      Kernel::template run<1, false>(a, g, {n - W, 0});  // overlaps the vector before
    else
      Kernel::template run<1, true>(a, g, {0, static_cast<int>(n)});
  }
}

}  // namespace

template <class T>
void pool_sum(const PoolArgs<T>& a) {
  a.weighted ? row<Sum<true>>(a) : row<Sum<false>>(a);
}

template <class T>
void pool_max(const PoolArgs<T>& a) {
  if (a.wide_winners) return row<MaxWinners<true>>(a);
  a.winners ? row<MaxWinners<false>>(a) : row<Max>(a);
}

template <class T>
void pool_max_backward(const PoolArgs<T>& a) {
  a.wide_winners ? row<MaxBackward<true>>(a) : row<MaxBackward<false>>(a);
}

template void pool_sum<float>(const PoolArgs<float>&);
template void pool_sum<double>(const PoolArgs<double>&);
template void pool_max<float>(const PoolArgs<float>&);
template void pool_max<double>(const PoolArgs<double>&);
template void pool_max_backward<float>(const PoolArgs<float>&);
template void pool_max_backward<double>(const PoolArgs<double>&);

}  // namespace fastconv::FASTCONV_ISA
