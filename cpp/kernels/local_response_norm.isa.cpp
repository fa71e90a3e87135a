// Local response normalization: the window slides along the channels of a pixel.
#include "kernels/isa.hpp"
#include "kernels/math_exp.hpp"
#include "kernels/norm_args.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

template <class V>
FASTCONV_INLINE V load(const typename V::Element* p, std::int64_t i, std::int64_t n) {
  return n - i >= V::width ? V::load(p + i) : V::load(p + i, static_cast<int>(n - i));
}

template <class V>
FASTCONV_INLINE void store(V v, typename V::Element* p, std::int64_t i, std::int64_t n) {
  n - i >= V::width ? v.store(p + i) : v.store(p + i, static_cast<int>(n - i));
}

// Sum of p[0], ..., p[count - 1] shifted along, for the vector at i.
template <class V>
FASTCONV_INLINE V window(const typename V::Element* p, std::int64_t i, std::int64_t n, std::int64_t count) {
  V s = V::zero();
  for (std::int64_t j = 0; j < count; ++j) s = s + load<V>(p + j, i, n);
  return s;
}

template <class V>
FASTCONV_INLINE V negative_power(V s, typename V::Element beta) {
  const V one = V::set(1);
  if (beta == typename V::Element(0.75)) {
    const V root = sqrt(s);
    return one / (root * sqrt(root));
  }
  if (beta == typename V::Element(0.5)) return one / sqrt(s);
  if (beta == typename V::Element(1)) return one / s;
  return exp(V::set(-beta) * log(s));
}

}  // namespace

template <class T>
void local_response_norm(const LocalResponseNormArgs<T>& a) {
  using V = Vec<T>;
  const std::int64_t n = a.channels, count = a.before + 1 + a.after;
  T* squares = a.buffer;
  T* terms = a.buffer + n + a.before + a.after;
  const V k = V::set(a.k), alpha = V::set(a.alpha), two = V::set(-2 * a.alpha * a.beta);
  for (std::int64_t p = 0; p < a.pixels; ++p) {
    const T* x = a.x + p * n;
    T* y = a.y + p * n;
    for (std::int64_t i = 0; i < n; i += V::width) {
      const V v = load<V>(x, i, n);
      store(v * v, squares + a.before, i, n);
    }
    if (!a.dy) {
      for (std::int64_t i = 0; i < n; i += V::width) {
        const V s = fma(alpha, window<V>(squares, i, n, count), k);
        store(load<V>(x, i, n) * negative_power(s, a.beta), y, i, n);
      }
      continue;
    }
    const T* dy = a.dy + p * n;
    for (std::int64_t i = 0; i < n; i += V::width) {
      const V s = fma(alpha, window<V>(squares, i, n, count), k);
      const V direct = load<V>(dy, i, n) * negative_power(s, a.beta);
      store(direct, y, i, n);
      store(direct * load<V>(x, i, n) / s, terms + a.after, i, n);
    }
    for (std::int64_t i = 0; i < n; i += V::width) {
      const V others = window<V>(terms, i, n, count);  // j from c - after to c + before
      store(fma(two * load<V>(x, i, n), others, load<V>(y, i, n)), y, i, n);
    }
  }
}

template void local_response_norm<float>(const LocalResponseNormArgs<float>&);
template void local_response_norm<double>(const LocalResponseNormArgs<double>&);

}  // namespace fastconv::FASTCONV_ISA
