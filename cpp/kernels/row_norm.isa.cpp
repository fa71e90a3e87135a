// Normalization of rows to mean 0 and variance 1: layer normalization.
#include "kernels/isa.hpp"
#include "kernels/norm_args.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

// The sum over x of fn(element), in blocks, whose sums are added in double.
template <class T, class Fn>
FASTCONV_INLINE double sum_of(const T* x, std::int64_t n, Fn fn) {
  using V = Vec<T>;
  constexpr int W = V::width, U = 4;
  constexpr std::int64_t block = 64 * U * W;
  double total = 0;
  std::int64_t i = 0;
  while (i + U * W <= n) {
    const std::int64_t end = i + block < n ? i + block : n;
    V acc[U];
    FASTCONV_UNROLL for (int u = 0; u < U; ++u) acc[u] = V::zero();
    for (; i + U * W <= end; i += U * W)
      FASTCONV_UNROLL for (int u = 0; u < U; ++u) acc[u] = acc[u] + fn(V::load(x + i + u * W));
    total += static_cast<double>(sum((acc[0] + acc[1]) + (acc[2] + acc[3])));
  }
  V rest = V::zero();
  for (; i + W <= n; i += W) rest = rest + fn(V::load(x + i));
  total += static_cast<double>(sum(rest));
  if (i < n) {
    // What lies beside the row's end must not be counted.
    T e[W];
    fn(V::load(x + i, static_cast<int>(n - i))).store(e);
    for (int l = 0; l < static_cast<int>(n - i); ++l) total += static_cast<double>(e[l]);
  }
  return total;
}

template <class T, bool scaled, bool shifted>
FASTCONV_INLINE void write(const RowNormArgs<T>& a, const T* x, T* y, Vec<T> mean, Vec<T> inv, Vec<T> rest) {
  using V = Vec<T>;
  constexpr int W = V::width;
  for (std::int64_t i = 0; i < a.n; i += W) {
    const int n = a.n - i < W ? static_cast<int>(a.n - i) : W;
    const auto load = [&](const T* p) { return n == W ? V::load(p + i) : V::load(p + i, n); };
    V v = fma(load(x) - mean, inv, rest);
    if constexpr (scaled && shifted) v = fma(v, load(a.gamma), load(a.beta));
    if constexpr (scaled && !shifted) v = v * load(a.gamma);
    if constexpr (!scaled && shifted) v = v + load(a.beta);
    if (n == W)
      v.store(y + i);
    else
      v.store(y + i, n);
  }
}

}  // namespace

template <class T>
void row_norm(const RowNormArgs<T>& a) {
  using V = Vec<T>;
  for (std::int64_t r = 0; r < a.rows; ++r) {
    const T* x = a.x + r * a.n;
    T* y = a.y + r * a.n;
    const double count = static_cast<double>(a.n);
    // Around the first element: a mean far from 0 costs no digits.
    const T first = x[0] - x[0] == 0 ? x[0] : T(0);
    const V shift = V::set(first);
    const double mean = static_cast<double>(first) + sum_of(x, a.n, [&](V v) { return v - shift; }) / count;
    const V centre = V::set(static_cast<T>(mean));
    const double off = mean - static_cast<double>(static_cast<T>(mean));
    const double squares = sum_of(x, a.n, [&](V v) {
      const V d = v - centre;
      return d * d;
    });
    double var = squares / count - off * off;
    var = var < 0 ? 0 : var;
    const double inv = 1 / __builtin_sqrt(var + a.epsilon);
    a.mean[r] = static_cast<T>(mean);
    a.inv_std[r] = static_cast<T>(inv);
    const V scale = V::set(static_cast<T>(inv)), rest = V::set(static_cast<T>(-off * inv));
    if (a.gamma && a.beta)
      write<T, true, true>(a, x, y, centre, scale, rest);
    else if (a.gamma)
      write<T, true, false>(a, x, y, centre, scale, rest);
    else if (a.beta)
      write<T, false, true>(a, x, y, centre, scale, rest);
    else
      write<T, false, false>(a, x, y, centre, scale, rest);
  }
}

template void row_norm<float>(const RowNormArgs<float>&);
template void row_norm<double>(const RowNormArgs<double>&);

}  // namespace fastconv::FASTCONV_ISA
