// Kernels of batch normalization and local response normalization.
#include <algorithm>
#include <cmath>
#include <vector>

#include "harness.hpp"

namespace fastconv::test {

// What an activation's gradient lets through.
double let_through(double z, double g, double lo, double hi) { return z <= lo || z >= hi ? 0 : g; }

// scale * d + offset for element i of x. Where rounding decides on which side of a bound that is, dy becomes 0.
template <class T>
double preactivation(const Guarded<T>& x, Guarded<T>& dy, std::int64_t i, T centre, T scale, T offset, double lo,
                     double hi) {
  const T d = x[i] - centre;
  const double z = static_cast<double>(scale) * static_cast<double>(d) + static_cast<double>(offset);
  if (std::abs(z - lo) < 1e-5 || std::abs(z - hi) < 1e-5) dy[i] = 0;
  return z;
}

template <class T>
void test_column_sums(const KernelTable<T>& table) {
  enum Kind { statistics, gradient, masked, masked_by_z };
  for (std::int64_t columns : {1, 3, 16, 31, 64, 70, 200, 1030})
    for (std::int64_t rows : {1, 15, 33, 300})
      for (Kind kind : {statistics, gradient, masked, masked_by_z}) {
        Guarded<T> x(rows * columns), dy(rows * columns), z(rows * columns), out(rows * columns);
        Guarded<T> shift(columns), scale(columns), offset(columns), buffer(2 * columns);
        Guarded<double> first(columns), second(columns);
        for (Guarded<T>* p : {&x, &dy, &z, &shift, &scale, &offset}) fill_random(*p);
        for (std::int64_t c = 0; c < columns; ++c) first[c] = second[c] = 1;  // sums are added to
        const bool above = random_int(0, 1);
        const double lo = -0.125, hi = above ? 0.5 : std::nan("");
        ColumnSumsArgs<T> args{x.data(),      kind == statistics ? nullptr : dy.data(),
                               shift.data(),  rows,
                               columns,       first.data(),
                               second.data(), buffer.data()};
        args.lo = static_cast<T>(lo), args.hi = static_cast<T>(hi);
        if (kind == masked) args.scale = scale.data(), args.offset = offset.data();
        const bool in_place = random_int(0, 1);
        std::vector<double> given, at;
        for (std::int64_t i = 0; i < dy.size(); ++i) {
          const std::int64_t c = i % columns;
          at.push_back(kind == masked ? preactivation(x, dy, i, shift[c], scale[c], offset[c], lo, hi)
                                      : static_cast<double>(z[i]));
          given.push_back(static_cast<double>(dy[i]));
        }
        if (kind == masked_by_z) args.z = z.data(), args.masked = in_place ? dy.data() : out.data();
        table.column_sums(args);
        for (std::int64_t c = 0; c < columns; ++c) {
          double a = 1, b = 1;
          for (std::int64_t r = 0; r < rows; ++r) {
            const std::int64_t i = r * columns + c;
            const auto k = static_cast<std::size_t>(i);
            const double d = static_cast<double>(x[i]) - static_cast<double>(shift[c]);
            double g = kind == statistics ? d : given[k];
            if (kind == masked || kind == masked_by_z) g = let_through(at[k], g, lo, hi);
            if (kind == masked_by_z) check_close(static_cast<double>(args.masked[i]), g, 0, "column_sums, masked");
            a += g;
            b += g * d;
          }
          const std::string what = "column_sums " + std::to_string(rows) + " x " + std::to_string(columns);
          check_close(first[c], a, tolerance<T>(static_cast<double>(rows)), what);
          check_close(second[c], b, tolerance<T>(static_cast<double>(rows)), what);
        }
      }
}

template <class T>
void test_column_affine(const KernelTable<T>& table) {
  enum Kind { plain, clamped, residual, streamed, gradient, masked };
  for (std::int64_t columns : {1, 3, 16, 31, 64, 70, 1030})
    for (std::int64_t rows : {1, 5, 33})
      for (Kind kind : {plain, clamped, residual, streamed, gradient, masked}) {
        const bool of_gradient = kind == gradient || kind == masked, limited = kind == clamped || kind == masked;
        const bool added = kind == residual || (kind == streamed && random_int(0, 1));
        const std::int64_t gap = kind == clamped ? 7 : 0;  // the rows of x apart
        Guarded<T> x(rows * columns + (rows - 1) * gap), dy(rows * columns), y(rows * columns), mean(columns),
            a(columns), b(columns), c(columns), offset(columns);
        for (Guarded<T>* p : {&x, &dy, &mean, &a, &b, &c, &offset}) fill_random(*p);
        const double lo = -0.25, hi = 0.5;
        std::vector<double> given, at;
        for (std::int64_t i = 0; i < dy.size(); ++i) {
          const std::int64_t j = i % columns;
          at.push_back(kind == masked ? preactivation(x, dy, i, mean[j], a[j], offset[j], lo, hi) : 0);
          given.push_back(static_cast<double>(dy[i]));
        }
        ColumnAffineArgs<T> args{x.data(), of_gradient ? dy.data() : nullptr,
                                 y.data(), rows,
                                 columns,  mean.data(),
                                 a.data(), b.data(),
                                 c.data(), gap};
        args.clamp = limited, args.lo = T(-0.25), args.hi = T(0.5);
        if (added) args.residual = dy.data();
        if (kind == masked) args.offset = offset.data();
        args.stream = kind == streamed;
        if ((of_gradient || added) && random_int(0, 1)) args.y = dy.data();  // in place
        table.column_affine(args);
        for (std::int64_t i = 0; i < y.size(); ++i) {
          const std::int64_t j = i % columns;
          const auto k = static_cast<std::size_t>(i);
          double expected = (static_cast<double>(x[i + i / columns * gap]) - static_cast<double>(mean[j])) *
                                static_cast<double>(b[j]) +
                            static_cast<double>(c[j]);
          if (of_gradient)
            expected += static_cast<double>(a[j]) * (kind == masked ? let_through(at[k], given[k], lo, hi) : given[k]);
          if (added) expected += given[k];
          if (kind == clamped) expected = std::min(std::max(expected, lo), hi);
          check_close(args.y[i], expected, tolerance<T>(4), "column_affine");
        }
      }
}

template <class T>
void test_local_response_norm(const KernelTable<T>& table) {
  for (std::int64_t n : {1, 3, 16, 17, 40})
    for (std::int64_t size : {1, 2, 5, 8})
      for (double beta : {0.75, 0.5, 1.0, 0.6})
        for (bool gradient : {false, true}) {
          const std::int64_t pixels = 3, before = std::min(size / 2, n), after = std::min((size - 1) / 2, n);
          const double k = 1.25, alpha = 0.375;
          Guarded<T> x(pixels * n), dy(pixels * n), y(pixels * n), buffer((n + before + after) * (gradient ? 2 : 1));
          fill_random(x);
          fill_random(dy);
          std::fill(buffer.data(), buffer.data() + buffer.size(), T(0));
          table.local_response_norm({x.data(), gradient ? dy.data() : nullptr, y.data(), pixels, n, before, after,
                                     static_cast<T>(k), static_cast<T>(alpha), static_cast<T>(beta), buffer.data()});
          for (std::int64_t p = 0; p < pixels; ++p) {
            const auto at = [&](const Guarded<T>& v, std::int64_t c) { return static_cast<double>(v[p * n + c]); };
            const auto base = [&](std::int64_t c) {
              double s = 0;
              for (std::int64_t j = std::max<std::int64_t>(0, c - before); j <= std::min(n - 1, c + after); ++j)
                s += at(x, j) * at(x, j);
              return k + alpha * s;
            };
            for (std::int64_t c = 0; c < n; ++c) {
              double expected = (gradient ? at(dy, c) : at(x, c)) * std::pow(base(c), -beta);
              if (gradient)
                for (std::int64_t j = std::max<std::int64_t>(0, c - after); j <= std::min(n - 1, c + before); ++j)
                  expected -= 2 * alpha * beta * at(x, c) * at(dy, j) * at(x, j) * std::pow(base(j), -beta - 1);
              check_close(y[p * n + c], expected, tolerance<T>(static_cast<double>(size + 4)), "local_response_norm");
            }
          }
        }
}

template <class T>
void test_row_norm(const KernelTable<T>& table) {
  for (std::int64_t n : {1, 2, 3, 7, 16, 33, 64, 200, 1000, 9001})
    for (int round = 0; round < 8; ++round) {
      const std::int64_t rows = random_int(1, 4);
      const double offset = round % 2 ? 100 : 0, epsilon = round < 4 ? 1e-5 : 0.25;
      Guarded<T> x(rows * n), y(rows * n), gamma(n), beta(n), mean(rows), inv(rows);
      fill_random(x);
      fill_random(gamma);
      fill_random(beta);
      for (std::int64_t i = 0; i < x.size(); ++i) x[i] += static_cast<T>(offset);
      const bool scaled = random_int(0, 1), shifted = random_int(0, 1);
      table.row_norm({x.data(), y.data(), scaled ? gamma.data() : nullptr, shifted ? beta.data() : nullptr, mean.data(),
                      inv.data(), rows, n, epsilon});
      for (std::int64_t r = 0; r < rows; ++r) {
        long double m = 0, v = 0;  // a mean far from 0 needs more than double
        for (std::int64_t i = 0; i < n; ++i) m += static_cast<long double>(x[r * n + i]) / static_cast<long double>(n);
        for (std::int64_t i = 0; i < n; ++i)
          v += (static_cast<long double>(x[r * n + i]) - m) * (static_cast<long double>(x[r * n + i]) - m) /
               static_cast<long double>(n);
        const auto s = static_cast<double>(1 / std::sqrt(v + epsilon));
        const std::string what = "row_norm of " + std::to_string(n);
        const double of_mean = 8 * offset * s * (sizeof(T) == 4 ? 6e-8 : 1.2e-16);  // its rounding, seen in y
        check_close(mean[r], static_cast<double>(m), tolerance<T>(4), what + ", mean");
        check_close(inv[r], s, tolerance<T>(64), what + ", inv_std");
        for (std::int64_t i = 0; i < n; ++i) {
          double expected = static_cast<double>(static_cast<long double>(x[r * n + i]) - m) * s;
          if (scaled) expected *= static_cast<double>(gamma[i]);
          if (shifted) expected += static_cast<double>(beta[i]);
          check_close(y[r * n + i], expected, tolerance<T>(128) + of_mean, what);
        }
      }
    }
}

template <class T>
void test_plane_sums(const KernelTable<T>& table) {
  for (bool gradient : {false, true})
    for (std::int64_t planes : {1, 3, 19})
      for (std::int64_t size : {1, 3, 16, 49, 64, 67, 200, 17000}) {
        Guarded<T> x(planes * size), dy(planes * size), shift(planes);
        Guarded<double> first(planes), second(planes), dy_sum(planes), dy_dot(planes);
        for (Guarded<T>* p : {&x, &dy, &shift}) fill_random(*p);
        for (Guarded<double>* p : {&first, &second, &dy_sum, &dy_dot})
          for (std::int64_t i = 0; i < planes; ++i) (*p)[i] = 1;  // sums are added to
        table.plane_sums({x.data(), shift.data(), planes, size, first.data(), second.data(),
                          gradient ? dy.data() : nullptr, dy_sum.data(), dy_dot.data()});
        for (std::int64_t p = 0; p < planes; ++p) {
          long double sums[4] = {1, 1, 1, 1};  // the tolerance of doubles is for the kernel alone
          for (std::int64_t i = 0; i < size; ++i) {
            const long double d = static_cast<long double>(x[p * size + i]) - shift[p];
            const long double g = gradient ? dy[p * size + i] : T(0);
            sums[0] += d, sums[1] += d * d, sums[2] += g, sums[3] += g * d;
          }
          const std::string what = "plane_sums of " + std::to_string(size) + (gradient ? ", gradient" : "");
          const double found[4] = {first[p], second[p], dy_sum[p], dy_dot[p]};
          for (int i = 0; i < 4; ++i)
            check_close(found[i], static_cast<double>(sums[i]),
                        tolerance<T>(std::min(static_cast<double>(size), 300.0)), what);
        }
      }
}

template <class T>
void test_plane_affine(const KernelTable<T>& table) {
  for (bool gradient : {false, true})
    for (std::int64_t planes : {1, 3, 4})
      for (std::int64_t size : {1, 3, 16, 49, 64, 67, 200}) {
        Guarded<T> x(planes * size), dy(x.size()), y(x.size()), mean(planes), a(planes), b(planes), c(planes);
        for (Guarded<T>* p : {&x, &dy, &mean, &a, &b, &c}) fill_random(*p);
        table.plane_affine({x.data(), y.data(), planes, size, mean.data(), b.data(), c.data(),
                            gradient ? dy.data() : nullptr, gradient ? a.data() : nullptr, planes == 4});
        for (std::int64_t i = 0; i < y.size(); ++i) {
          const std::int64_t p = i / size;
          double expected = (static_cast<double>(x[i]) - static_cast<double>(mean[p])) * static_cast<double>(b[p]) +
                            static_cast<double>(c[p]);
          if (gradient) expected += static_cast<double>(a[p]) * static_cast<double>(dy[i]);
          check_close(y[i], expected, tolerance<T>(4), "plane_affine of " + std::to_string(size));
        }
      }
}

FASTCONV_TEST(plane_sums);
FASTCONV_TEST(plane_affine);
FASTCONV_TEST(row_norm);
FASTCONV_TEST(column_sums);
FASTCONV_TEST(column_affine);
FASTCONV_TEST(local_response_norm);

}  // namespace fastconv::test
