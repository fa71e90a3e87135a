// Transforms of Winograd's convolution (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016) on
// vectors of channels. The products between them run through conv_row.
#include "kernels/isa.hpp"
#include "kernels/winograd_args.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

// The one-dimensional transforms, in place of matrices whose entries are mostly 0 and 1.
template <class T, int M>
struct Line;

// Points 0, 1, -1, infinity.
template <class T>
struct Line<T, 2> {
  using VT = Vec<T>;
  static FASTCONV_INLINE void input(const VT (&d)[4], VT (&v)[4]) {
    v[0] = d[0] - d[2];
    v[1] = d[1] + d[2];
    v[2] = d[2] - d[1];
    v[3] = d[3] - d[1];
  }
  static FASTCONV_INLINE void output(const VT (&s)[4], VT (&y)[2]) {
    y[0] = s[0] + (s[1] + s[2]);
    y[1] = (s[1] - s[2]) + s[3];
  }
  static FASTCONV_INLINE void weights(const VT (&g)[3], VT (&u)[4]) {
    const VT half = VT::set(T(0.5)), even = half * (g[0] + g[2]), odd = half * g[1];
    u[0] = g[0];
    u[1] = even + odd;
    u[2] = even - odd;
    u[3] = g[2];
  }
};

// Points 0, +-a, +-b, infinity with a = sqrt(1/2), b = sqrt(2): a quarter of the error of 0, +-1, +-2 (ADR 5). The
// polynomial x (x^2 - 1/2) (x^2 - 2) makes B, so that a^2 b^2 = 1 and a^2 + b^2 = 5/2.
template <class T>
struct Line<T, 4> {
  using VT = Vec<T>;
  static constexpr T a = T(0.70710678118654752440), b = T(1.4142135623730950488);
  // Entries 1 to 4: of the two pairs of finite points.
  static FASTCONV_INLINE void pairs(VT d1, VT d2, VT d3, VT d4, VT& v1, VT& v2, VT& v3, VT& v4) {
    const VT minus2 = VT::set(-2), minus_half = VT::set(T(-0.5)), pa = VT::set(a), ma = VT::set(-a), pb = VT::set(b),
             mb = VT::set(-b);
    const VT even_a = fma(minus2, d2, d4), odd_a = fma(minus2, d1, d3);
    const VT even_b = fma(minus_half, d2, d4), odd_b = fma(minus_half, d1, d3);
    v1 = fma(pa, odd_a, even_a);
    v2 = fma(ma, odd_a, even_a);
    v3 = fma(pb, odd_b, even_b);
    v4 = fma(mb, odd_b, even_b);
  }
  static FASTCONV_INLINE VT end(VT d0, VT d2, VT d4) { return fma(VT::set(T(-2.5)), d2, d0 + d4); }
  static FASTCONV_INLINE void input(const VT (&d)[6], VT (&v)[6]) {
    v[0] = end(d[0], d[2], d[4]);
    pairs(d[1], d[2], d[3], d[4], v[1], v[2], v[3], v[4]);
    v[5] = end(d[1], d[3], d[5]);
  }
  static FASTCONV_INLINE void output(const VT (&s)[6], VT (&y)[4]) {
    const VT sum_a = s[1] + s[2], odd_a = s[1] - s[2], sum_b = s[3] + s[4], odd_b = s[3] - s[4];
    y[0] = s[0] + (sum_a + sum_b);
    y[1] = fma(VT::set(b), odd_b, VT::set(a) * odd_a);
    y[2] = fma(VT::set(2), sum_b, VT::set(T(0.5)) * sum_a);
    y[3] = fma(VT::set(2 * b), odd_b, fma(VT::set(a / 2), odd_a, s[5]));
  }
  static FASTCONV_INLINE void weights(const VT (&g)[3], VT (&u)[6]) {
    // (g0 + p g1 + p^2 g2) / N with N = 2 a^2 (a^2 - b^2) = -3/2 and 2 b^2 (b^2 - a^2) = 6.
    const VT na = VT::set(T(-2) / 3), nb = VT::set(T(1) / 6);
    const VT even_a = na * fma(VT::set(T(0.5)), g[2], g[0]), even_b = nb * fma(VT::set(2), g[2], g[0]);
    const VT pa = VT::set(a * (T(-2) / 3)), pb = VT::set(b / 6);
    u[0] = g[0];
    u[1] = fma(pa, g[1], even_a);
    u[2] = even_a - pa * g[1];
    u[3] = fma(pb, g[1], even_b);
    u[4] = even_b - pb * g[1];
    u[5] = g[2];
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
template <class T, int M, bool Tail>
FASTCONV_INLINE void input_vector(const WinogradInputArgs<T>& a, const T* x, T* v, int n) {
  using VT = Vec<T>;
  constexpr int A = M + 2;
  const std::int64_t row = a.x_row, pixel = a.x_pixel, plane = a.v_plane;
  VT t[A][A];
  FASTCONV_UNROLL for (int j = 0; j < A; ++j) {
    VT d[A], e[A];
    FASTCONV_UNROLL for (int i = 0; i < A; ++i) d[i] = load<VT, Tail>(x + i * row + j * pixel, n);
    Line<T, M>::input(d, e);
    FASTCONV_UNROLL for (int i = 0; i < A; ++i) t[i][j] = e[i];
  }
  FASTCONV_UNROLL for (int i = 0; i < A; ++i) {
    VT e[A];
    Line<T, M>::input(t[i], e);
    FASTCONV_UNROLL for (int j = 0; j < A; ++j) e[j].store(v + (i * A + j) * plane);
  }
}

template <class T, int M>
FASTCONV_NOINLINE void input_tile(const WinogradInputArgs<T>& a) {
  constexpr int W = Vec<T>::width;
  std::int64_t c = 0;
  for (; c + W <= a.channels; c += W) {
    if (a.next) {  // the processor does not follow that many streams; two columns are this tile's too
      FASTCONV_UNROLL for (int i = 0; i < M + 2; ++i) FASTCONV_UNROLL for (int j = 2; j < M + 2; ++j)
          FASTCONV_PREFETCH(a.next + c + i * a.x_row + j * a.x_pixel);
    }
    input_vector<T, M, false>(a, a.x + c, a.v + c, W);
  }
  if (c < a.channels) input_vector<T, M, true>(a, a.x + c, a.v + c, static_cast<int>(a.channels - c));
}

// Part: not all rows, columns or channels.
template <class T, int M, bool Part>
FASTCONV_INLINE void output_vector(const WinogradOutputArgs<T>& a, std::int64_t c, int n) {
  using VT = Vec<T>;
  constexpr int A = M + 2;
  const T* s = a.s + c;
  const std::int64_t plane = a.s_plane;
  VT t[M][A];
  FASTCONV_UNROLL for (int j = 0; j < A; ++j) {
    VT d[A], e[M];
    FASTCONV_UNROLL for (int i = 0; i < A; ++i) d[i] = VT::load(s + (i * A + j) * plane);
    Line<T, M>::output(d, e);
    FASTCONV_UNROLL for (int i = 0; i < M; ++i) t[i][j] = e[i];
  }
  VT b = VT::zero();
  if (a.bias) b = load<VT, Part>(a.bias + c, n);
  const VT lo = VT::set(a.lo), hi = VT::set(a.hi);
  FASTCONV_UNROLL for (int i = 0; i < M; ++i) {
    if (Part && i >= a.rows) break;
    VT e[M];
    Line<T, M>::output(t[i], e);
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

template <class T, int M>
FASTCONV_NOINLINE void whole_output(const WinogradOutputArgs<T>& a, std::int64_t c) {
  output_vector<T, M, false>(a, c, Vec<T>::width);
}

template <class T, int M>
FASTCONV_NOINLINE void part_output(const WinogradOutputArgs<T>& a, std::int64_t c, int n) {
  output_vector<T, M, true>(a, c, n);
}

template <class T, int M>
void output_tile(const WinogradOutputArgs<T>& a) {
  constexpr int W = Vec<T>::width;
  const bool whole = a.rows == M && a.columns == M;
  for (std::int64_t c = 0; c < a.channels; c += W) {
    const auto n = static_cast<int>(a.channels - c < W ? a.channels - c : W);
    if (a.next) {
      FASTCONV_UNROLL for (int i = 0; i < M; ++i) FASTCONV_UNROLL for (int j = 0; j < M; ++j)
          FASTCONV_PREFETCH(a.next + c + i * a.y_row + j * a.y_pixel);
    }
    if (whole && n == W)
      whole_output<T, M>(a, c);
    else
      part_output<T, M>(a, c, n);
  }
}

template <class T, int M>
FASTCONV_NOINLINE void weights_run(const WinogradWeightsArgs<T>& a) {
  using VT = Vec<T>;
  constexpr int A = M + 2;
  for (std::int64_t c = 0; c < a.run; c += VT::width) {
    VT t[A][3];
    FASTCONV_UNROLL for (int j = 0; j < 3; ++j) {
      VT d[3], e[A];
      FASTCONV_UNROLL for (int i = 0; i < 3; ++i) d[i] = VT::load(a.w + (3 * i + j) * a.w_tap + c);
      Line<T, M>::weights(d, e);
      FASTCONV_UNROLL for (int i = 0; i < A; ++i) t[i][j] = e[i];
    }
    FASTCONV_UNROLL for (int i = 0; i < A; ++i) {
      VT e[A];
      Line<T, M>::weights(t[i], e);
      FASTCONV_UNROLL for (int j = 0; j < A; ++j) e[j].store(a.u + (i * A + j) * a.u_plane + c);
    }
  }
}

}  // namespace

template <class T>
void winograd_input(const WinogradInputArgs<T>& a) {
  a.m == 2 ? input_tile<T, 2>(a) : input_tile<T, 4>(a);
}

template <class T>
void winograd_output(const WinogradOutputArgs<T>& a) {
  a.m == 2 ? output_tile<T, 2>(a) : output_tile<T, 4>(a);
}

template <class T>
void winograd_weights(const WinogradWeightsArgs<T>& a) {
  a.m == 2 ? weights_run<T, 2>(a) : weights_run<T, 4>(a);
}

template void winograd_input<float>(const WinogradInputArgs<float>&);
template void winograd_input<double>(const WinogradInputArgs<double>&);
template void winograd_output<float>(const WinogradOutputArgs<float>&);
template void winograd_output<double>(const WinogradOutputArgs<double>&);
template void winograd_weights<float>(const WinogradWeightsArgs<float>&);
template void winograd_weights<double>(const WinogradWeightsArgs<double>&);

}  // namespace fastconv::FASTCONV_ISA
