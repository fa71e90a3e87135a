#include "kernels/isa.hpp"
#include "kernels/math_exp.hpp"
#include "kernels/pool_args.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

template <class V>
FASTCONV_INLINE V whole_power(V x, int n) {
  V y = V::set(1);
  for (int left = n < 0 ? -n : n; left; left >>= 1) {
    if (left & 1) y = y * x;
    x = x * x;
  }
  return n < 0 ? V::set(1) / y : y;
}

template <class T, class Fn>
FASTCONV_INLINE void map(const PowerArgs<T>& a, Fn fn) {
  using V = Vec<T>;
  const auto value = [&](V x, V factor) {
    const V y = fn(x) * factor;
    return a.zero_to_zero ? select(equal(x, V::zero()), V::zero(), y) : y;
  };
  std::int64_t i = 0;
  for (; i + V::width <= a.n; i += V::width)
    value(V::load(a.x + i), a.factor ? V::load(a.factor + i) : V::set(1)).store(a.y + i);
  const int n = static_cast<int>(a.n - i);
  if (n) value(V::load(a.x + i, n), a.factor ? V::load(a.factor + i, n) : V::set(1)).store(a.y + i, n);
}

}  // namespace

template <class T>
void power(const PowerArgs<T>& a) {
  using V = Vec<T>;
  const double e = a.exponent;
  if (e >= -64 && e <= 64 && e == static_cast<int>(e)) {
    const int n = static_cast<int>(e);
    if (n == 1) return map(a, [](V x) { return x; });
    if (n == 2) return map(a, [](V x) { return x * x; });
    return map(a, [n](V x) { return whole_power(x, n); });
  }
  if (e == 0.5) return map(a, [](V x) { return sqrt(x); });
  map(a, [e](V x) { return exp(V::set(static_cast<T>(e)) * log(x)); });
}

template void power<float>(const PowerArgs<float>&);
template void power<double>(const PowerArgs<double>&);

}  // namespace fastconv::FASTCONV_ISA
