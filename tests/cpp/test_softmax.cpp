// Softmax and cross-entropy kernels.
#include <algorithm>
#include <limits>

#include "harness.hpp"

namespace fastconv::test {
namespace {

// log(softmax) of n elements, in long double.
template <class T>
std::vector<double> log_softmax(const T* x, std::int64_t n, std::int64_t step) {
  long double top = x[0], sum = 0;
  for (std::int64_t i = 0; i < n; ++i) top = std::max<long double>(top, x[i * step]);
  for (std::int64_t i = 0; i < n; ++i) sum += std::exp(static_cast<long double>(x[i * step]) - top);
  std::vector<double> y;
  for (std::int64_t i = 0; i < n; ++i)
    y.push_back(static_cast<double>(static_cast<long double>(x[i * step]) - top - std::log(sum)));
  return y;
}

}  // namespace

template <class T>
void test_softmax(const KernelTable<T>& table) {
  for (std::int64_t n : {1, 2, 10, 16, 17, 63, 64, 65, 100})
    for (std::int64_t rows : {1, 3, 20})
      for (bool columns : {false, true})
        for (bool take_log : {false, true}) {
          const std::int64_t stride = columns ? rows + 2 : 1, step = columns ? 1 : n;
          if (stride == 1 && columns) continue;
          Guarded<T> x(columns ? (n - 1) * stride + rows : rows * n), y(x.size()), dy(x.size()), dx(x.size());
          fill_random(x, 30);
          fill_random(dy);
          table.softmax({x.data(), nullptr, y.data(), rows, n, stride, take_log});
          table.softmax({y.data(), dy.data(), dx.data(), rows, n, stride, take_log});
          for (std::int64_t r = 0; r < rows; ++r) {
            const auto expected = log_softmax(x.data() + r * step, n, stride);
            double total = 0;
            for (std::int64_t i = 0; i < n; ++i)
              total += static_cast<double>(dy[r * step + i * stride]) * (take_log ? 1 : std::exp(expected[i]));
            for (std::int64_t i = 0; i < n; ++i) {
              const std::int64_t at = r * step + i * stride;
              const double p = std::exp(expected[i]), g = static_cast<double>(dy[at]);
              check_close(y[at], take_log ? expected[i] : p, tolerance<T>(8), "softmax of " + std::to_string(n));
              check_close(dx[at], take_log ? g - p * total : p * (g - total), tolerance<T>(static_cast<double>(n)) * 4,
                          "softmax gradient of " + std::to_string(n));
            }
          }
        }
}

template <class T>
void test_cross_entropy(const KernelTable<T>& table) {
  for (std::int64_t n : {1, 2, 10, 16, 17, 100})
    for (double smoothing : {0.0, 0.125})
      for (bool hard : {false, true}) {
        const std::int64_t rows = 7;
        Guarded<T> x(rows * n), t(rows * n), dloss(rows), loss(rows), dx(rows * n);
        Guarded<std::int64_t> labels(rows);
        fill_random(x, 20);
        fill_random(dloss);
        for (std::int64_t i = 0; i < t.size(); ++i) t[i] = static_cast<T>(random_int(0, 8)) / 8;
        for (std::int64_t r = 0; r < rows; ++r) labels[r] = r == 3 ? -5 : random_int(0, n - 1);
        CrossEntropyArgs<T> a{x.data(), nullptr, nullptr, nullptr, loss.data(), rows, n, -5, static_cast<T>(smoothing)};
        (hard ? void(a.labels = labels.data()) : void(a.probabilities = t.data()));
        table.cross_entropy(a);
        a.dloss = dloss.data();
        a.y = dx.data();
        table.cross_entropy(a);
        for (std::int64_t r = 0; r < rows; ++r) {
          const auto logs = log_softmax(x.data() + r * n, n, 1);
          const bool ignored = hard && labels[r] == -5;
          double expected = 0, mass = 0;
          const auto target = [&](std::int64_t i) {
            const double p = hard ? labels[r] == i : static_cast<double>(t[r * n + i]);
            return p * (1 - smoothing) + smoothing / static_cast<double>(n);
          };
          for (std::int64_t i = 0; i < n; ++i) {
            expected -= target(i) * logs[i];
            mass += target(i);
          }
          const double tol = tolerance<T>(static_cast<double>(n) + 20);
          check_close(loss[r], ignored ? 0 : expected, tol, "cross_entropy of " + std::to_string(n));
          for (std::int64_t i = 0; i < n; ++i)
            check_close(dx[r * n + i],
                        ignored ? 0 : (std::exp(logs[i]) * mass - target(i)) * static_cast<double>(dloss[r]), tol * 4,
                        "cross_entropy gradient of " + std::to_string(n));
        }
      }
}

template <class T>
void test_sigmoid_cross_entropy(const KernelTable<T>& table) {
  for (std::int64_t n : {1, 5, 16, 100}) {
    Guarded<T> x(n), t(n), dloss(n), y(n), dx(n);
    fill_random(x, 15);
    fill_random(t);
    fill_random(dloss);
    table.sigmoid_cross_entropy({x.data(), t.data(), nullptr, y.data(), n});
    table.sigmoid_cross_entropy({x.data(), t.data(), dloss.data(), dx.data(), n});
    for (std::int64_t i = 0; i < n; ++i) {
      const double v = x[i], target = t[i];
      check_close(y[i], (v > 0 ? v * (1 - target) : -v * target) + std::log1p(std::exp(-std::fabs(v))), tolerance<T>(4),
                  "sigmoid_cross_entropy");
      check_close(dx[i], (1 / (1 + std::exp(-v)) - target) * static_cast<double>(dloss[i]), tolerance<T>(4),
                  "sigmoid_cross_entropy gradient");
    }
  }
}

FASTCONV_TEST(softmax);
FASTCONV_TEST(cross_entropy);
FASTCONV_TEST(sigmoid_cross_entropy);

}  // namespace fastconv::test
