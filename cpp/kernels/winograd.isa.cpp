// Transforms of Winograd's convolution (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016) on
// vectors of channels. The products between them run through conv_row.
#include "kernels/isa.hpp"
#include "kernels/winograd_args.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

// Finite points are 0 and +-p for these, chosen for low error (ADR 5).
template <int Pairs>
constexpr double kPoints[3] = {};
template <>
constexpr double kPoints<1>[3] = {1};
template <>
constexpr double kPoints<2>[3] = {0.70710678118654752440, 1.4142135623730950488};
template <>
constexpr double kPoints<3>[3] = {0.55, 1, 1.9};

// The product of (x^2 - p^2) over all pairs but `without`: coefficients of powers of x^2.
struct Polynomial {
  double c[4];
};
template <int Pairs>
constexpr Polynomial product_without(int without) {
  Polynomial q{{1, 0, 0, 0}};
  for (int k = 0; k < Pairs; ++k) {
    if (k == without) continue;
    const double square = kPoints<Pairs>[k] * kPoints<Pairs>[k];
    for (int j = 3; j > 0; --j) q.c[j] = q.c[j - 1] - square * q.c[j];
    q.c[0] *= -square;
  }
  return q;
}

constexpr double power(double x, int n) {
  double y = 1;
  for (int i = 0; i < n; ++i) y *= x;
  return y;
}

// c * x + y, c being known when this is compiled.
template <class VT>
FASTCONV_INLINE VT add(double c, VT x, VT y) {
  if (c == 1) return y + x;
  if (c == -1) return y - x;
  return fma(VT::set(static_cast<typename VT::Element>(c)), x, y);
}
template <class VT>
FASTCONV_INLINE VT times(double c, VT x) {
  if (c == 1) return x;
  return VT::set(static_cast<typename VT::Element>(c)) * x;
}

// F(M, R) along one axis, by Cook and Toom: M outputs of R taps from A samples through A products. Infinity is a point
// where A is even. The points' symmetry shares even and odd parts, in place of matrices.
template <class T, int M, int R>
struct Interpolation {
  using VT = Vec<T>;
  static constexpr int A = M + R - 1, K = (A - 1) / 2;
  static constexpr int D = A, U = A, S = A, Y = M;
  static constexpr bool kInfinity = A % 2 == 0;

