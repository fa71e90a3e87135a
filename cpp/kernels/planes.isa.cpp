// Batch normalization of planes (channels first): one parameter a plane.
#include "kernels/isa.hpp"
#include "kernels/norm_args.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

constexpr std::int64_t kTurns = 256;  // vectors summed in T before they go into doubles

// Sums of lanes in some of T's vectors, one for each plane.
template <class T>
struct LaneSums {
  static constexpr int W = Vec<T>::width;
  T lanes[W][W];

  FASTCONV_INLINE void add_to(double* sums, std::int64_t planes) {
    for (std::int64_t p = planes; p < W; ++p) Vec<T>::zero().store(lanes[p]);
    Vec<T> v[W];
    FASTCONV_UNROLL for (int i = 0; i < W; ++i) v[i] = Vec<T>::load(lanes[i]);
    // Neighbours' sums of two vectors make one, until a vector holds the sums in order.
    FASTCONV_UNROLL for (int n = W / 2; n > 0; n /= 2) FASTCONV_UNROLL for (int i = 0; i < n; ++i) {
      Vec<T> even, odd;
      Vec<T>::part(v[2 * i], v[2 * i + 1], even, odd);
      v[i] = even + odd;
    }
    v[0].store(lanes[0]);
    for (std::int64_t p = 0; p < planes; ++p) sums[p] += static_cast<double>(lanes[0][p]);
  }
};

// Of n elements of each of at most as many planes as a vector has lanes.
template <class T, bool Gradient>
FASTCONV_INLINE void sum_block(const PlaneSumsArgs<T>& p, std::int64_t plane, std::int64_t planes, std::int64_t at,
                               std::int64_t n) {
  using V = Vec<T>;
  constexpr int W = V::width, U = Gradient ? 2 : 4;
  LaneSums<T> first, second, dy_sum, dy_dot;
  for (std::int64_t r = 0; r < planes; ++r) {
    const T *x = p.x + (plane + r) * p.size + at, *dy = Gradient ? p.dy + (plane + r) * p.size + at : nullptr;
    const V s = V::set(p.shift[plane + r]);
    V a[U], b[U], c[U], e[U];
    FASTCONV_UNROLL for (int u = 0; u < U; ++u) a[u] = b[u] = c[u] = e[u] = V::zero();
    const auto add = [&](V d, V g, int u) {
      a[u] = a[u] + d;
      b[u] = fma(d, d, b[u]);
      if constexpr (Gradient) {
        c[u] = c[u] + g;
        e[u] = fma(g, d, e[u]);
      }
    };
    const auto whole = [&](std::int64_t i, int u) {
      add(V::load(x + i) - s, Gradient ? V::load(dy + i) : V::zero(), u);
    };
    std::int64_t i = 0;
    for (; i + U * W <= n; i += U * W) FASTCONV_UNROLL for (int u = 0; u < U; ++u) whole(i + u * W, u);
    for (; i + W <= n; i += W) whole(i, 0);
    if (i < n) {
      const int m = static_cast<int>(n - i);
      T shifts[W];
      s.store(shifts);  // lanes past the plane count nothing
      add(V::load(x + i, m) - V::load(shifts, m), Gradient ? V::load(dy + i, m) : V::zero(), 1);
    }
    const auto total = [](const V(&v)[U]) { return U == 2 ? v[0] + v[1] : (v[0] + v[1]) + (v[U - 2] + v[U - 1]); };
    total(a).store(first.lanes[r]);
    total(b).store(second.lanes[r]);
    if constexpr (Gradient) total(c).store(dy_sum.lanes[r]), total(e).store(dy_dot.lanes[r]);
  }
  first.add_to(p.first + plane, planes);
  second.add_to(p.second + plane, planes);
  if constexpr (Gradient) dy_sum.add_to(p.dy_sum + plane, planes), dy_dot.add_to(p.dy_dot + plane, planes);
}

template <class T, bool Gradient, bool Stream>
FASTCONV_INLINE void affine(const T* x, const T* dy, T* y, std::int64_t n, T mean, T a, T b, T c) {
  using V = Vec<T>;
  constexpr int W = V::width, U = 4;
  const V vm = V::set(mean), va = V::set(a), vb = V::set(b), vc = V::set(c);
  const auto result = [&](V value, V g) {
    const V moved = fma(vb, value - vm, vc);
    return Gradient ? fma(va, g, moved) : moved;
  };
  const auto whole = [&](std::int64_t at) {
    const V r = result(V::load(x + at), Gradient ? V::load(dy + at) : vm);
    if constexpr (Stream)
      r.stream(y + at);
    else
      r.store(y + at);
  };
  const auto some = [&](std::int64_t at, std::int64_t count) {
    const int m = static_cast<int>(count);
    result(V::load(x + at, m), Gradient ? V::load(dy + at, m) : vm).store(y + at, m);
  };
  std::int64_t i = 0;
  if constexpr (Stream) {  // up to where y is aligned
    const auto past = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(y) / sizeof(T) % W);
    if (past) i = W - past < n ? W - past : n, some(0, i);
  }
  for (; i + U * W <= n; i += U * W) FASTCONV_UNROLL for (int u = 0; u < U; ++u) whole(i + u * W);
  for (; i + W <= n; i += W) whole(i);
  if (i < n) some(i, n - i);
}

template <class T, bool Gradient>
FASTCONV_INLINE void sums(const PlaneSumsArgs<T>& a) {
  constexpr std::int64_t W = Vec<T>::width, block = (Gradient ? 2 : 4) * kTurns * W;
  for (std::int64_t p = 0; p < a.planes; p += W)
    for (std::int64_t i = 0; i < a.size; i += block) {
      sum_block<T, Gradient>(a, p, a.planes - p < W ? a.planes - p : W, i, a.size - i < block ? a.size - i : block);
    }
}

}  // namespace

template <class T>
void plane_sums(const PlaneSumsArgs<T>& a) {
  a.dy ? sums<T, true>(a) : sums<T, false>(a);
}

template <class T>
void plane_affine(const PlaneAffineArgs<T>& a) {
  for (std::int64_t p = 0; p < a.planes; ++p) {
    const T *x = a.x + p * a.size, *dy = a.dy ? a.dy + p * a.size : nullptr;
    T* y = a.y + p * a.size;
    if (!a.dy)
      affine<T, false, false>(x, dy, y, a.size, a.mean[p], T(0), a.b[p], a.c[p]);
    else if (a.stream)
      affine<T, true, true>(x, dy, y, a.size, a.mean[p], a.a[p], a.b[p], a.c[p]);
    else
      affine<T, true, false>(x, dy, y, a.size, a.mean[p], a.a[p], a.b[p], a.c[p]);
  }
  if (a.stream) Vec<T>::end_stream();
}

template void plane_sums<float>(const PlaneSumsArgs<float>&);
template void plane_sums<double>(const PlaneSumsArgs<double>&);
template void plane_affine<float>(const PlaneAffineArgs<float>&);
template void plane_affine<double>(const PlaneAffineArgs<double>&);

}  // namespace fastconv::FASTCONV_ISA
