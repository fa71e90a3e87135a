// Elementwise kernels against the C library's functions in double.
#include <cstring>
#include <limits>

#include "harness.hpp"

namespace fastconv::test {
namespace {

// For each function its value in double, and the derivative by the formula of calculus.
struct Reference {
  double y, slope;
};

double normal_density(double x) { return std::exp(-x * x / 2) / std::sqrt(2 * std::acos(-1.0)); }
double normal_cdf(double x) { return std::erfc(-x / std::sqrt(2.0)) / 2; }

Reference reference(Unary f, double x, const UnaryParameters& p) {
  const double sigmoid = 1 / (1 + std::exp(-x));
  switch (f) {
    case Unary::relu: return {std::fmax(x, 0), x > 0 ? 1.0 : 0.0};
    case Unary::leaky_relu: return {x > 0 ? x : p.a * x, x > 0 ? 1 : p.a};
    case Unary::sigmoid: return {sigmoid, sigmoid * (1 - sigmoid)};
    case Unary::tanh: return {std::tanh(x), 1 - std::tanh(x) * std::tanh(x)};
    case Unary::elu: return {x > 0 ? x : p.a * std::expm1(x), x > 0 ? 1 : p.a * std::exp(x)};
    case Unary::selu: {
      const double a = 1.6732632423543772, s = 1.0507009873554805;
      return {s * (x > 0 ? x : a * std::expm1(x)), s * (x > 0 ? 1 : a * std::exp(x))};
    }
    case Unary::gelu: {
      if (p.a == 0) return {x * normal_cdf(x), normal_cdf(x) + x * normal_density(x)};
      const double k = std::sqrt(2 / std::acos(-1.0)), t = std::tanh(k * (x + 0.044715 * x * x * x));
      return {x * (1 + t) / 2, (1 + t) / 2 + x / 2 * (1 - t * t) * k * (1 + 3 * 0.044715 * x * x)};
    }
    case Unary::silu: return {x * sigmoid, sigmoid * (1 + x * (1 - sigmoid))};
    case Unary::hard_swish: return {x * std::fmin(std::fmax(x + 3, 0), 6) / 6, x <= -3 ? 0 : x >= 3 ? 1 : x / 3 + 0.5};
    case Unary::hard_sigmoid: {
      const double y = p.a * x + p.b;
      return {std::fmin(std::fmax(y, 0), 1), y > 0 && y < 1 ? p.a : 0};
    }
    case Unary::softplus: return {std::fmax(x, 0) + std::log1p(std::exp(-std::fabs(x))), sigmoid};
    case Unary::softsign: return {x / (1 + std::fabs(x)), 1 / ((1 + std::fabs(x)) * (1 + std::fabs(x)))};
    case Unary::exp: return {std::exp(x), std::exp(x)};
    case Unary::log: return {std::log(x), 1 / x};
    case Unary::sqrt: return {std::sqrt(x), 0.5 / std::sqrt(x)};
    case Unary::rsqrt: return {1 / std::sqrt(x), -0.5 / (x * std::sqrt(x))};
    case Unary::square: return {x * x, 2 * x};
    case Unary::abs: return {std::fabs(x), x > 0 ? 1.0 : -1.0};
    case Unary::reciprocal: return {1 / x, -1 / (x * x)};
    case Unary::erf: return {std::erf(x), 2 / std::sqrt(std::acos(-1.0)) * std::exp(-x * x)};
    case Unary::clip: return {std::fmin(std::fmax(x, p.a), p.b), x > p.a && x < p.b ? 1.0 : 0.0};
    case Unary::mish: {
      const double soft = std::fmax(x, 0) + std::log1p(std::exp(-std::fabs(x))), t = std::tanh(soft);
      return {x * t, t + x * (1 - t * t) * sigmoid};
    }
    case Unary::celu: return {x > 0 ? x : p.a * std::expm1(x / p.a), x > 0 ? 1 : std::exp(x / p.a)};
    case Unary::thresholded_relu: return {x > p.a ? x : 0, x > p.a ? 1.0 : 0.0};
    case Unary::floor: return {std::floor(x), 0};
    case Unary::ceil: return {std::ceil(x), 0};
    case Unary::round: return {std::nearbyint(x), 0};
    case Unary::sin: return {std::sin(x), 0};
    case Unary::cos: return {std::cos(x), 0};
    case Unary::tan: return {std::tan(x), 0};
    case Unary::asin: return {std::asin(x), 0};
    case Unary::acos: return {std::acos(x), 0};
    case Unary::atan: return {std::atan(x), 0};
    case Unary::sinh: return {std::sinh(x), 0};
    case Unary::cosh: return {std::cosh(x), 0};
    case Unary::asinh: return {std::asinh(x), 0};
    case Unary::acosh: return {std::acosh(x), 0};
    case Unary::atanh: return {std::atanh(x), 0};
    case Unary::sign: return {x > 0 ? 1.0 : -1.0, 0};
    case Unary::neg: return {-x, 0};
    case Unary::scale: return {p.a * x + p.b, 0};
    case Unary::identity: return {x, 0};
  }
  return {};
}

struct Case {
  Unary function;
  char reads;
  const char* name;
  UnaryParameters parameters;
};

std::vector<Case> cases() {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  std::vector<Case> all = {
#define FASTCONV_UNARY(name, reads, a, a_default, b, b_default) \
  {Unary::name, #reads[0], #name, {a_default, b_default, false}},
#define FASTCONV_UNARY_PLAIN(name, a, a_default, b, b_default) {Unary::name, '-', #name, {a_default, b_default, false}},
#include "kernels/unary.inc"
#undef FASTCONV_UNARY
#undef FASTCONV_UNARY_PLAIN
  };
  all.push_back({Unary::gelu, 'x', "gelu tanh", {1, 0, false}});
  all.push_back({Unary::clip, 'y', "clip", {-0.5, 1, false}});
  all.push_back({Unary::leaky_relu, 'x', "leaky_relu, negative slope", {-0.5, 0, true}});
  all.push_back({Unary::elu, 'x', "elu, negative alpha", {-0.5, 0, true}});
  all.push_back({Unary::celu, 'x', "celu", {0.5, 0, false}});
  all.push_back({Unary::celu, 'x', "celu, negative alpha", {-2, 0, false}});
  all.push_back({Unary::thresholded_relu, 'x', "thresholded_relu, negative alpha", {-0.5, 0, true}});
  all.push_back({Unary::scale, '-', "scale", {2.5, -1, false}});
  return all;
}

bool positive_only(Unary f) { return f == Unary::log || f == Unary::sqrt || f == Unary::rsqrt; }
bool away_from_zero(Unary f) { return f == Unary::reciprocal; }
bool inside_one(Unary f) { return f == Unary::asin || f == Unary::acos || f == Unary::atanh; }

template <class T>
constexpr double kUlps = 24 * static_cast<double>(std::numeric_limits<T>::epsilon());

}  // namespace

// Where rounding is hard: halves, the last fractions there are, numbers without one, and both zeros.
template <class T>
void test_rounding(const KernelTable<T>& table) {
  const double whole = std::ldexp(1.0, std::numeric_limits<T>::digits - 1),
               infinity = std::numeric_limits<T>::infinity();
  std::vector<double> values = {0.0, 0.25, 0.5, 1.5, 2.5, 1e30, infinity};
  for (double v : {whole / 2 - 0.5, whole / 2 + 0.5, whole / 2 + 1.5, whole - 0.5, whole, whole + 1, 2 * whole})
    values.push_back(v);
  const auto half = static_cast<std::int64_t>(values.size()), n = 2 * half;
  Guarded<T> x(n), y(n);
  for (std::int64_t i = 0; i < n; ++i) x[i] = static_cast<T>(i < half ? values[i] : -values[i - half]);
  for (Unary f : {Unary::floor, Unary::ceil, Unary::round}) {
    table.unary({f, {}, x.data(), y.data(), n});
    for (std::int64_t i = 0; i < n; ++i)
      check(y[i] == reference(f, x[i], {}).y, "rounding of " + std::to_string(x[i]) + " to " + std::to_string(y[i]));
  }
}

// Sigmoid and SiLU everywhere, relative to their value however small it is; what lies beyond is 0 or x.
template <class T>
void test_sigmoid(const KernelTable<T>& table) {
  const std::int64_t n = 40000;
  Guarded<T> x(n), y(n);
  for (Unary f : {Unary::sigmoid, Unary::silu}) {
    const bool silu = f == Unary::silu;
    for (const double low : {-20.0, -87.0}) {
      for (std::int64_t i = 0; i < n; ++i) x[i] = static_cast<T>(low + (100 - low) * static_cast<double>(i) / n);
      table.unary({f, {}, x.data(), y.data(), n});
      const double ulps = (low < -20 ? 6 : 2.5) * static_cast<double>(std::numeric_limits<T>::epsilon());
      for (std::int64_t i = 0; i < n; ++i) {
        const double want = reference(f, x[i], {}).y;
        check(std::fabs(y[i] - want) <= ulps * std::fabs(want),
              (silu ? "silu of " : "sigmoid of ") + std::to_string(x[i]) + ": " + std::to_string(y[i] / want - 1));
      }
    }
    const T infinity = std::numeric_limits<T>::infinity();
    const std::vector<T> ends = {T(-90), T(-200), T(-1e30), T(90), T(1e30), infinity, T(-0.0), T(1e-42)};
    for (std::size_t i = 0; i < ends.size(); ++i) x[static_cast<std::int64_t>(i)] = ends[i];
    table.unary({f, {}, x.data(), y.data(), static_cast<std::int64_t>(ends.size())});
    for (std::int64_t i = 0; i < 3; ++i)
      check(std::fabs(y[i]) < 1e-35 && (i < 2 || y[i] == 0), "sigmoid and silu far below 0");
    for (std::int64_t i = 3; i < 6; ++i) check(y[i] == (silu ? x[i] : T(1)), "sigmoid and silu far above 0");
    for (std::int64_t i = 6; i < 8; ++i) check(y[i] == (silu ? x[i] / 2 : T(0.5)), "sigmoid and silu at 0");
  }
  if constexpr (sizeof(T) == 4) {  // a NaN with anything in its lower bits
    for (std::int64_t i = 0; i < 64; ++i) {
      const std::uint32_t bits = 0x7fc00000u | (i & 1 ? 1u << 31 : 0) | static_cast<std::uint32_t>(i * 0x10f3b);
      std::memcpy(&x[i], &bits, 4);
    }
    for (Unary f : {Unary::sigmoid, Unary::silu}) {
      table.unary({f, {}, x.data(), y.data(), 64});
      for (std::int64_t i = 0; i < 64; ++i) check(std::isnan(y[i]), "sigmoid or silu of a NaN");
    }
  }
}

// Several rows in one call: nothing between them is touched.
template <class T>
void test_unary_rows(const KernelTable<T>& table) {
  for (std::int64_t n : {1, 7, 16, 37}) {
    const std::int64_t rows = 5, row = n + 3, all = (rows - 1) * row + n;
    Guarded<T> x(all), y(all), one(n);
    fill_random(x);
    for (std::int64_t i = 0; i < all; ++i) y[i] = T(777);
    table.unary({Unary::silu, {}, x.data(), y.data(), n, rows, row});
    for (std::int64_t r = 0; r < rows; ++r) {
      table.unary({Unary::silu, {}, x.data() + r * row, one.data(), n});
      for (std::int64_t i = 0; i < row && r * row + i < all; ++i)
        check(y[r * row + i] == (i < n ? one[i] : T(777)), "unary in rows");
    }
  }
}

template <class T>
void test_unary(const KernelTable<T>& table) {
  for (const Case& c : cases()) {
    for (std::int64_t n : {0, 1, 3, 16, 33, 200}) {
      Guarded<T> x(n), y(n);
      fill_random(x, 3);
      for (std::int64_t i = 0; i < n; ++i) {
        if (positive_only(c.function)) x[i] = std::fabs(x[i]) + T(0.01);
        if (away_from_zero(c.function) && std::fabs(x[i]) < 0.1) x[i] = 1;
        if (inside_one(c.function)) x[i] /= 1 + std::fabs(x[i]);
        if (c.function == Unary::acosh) x[i] = 1 + std::fabs(x[i]);
      }
      table.unary({c.function, c.parameters, x.data(), y.data(), n});
      for (std::int64_t i = 0; i < n; ++i)
        check_close(y[i], reference(c.function, x[i], c.parameters).y, kUlps<T>, c.name);
      table.unary({c.function, c.parameters, x.data(), x.data(), n});  // in place
      for (std::int64_t i = 0; i < n; ++i) check(x[i] == y[i], std::string(c.name) + " in place");
    }
    Guarded<T> nan(1), y(1);
    nan[0] = std::numeric_limits<T>::quiet_NaN();
    table.unary({c.function, c.parameters, nan.data(), y.data(), 1});
    check(std::isnan(y[0]) || c.function == Unary::sign, std::string(c.name) + " of NaN");
  }
  test_rounding(table);
  test_sigmoid(table);
  test_unary_rows(table);
}

template <class T>
void test_unary_grad(const KernelTable<T>& table) {
  for (const Case& c : cases()) {
    if (c.reads == '-') continue;
    for (std::int64_t n : {0, 1, 3, 16, 33, 200}) {
      Guarded<T> x(n), s(n), dy(n), dx(n);
      fill_random(x);
      fill_random(dy);
      for (std::int64_t i = 0; i < n; ++i) {
        if (positive_only(c.function)) x[i] = std::fabs(x[i]) + T(0.1);
        if (away_from_zero(c.function) && std::fabs(x[i]) < 0.5) x[i] = 1;
        s[i] = c.reads == 'x' ? x[i] : static_cast<T>(reference(c.function, x[i], c.parameters).y);
      }
      table.unary_grad({c.function, c.parameters, dy.data(), s.data(), dx.data(), n});
      for (std::int64_t i = 0; i < n; ++i)
        check_close(dx[i], dy[i] * reference(c.function, x[i], c.parameters).slope, 4 * kUlps<T>,
                    std::string("derivative of ") + c.name);
    }
  }
  Guarded<T> s(1), dy(1), dx(1);
  dy[0] = 2;
  s[0] = std::numeric_limits<T>::quiet_NaN();
  table.unary_grad({Unary::relu, {}, dy.data(), s.data(), dx.data(), 1});
  check(dx[0] == 2, "relu passes the gradient at NaN");
  table.unary_grad({Unary::leaky_relu, {0.5, 0, false}, dy.data(), s.data(), dx.data(), 1});
  check(dx[0] == 1, "leaky_relu scales the gradient at NaN");
  table.unary_grad({Unary::clip, {0, 6, false}, dy.data(), s.data(), dx.data(), 1});
  check(dx[0] == 0, "clip has no gradient at NaN");
}

template <class T>
void test_binary(const KernelTable<T>& table) {
  const auto reference_of = [](Binary f, double a, double b) -> double {
    switch (f) {
      case Binary::add: return a + b;
      case Binary::sub: return a - b;
      case Binary::mul: return a * b;
      case Binary::div: return a / b;
      case Binary::maximum: return std::isnan(a) || std::isnan(b) ? a + b : std::fmax(a, b);
      case Binary::minimum: return std::isnan(a) || std::isnan(b) ? a + b : std::fmin(a, b);
      case Binary::pow: return std::pow(a, b);
      case Binary::mod: return std::fmod(a, b) == 0 ? 0 : std::fmod(a, b) + ((std::fmod(a, b) < 0) != (b < 0) ? b : 0);
      case Binary::fmod: return std::fmod(a, b);
      case Binary::prelu: return a < 0 ? a * b : a;
      case Binary::prelu_slope: return a < 0 ? b : 1;
      case Binary::equal: return a == b;
      case Binary::maximum_share: return a == b ? 0.5 : a < b ? 0 : 1;
      case Binary::minimum_share: return a == b ? 0.5 : a > b ? 0 : 1;
      case Binary::pow_base: return b == 0 ? 0 : b * std::pow(a, b - 1);
      case Binary::pow_exponent: return a == 0 && b >= 0 ? 0 : std::pow(a, b) * std::log(a);
      case Binary::first: return a;
    }
    return 0;
  };
  const std::vector<std::pair<Binary, const char*>> functions = {
#define FASTCONV_BINARY(name) {Binary::name, #name},
#include "kernels/binary.inc"
#undef FASTCONV_BINARY
  };
  for (const auto& [f, name] : functions) {
    for (std::int64_t n : {1, 5, 16, 39}) {
      for (int steps = 0; steps < 4; ++steps) {
        const std::int64_t rows = 3, a_step = steps & 1, b_step = steps >> 1;
        const std::int64_t a_row = a_step ? n : 1, b_row = 0;  // b is the same for every row
        Guarded<T> a(a_step ? rows * n : rows), b(b_step ? n : 1), y(rows * n);
        fill_random(a, 1.5);
        fill_random(b, 1.5);
        const bool power = f == Binary::pow || f == Binary::pow_base || f == Binary::pow_exponent;
        for (std::int64_t i = 0; i < a.size(); ++i) a[i] = power ? std::fabs(a[i]) + T(0.1) : std::round(a[i] * 2) / 2;
        for (std::int64_t i = 0; i < b.size(); ++i)
          b[i] = f == Binary::div && std::fabs(b[i]) < 0.2 ? 1 : std::round(b[i] * 2) / 2;
        if (f == Binary::div || f == Binary::mod || f == Binary::fmod)
          for (std::int64_t i = 0; i < b.size(); ++i) b[i] = b[i] == 0 ? 1 : b[i];
        if (f == Binary::maximum || f == Binary::minimum) {
          a[0] = std::numeric_limits<T>::quiet_NaN();
          b[b.size() - 1] = std::numeric_limits<T>::quiet_NaN();
        }
        table.binary({f, a.data(), b.data(), y.data(), rows, n, a_row, b_row, n, a_step, b_step});
        for (std::int64_t r = 0; r < rows; ++r)
          for (std::int64_t i = 0; i < n; ++i)
            check_close(y[r * n + i], reference_of(f, a[r * a_row + i * a_step], b[i * b_step]), kUlps<T>, name);
      }
    }
  }
}

template <class T>
void test_mul_add(const KernelTable<T>& table) {
  for (std::int64_t n : {0, 1, 5, 16, 33, 70}) {
    for (int steps = 0; steps < 8; ++steps) {
      const std::int64_t rows = random_int(0, 4), step[3] = {steps & 1, steps >> 1 & 1, steps >> 2};
      // Rows one after the other, or one for all.
      std::int64_t row[3];
      for (int k = 0; k < 3; ++k) row[k] = random_int(0, 1) * (step[k] ? n : 1);
      Guarded<T> a(row[0] * rows + n + 1), b(row[1] * rows + n + 1), c(row[2] * rows + n + 1), y(rows * n);
      fill_random(a), fill_random(b), fill_random(c);
      const bool clamp = steps % 3 == 0;
      const auto exact = [&](std::int64_t r, std::int64_t i) {
        const double v = static_cast<double>(a[r * row[0] + i * step[0]]) * b[r * row[1] + i * step[1]] +
                         c[r * row[2] + i * step[2]];
        return clamp ? std::fmin(std::fmax(v, -0.5), 0.25) : v;
      };
      MulAddArgs<T> args{a.data(), b.data(), c.data(), y.data(), rows,    n,     row[0],  row[1],
                         row[2],   n,        step[0],  step[1],  step[2], clamp, T(-0.5), T(0.25)};
      table.mul_add(args);
      for (std::int64_t r = 0; r < rows; ++r)
        for (std::int64_t i = 0; i < n; ++i)
          check_close(y[r * n + i], exact(r, i), kUlps<T>, "mul_add of " + std::to_string(n));
    }
  }
  // At the guard page, in place of each operand, and what is not a number.
  for (int place = 0; place < 3; ++place) {
    const std::int64_t n = 37;
    Guarded<T> v[3] = {Guarded<T>{n}, Guarded<T>{n}, Guarded<T>{n}};
    std::vector<double> exact(static_cast<std::size_t>(n));
    for (Guarded<T>& operand : v) fill_random(operand);
    v[place][3] = std::numeric_limits<T>::quiet_NaN();
    for (std::int64_t i = 0; i < n; ++i)
      exact[static_cast<std::size_t>(i)] = std::fmin(static_cast<double>(v[0][i]) * v[1][i] + v[2][i], 1e9);
    exact[3] = std::numeric_limits<double>::quiet_NaN();
    table.mul_add(
        {v[0].data(), v[1].data(), v[2].data(), v[place].data(), 1, n, 0, 0, 0, n, 1, 1, 1, true, T(-1e9), T(1e9)});
    for (std::int64_t i = 0; i < n; ++i)
      check_close(v[place][i], exact[static_cast<std::size_t>(i)], kUlps<T>, "mul_add in place");
  }
}

template <class T>
void test_dropout(const KernelTable<T>& table) {
  const std::int64_t n = 40001;
  Guarded<T> x(n), y(n), part(n);
  for (std::int64_t i = 0; i < n; ++i) x[i] = 1;
  const std::uint32_t threshold = 1u << 30;  // drops a quarter
  table.dropout({x.data(), y.data(), n, 5, {17, 29}, threshold, T(4.0 / 3)});
  std::int64_t kept = 0, pairs = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    check(y[i] == 0 || y[i] == T(4.0 / 3), "dropout scales or drops");
    kept += y[i] != 0;
    pairs += i && y[i] != 0 && y[i - 1] != 0;
  }
  check(std::fabs(static_cast<double>(kept) / n - 0.75) < 0.01, "dropout's rate");
  check(std::fabs(static_cast<double>(pairs) / n - 0.5625) < 0.015, "neighbours are dropped independently");
  // The mask depends on the element's index, not on where a piece begins, nor on the instruction set.
  const std::int64_t cut = 1234;
  table.dropout({x.data(), part.data(), cut, 5, {17, 29}, threshold, T(4.0 / 3)});
  table.dropout({x.data() + cut, part.data() + cut, n - cut, 5 + cut, {17, 29}, threshold, T(4.0 / 3)});
  Guarded<T> base(n);
  kernels<T>(Isa::scalar).dropout({x.data(), base.data(), n, 5, {17, 29}, threshold, T(4.0 / 3)});
  bool same = true;
  for (std::int64_t i = 0; i < n; ++i) same = same && y[i] == part[i] && y[i] == base[i];
  check(same, "dropout's mask in pieces and on the baseline");
}

FASTCONV_TEST(unary);
FASTCONV_TEST(unary_grad);
FASTCONV_TEST(binary);
FASTCONV_TEST(mul_add);
FASTCONV_TEST(dropout);

}  // namespace fastconv::test