  static FASTCONV_INLINE void input(const VT (&d)[A], VT (&v)[A]) {
    constexpr Polynomial all = product_without<K>(K);
    v[0] = d[0];
    FASTCONV_UNROLL for (int j = 1; j <= K; ++j) v[0] = add(all.c[j] / all.c[0], d[2 * j], v[0]);
    pair<0>(d, v);
    if constexpr (K > 1) pair<1>(d, v);
    if constexpr (K > 2) pair<2>(d, v);
    if constexpr (kInfinity) {
      v[A - 1] = d[A - 1];
      FASTCONV_UNROLL for (int j = 0; j < K; ++j) v[A - 1] = add(all.c[j], d[2 * j + 1], v[A - 1]);
    }
  }
  static FASTCONV_INLINE void output(const VT (&s)[A], VT (&y)[M]) {
    VT even[K], odd[K];
    FASTCONV_UNROLL for (int k = 0; k < K; ++k) {
      even[k] = s[2 * k + 1] + s[2 * k + 2];
      odd[k] = s[2 * k + 1] - s[2 * k + 2];
    }
    FASTCONV_UNROLL for (int i = 0; i < M; ++i) {
      const double first = power(kPoints<K>[0], i);
      const VT x = i % 2 ? odd[0] : even[0];
      y[i] = i == 0 ? s[0] + x : kInfinity && i == M - 1 ? add(first, x, s[A - 1]) : times(first, x);
      FASTCONV_UNROLL for (int k = 1; k < K; ++k) y[i] = add(power(kPoints<K>[k], i), i % 2 ? odd[k] : even[k], y[i]);
    }
  }
  static FASTCONV_INLINE void weights(const VT (&g)[R], VT (&u)[U]) {
    u[0] = g[0];
    FASTCONV_UNROLL for (int k = 0; k < K; ++k) {
      const Polynomial q = product_without<K>(k);
      const double p = kPoints<K>[k];
      double n = 0;  // 2 p^2 times that polynomial at p
      FASTCONV_UNROLL for (int j = 0; j < K; ++j) n += 2 * power(p, 2 * j + 2) * q.c[j];
      VT even = times(1 / n, g[0]), odd = times(p / n, g[1]);
      FASTCONV_UNROLL for (int j = 2; j < R; ++j) {
        if (j % 2)
          odd = add(power(p, j) / n, g[j], odd);
        else
          even = add(power(p, j) / n, g[j], even);
      }
      u[2 * k + 1] = even + odd;
      u[2 * k + 2] = even - odd;
    }
    if constexpr (kInfinity) u[A - 1] = g[R - 1];
  }
  // The transposes of output and input.
  static FASTCONV_INLINE void from_outputs(const VT (&y)[M], VT (&s)[A]) {
    s[0] = y[0];
    FASTCONV_UNROLL for (int k = 0; k < K; ++k) {
      VT even = y[0], odd = times(kPoints<K>[k], y[1]);
      FASTCONV_UNROLL for (int j = 2; j < M; ++j) {
        if (j % 2)
          odd = add(power(kPoints<K>[k], j), y[j], odd);
        else
          even = add(power(kPoints<K>[k], j), y[j], even);
      }
      s[2 * k + 1] = even + odd;
      s[2 * k + 2] = even - odd;
    }
    if constexpr (kInfinity) s[A - 1] = y[M - 1];
  }
  static FASTCONV_INLINE void to_inputs(const VT (&v)[A], VT (&d)[A]) {
    constexpr Polynomial all = product_without<K>(K);
    FASTCONV_UNROLL for (int j = 0; j <= K; ++j) d[2 * j] = times(all.c[j] / all.c[0], v[0]);
    FASTCONV_UNROLL for (int j = 0; j < K; ++j) d[2 * j + 1] = kInfinity ? times(all.c[j], v[A - 1]) : VT::zero();
    if constexpr (kInfinity) d[A - 1] = v[A - 1];
    to_inputs_pair<0>(v, d);
    if constexpr (K > 1) to_inputs_pair<1>(v, d);
    if constexpr (K > 2) to_inputs_pair<2>(v, d);
  }

 private:
  // Entries of +-p.
  template <int N>
  static FASTCONV_INLINE void pair(const VT (&d)[A], VT (&v)[A]) {
    constexpr Polynomial q = product_without<K>(N);
    constexpr double p = kPoints<K>[N];
    VT even = d[2 * K], odd = d[2 * K - 1];
    FASTCONV_UNROLL for (int j = 0; j + 1 < K; ++j) {
      even = add(q.c[j], d[2 * j + 2], even);
      odd = add(q.c[j], d[2 * j + 1], odd);
    }
    v[2 * N + 1] = add(p, odd, even);
    v[2 * N + 2] = add(-p, odd, even);
  }
  template <int N>
  static FASTCONV_INLINE void to_inputs_pair(const VT (&v)[A], VT (&d)[A]) {
    constexpr Polynomial q = product_without<K>(N);
    const VT even = v[2 * N + 1] + v[2 * N + 2], odd = times(kPoints<K>[N], v[2 * N + 1] - v[2 * N + 2]);
    FASTCONV_UNROLL for (int j = 0; j < K; ++j) {
      d[2 * j + 2] = add(q.c[j], even, d[2 * j + 2]);
      d[2 * j + 1] = add(q.c[j], odd, d[2 * j + 1]);
    }
  }
};

// Along one axis: A products of D samples with the U transformed weights, Y outputs of S products or their sums.
template <class T, int M, int R, int S>
struct Line : Interpolation<T, M, R> {};

// Stride 2: the outer taps read samples of one parity, a convolution of two taps and stride 1; the middle one those
// between, M products with the same weight.
template <class T, int M>
struct Line<T, M, 3, 2> {
  using VT = Vec<T>;
  using Outer = Interpolation<T, M, 2>;
  static constexpr int O = Outer::A, A = O + M, D = A, U = O + 1, S = A, Y = M;

