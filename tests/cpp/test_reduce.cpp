// Reductions and transposition of matrices.
#include <limits>

#include "harness.hpp"

namespace fastconv::test {
namespace {

template <class T>
double reduced(Reduce op, const T* x, std::int64_t n, std::int64_t step) {
  double r = op == Reduce::sum ? 0 : op == Reduce::prod ? 1 : x[0];
  for (std::int64_t i = 0; i < n; ++i) {
    const double v = x[i * step];
    if (op == Reduce::sum)
      r += v;
    else if (op == Reduce::prod)
      r *= v;
    else if (std::isnan(v) || std::isnan(r))
      r = v + r;
    else
      r = op == Reduce::max ? std::fmax(r, v) : std::fmin(r, v);
  }
  return r;
}

constexpr Reduce kAll[] = {Reduce::sum, Reduce::max, Reduce::min, Reduce::prod};

}  // namespace

template <class T>
void test_reduce_rows(const KernelTable<T>& table) {
  for (Reduce op : kAll) {
    for (std::int64_t n : {0, 1, 2, 7, 16, 17, 31, 64, 65, 200, 1000, 5000, 9001}) {
      if (n == 0 && op != Reduce::sum) continue;
      for (int with_nan = 0; with_nan < 2; ++with_nan) {
        const std::int64_t rows = 3, stride = n + 2;
        Guarded<T> x(std::max<std::int64_t>((rows - 1) * stride + n, 0)), y(rows);
        fill_random(x);
        if (op == Reduce::prod)
          for (std::int64_t i = 0; i < x.size(); ++i) x[i] = 1 + x[i] / (n + 1);
        if (with_nan && n) x[random_int(0, n - 1)] = std::numeric_limits<T>::quiet_NaN();
        const T scale = op == Reduce::sum ? T(0.5) : T(1);
        table.reduce_rows({op, x.data(), y.data(), rows, n, stride, scale});
        for (std::int64_t r = 0; r < rows; ++r)
          check_close(y[r], scale * (n ? reduced(op, x.data() + r * stride, n, 1) : 0),
                      tolerance<T>(static_cast<double>(n)), "reduce_rows of " + std::to_string(n));
      }
    }
  }
}

template <class T>
void test_reduce_columns(const KernelTable<T>& table) {
  for (Reduce op : kAll) {
    for (std::int64_t columns : {1, 3, 16, 17, 33, 64, 100, 129, 300}) {
      for (std::int64_t rows : {0, 1, 2, 5, 9, 50}) {
        if (rows == 0 && op != Reduce::sum) continue;
        const std::int64_t stride = columns + 1;
        Guarded<T> x(rows ? (rows - 1) * stride + columns : 0), y(columns);
        fill_random(x);
        if (rows > 2) x[random_int(0, x.size() - 1)] = std::numeric_limits<T>::quiet_NaN();
        const T scale = op == Reduce::sum ? T(0.25) : T(1);
        table.reduce_columns({op, x.data(), y.data(), rows, columns, stride, scale});
        for (std::int64_t c = 0; c < columns; ++c)
          check_close(y[c], scale * (rows ? reduced(op, x.data() + c, rows, stride) : 0),
                      tolerance<T>(static_cast<double>(rows)),
                      "reduce_columns of " + std::to_string(rows) + " x " + std::to_string(columns));
      }
    }
  }
}

template <class T>
void test_transpose(const KernelTable<T>& table) {
  for (int i = 0; i < 60; ++i) {
    const std::int64_t rows = random_int(1, 40), columns = random_int(1, 40);
    const std::int64_t x_row = columns + random_int(0, 3), y_row = rows + random_int(0, 3);
    Guarded<T> x((rows - 1) * x_row + columns), y((columns - 1) * y_row + rows);
    Guarded<T> scale(rows);
    fill_random(x), fill_random(scale);
    const bool scaled = i % 2;
    for (std::int64_t k = 0; k < y.size(); ++k) y[k] = -1;
    table.transpose({x.data(), y.data(), rows, columns, x_row, y_row, scaled ? scale.data() : nullptr});
    bool good = true;
    for (std::int64_t c = 0; c < columns; ++c) {
      for (std::int64_t r = 0; r < rows; ++r)
        good = good && y[c * y_row + r] == x[r * x_row + c] * (scaled ? scale[r] : T(1));
      for (std::int64_t r = rows; r < y_row && c + 1 < columns; ++r) good = good && y[c * y_row + r] == -1;
    }
    check(good, "transpose of " + std::to_string(rows) + " x " + std::to_string(columns));
  }
}

FASTCONV_TEST(reduce_rows);
FASTCONV_TEST(reduce_columns);
template <class T>
void test_interleave(const KernelTable<T>& table) {
  for (std::int64_t n = 0; n < 70; ++n) {
    const std::int64_t plane = n + random_int(0, 3);
    Guarded<T> x(2 * plane + n), y(3 * n);
    fill_random(x);
    table.interleave({x.data(), plane, y.data(), n});
    bool good = true;
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t c = 0; c < 3; ++c) good = good && y[3 * i + c] == x[c * plane + i];
    check(good, "interleave of " + std::to_string(n));
  }
}

template <class T>
void test_copy_rows(const KernelTable<T>& table) {
  for (int i = 0; i < 60; ++i) {
    const std::int64_t rows = random_int(1, 9), whole = std::int64_t{1} << random_int(0, 2);
    const std::int64_t columns = i % 2 ? whole * table.width : random_int(1, 70);
    const std::int64_t padded = (columns + table.width - 1) / table.width * table.width;
    const std::int64_t x_row = columns + random_int(0, 3), y_row = padded + random_int(0, 3);
    Guarded<T> x((rows - 1) * x_row + columns), y((rows - 1) * y_row + padded);
    fill_random(x);
    for (std::int64_t k = 0; k < y.size(); ++k) y[k] = -1;
    table.copy_rows({x.data(), y.data(), rows, columns, x_row, y_row});
    bool good = true;
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t c = 0; c < y_row && r * y_row + c < y.size(); ++c)
        good = good && y[r * y_row + c] == (c < columns ? x[r * x_row + c] : c < padded ? T(0) : T(-1));
    check(good, "copy_rows of " + std::to_string(rows) + " x " + std::to_string(columns));
  }
}

FASTCONV_TEST(copy_rows);
FASTCONV_TEST(interleave);
FASTCONV_TEST(transpose);

}  // namespace fastconv::test
