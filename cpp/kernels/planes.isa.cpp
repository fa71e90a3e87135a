// Batch normalization of planes (channels first): one parameter a plane.
#include "kernels/isa.hpp"
#include "kernels/norm_args.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

constexpr std::int64_t kTurns = 256;  // vectors summed in T before they go into doubles

template <class T, bool Gradient>
FASTCONV_INLINE void sum_block(const PlaneSumsArgs<T>& p, std::int64_t plane, std::int64_t at, std::int64_t n) {
  using V = Vec<T>;
  constexpr int W = V::width, U = Gradient ? 2 : 4;
  const T *x = p.x + at, *dy = Gradient ? p.dy + at : nullptr, shift = p.shift[plane];
  const V s = V::set(shift);
  V a[U], b[U], c[U], e[U];
  FASTCONV_UNROLL for (int u = 0; u < U; ++u) a[u] = b[u] = c[u] = e[u] = V::zero();
  const auto take = [&](std::int64_t i, int u) {
    const V d = V::load(x + i) - s;
    a[u] = a[u] + d;
    b[u] = fma(d, d, b[u]);
    if constexpr (Gradient) {
      const V g = V::load(dy + i);
      c[u] = c[u] + g;
      e[u] = fma(g, d, e[u]);
    }
  };
  std::int64_t i = 0;
  for (; i + U * W <= n; i += U * W) FASTCONV_UNROLL for (int u = 0; u < U; ++u) take(i + u * W, u);
  for (; i + W <= n; i += W) take(i, 0);
  const auto total = [](const V(&v)[U]) {
    if constexpr (U == 2) return static_cast<double>(sum(v[0] + v[1]));
    if constexpr (U == 4) return static_cast<double>(sum((v[0] + v[1]) + (v[2] + v[3])));
  };
  double first = total(a), second = total(b), dy_sum = Gradient ? total(c) : 0, dy_dot = Gradient ? total(e) : 0;
  for (; i < n; ++i) {
    const auto d = static_cast<double>(x[i] - shift);
    first += d;
    second += d * d;
    if constexpr (Gradient) dy_sum += static_cast<double>(dy[i]), dy_dot += static_cast<double>(dy[i]) * d;
  }
  p.first[plane] += first, p.second[plane] += second;
  if constexpr (Gradient) p.dy_sum[plane] += dy_sum, p.dy_dot[plane] += dy_dot;
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
  constexpr std::int64_t block = (Gradient ? 2 : 4) * kTurns * Vec<T>::width;
  for (std::int64_t p = 0; p < a.planes; ++p)
    for (std::int64_t i = 0; i < a.size; i += block) {
      sum_block<T, Gradient>(a, p, p * a.size + i, a.size - i < block ? a.size - i : block);
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