  static FASTCONV_INLINE void input(const VT (&d)[A], VT (&v)[A]) {
    VT e[O], t[O];
    FASTCONV_UNROLL for (int i = 0; i < O; ++i) e[i] = d[2 * i];
    Outer::input(e, t);
    FASTCONV_UNROLL for (int i = 0; i < O; ++i) v[i] = t[i];
    FASTCONV_UNROLL for (int i = 0; i < M; ++i) v[O + i] = d[2 * i + 1];
  }
  static FASTCONV_INLINE void output(const VT (&s)[A], VT (&y)[M]) {
    VT e[O];
    FASTCONV_UNROLL for (int i = 0; i < O; ++i) e[i] = s[i];
    Outer::output(e, y);
    FASTCONV_UNROLL for (int i = 0; i < M; ++i) y[i] = y[i] + s[O + i];
  }
  static FASTCONV_INLINE void weights(const VT (&g)[3], VT (&u)[U]) {
    VT t[O];
    Outer::weights({g[0], g[2]}, t);
    FASTCONV_UNROLL for (int i = 0; i < O; ++i) u[i] = t[i];
    u[O] = g[1];
  }
};

// The weight gradient of that, with N samples of the output's gradient for weights. The middle tap's products are all
// added up before.
template <class T, int N>
struct Line<T, 3, N, 2> {
  using VT = Vec<T>;
  using Outer = Interpolation<T, 2, N>;
  static constexpr int O = Outer::A, A = O + N, U = A, S = O + 1, Y = 3;

  static FASTCONV_INLINE void output(const VT (&s)[S], VT (&y)[3]) {
    VT e[O], t[2];
    FASTCONV_UNROLL for (int i = 0; i < O; ++i) e[i] = s[i];
    Outer::output(e, t);
    y[0] = t[0], y[1] = s[O], y[2] = t[1];
  }
  static FASTCONV_INLINE void weights(const VT (&g)[N], VT (&u)[U]) {
    VT t[O];
    Outer::weights(g, t);
    FASTCONV_UNROLL for (int i = 0; i < O; ++i) u[i] = t[i];
    FASTCONV_UNROLL for (int i = 0; i < N; ++i) u[O + i] = g[i];
  }
};

// The transpose of stride 2. Late: outputs of two taps come first, and those of one tap read a sample later.
template <class T, int M, bool Late>
struct HalfLine {
  using VT = Vec<T>;
  using Outer = Interpolation<T, M, 2>;
  static constexpr int O = Outer::A, A = O + M, D = O, S = A, Y = 2 * M;

  static FASTCONV_INLINE void input(const VT (&d)[D], VT (&v)[A]) {
    VT t[O];
    Outer::input(d, t);
    FASTCONV_UNROLL for (int i = 0; i < O; ++i) v[i] = t[i];
    FASTCONV_UNROLL for (int i = 0; i < M; ++i) v[O + i] = d[i + Late];
  }
  static FASTCONV_INLINE void output(const VT (&s)[A], VT (&y)[Y]) {
    VT e[O], t[M];
    FASTCONV_UNROLL for (int i = 0; i < O; ++i) e[i] = s[i];
    Outer::output(e, t);
    FASTCONV_UNROLL for (int i = 0; i < M; ++i) y[2 * i + !Late] = t[i], y[2 * i + Late] = s[O + i];
  }
};

template <class VT, bool Tail, class T>
FASTCONV_INLINE VT load(const T* p, int n) {
  if constexpr (Tail)
    return VT::load(p, n);
  else
    return VT::load(p);
}

// Columns first, then rows.
template <class L, bool Tail, class T>
FASTCONV_INLINE void input_vector(const WinogradInputArgs<T>& a, const T* x, T* v, int n) {
  using VT = Vec<T>;
  constexpr int A = L::A, D = L::D;
  const std::int64_t row = a.x_row, pixel = a.x_pixel, plane = a.v_plane;
  VT t[A][D];
  FASTCONV_UNROLL for (int j = 0; j < D; ++j) {
    VT d[D], e[A];
    FASTCONV_UNROLL for (int i = 0; i < D; ++i) d[i] = load<VT, Tail>(x + i * row + j * pixel, n);
    L::input(d, e);
    FASTCONV_UNROLL for (int i = 0; i < A; ++i) t[i][j] = e[i];
  }
  FASTCONV_UNROLL for (int i = 0; i < A; ++i) {
    VT e[A];
    L::input(t[i], e);
    FASTCONV_UNROLL for (int j = 0; j < A; ++j) e[j].store(v + (i * A + j) * plane);
  }
}

