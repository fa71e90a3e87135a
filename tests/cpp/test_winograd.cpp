#include <algorithm>
#include <iterator>
#include <limits>

#include "harness.hpp"

namespace fastconv::test {
namespace {

using Matrix = std::vector<std::vector<double>>;

struct Transforms {
  Matrix input, output, weights;  // B', A', G
};

Matrix zeros(std::size_t rows, std::size_t columns) { return Matrix(rows, std::vector<double>(columns)); }

// Cook and Toom's matrices of F(m, taps) for the interpolation points, and infinity where that makes their number even.
Transforms interpolation(int m, int taps) {
  const std::size_t alpha = static_cast<std::size_t>(m + taps - 1), n = (alpha - 1) / 2 * 2 + 1;
  std::vector<double> points{0};
  for (double p : n == 3   ? std::vector<double>{1}
                  : n == 5 ? std::vector<double>{std::sqrt(0.5), std::sqrt(2.0)}
                           : std::vector<double>{0.55, 1, 1.9})
    points.insert(points.end(), {p, -p});
  Transforms t{Matrix(alpha, std::vector<double>(alpha)), Matrix(static_cast<std::size_t>(m)),
               Matrix(alpha, std::vector<double>(static_cast<std::size_t>(taps)))};
  for (std::size_t i = 0; i < alpha; ++i) {
    std::vector<double> polynomial{1};  // of the other points
    double scale = 1;
    for (std::size_t j = 0; j < n; ++j) {
      if (j == i) continue;
      polynomial.insert(polynomial.begin(), 0);
      for (std::size_t k = 0; k + 1 < polynomial.size(); ++k) polynomial[k] -= points[j] * polynomial[k + 1];
      if (i < n) scale *= points[i] - points[j];
    }
    const double to_input = i == 0 ? scale : 1;  // so that point 0 takes the first weight as it is
    for (std::size_t k = 0; k < polynomial.size(); ++k) t.input[i][k] = polynomial[k] / to_input;
    for (std::size_t k = 0; k < static_cast<std::size_t>(taps); ++k)
      t.weights[i][k] =
          i < n ? std::pow(points[i], static_cast<double>(k)) / scale * to_input : k + 1 == t.weights[i].size();
  }
  for (std::size_t k = 0; k < static_cast<std::size_t>(m); ++k) {
    for (double p : points) t.output[k].push_back(std::pow(p, static_cast<double>(k)));
    if (alpha > n) t.output[k].push_back(k + 1 == static_cast<std::size_t>(m));
  }
  return t;
}

// The outputs of two taps among those of one.
Transforms half_stride(const WinogradSize& size) {
  const Transforms outer = interpolation(size.m, 2);
  const std::size_t o = outer.input.size(), m = static_cast<std::size_t>(size.m), alpha = o + m;
  const std::size_t late = size.half == HalfStride::two_taps_first;
  Transforms t{zeros(alpha, o), zeros(2 * m, alpha), zeros(alpha, 3)};
  for (std::size_t i = 0; i < o; ++i) {
    t.input[i] = outer.input[i];
    t.weights[i] = {outer.weights[i][0], 0, outer.weights[i][1]};
  }
  for (std::size_t i = 0; i < m; ++i) {
    std::copy(outer.output[i].begin(), outer.output[i].end(), t.output[2 * i + 1 - late].begin());
    t.input[o + i][i + late] = t.output[2 * i + late][o + i] = t.weights[o + i][1] = 1;
  }
  return t;
}

// The weights' matrix has a row for each product: also where some take the same.
Transforms transforms(const WinogradSize& size) {
  if (size.stride == 1) return interpolation(size.m, size.taps);
  if (size.up()) return half_stride(size);
  const Transforms outer = interpolation(size.m, 2);
  const std::size_t o = outer.input.size(), m = static_cast<std::size_t>(size.m), alpha = o + m;
  Transforms t{zeros(alpha, alpha), zeros(m, alpha), zeros(alpha, 3)};
  for (std::size_t i = 0; i < o; ++i) {
    for (std::size_t j = 0; j < o; ++j) t.input[i][2 * j] = outer.input[i][j];
    t.weights[i] = {outer.weights[i][0], 0, outer.weights[i][1]};
  }
  for (std::size_t i = 0; i < m; ++i) {
    std::copy(outer.output[i].begin(), outer.output[i].end(), t.output[i].begin());
    t.input[o + i][2 * i + 1] = t.output[i][o + i] = t.weights[o + i][1] = 1;
  }
  return t;
}

constexpr WinogradSize kSizes[] = {{3, 3, 1},
                                   {5, 3, 1},
                                   {3, 5, 1},
                                   {2, 3, 1},
                                   {4, 3, 1},
                                   {6, 3, 1},
                                   {2, 5, 1},
                                   {4, 5, 1},
                                   {2, 3, 2},
                                   {4, 3, 2},
                                   {3, 2, 1},
                                   {3, 4, 1},
                                   {3, 6, 1},
                                   {5, 2, 1},
                                   {5, 4, 1},
                                   {2, 3, 2, HalfStride::one_tap_first},
                                   {4, 3, 2, HalfStride::one_tap_first},
                                   {2, 3, 2, HalfStride::two_taps_first},
                                   {4, 3, 2, HalfStride::two_taps_first}};

// (left x left')[i][j]
template <class Fn>
double both_sides(const Matrix& left, std::size_t i, std::size_t j, Fn&& x) {
  double sum = 0;
  for (std::size_t p = 0; p < left[i].size(); ++p)
    for (std::size_t q = 0; q < left[j].size(); ++q)
      sum += left[i][p] * left[j][q] * x(static_cast<std::int64_t>(p), static_cast<std::int64_t>(q));
  return sum;
}

template <class T>
constexpr double kBound = sizeof(T) == 4 ? 4e-5 : 8e-14;

// Weight gradients with stride 2: products with the same weight in the forward pass are added up before the outputs'
// transform.
template <class T>
void check_strided_gradient(const KernelTable<T>& table) {
  for (const int tile : {2, 4}) {
    const WinogradSize forward{tile, 3, 2}, size{3, tile, 2};
    const std::int64_t alpha = forward.alpha(), planes = alpha * alpha, sums = size.weights(), n = table.width;
    const std::int64_t elements = std::int64_t{tile} * tile;
    Guarded<T> x(planes * n), v(planes * n), dy(elements * n), s(planes * n), all(sums * sums * n), dw(9 * n);
    fill_random(x), fill_random(dy);
    table.winograd_input({forward, x.data(), alpha * n, n, n, nullptr, v.data(), n});
    table.winograd_weights({size, dy.data(), 1, n, s.data(), n});
    for (std::int64_t i = 0; i < all.size(); ++i) all[i] = T(0);
    for (std::int64_t plane = 0; plane < planes; ++plane) {
      const std::int64_t sum =
          size.weight(static_cast<int>(plane / alpha)) * sums + size.weight(static_cast<int>(plane % alpha));
      for (std::int64_t c = 0; c < n; ++c) all[sum * n + c] += v[plane * n + c] * s[plane * n + c];
    }
    WinogradOutputArgs<T> o{};
    o.size = size, o.rows = o.columns = 3;
    o.s = all.data(), o.s_plane = o.channels = n;
    o.y = dw.data(), o.y_row = 3 * n, o.y_pixel = n;
    table.winograd_output(o);
    for (std::int64_t tap = 0; tap < 9; ++tap)
      for (std::int64_t c = 0; c < n; ++c) {
        double expected = 0;
        for (std::int64_t i = 0; i < elements; ++i)
          expected += static_cast<double>(dy[i * n + c]) *
                      static_cast<double>(x[((2 * (i / tile) + tap / 3) * alpha + 2 * (i % tile) + tap % 3) * n + c]);
        check_close(dw[tap * n + c], expected, 10 * kBound<T>, "winograd's strided weight gradient");
      }
  }
}

}  // namespace

template <class T>
void test_winograd_input(const KernelTable<T>& table) {
  for (int round = 0; round < 100; ++round) {
    WinogradInputArgs<T> a{};
    a.size = kSizes[round % std::size(kSizes)];
    const std::int64_t alpha = a.size.alpha(), planes = alpha * alpha;
    a.channels = random_int(1, 3 * table.width + 1);
    const std::int64_t whole = (a.channels + table.width - 1) / table.width * table.width;
    const std::int64_t inputs = a.size.inputs();
    a.x_pixel = a.channels + random_int(0, 3), a.x_row = inputs * a.x_pixel + random_int(0, 9);
    a.v_plane = whole + random_int(0, 5);
    Guarded<T> x((inputs - 1) * (a.x_row + a.x_pixel) + a.channels), v((planes - 1) * a.v_plane + whole);
    fill_random(x);
    for (std::int64_t i = 0; i < v.size(); ++i) v[i] = T(777);
    a.x = x.data(), a.v = v.data(), a.next = random_int(0, 1) ? x.data() + a.size.step() * a.x_pixel : nullptr;
    table.winograd_input(a);
    const Matrix b = transforms(a.size).input;
    for (std::int64_t plane = 0; plane < planes; ++plane)
      for (std::int64_t c = 0; c < a.v_plane; ++c) {
        const std::int64_t at = plane * a.v_plane + c;
        if (at >= v.size()) break;
        double s = c < whole ? 0 : 777;
        if (c < a.channels)
          s = both_sides(b, static_cast<std::size_t>(plane / alpha), static_cast<std::size_t>(plane % alpha),
                         [&](auto p, auto q) { return static_cast<double>(x[p * a.x_row + q * a.x_pixel + c]); });
        check_close(v[at], s, kBound<T>, "winograd_input");
      }
  }
}

template <class T>
void test_winograd_output(const KernelTable<T>& table) {
  for (int round = 0; round < 200; ++round) {
    WinogradOutputArgs<T> a{};
    a.size = kSizes[round % std::size(kSizes)];
    const std::int64_t alpha = a.size.alpha(), planes = alpha * alpha;
    a.channels = random_int(1, 3 * table.width + 1);
    const std::int64_t whole = (a.channels + table.width - 1) / table.width * table.width;
    const bool all = random_int(0, 1);
    const int outputs = a.size.outputs();
    a.rows = static_cast<int>(all ? outputs : random_int(1, outputs));
    a.columns = static_cast<int>(all ? outputs : random_int(1, outputs));
    a.s_plane = whole + random_int(0, 5);
    a.y_pixel = a.channels + random_int(0, 3), a.y_row = a.columns * a.y_pixel + random_int(0, 9);
    a.clamp = random_int(0, 1);
    a.lo = T(-0.5), a.hi = random_int(0, 1) ? T(1) : std::numeric_limits<T>::infinity();
    Guarded<T> s((planes - 1) * a.s_plane + whole), bias(a.channels);
    Guarded<T> y((a.rows - 1) * a.y_row + (a.columns - 1) * a.y_pixel + a.channels), residual(y.size());
    fill_random(s), fill_random(bias), fill_random(residual);
    const std::int64_t add = random_int(0, 2);  // no residual, one beside y, y itself
    for (std::int64_t i = 0; i < y.size(); ++i) y[i] = add == 2 ? residual[i] : T(777);
    a.s = s.data(), a.y = y.data(), a.bias = random_int(0, 1) ? bias.data() : nullptr;
    if (add) a.residual = add == 1 ? residual.data() : y.data();
    if (random_int(0, 1)) a.next = y.data() + outputs * a.y_pixel;
    table.winograd_output(a);
    const Matrix t = transforms(a.size).output;
    std::vector<bool> written(static_cast<std::size_t>(y.size()));
    for (std::int64_t i = 0; i < a.rows; ++i)
      for (std::int64_t j = 0; j < a.columns; ++j)
        for (std::int64_t c = 0; c < a.channels; ++c) {
          const std::int64_t at = i * a.y_row + j * a.y_pixel + c;
          written[static_cast<std::size_t>(at)] = true;
          double expected =
              both_sides(t, static_cast<std::size_t>(i), static_cast<std::size_t>(j),
                         [&](auto p, auto q) { return static_cast<double>(s[(p * alpha + q) * a.s_plane + c]); });
          if (a.bias) expected += static_cast<double>(bias[c]);
          if (add) expected += static_cast<double>(residual[at]);
          if (a.clamp) expected = std::min<double>(std::max<double>(expected, a.lo), a.hi);
          check_close(y[at], expected, 10 * kBound<T>, "winograd_output");
        }
    for (std::int64_t i = 0; i < y.size(); ++i)
      if (!written[static_cast<std::size_t>(i)])
        check(y[i] == (add == 2 ? residual[i] : T(777)), "winograd_output wrote outside its pixels");
  }
}

template <class T>
void test_winograd_weights(const KernelTable<T>& table) {
  for (int round = 0; round < 190; ++round) {
    WinogradWeightsArgs<T> a{};
    a.size = kSizes[round % std::size(kSizes)];
    const std::int64_t outputs = a.size.outputs(), inputs = a.size.inputs(), taps = a.size.taps;
    const std::int64_t stride = a.size.stride, alpha = a.size.alpha();
    const std::int64_t planes = alpha * alpha, weights = a.size.weights();
    a.run = table.width * random_int(1, 5), a.count = random_int(1, 3);
    a.u_plane = a.count * a.run + random_int(0, 3);
    Guarded<T> w(a.count * taps * taps * a.run), u((weights * weights - 1) * a.u_plane + a.count * a.run);
    fill_random(w);
    a.w = w.data(), a.u = u.data();
    table.winograd_weights(a);
    const Transforms t = transforms(a.size);
    const auto weights_of = [&](std::int64_t plane) {
      return (a.size.weight(static_cast<int>(plane / alpha)) * weights +
              a.size.weight(static_cast<int>(plane % alpha))) *
             a.u_plane;
    };
    for (std::int64_t plane = 0; plane < planes; ++plane)
      for (std::int64_t k = 0; k < a.count * a.run; ++k) {
        const std::int64_t first = k / a.run * taps * taps * a.run + k % a.run;
        check_close(
            u[weights_of(plane) + k],
            both_sides(t.weights, static_cast<std::size_t>(plane / alpha), static_cast<std::size_t>(plane % alpha),
                       [&](auto p, auto q) { return static_cast<double>(w[first + (taps * p + q) * a.run]); }),
            kBound<T>, "winograd_weights");
      }

    // The three together are a convolution.
    const std::int64_t n = table.width;
    Guarded<T> x(inputs * inputs * n), v(planes * n), y(outputs * outputs * n);
    fill_random(x);
    table.winograd_input({a.size, x.data(), inputs * n, n, n, nullptr, v.data(), n});
    for (std::int64_t plane = 0; plane < planes; ++plane)
      for (std::int64_t c = 0; c < n; ++c) v[plane * n + c] *= u[weights_of(plane) + c];
    WinogradOutputArgs<T> o{};
    o.size = a.size, o.rows = o.columns = a.size.outputs();
    o.s = v.data(), o.s_plane = o.channels = n;
    o.y = y.data(), o.y_row = outputs * n, o.y_pixel = n;
    table.winograd_output(o);
    // The sample that a tap of output i reads, or none.
    const auto sample = [&](std::int64_t i, std::int64_t tap) -> std::int64_t {
      if (!a.size.up()) return i * stride + tap;
      const std::int64_t late = a.size.half == HalfStride::two_taps_first;
      if (i % 2 == late) return tap == 1 ? i / 2 + late : -1;
      return tap == 1 ? -1 : i / 2 + tap / 2;
    };
    for (std::int64_t i = 0; i < outputs; ++i)
      for (std::int64_t j = 0; j < outputs; ++j)
        for (std::int64_t c = 0; c < n; ++c) {
          double s = 0;
          for (std::int64_t tap = 0; tap < taps * taps; ++tap) {
            const std::int64_t row = sample(i, tap / taps), column = sample(j, tap % taps);
            if (row < 0 || column < 0) continue;
            s += static_cast<double>(x[(row * inputs + column) * n + c]) * static_cast<double>(w[tap * a.run + c]);
          }
          check_close(y[(i * outputs + j) * n + c], s, 10 * kBound<T>, "winograd");
        }
  }
  check_strided_gradient(table);

  // What is not a number stays so, also where there is a clamp.
  const std::int64_t n = table.width;
  Guarded<T> x(16 * n), v(16 * n), y(4 * n);
  fill_random(x);
  x[5 * n] = std::numeric_limits<T>::quiet_NaN();
  table.winograd_input({{2, 3, 1}, x.data(), 4 * n, n, n, nullptr, v.data(), n});
  WinogradOutputArgs<T> o{};
  o.size = {2, 3, 1}, o.rows = o.columns = 2;
  o.s = v.data(), o.s_plane = o.channels = n;
  o.y = y.data(), o.y_row = 2 * n, o.y_pixel = n;
  o.clamp = true, o.lo = 0, o.hi = 6;
  table.winograd_output(o);
  check(std::isnan(y[0]), "winograd: relu of NaN is NaN");
  check(n == 1 || !std::isnan(y[1]), "winograd: NaN stays in its channel");
}

// The transposes of input and output: with them a product of the three is the gradient of a convolution's input.
template <class T>
void test_winograd_scatter(const KernelTable<T>& table) {
  for (int round = 0; round < 60; ++round) {
    const WinogradSize size{3, 3 + round % 3, 1};
    const std::int64_t alpha = size.alpha(), planes = alpha * alpha, outputs = size.m;
    const Transforms t = transforms(size);
    WinogradScatterArgs<T> a{};
    a.size = size;
    a.channels = random_int(1, 3 * table.width + 1);
    const std::int64_t whole = (a.channels + table.width - 1) / table.width * table.width;
    a.s_plane = whole + random_int(0, 5);
    a.x_pixel = a.channels + random_int(0, 3), a.x_row = alpha * a.x_pixel + random_int(0, 9);
    Guarded<T> s((planes - 1) * a.s_plane + whole), x((alpha - 1) * (a.x_row + a.x_pixel) + a.channels);
    fill_random(s);
    for (std::int64_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(i % 7);
    a.s = s.data(), a.x = x.data();
    table.winograd_scatter(a);
    for (std::int64_t i = 0; i < x.size(); ++i) {
      const std::int64_t row = i / a.x_row, column = i % a.x_row / a.x_pixel, c = i % a.x_row % a.x_pixel;
      double expected = static_cast<double>(i % 7);
      if (row < alpha && column < alpha && c < a.channels)
        for (std::int64_t plane = 0; plane < planes; ++plane)
          expected += t.input[static_cast<std::size_t>(plane / alpha)][static_cast<std::size_t>(row)] *
                      t.input[static_cast<std::size_t>(plane % alpha)][static_cast<std::size_t>(column)] *
                      static_cast<double>(s[plane * a.s_plane + c]);
      check_close(x[i], expected, 20 * kBound<T>, "winograd_scatter");
    }

    WinogradWeightsArgs<T> w{};
    w.size = size, w.output = true;
    w.run = table.width, w.count = random_int(1, 2);
    w.u_plane = w.count * w.run + random_int(0, 3);
    Guarded<T> from(w.count * outputs * outputs * w.run), u((planes - 1) * w.u_plane + w.count * w.run);
    fill_random(from);
    w.w = from.data(), w.u = u.data();
    table.winograd_weights(w);
    for (std::int64_t plane = 0; plane < planes; ++plane)
      for (std::int64_t k = 0; k < w.count * w.run; ++k) {
        const std::int64_t first = k / w.run * outputs * outputs * w.run + k % w.run;
        double expected = 0;
        for (std::int64_t i = 0; i < outputs * outputs; ++i)
          expected += t.output[static_cast<std::size_t>(i / outputs)][static_cast<std::size_t>(plane / alpha)] *
                      t.output[static_cast<std::size_t>(i % outputs)][static_cast<std::size_t>(plane % alpha)] *
                      static_cast<double>(from[first + i * w.run]);
        check_close(u[plane * w.u_plane + k], expected, kBound<T>, "winograd_weights by the outputs' matrix");
      }
  }
}

FASTCONV_TEST(winograd_input);
FASTCONV_TEST(winograd_output);
FASTCONV_TEST(winograd_weights);
FASTCONV_TEST(winograd_scatter);

}  // namespace fastconv::test
