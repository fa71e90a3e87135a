// Loops over a row of elements in vectors, the last one masked.
#pragma once
#include "kernels/isa.hpp"
#include "kernels/math_exp.hpp"

namespace fastconv::FASTCONV_ISA {

// A whole vector of the row, at element i.
template <class V>
struct Whole {
  using T = typename V::Element;
  std::int64_t i;
  V load(const T* p) const { return V::load(p + i); }
  V zeros(const T* p) const { return V::load(p + i); }
  void store(V v, T* p) const { v.store(p + i); }
  V only(V v) const { return v; }
};

// The last n elements. Others load as -infinity (load) or zero (zeros).
template <class V>
struct Tail {
  using T = typename V::Element;
  std::int64_t i;
  int n;
  V load(const T* p) const { return fill(V::load(p + i, n), V::set(-__builtin_inff())); }
  V zeros(const T* p) const { return V::load(p + i, n); }
  void store(V v, T* p) const { v.store(p + i, n); }
  V only(V v) const { return fill(v, V::zero()); }

 private:
  V fill(V v, V other) const {
    T lane[V::width];
    for (int l = 0; l < V::width; ++l) lane[l] = static_cast<T>(l);
    return select(less(V::load(lane), V::set(static_cast<T>(n))), v, other);
  }
};

template <class V, class Fn>
FASTCONV_INLINE void for_row(std::int64_t n, Fn fn) {
  std::int64_t i = 0;
  for (; i + V::width <= n; i += V::width) fn(Whole<V>{i});
  if (i < n) fn(Tail<V>{i, static_cast<int>(n - i)});
}

// Arbitrary when there is NaN in the row: the sum of exponentials shows it.
template <class T>
FASTCONV_INLINE T row_max(const T* x, std::int64_t n) {
  using V = Vec<T>;
  V m = V::set(-__builtin_inff());
  for_row<V>(n, [&](auto part) { m = max(m, part.load(x)); });
  return largest(m);
}

// y = exp(x - m); returns the sum.
template <class T>
FASTCONV_INLINE T exp_row(const T* x, Vec<T> m, std::int64_t n, T* y) {
  using V = Vec<T>;
  V s = V::zero();
  for_row<V>(n, [&](auto part) {
    const V e = exp(part.load(x) - m);
    s = s + e;
    part.store(e, y);
  });
  return sum(s);
}

}  // namespace fastconv::FASTCONV_ISA