template <class L, int Step, class T>
FASTCONV_NOINLINE void input_tile(const WinogradInputArgs<T>& a) {
  constexpr int W = Vec<T>::width, D = L::D;
  std::int64_t c = 0;
  for (; c + W <= a.channels; c += W) {
    if (a.next) {  // the processor does not follow that many streams; the first columns are this tile's too
      FASTCONV_UNROLL for (int i = 0; i < D; ++i) FASTCONV_UNROLL for (int j = D - Step; j < D; ++j)
          FASTCONV_PREFETCH(a.next + c + i * a.x_row + j * a.x_pixel);
    }
    input_vector<L, false>(a, a.x + c, a.v + c, W);
  }
  if (c < a.channels) input_vector<L, true>(a, a.x + c, a.v + c, static_cast<int>(a.channels - c));
}

// Part: not all rows, columns or channels.
template <class L, bool Part, class T>
FASTCONV_INLINE void output_vector(const WinogradOutputArgs<T>& a, std::int64_t c, int n) {
  using VT = Vec<T>;
  constexpr int S = L::S, M = L::Y;
  const T* s = a.s + c;
  const std::int64_t plane = a.s_plane;
  VT t[M][S];
  FASTCONV_UNROLL for (int j = 0; j < S; ++j) {
    VT d[S], e[M];
    FASTCONV_UNROLL for (int i = 0; i < S; ++i) d[i] = VT::load(s + (i * S + j) * plane);
    L::output(d, e);
    FASTCONV_UNROLL for (int i = 0; i < M; ++i) t[i][j] = e[i];
  }
  VT b = VT::zero();
  if (a.bias) b = load<VT, Part>(a.bias + c, n);
  const VT lo = VT::set(a.lo), hi = VT::set(a.hi);
  FASTCONV_UNROLL for (int i = 0; i < M; ++i) {
    if (Part && i >= a.rows) break;
    VT e[M];
    L::output(t[i], e);
    T* y = a.y + c + i * a.y_row;
    FASTCONV_UNROLL for (int j = 0; j < M; ++j) e[j] = e[j] + b;
    if (a.residual) {
      const T* r = a.residual + (y - a.y);
      FASTCONV_UNROLL for (int j = 0; j < M; ++j) if (!Part || j < a.columns) e[j] =
          e[j] + load<VT, Part>(r + j * a.y_pixel, n);
    }
    if (a.clamp) FASTCONV_UNROLL
    for (int j = 0; j < M; ++j) e[j] = min(hi, max(lo, e[j]));
    FASTCONV_UNROLL for (int j = 0; j < M; ++j) {
      if (!Part)
        e[j].store(y + j * a.y_pixel);
      else if (j < a.columns)
        e[j].store(y + j * a.y_pixel, n);
    }
  }
}

template <class L, class T>
FASTCONV_NOINLINE void whole_output(const WinogradOutputArgs<T>& a, std::int64_t c) {
  output_vector<L, false>(a, c, Vec<T>::width);
}

template <class L, class T>
FASTCONV_NOINLINE void part_output(const WinogradOutputArgs<T>& a, std::int64_t c, int n) {
  output_vector<L, true>(a, c, n);
}

template <class L, class T>
void output_tile(const WinogradOutputArgs<T>& a) {
  constexpr int W = Vec<T>::width, M = L::Y;
  const bool whole = a.rows == M && a.columns == M;
  for (std::int64_t c = 0; c < a.channels; c += W) {
    const auto n = static_cast<int>(a.channels - c < W ? a.channels - c : W);
    if (a.next) {
      FASTCONV_UNROLL for (int i = 0; i < M; ++i) FASTCONV_UNROLL for (int j = 0; j < M; ++j)
          FASTCONV_PREFETCH(a.next + c + i * a.y_row + j * a.y_pixel);
    }
    if (whole && n == W)
      whole_output<L>(a, c);
    else
      part_output<L>(a, c, n);
  }
}

