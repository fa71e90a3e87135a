// Vectors of the baseline: 16 bytes through the compiler's vector extension (SSE2 on x86-64, NEON on arm64,
// plain code elsewhere), arrays where a compiler lacks it.
#pragma once
#include <cmath>
#include <cstdint>

namespace fastconv::scalar {

#if defined(__GNUC__)
#define FASTCONV_OWN_FUNCTION __attribute__((noinline))
template <class T>
struct Lanes {
  typedef T type __attribute__((vector_size(16)));
  typedef decltype(type{} < type{}) mask;  // signed integers
};
#else
#define FASTCONV_OWN_FUNCTION
template <class T>
struct Lanes {
  struct type {
    T e[16 / sizeof(T)];
    T& operator[](int i) { return e[i]; }
    const T& operator[](int i) const { return e[i]; }
  };
};
#endif

template <class T>
struct Vec {
  static constexpr int width = 16 / sizeof(T);
  using Element = T;
  static constexpr int power_steps = 0;  // no power_of_2 of that kind: it needs exact products
  typename Lanes<T>::type v;

  template <class Fn>
  static Vec each(Fn fn) {
    Vec r;
    for (int i = 0; i < width; ++i) r.v[i] = fn(i);
    return r;
  }
  static Vec zero() { return set(0); }
  static Vec set(T x) {
    return each([&](int) { return x; });
  }
  static Vec load(const T* p) {
    Vec r;
    __builtin_memcpy(&r.v, p, sizeof r.v);
    return r;
  }
  // The first n (0 to width) elements; the others are zero and their memory is not touched. Tails of transforms and
  // strips do this a hundred times, with a branch for every element: inlined, that was a tenth of the module.
  FASTCONV_OWN_FUNCTION static Vec load(const T* p, int n) {
    return each([&](int i) { return i < n ? p[i] : T(0); });
  }
  static Vec in_register(Vec a) { return a; }
  static Vec load_once(const T* p) { return load(p); }
  static Vec load_once(const T* p, int n) { return load(p, n); }
  void store(T* p) const { __builtin_memcpy(p, &v, sizeof v); }
  void stream(T* p) const { store(p); }
  static void end_stream() {}
  void store(T* p, int n) const { store_first(*this, p, n); }
  FASTCONV_OWN_FUNCTION static void store_first(Vec a, T* p, int n) {
    for (int i = 0; i < n; ++i) p[i] = a.v[i];
  }

#if defined(__GNUC__)
  friend Vec operator+(Vec a, Vec b) { return {a.v + b.v}; }
  friend Vec operator-(Vec a, Vec b) { return {a.v - b.v}; }
  friend Vec operator*(Vec a, Vec b) { return {a.v * b.v}; }
  friend Vec operator/(Vec a, Vec b) { return {a.v / b.v}; }
  friend Vec fma(Vec a, Vec b, Vec c) { return {a.v * b.v + c.v}; }  // a * b + c
  // The second operand when either is NaN.
  friend Vec max(Vec a, Vec b) { return {a.v > b.v ? a.v : b.v}; }
  friend Vec min(Vec a, Vec b) { return {a.v < b.v ? a.v : b.v}; }
  using Mask = typename Lanes<T>::mask;
  friend Mask less(Vec a, Vec b) { return a.v < b.v; }
  friend Mask less_equal(Vec a, Vec b) { return a.v <= b.v; }
  friend Mask equal(Vec a, Vec b) { return a.v == b.v; }
  friend Mask is_nan(Vec a) { return a.v != a.v; }
  friend Vec select(Mask m, Vec a, Vec b) { return {m ? a.v : b.v}; }
#else
  friend Vec operator+(Vec a, Vec b) {
    return each([&](int i) { return a.v[i] + b.v[i]; });
  }
  friend Vec operator-(Vec a, Vec b) {
    return each([&](int i) { return a.v[i] - b.v[i]; });
  }
  friend Vec operator*(Vec a, Vec b) {
    return each([&](int i) { return a.v[i] * b.v[i]; });
  }
  friend Vec operator/(Vec a, Vec b) {
    return each([&](int i) { return a.v[i] / b.v[i]; });
  }
  friend Vec fma(Vec a, Vec b, Vec c) {
    return each([&](int i) { return a.v[i] * b.v[i] + c.v[i]; });
  }
  friend Vec max(Vec a, Vec b) {
    return each([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
  }
  friend Vec min(Vec a, Vec b) {
    return each([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
  }
  struct Mask {
    bool m[width];
  };
  template <class Fn>
  static Mask test(Fn fn) {
    Mask r;
    for (int i = 0; i < width; ++i) r.m[i] = fn(i);
    return r;
  }
  friend Mask less(Vec a, Vec b) {
    return test([&](int i) { return a.v[i] < b.v[i]; });
  }
  friend Mask less_equal(Vec a, Vec b) {
    return test([&](int i) { return a.v[i] <= b.v[i]; });
  }
  friend Mask equal(Vec a, Vec b) {
    return test([&](int i) { return a.v[i] == b.v[i]; });
  }
  friend Mask is_nan(Vec a) {
    return test([&](int i) { return a.v[i] != a.v[i]; });
  }
  friend Vec select(Mask m, Vec a, Vec b) {
    return each([&](int i) { return m.m[i] ? a.v[i] : b.v[i]; });
  }
#endif
  friend Vec sqrt(Vec a) {
    return each([&](int i) { return static_cast<T>(::sqrt(static_cast<double>(a.v[i]))); });
  }
#if defined(__GNUC__)
  friend Vec abs(Vec a) {
    return {reinterpret_cast<decltype(a.v)>(reinterpret_cast<Mask>(a.v) & ~reinterpret_cast<Mask>(set(T(-0.0)).v))};
  }
  // Adding 2^23 (2^52) to a positive number leaves no bits for a fraction; larger ones have none. The sign is put back.
  static constexpr T whole = sizeof(T) == 4 ? T(8388608) : T(4503599627370496);
  friend Vec round(Vec a) {
    const Vec size = abs(a), r = (size + set(whole)) - set(whole);
    const auto sign = reinterpret_cast<Mask>(a.v) & reinterpret_cast<Mask>(set(T(-0.0)).v);
    const Vec rounded{reinterpret_cast<decltype(a.v)>(reinterpret_cast<Mask>(r.v) | sign)};
    return select(less(size, set(whole)), rounded, a);
  }
  static constexpr T shifter = T(1.5) * whole;
  // a * 2^n for integral n in [-252, 254] or [-2044, 2046], in two steps so that the powers stay normal.
  friend Vec ldexp(Vec a, Vec n) {
    const Vec half = (n * set(T(0.5)) + set(shifter)) - set(shifter);
    return a * power_of_2(half) * power_of_2(n - half);
  }
  static Vec power_of_2(Vec n) {  // the integer is what n adds to the bits of the shifter
    const auto i = reinterpret_cast<Mask>((n + set(shifter)).v) - reinterpret_cast<Mask>(set(shifter).v);
    return {reinterpret_cast<decltype(n.v)>((i + exponent_bias) << mantissa_bits)};
  }
  // Of positive normal numbers: a = mantissa(a) * 2^exponent(a), the mantissa in [1, 2).
  friend Vec exponent(Vec a) {
    const auto biased = (reinterpret_cast<Mask>(a.v) >> mantissa_bits) & ((2 << (mantissa_bits == 23 ? 7 : 10)) - 1);
    return Vec{reinterpret_cast<decltype(a.v)>(biased | reinterpret_cast<Mask>(set(whole).v))} - set(whole) -
           set(exponent_bias);
  }
  friend Vec mantissa(Vec a) {
    const auto bits = Mask{} + ((std::int64_t{1} << mantissa_bits) - 1);
    return {reinterpret_cast<decltype(a.v)>((reinterpret_cast<Mask>(a.v) & bits) | reinterpret_cast<Mask>(set(1).v))};
  }
  static constexpr int mantissa_bits = sizeof(T) == 4 ? 23 : 52, exponent_bias = sizeof(T) == 4 ? 127 : 1023;
#else
  friend Vec abs(Vec a) {
    return each([&](int i) { return a.v[i] < 0 ? -a.v[i] : a.v[i] + T(0); });
  }
  friend Vec round(Vec a) {
    return each([&](int i) { return static_cast<T>(::nearbyint(static_cast<double>(a.v[i]))); });
  }
  // a * 2^n for integral n.
  friend Vec ldexp(Vec a, Vec n) {
    return each([&](int i) { return static_cast<T>(::ldexp(static_cast<double>(a.v[i]), static_cast<int>(n.v[i]))); });
  }
  // Of positive normal numbers: a = mantissa(a) * 2^exponent(a), the mantissa in [1, 2).
  friend Vec exponent(Vec a) {
    return each([&](int i) { return static_cast<T>(::ilogb(static_cast<double>(a.v[i]))); });
  }
  friend Vec mantissa(Vec a) { return ldexp(a, set(0) - exponent(a)); }
#endif
  friend T largest(Vec a) {  // of its elements; arbitrary with NaN among them
    T s = a.v[0];
    for (int i = 1; i < width; ++i) s = a.v[i] > s ? a.v[i] : s;
    return s;
  }
  // Small whole numbers as bytes; equal_bytes reads at least `width` bytes.
  void store_bytes(std::uint8_t* p) const {
    for (int i = 0; i < width; ++i) p[i] = static_cast<std::uint8_t>(v[i]);
  }
  static Mask equal_bytes(const std::uint8_t* p, int x) {
    return equal(each([&](int i) { return static_cast<T>(p[i]); }), set(static_cast<T>(x)));
  }
  friend T sum(Vec a) {
    T s = a.v[0];
    for (int i = 1; i < width; ++i) s += a.v[i];
    return s;
  }

  // The elements of even and of odd places in a, then b.
  static void part(Vec a, Vec b, Vec& even, Vec& odd) {
    const auto at = [&](int i) { return i < width ? a.v[i] : b.v[i - width]; };
    even = each([&](int i) { return at(2 * i); });
    odd = each([&](int i) { return at(2 * i + 1); });
  }
  // Element j of r[i] and element i of r[j] change places.
  static void transpose(Vec (&r)[width]) {
    Vec t[width];
    for (int j = 0; j < width; ++j) t[j] = each([&](int i) { return r[i].v[j]; });
    for (int i = 0; i < width; ++i) r[i] = t[i];
  }

  // Element i of r[c] goes to place 3 * i + c of them all.
  static void interleave(Vec (&r)[3]) {
    Vec t[3];
    for (int k = 0; k < 3; ++k) t[k] = each([&](int i) { return r[(k * width + i) % 3].v[(k * width + i) / 3]; });
    for (int k = 0; k < 3; ++k) r[k] = t[k];
  }

  using Broadcast = Vec;
  static Broadcast broadcast(const T* p) { return set(*p); }
  static void accumulate(Vec& acc, Vec w, Broadcast b) { acc = fma(w, b, acc); }
};

#undef FASTCONV_OWN_FUNCTION

}  // namespace fastconv::scalar
