#include <limits>

#include "harness.hpp"

namespace fastconv::test {
namespace {

// Some pixels of both halves with `gap` elements between rows, and where their sums go.
template <class T>
struct Quarters {
  explicit Quarters(const KernelTable<T>& table)
      : run(random_int(1, 5) * std::max(table.width, 4)),
        pixels(random_int(1, 9)),
        x_pixel(2 * run + random_int(0, 3)),
        s_pixel(run + random_int(0, 3)),
        plane(pixels * s_pixel + random_int(0, 5)),
        down(random_int(0, pixels) * x_pixel),
        x(down + (pixels - 1) * x_pixel + 2 * run),
        s(3 * plane + (pixels - 1) * s_pixel + run) {
    fill_random(x);
    for (std::int64_t i = 0; i < s.size(); ++i) s[i] = T(777);
  }
  StrassenSums<T> args() { return {x.data(), x_pixel, down, run, s.data(), s_pixel, plane, pixels, 0}; }
  // The first `done` elements of each plane, row by row, are sums, all else is as it was.
  void check_sums(std::int64_t done, const char* what) const {
    for (std::int64_t i = 0; i < s.size(); ++i) {
      const std::int64_t of = std::min<std::int64_t>(i / plane, 3), at = i - of * plane, p = at / s_pixel;
      const std::int64_t r = at % s_pixel;
      if (r >= run || p >= pixels || p * run + r >= done) {
        check(s[i] == T(777), std::string(what) + " wrote outside its sums");
        continue;
      }
      const T* a = x.data() + p * x_pixel + r;
      const T s1 = a[down] + a[down + run], s2 = s1 - a[0];
      const T expected[] = {s1, s2, a[0] - a[down], a[run] - s2};
      check(s[i] == expected[of], std::string(what) + ": a sum of the input");
    }
  }
  std::int64_t run, pixels, x_pixel, s_pixel, plane, down;
  Guarded<T> x, s;
};

}  // namespace

template <class T>
void test_strassen_sums(const KernelTable<T>& table) {
  for (int round = 0; round < 100; ++round) {
    Quarters<T> q(table);
    StrassenSums<T> a = q.args();
    table.strassen_sums(a);
    q.check_sums(q.run * q.pixels, "strassen_sums");
    a.pixels = 0;
    table.strassen_sums(a);  // nothing is left
  }
}

template <class T>
void test_strassen_row(const KernelTable<T>& table) {
  const std::int64_t columns = std::int64_t{table.tile_vectors} * table.width;
  for (int round = 0; round < 400; ++round) {
    StrassenRowArgs<T> a{};
    a.pixels = random_int(1, 31), a.run = 4 * random_int(1, 6);
    a.x_pixel = a.run + random_int(0, 5), a.y_pixel = columns + random_int(0, 5);
    a.clamp = random_int(0, 1);
    a.lo = T(-0.5), a.hi = random_int(0, 1) ? T(1) : std::numeric_limits<T>::infinity();
    a.weights = static_cast<StrassenWeights>(random_int(0, 2));
    const bool plain = a.weights == StrassenWeights::plain;
    Guarded<T> x((a.pixels - 1) * a.x_pixel + a.run), w(a.run * columns), other(w.size()), made(w.size());
    Guarded<T> bias(columns), also(a.pixels * columns), partial(also.size());
    Guarded<T> y((a.pixels - 1) * a.y_pixel + columns), residual(y.size());
    fill_random(x), fill_random(w, 0.3), fill_random(other, 0.3), fill_random(bias);
    fill_random(also), fill_random(partial), fill_random(residual);
    for (std::int64_t i = 0; i < y.size(); ++i) y[i] = T(777);
    Guarded<T> factor(w.size()), before(also.size());
    for (std::int64_t i = 0; i < w.size(); ++i)
      factor[i] = plain ? w[i] : a.weights == StrassenWeights::sum ? w[i] + other[i] : w[i] - other[i];
    for (std::int64_t i = 0; i < also.size(); ++i) before[i] = also[i];
    a.x = x.data(), a.w = w.data(), a.y = y.data();
    a.bias = random_int(0, 1) ? bias.data() : nullptr;
    a.also = random_int(0, 1) ? also.data() : nullptr;
    a.partial = random_int(0, 1) ? partial.data() : nullptr;
    T* left = plain ? nullptr : random_int(0, 1) ? made.data() : random_int(0, 1) ? w.data() : other.data();
    if (!plain) a.other = other.data(), a.made = left;
    const std::int64_t add = random_int(0, 2);  // no residual, one beside y, y itself
    if (add) a.residual = add == 1 ? residual.data() : y.data();
    for (std::int64_t p = 0; add == 2 && p < a.pixels; ++p)
      for (std::int64_t c = 0; c < columns; ++c) y[p * a.y_pixel + c] = residual[p * a.y_pixel + c];
    Guarded<T> next(random_int(1, 40));  // what is fetched is never read, whatever lies behind it
    if (random_int(0, 1)) a.next = next.data(), a.next_lines = random_int(0, 999);
    Quarters<T> q(table);
    StrassenSums<T> sums = q.args();
    if (random_int(0, 1)) a.sums = &sums;
    table.strassen_row(a);

    // As many vectors of sums as there were turns, but for the tile that makes the sum of weights.
    const std::int64_t tiles = (a.pixels + table.tile_pixels - 1) / table.tile_pixels - (plain ? 0 : 1);
    const std::int64_t turns = a.sums ? tiles * a.run / 4 : 0;
    q.check_sums(std::min(turns * table.width, q.run * q.pixels), "strassen_row");
    check((q.pixels - sums.pixels) * q.run + sums.at == std::min(turns * table.width, q.run * q.pixels),
          "strassen_row: the sums that are left");
    for (std::int64_t i = 0; !plain && i < w.size(); ++i)
      check(left[i] == factor[i], "strassen_row: the sum of weights");
    for (std::int64_t i = 0; i < y.size(); ++i) {
      const std::int64_t p = i / a.y_pixel, c = i % a.y_pixel;
      if (c >= columns) {
        check(y[i] == T(777), "strassen_row wrote between pixels");
        continue;
      }
      double s = a.bias ? a.bias[c] : 0;
      for (std::int64_t r = 0; r < a.run; ++r)
        s += static_cast<double>(x[p * a.x_pixel + r]) * static_cast<double>(factor[r * columns + c]);
      const double tol = tolerance<T>(static_cast<double>(a.run));
      const double old = before[p * columns + c];
      check_close(also[p * columns + c], a.also ? old + s : old, tol, "strassen_row: what is added to");
      if (a.partial) s += static_cast<double>(partial[p * columns + c]);
      if (add) s += static_cast<double>(residual[i]);
      if (a.clamp) s = std::min<double>(std::max<double>(s, a.lo), a.hi);
      check_close(y[i], s, tol, "strassen_row");
    }
  }
}

FASTCONV_TEST(strassen_sums);
FASTCONV_TEST(strassen_row);

}  // namespace fastconv::test