// Output: by the outputs' matrix, of as many outputs.
template <class L, int R, bool Output, class T>
FASTCONV_NOINLINE void weights_run(const WinogradWeightsArgs<T>& a) {
  using VT = Vec<T>;
  constexpr int U = L::U;
  const auto transform = [](const VT(&g)[R], VT(&u)[U]) {
    if constexpr (Output)
      L::from_outputs(g, u);
    else
      L::weights(g, u);
  };
  const T* w = a.w;
  T* u = a.u;
  for (std::int64_t k = 0; k < a.count; ++k, w += R * R * a.run, u += a.run)
    for (std::int64_t c = 0; c < a.run; c += VT::width) {
      VT t[U][R];
      FASTCONV_UNROLL for (int j = 0; j < R; ++j) {
        VT d[R], e[U];
        FASTCONV_UNROLL for (int i = 0; i < R; ++i) d[i] = VT::load(w + (R * i + j) * a.run + c);
        transform(d, e);
        FASTCONV_UNROLL for (int i = 0; i < U; ++i) t[i][j] = e[i];
      }
      FASTCONV_UNROLL for (int i = 0; i < U; ++i) {
        VT e[U];
        transform(t[i], e);
        FASTCONV_UNROLL for (int j = 0; j < U; ++j) e[j].store(u + (i * U + j) * a.u_plane + c);
      }
    }
}

template <class L, bool Tail, class T>
FASTCONV_INLINE void scatter_vector(const WinogradScatterArgs<T>& a, const T* s, T* x, int n) {
  using VT = Vec<T>;
  constexpr int A = L::A;
  VT t[A][A];
  FASTCONV_UNROLL for (int j = 0; j < A; ++j) {
    VT d[A], e[A];
    FASTCONV_UNROLL for (int i = 0; i < A; ++i) d[i] = VT::load(s + (i * A + j) * a.s_plane);
    L::to_inputs(d, e);
    FASTCONV_UNROLL for (int i = 0; i < A; ++i) t[i][j] = e[i];
  }
  FASTCONV_UNROLL for (int i = 0; i < A; ++i) {
    VT e[A];
    L::to_inputs(t[i], e);
    FASTCONV_UNROLL for (int j = 0; j < A; ++j) {
      T* to = x + i * a.x_row + j * a.x_pixel;
      const VT sum = load<VT, Tail>(to, n) + e[j];
      if constexpr (Tail)
        sum.store(to, n);
      else
        sum.store(to);
    }
  }
}

template <class L, class T>
FASTCONV_NOINLINE void scatter_tile(const WinogradScatterArgs<T>& a) {
  constexpr int W = Vec<T>::width;
  std::int64_t c = 0;
  for (; c + W <= a.channels; c += W) scatter_vector<L, false>(a, a.s + c, a.x + c, W);
  if (c < a.channels) scatter_vector<L, true>(a, a.s + c, a.x + c, static_cast<int>(a.channels - c));
}

template <int M_, int R_, int S_>
struct Size {
  static constexpr int M = M_, R = R_, S = S_;
};

template <class T, class Fn>
FASTCONV_INLINE void by_size(const WinogradSize& s, Fn&& fn) {
  switch (100 * s.m + 10 * s.taps + s.stride) {
    case 231: return fn(Size<2, 3, 1>{}, Line<T, 2, 3, 1>{});
    case 431: return fn(Size<4, 3, 1>{}, Line<T, 4, 3, 1>{});
    case 331: return fn(Size<3, 3, 1>{}, Line<T, 3, 3, 1>{});
    case 531: return fn(Size<5, 3, 1>{}, Line<T, 5, 3, 1>{});
    case 351: return fn(Size<3, 5, 1>{}, Line<T, 3, 5, 1>{});
    case 631: return fn(Size<6, 3, 1>{}, Line<T, 6, 3, 1>{});
    case 251: return fn(Size<2, 5, 1>{}, Line<T, 2, 5, 1>{});
    case 451: return fn(Size<4, 5, 1>{}, Line<T, 4, 5, 1>{});
    case 232: return fn(Size<2, 3, 2>{}, Line<T, 2, 3, 2>{});
    case 432: return fn(Size<4, 3, 2>{}, Line<T, 4, 3, 2>{});
    case 321: return fn(Size<3, 2, 1>{}, Line<T, 3, 2, 1>{});
    case 341: return fn(Size<3, 4, 1>{}, Line<T, 3, 4, 1>{});
    case 361: return fn(Size<3, 6, 1>{}, Line<T, 3, 6, 1>{});
    case 521: return fn(Size<5, 2, 1>{}, Line<T, 5, 2, 1>{});
    case 541: return fn(Size<5, 4, 1>{}, Line<T, 5, 4, 1>{});
  }
}

