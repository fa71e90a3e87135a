// Elementwise functions of two inputs, one of which may be broadcast; and dropout.
#include "kernels/elementwise_args.hpp"
#include "kernels/isa.hpp"

extern "C" {  // <cmath> would bring inline functions
double pow(double, double);
float powf(float, float);
double log(double);
double fmod(double, double);
float fmodf(float, float);
}

namespace fastconv::FASTCONV_ISA {
namespace {

// pow element by element: exp(b log a) would lose digits, and general powers are rare in networks.
inline double power(double a, double b) { return b == 2 ? a * a : b == 1 ? a : ::pow(a, b); }
inline float power(float a, float b) { return b == 2 ? a * a : b == 1 ? a : ::powf(a, b); }

inline double remainder_of(double a, double b) { return ::fmod(a, b); }
inline float remainder_of(float a, float b) { return ::fmodf(a, b); }

// Python's %: what fmod leaves, moved to the sign of b.
template <class T>
FASTCONV_INLINE T modulo(T a, T b) {
  const T r = remainder_of(a, b);
  if (r == 0) return b < 0 ? T(-0.0) : b > 0 ? T(0) : r;
  return (r < 0) == (b < 0) ? r : r + b;
}

template <class V, class Fn>
FASTCONV_INLINE V each(V a, V b, Fn fn) {
  typename V::Element x[V::width], y[V::width];
  a.store(x);
  b.store(y);
  for (int i = 0; i < V::width; ++i) x[i] = fn(x[i], y[i]);
  return V::load(x);
}

template <Binary f, class V>
FASTCONV_INLINE V apply(V a, V b) {
  using T = typename V::Element;
  const V zero = V::zero(), one = V::set(1), half = V::set(0.5);
  if constexpr (f == Binary::add) return a + b;
  if constexpr (f == Binary::sub) return a - b;
  if constexpr (f == Binary::mul) return a * b;
  if constexpr (f == Binary::div) return a / b;
  if constexpr (f == Binary::maximum) return select(is_nan(a), a, max(a, b));
  if constexpr (f == Binary::minimum) return select(is_nan(a), a, min(a, b));
  if constexpr (f == Binary::pow) return each(a, b, [](T x, T y) { return power(x, y); });
  if constexpr (f == Binary::mod) return each(a, b, [](T x, T y) { return modulo(x, y); });
  if constexpr (f == Binary::fmod) return each(a, b, [](T x, T y) { return remainder_of(x, y); });
  if constexpr (f == Binary::prelu) return select(less(a, zero), a * b, a);
  if constexpr (f == Binary::prelu_slope) return select(less(a, zero), b, one);
  if constexpr (f == Binary::equal) return select(equal(a, b), one, zero);
  if constexpr (f == Binary::maximum_share) return select(equal(a, b), half, select(less(a, b), zero, one));
  if constexpr (f == Binary::minimum_share) return select(equal(a, b), half, select(less(b, a), zero, one));
  if constexpr (f == Binary::pow_base) return each(a, b, [](T x, T y) { return y == 0 ? T(0) : y * power(x, y - 1); });
  if constexpr (f == Binary::pow_exponent)
    return each(a, b, [](T x, T y) {
      return x == 0 && y >= 0 ? T(0) : static_cast<T>(power(x, y) * ::log(static_cast<double>(x)));
    });
  return a;
}

template <class T, Binary f>
FASTCONV_NOINLINE void rows(const BinaryArgs<T>& args) {
  using V = Vec<T>;
  constexpr int W = V::width;
  const std::int64_t n = args.n;
  for (std::int64_t r = 0; r < args.rows; ++r) {
    const T *a = args.a + r * args.a_row, *b = args.b + r * args.b_row;
    T* y = args.y + r * args.y_row;
    std::int64_t i = 0;
    const int tail = static_cast<int>(n % W);
    if (args.a_step && args.b_step) {
      for (; i + W <= n; i += W) apply<f>(V::load(a + i), V::load(b + i)).store(y + i);
      if (tail) apply<f>(V::load(a + i, tail), V::load(b + i, tail)).store(y + i, tail);
    } else if (args.a_step) {
      const V vb = V::set(*b);
      for (; i + W <= n; i += W) apply<f>(V::load(a + i), vb).store(y + i);
      if (tail) apply<f>(V::load(a + i, tail), vb).store(y + i, tail);
    } else if (args.b_step) {
      const V va = V::set(*a);
      for (; i + W <= n; i += W) apply<f>(va, V::load(b + i)).store(y + i);
      if (tail) apply<f>(va, V::load(b + i, tail)).store(y + i, tail);
    } else {
      const V v = apply<f>(V::set(*a), V::set(*b));
      for (; i + W <= n; i += W) v.store(y + i);
      if (tail) v.store(y + i, tail);
    }
  }
}

template <class T, bool A, bool B, bool C>
FASTCONV_NOINLINE void mul_add_rows(const MulAddArgs<T>& args) {
  using V = Vec<T>;
  constexpr int W = V::width;
  const std::int64_t n = args.n;
  const auto tail = static_cast<int>(n % W);
  const V lo = V::set(args.clamp ? args.lo : -static_cast<T>(__builtin_inff()));
  const V hi = V::set(args.clamp ? args.hi : static_cast<T>(__builtin_inff()));
  for (std::int64_t r = 0; r < args.rows; ++r) {
    const T *a = args.a + r * args.a_row, *b = args.b + r * args.b_row, *c = args.c + r * args.c_row;
    T* y = args.y + r * args.y_row;
    const V va = V::set(*a), vb = V::set(*b), vc = V::set(*c);  // where the step is 0
    const auto result = [&](auto load) {
      return min(hi, max(lo, fma(A ? load(a) : va, B ? load(b) : vb, C ? load(c) : vc)));
    };
    std::int64_t i = 0;
    for (; i + W <= n; i += W) result([i](const T* p) { return V::load(p + i); }).store(y + i);
    if (tail) result([i, tail](const T* p) { return V::load(p + i, tail); }).store(y + i, tail);
  }
}

template <class T, bool A, bool B>
void mul_add_rows(const MulAddArgs<T>& args) {
  args.c_step ? mul_add_rows<T, A, B, true>(args) : mul_add_rows<T, A, B, false>(args);
}

template <class T, bool A>
void mul_add_rows(const MulAddArgs<T>& args) {
  args.b_step ? mul_add_rows<T, A, true>(args) : mul_add_rows<T, A, false>(args);
}

// A bijection of 32 bits that spreads every input bit over the result: shifts and odd multipliers.
FASTCONV_INLINE std::uint32_t mix(std::uint32_t h) {
  h = (h ^ (h >> 16)) * 0x7feb352du;
  h = (h ^ (h >> 15)) * 0x846ca68bu;
  return h ^ (h >> 16);
}

}  // namespace

template <class T>
void binary(const BinaryArgs<T>& args) {
  switch (args.function) {
#define FASTCONV_BINARY(name) \
  case Binary::name: return rows<T, Binary::name>(args);
#include "kernels/binary.inc"
#undef FASTCONV_BINARY
  }
}

template <class T>
void mul_add(const MulAddArgs<T>& args) {
  if (args.rows <= 0 || args.n <= 0) return;
  args.a_step ? mul_add_rows<T, true>(args) : mul_add_rows<T, false>(args);
}

// Integer work on plain loops, which compilers vectorise: the mask is the same for every instruction set.
template <class T>
void dropout(const DropoutArgs<T>& args) {
  constexpr int block = 512;
  std::uint32_t hash[block];
  const std::uint32_t key0 = args.key[0], key1 = args.key[1], threshold = args.threshold;
  const T scale = args.scale;
  for (std::int64_t begin = 0; begin < args.n; begin += block) {
    const int n = args.n - begin < block ? static_cast<int>(args.n - begin) : block;
    const std::uint32_t counter = args.counter + static_cast<std::uint32_t>(begin);
    for (int i = 0; i < block; ++i) hash[i] = mix(mix((counter + static_cast<std::uint32_t>(i)) ^ key0) + key1);
    const T* x = args.x + begin;
    T* y = args.y + begin;
    for (int i = 0; i < n; ++i) y[i] = x[i] * (hash[i] >= threshold ? scale : T(0));
  }
}

template void binary<float>(const BinaryArgs<float>&);
template void binary<double>(const BinaryArgs<double>&);
template void mul_add<float>(const MulAddArgs<float>&);
template void mul_add<double>(const MulAddArgs<double>&);
template void dropout<float>(const DropoutArgs<float>&);
template void dropout<double>(const DropoutArgs<double>&);

}  // namespace fastconv::FASTCONV_ISA
