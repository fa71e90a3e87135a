#include <limits>

#include "harness.hpp"

namespace fastconv::test {
namespace {

using Matrix = std::vector<std::vector<double>>;

// Cook and Toom's matrices for the interpolation points and infinity.
struct Transforms {
  Matrix input, output, weights;  // B', A', G
};

Transforms transforms(int m) {
  const double a = std::sqrt(0.5), b = std::sqrt(2.0);
  const std::vector<double> points = m == 2 ? std::vector<double>{0, 1, -1} : std::vector<double>{0, a, -a, b, -b};
  const auto n = points.size();
  Transforms t{Matrix(n + 1, std::vector<double>(n + 1)), Matrix(static_cast<std::size_t>(m)),
               Matrix(n + 1, std::vector<double>(3))};
  for (std::size_t i = 0; i <= n; ++i) {  // n: infinity
    std::vector<double> polynomial{1};    // of the other points
    double scale = 1;
    for (std::size_t j = 0; j < n; ++j) {
      if (j == i) continue;
      polynomial.insert(polynomial.begin(), 0);
      for (std::size_t k = 0; k + 1 < polynomial.size(); ++k) polynomial[k] -= points[j] * polynomial[k + 1];
      if (i < n) scale *= points[i] - points[j];
    }
    const double sign = scale < 0 && i == 0 ? -1 : 1;
    for (std::size_t k = 0; k < polynomial.size(); ++k) t.input[i][k] = sign * polynomial[k];
    for (std::size_t k = 0; k < 3; ++k)
      t.weights[i][k] = i < n ? std::pow(points[i], static_cast<double>(k)) / (sign * scale) : k == 2;
  }
  for (std::size_t k = 0; k < static_cast<std::size_t>(m); ++k) {
    for (double p : points) t.output[k].push_back(std::pow(p, static_cast<double>(k)));
    t.output[k].push_back(k + 1 == static_cast<std::size_t>(m));
  }
  return t;
}

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
constexpr double kBound = sizeof(T) == 4 ? 2e-5 : 4e-14;

}  // namespace

template <class T>
void test_winograd_input(const KernelTable<T>& table) {
  for (int round = 0; round < 100; ++round) {
    WinogradInputArgs<T> a{};
    a.m = random_int(0, 1) ? 2 : 4;
    const std::int64_t alpha = a.m + 2, planes = alpha * alpha;
    a.channels = random_int(1, 3 * table.width + 1);
    const std::int64_t whole = (a.channels + table.width - 1) / table.width * table.width;
    a.x_pixel = a.channels + random_int(0, 3), a.x_row = alpha * a.x_pixel + random_int(0, 9);
    a.v_plane = whole + random_int(0, 5);
    Guarded<T> x((alpha - 1) * (a.x_row + a.x_pixel) + a.channels), v((planes - 1) * a.v_plane + whole);
    fill_random(x);
    for (std::int64_t i = 0; i < v.size(); ++i) v[i] = T(777);
    a.x = x.data(), a.v = v.data(), a.next = random_int(0, 1) ? x.data() + a.m * a.x_pixel : nullptr;
    table.winograd_input(a);
    const Matrix b = transforms(a.m).input;
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
    a.m = random_int(0, 1) ? 2 : 4;
    const std::int64_t alpha = a.m + 2, planes = alpha * alpha;
    a.channels = random_int(1, 3 * table.width + 1);
    const std::int64_t whole = (a.channels + table.width - 1) / table.width * table.width;
    const bool all = random_int(0, 1);
    a.rows = static_cast<int>(all ? a.m : random_int(1, a.m));
    a.columns = static_cast<int>(all ? a.m : random_int(1, a.m));
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
    if (random_int(0, 1)) a.next = y.data() + a.m * a.y_pixel;
    table.winograd_output(a);
    const Matrix t = transforms(a.m).output;
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
  for (int round = 0; round < 100; ++round) {
    WinogradWeightsArgs<T> a{};
    a.m = random_int(0, 1) ? 2 : 4;
    const std::int64_t alpha = a.m + 2, planes = alpha * alpha;
    a.run = table.width * random_int(1, 5);
    a.w_tap = a.run + random_int(0, 3), a.u_plane = a.run + random_int(0, 3);
    Guarded<T> w(8 * a.w_tap + a.run), u((planes - 1) * a.u_plane + a.run);
    fill_random(w);
    a.w = w.data(), a.u = u.data();
    table.winograd_weights(a);
    const Transforms t = transforms(a.m);
    for (std::int64_t plane = 0; plane < planes; ++plane)
      for (std::int64_t e = 0; e < a.run; ++e)
        check_close(
            u[plane * a.u_plane + e],
            both_sides(t.weights, static_cast<std::size_t>(plane / alpha), static_cast<std::size_t>(plane % alpha),
                       [&](auto p, auto q) { return static_cast<double>(w[(3 * p + q) * a.w_tap + e]); }),
            kBound<T>, "winograd_weights");

    // The three together are a convolution.
    const std::int64_t n = table.width;
    Guarded<T> x(planes * n), v(planes * n), y(a.m * a.m * n);
    fill_random(x);
    table.winograd_input({a.m, x.data(), alpha * n, n, n, nullptr, v.data(), n});
    for (std::int64_t plane = 0; plane < planes; ++plane)
      for (std::int64_t c = 0; c < n; ++c) v[plane * n + c] *= u[plane * a.u_plane + c];
    WinogradOutputArgs<T> o{};
    o.m = o.rows = o.columns = a.m;
    o.s = v.data(), o.s_plane = o.channels = n;
    o.y = y.data(), o.y_row = a.m * n, o.y_pixel = n;
    table.winograd_output(o);
    for (std::int64_t i = 0; i < a.m; ++i)
      for (std::int64_t j = 0; j < a.m; ++j)
        for (std::int64_t c = 0; c < n; ++c) {
          double s = 0;
          for (std::int64_t tap = 0; tap < 9; ++tap)
            s += static_cast<double>(x[((i + tap / 3) * alpha + j + tap % 3) * n + c]) *
                 static_cast<double>(w[tap * a.w_tap + c]);
          check_close(y[(i * a.m + j) * n + c], s, 10 * kBound<T>, "winograd");
        }
  }
  // What is not a number stays so, also where there is a clamp.
  const std::int64_t n = table.width;
  Guarded<T> x(16 * n), v(16 * n), y(4 * n);
  fill_random(x);
  x[5 * n] = std::numeric_limits<T>::quiet_NaN();
  table.winograd_input({2, x.data(), 4 * n, n, n, nullptr, v.data(), n});
  WinogradOutputArgs<T> o{};
  o.m = o.rows = o.columns = 2;
  o.s = v.data(), o.s_plane = o.channels = n;
  o.y = y.data(), o.y_row = 2 * n, o.y_pixel = n;
  o.clamp = true, o.lo = 0, o.hi = 6;
  table.winograd_output(o);
  check(std::isnan(y[0]), "winograd: relu of NaN is NaN");
  check(n == 1 || !std::isnan(y[1]), "winograd: NaN stays in its channel");
}

FASTCONV_TEST(winograd_input);
FASTCONV_TEST(winograd_output);
FASTCONV_TEST(winograd_weights);

}  // namespace fastconv::test