// Of weight gradients with stride 2, whose input's transform is the forward pass's.
template <class T, class Fn>
FASTCONV_INLINE bool by_gradient_size(const WinogradSize& s, Fn&& fn) {
  if (s.stride != 2 || s.m != 3) return false;
  if (s.taps == 2) fn(Size<3, 2, 2>{}, Line<T, 3, 2, 2>{});
  if (s.taps == 4) fn(Size<3, 4, 2>{}, Line<T, 3, 4, 2>{});
  return true;
}

template <class T, class Fn>
FASTCONV_INLINE bool by_half_size(const WinogradSize& s, Fn&& fn) {
  if (!s.up()) return false;
  const bool late = s.half == HalfStride::two_taps_first;
  if (s.m == 2 && late) fn(HalfLine<T, 2, true>{});
  if (s.m == 2 && !late) fn(HalfLine<T, 2, false>{});
  if (s.m == 4 && late) fn(HalfLine<T, 4, true>{});
  if (s.m == 4 && !late) fn(HalfLine<T, 4, false>{});
  return true;
}

// Whose input's gradient is made by their transpose.
template <class T, class Fn>
FASTCONV_INLINE void by_transposed_size(const WinogradSize& s, Fn&& fn) {
  switch (100 * s.m + 10 * s.taps + s.stride) {
    case 331: return fn(Size<3, 3, 1>{}, Line<T, 3, 3, 1>{});
    case 341: return fn(Size<3, 4, 1>{}, Line<T, 3, 4, 1>{});
    case 351: return fn(Size<3, 5, 1>{}, Line<T, 3, 5, 1>{});
  }
}

}  // namespace

template <class T>
void winograd_input(const WinogradInputArgs<T>& a) {
  if (by_half_size<T>(a.size, [&](auto line) { input_tile<decltype(line), line.D - 1>(a); })) return;
  by_size<T>(a.size, [&](auto size, auto line) { input_tile<decltype(line), size.M * size.S>(a); });
}

template <class T>
void winograd_output(const WinogradOutputArgs<T>& a) {
  if (by_half_size<T>(a.size, [&](auto line) { output_tile<decltype(line)>(a); })) return;
  if (by_gradient_size<T>(a.size, [&](auto, auto line) { output_tile<decltype(line)>(a); })) return;
  by_size<T>(a.size, [&](auto, auto line) { output_tile<decltype(line)>(a); });
}

template <class T>
void winograd_weights(const WinogradWeightsArgs<T>& a) {
  if (a.output)
    return by_transposed_size<T>(a.size, [&](auto size, auto line) { weights_run<decltype(line), size.M, true>(a); });
  const auto run = [&](auto size, auto line) { weights_run<decltype(line), size.R, false>(a); };
  if (!by_gradient_size<T>(a.size, run)) by_size<T>(a.size, run);
}

template <class T>
void winograd_scatter(const WinogradScatterArgs<T>& a) {
  by_transposed_size<T>(a.size, [&](auto, auto line) { scatter_tile<decltype(line)>(a); });
}

template void winograd_input<float>(const WinogradInputArgs<float>&);
template void winograd_input<double>(const WinogradInputArgs<double>&);
template void winograd_output<float>(const WinogradOutputArgs<float>&);
template void winograd_output<double>(const WinogradOutputArgs<double>&);
template void winograd_weights<float>(const WinogradWeightsArgs<float>&);
template void winograd_weights<double>(const WinogradWeightsArgs<double>&);
template void winograd_scatter<float>(const WinogradScatterArgs<float>&);
template void winograd_scatter<double>(const WinogradScatterArgs<double>&);

}  // namespace fastconv::FASTCONV_ISA
