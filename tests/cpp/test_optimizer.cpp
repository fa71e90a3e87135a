// Optimizer updates against Keras 3's formulas, element by element in double.
#include "harness.hpp"

namespace fastconv::test {
namespace {

template <class T>
struct States {
  Guarded<T> param, grad, a, b, c;
  std::vector<double> p, g, x, y, z;  // the same values before the update
  explicit States(std::int64_t n) : param(n), grad(n), a(n), b(n), c(n) {
    for (Guarded<T>* s : {&param, &grad, &a, &b, &c}) fill_random(*s);
    for (std::int64_t i = 0; i < n; ++i) {
      b[i] = std::fabs(b[i]) + T(0.1);
      c[i] = std::fabs(c[i]) / 8;
      p.push_back(param[i]);
      g.push_back(grad[i]);
      x.push_back(a[i]);
      y.push_back(b[i]);
      z.push_back(c[i]);
    }
  }
};

constexpr double kLr = 0.125, kDecay = 0.0625;  // exact in float32

constexpr std::int64_t kSizes[] = {0, 1, 5, 16, 37, 100};

}  // namespace

template <class T>
void test_sgd_update(const KernelTable<T>& table) {
  for (std::int64_t n : kSizes) {
    for (int form = 0; form < 3; ++form) {  // plain, momentum, Nesterov
      States<T> s(n);
      table.sgd_update(
          {s.param.data(), s.grad.data(), form ? s.a.data() : nullptr, n, T(kDecay), T(kLr), T(0.75), form == 2});
      for (std::int64_t i = 0; i < n; ++i) {
        const double velocity = form ? 0.75 * s.x[i] - kLr * s.g[i] : 0;
        const double step = form == 0 ? -kLr * s.g[i] : form == 1 ? velocity : 0.75 * velocity - kLr * s.g[i];
        check_close(s.param[i], s.p[i] * (1 - kDecay) + step, tolerance<T>(4), "sgd's parameter");
        if (form) check_close(s.a[i], velocity, tolerance<T>(2), "sgd's velocity");
      }
      check(true, "sgd");
    }
  }
}

template <class T>
void test_adam_update(const KernelTable<T>& table) {
  for (std::int64_t n : kSizes) {
    for (bool amsgrad : {false, true}) {
      States<T> s(n);
      table.adam_update({s.param.data(), s.grad.data(), s.a.data(), s.b.data(), amsgrad ? s.c.data() : nullptr, n,
                         T(kDecay), T(kLr), T(0.125), T(0.25), T(0.0009765625)});
      for (std::int64_t i = 0; i < n; ++i) {
        const double m = s.x[i] + (s.g[i] - s.x[i]) * 0.125, v = s.y[i] + (s.g[i] * s.g[i] - s.y[i]) * 0.25;
        const double top = amsgrad ? std::fmax(s.z[i], v) : v;
        check_close(s.a[i], m, tolerance<T>(3), "adam's m");
        check_close(s.b[i], v, tolerance<T>(3), "adam's v");
        if (amsgrad) check_close(s.c[i], top, tolerance<T>(3), "adam's vhat");
        check_close(s.param[i], s.p[i] * (1 - kDecay) - kLr * m / (std::sqrt(top) + 0.0009765625), tolerance<T>(8),
                    "adam's parameter");
      }
      check(true, "adam");
    }
  }
}

template <class T>
void test_rmsprop_update(const KernelTable<T>& table) {
  for (std::int64_t n : kSizes) {
    for (int form = 0; form < 4; ++form) {
      const bool momentum = form & 1, centered = form & 2;
      States<T> s(n);
      for (std::int64_t i = 0; i < n; ++i) s.b[i] += 2;  // above the squared mean
      for (std::int64_t i = 0; i < n; ++i) s.y[i] = s.b[i];
      table.rmsprop_update({s.param.data(), s.grad.data(), s.b.data(), momentum ? s.a.data() : nullptr,
                            centered ? s.c.data() : nullptr, n, T(kDecay), T(kLr), T(0.875), T(0.125), T(0.75),
                            T(0.0009765625)});
      for (std::int64_t i = 0; i < n; ++i) {
        const double v = 0.875 * s.y[i] + 0.125 * s.g[i] * s.g[i];
        const double mean = centered ? 0.875 * s.z[i] + 0.125 * s.g[i] : 0;
        double step = kLr * s.g[i] / std::sqrt(v - mean * mean + 0.0009765625);
        if (momentum) step += 0.75 * s.x[i];
        check_close(s.b[i], v, tolerance<T>(4), "rmsprop's v");
        if (centered) check_close(s.c[i], mean, tolerance<T>(4), "rmsprop's mean");
        if (momentum) check_close(s.a[i], step, tolerance<T>(8), "rmsprop's momentum");
        check_close(s.param[i], s.p[i] * (1 - kDecay) - step, tolerance<T>(8), "rmsprop's parameter");
      }
      check(true, "rmsprop");
    }
  }
}

template <class T>
void test_adagrad_update(const KernelTable<T>& table) {
  for (std::int64_t n : kSizes) {
    States<T> s(n);
    table.adagrad_update({s.param.data(), s.grad.data(), s.b.data(), n, T(kDecay), T(kLr), T(0.0009765625)});
    for (std::int64_t i = 0; i < n; ++i) {
      const double sum = s.y[i] + s.g[i] * s.g[i];
      check_close(s.b[i], sum, tolerance<T>(2), "adagrad's accumulator");
      check_close(s.param[i], s.p[i] * (1 - kDecay) - kLr * s.g[i] / std::sqrt(sum + 0.0009765625), tolerance<T>(6),
                  "adagrad's parameter");
    }
    check(true, "adagrad");
  }
}

FASTCONV_TEST(sgd_update);
FASTCONV_TEST(adam_update);
FASTCONV_TEST(rmsprop_update);
FASTCONV_TEST(adagrad_update);

}  // namespace fastconv::test
