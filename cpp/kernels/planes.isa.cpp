// Batch normalization of planes (channels first): one parameter a plane.
#include "kernels/isa.hpp"
#include "kernels/norm_args.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

constexpr std::int64_t kTurns = 256;  // vectors summed in T before they go into doubles

template <class T, bool Gradient>
FASTCONV_INLINE void sum_block(const T* x, const T* dy, std::int64_t n, T shift, double& first, double& second) {
  using V = Vec<T>;
  constexpr int W = V::width, U = 4;
  const V s = V::set(shift);
  V a[U], b[U];
  FASTCONV_UNROLL for (int u = 0; u < U; ++u) a[u] = b[u] = V::zero();
  std::int64_t i = 0;
  for (; i + U * W <= n; i += U * W) {
    FASTCONV_UNROLL for (int u = 0; u < U; ++u) {
      const V d = V::load(x + i + u * W) - s, g = Gradient ? V::load(dy + i + u * W) : d;
      a[u] = a[u] + g;
      b[u] = fma(g, d, b[u]);
    }
  }
  for (; i + W <= n; i += W) {
    const V d = V::load(x + i) - s, g = Gradient ? V::load(dy + i) : d;
    a[0] = a[0] + g;
    b[0] = fma(g, d, b[0]);
  }
  first += static_cast<double>(sum((a[0] + a[1]) + (a[2] + a[3])));
  second += static_cast<double>(sum((b[0] + b[1]) + (b[2] + b[3])));
  for (; i < n; ++i) {
    const T d = x[i] - shift, g = Gradient ? dy[i] : d;
    first += static_cast<double>(g);
    second += static_cast<double>(g) * static_cast<double>(d);
  }
}

template <class T, bool Gradient>
FASTCONV_INLINE void affine(const T* x, const T* dy, T* y, std::int64_t n, T mean, T a, T b, T c) {
  using V = Vec<T>;
  constexpr int W = V::width, U = 4;
  const V vm = V::set(mean), va = V::set(a), vb = V::set(b), vc = V::set(c);
  const auto result = [&](V value, V g) {
    const V moved = fma(vb, value - vm, vc);
    return Gradient ? fma(va, g, moved) : moved;
  };
  const auto whole = [&](std::int64_t at) { result(V::load(x + at), Gradient ? V::load(dy + at) : vm).store(y + at); };
  std::int64_t i = 0;
  for (; i + U * W <= n; i += U * W) FASTCONV_UNROLL for (int u = 0; u < U; ++u) whole(i + u * W);
  for (; i + W <= n; i += W) whole(i);
  if (i == n) return;
  const int left = static_cast<int>(n - i);
  result(V::load(x + i, left), Gradient ? V::load(dy + i, left) : vm).store(y + i, left);
}

template <class T, bool Gradient>
FASTCONV_INLINE void sums(const PlaneSumsArgs<T>& a) {
  constexpr std::int64_t block = 4 * kTurns * Vec<T>::width;
  for (std::int64_t p = 0; p < a.planes; ++p)
    for (std::int64_t i = 0; i < a.size; i += block) {
      const std::int64_t at = p * a.size + i, n = a.size - i < block ? a.size - i : block;
      sum_block<T, Gradient>(a.x + at, Gradient ? a.dy + at : nullptr, n, a.shift[p], a.first[p], a.second[p]);
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
    const T* x = a.x + p * a.size;
    T* y = a.y + p * a.size;
    if (a.dy)
      affine<T, true>(x, a.dy + p * a.size, y, a.size, a.mean[p], a.a[p], a.b[p], a.c[p]);
    else
      affine<T, false>(x, nullptr, y, a.size, a.mean[p], T(0), a.b[p], a.c[p]);
  }
}

template void plane_sums<float>(const PlaneSumsArgs<float>&);
template void plane_sums<double>(const PlaneSumsArgs<double>&);
template void plane_affine<float>(const PlaneAffineArgs<float>&);
template void plane_affine<double>(const PlaneAffineArgs<double>&);

}  // namespace fastconv::FASTCONV_ISA
