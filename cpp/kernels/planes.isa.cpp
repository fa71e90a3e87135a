// Batch normalization of planes (channels first): one parameter a plane.
#include "kernels/isa.hpp"
#include "kernels/norm_args.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

constexpr std::int64_t kTurns = 256;  // vectors summed in T before they go into doubles

template <class T>
FASTCONV_INLINE void sum_block(const T* x, std::int64_t n, T shift, double& first, double& second) {
  using V = Vec<T>;
  constexpr int W = V::width, U = 4;
  const V s = V::set(shift);
  V a[U], b[U];
  FASTCONV_UNROLL for (int u = 0; u < U; ++u) a[u] = b[u] = V::zero();
  std::int64_t i = 0;
  for (; i + U * W <= n; i += U * W) {
    FASTCONV_UNROLL for (int u = 0; u < U; ++u) {
      const V d = V::load(x + i + u * W) - s;
      a[u] = a[u] + d;
      b[u] = fma(d, d, b[u]);
    }
  }
  for (; i + W <= n; i += W) {
    const V d = V::load(x + i) - s;
    a[0] = a[0] + d;
    b[0] = fma(d, d, b[0]);
  }
  first += static_cast<double>(sum((a[0] + a[1]) + (a[2] + a[3])));
  second += static_cast<double>(sum((b[0] + b[1]) + (b[2] + b[3])));
  for (; i < n; ++i) {
    const T d = x[i] - shift;
    first += static_cast<double>(d);
    second += static_cast<double>(d) * static_cast<double>(d);
  }
}

template <class T>
FASTCONV_INLINE void affine(const T* x, T* y, std::int64_t n, T mean, T b, T c) {
  using V = Vec<T>;
  constexpr int W = V::width, U = 4;
  const V vm = V::set(mean), vb = V::set(b), vc = V::set(c);
  std::int64_t i = 0;
  for (; i + U * W <= n; i += U * W)
    FASTCONV_UNROLL for (int u = 0; u < U; ++u) fma(vb, V::load(x + i + u * W) - vm, vc).store(y + i + u * W);
  for (; i + W <= n; i += W) fma(vb, V::load(x + i) - vm, vc).store(y + i);
  if (i == n) return;
  const int left = static_cast<int>(n - i);
  fma(vb, V::load(x + i, left) - vm, vc).store(y + i, left);
}

}  // namespace

template <class T>
void plane_sums(const PlaneSumsArgs<T>& a) {
  constexpr std::int64_t block = 4 * kTurns * Vec<T>::width;
  for (std::int64_t p = 0; p < a.planes; ++p)
    for (std::int64_t i = 0; i < a.size; i += block)
      sum_block(a.x + p * a.size + i, a.size - i < block ? a.size - i : block, a.shift[p], a.first[p], a.second[p]);
}

template <class T>
void plane_affine(const PlaneAffineArgs<T>& a) {
  for (std::int64_t p = 0; p < a.planes; ++p)
    affine(a.x + p * a.size, a.y + p * a.size, a.size, a.mean[p], a.b[p], a.c[p]);
}

template void plane_sums<float>(const PlaneSumsArgs<float>&);
template void plane_sums<double>(const PlaneSumsArgs<double>&);
template void plane_affine<float>(const PlaneAffineArgs<float>&);
template void plane_affine<double>(const PlaneAffineArgs<double>&);

}  // namespace fastconv::FASTCONV_ISA
