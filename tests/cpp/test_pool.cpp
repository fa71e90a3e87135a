// Pooling kernels against plain loops over random windows.
#include <algorithm>
#include <iterator>
#include <limits>

#include "harness.hpp"

namespace fastconv::test {
namespace {

// Random lists of taps: `out` columns of up to `most` consecutive taps each; some repeat the one before, shifted.
struct Lists {
  std::vector<PoolTap> rows, taps;
  std::vector<PoolGroup> groups;
  std::int64_t out = 0;
};

Lists random_lists(std::int64_t in_h, std::int64_t in_w, std::int64_t window) {
  Lists l;
  const std::int64_t rows = random_int(0, std::min(window, in_h));
  const std::int64_t top = random_int(0, in_h - rows);
  for (std::int64_t r = 0; r < rows; ++r)
    l.rows.push_back({static_cast<std::int32_t>(top + r), static_cast<std::int32_t>(r), 0.5 + static_cast<double>(r)});
  for (int g = 0; g < 3; ++g) {
    const std::int64_t n = random_int(g == 0 ? 0 : 1, std::min(window, in_w)), left = random_int(0, in_w - n);
    const std::int64_t columns = random_int(1, in_w - n - left + 1);
    const auto first = static_cast<std::int32_t>(l.taps.size());
    for (std::int64_t t = 0; t < n; ++t)
      l.taps.push_back(
          {static_cast<std::int32_t>(left + t), static_cast<std::int32_t>(t), 0.25 * static_cast<double>(t + 1)});
    l.groups.push_back({static_cast<std::int32_t>(l.out), static_cast<std::int32_t>(columns), first,
                        static_cast<std::int32_t>(l.taps.size()), 2.0 + g});
    l.out += columns;
  }
  return l;
}

template <class T>
PoolArgs<T> arguments(const Lists& l, const T* x, T* y, std::int64_t in_w, std::int64_t channels) {
  PoolArgs<T> a{};
  a.x = x;
  a.row_step = in_w * channels;
  a.pixel = channels;
  a.rows = l.rows.data();
  a.row_count = static_cast<std::int64_t>(l.rows.size());
  a.divisor = 1.5;
  a.groups = l.groups.data();
  a.group_count = static_cast<std::int64_t>(l.groups.size());
  a.taps = l.taps.data();
  a.channels = channels;
  a.y = y;
  a.window_columns = 20;
  return a;
}

// Calls fn(group, index in y, indices in x with their row and column taps) for every element of y.
template <class Fn>
void for_elements(const Lists& l, std::int64_t in_w, std::int64_t channels, Fn fn) {
  struct Element {
    std::int64_t index;
    const PoolTap *row, *column;
  };
  for (const PoolGroup& g : l.groups)
    for (std::int64_t o = 0; o < g.columns; ++o)
      for (std::int64_t c = 0; c < channels; ++c) {
        std::vector<Element> elements;
        for (const PoolTap& r : l.rows)
          for (std::int32_t t = g.first; t < g.last; ++t)
            elements.push_back({(r.source * in_w + l.taps[t].source + o) * channels + c, &r, &l.taps[t]});
        fn(g, (g.out + o) * channels + c, elements);
      }
}

constexpr std::int64_t kChannels[] = {1, 3, 4, 7, 16, 17, 33, 64, 100};

}  // namespace

template <class T>
void test_pool_sum(const KernelTable<T>& table) {
  for (std::int64_t channels : kChannels)
    for (bool weighted : {false, true}) {
      const std::int64_t h = 5, w = 9;
      const Lists l = random_lists(h, w, 4);
      Guarded<T> x(h * w * channels), y(l.out * channels);
      fill_random(x);
      PoolArgs<T> a = arguments(l, x.data(), y.data(), w, channels);
      a.weighted = weighted;
      table.pool_sum(a);
      for_elements(l, w, channels, [&](const PoolGroup& g, std::int64_t i, const auto& elements) {
        double s = 0;
        for (const auto& e : elements)
          s += static_cast<double>(x[e.index]) * (weighted ? e.row->weight * e.column->weight : 1 / (1.5 * g.divisor));
        check_close(y[i], s, tolerance<T>(40), "pool_sum, channels " + std::to_string(channels));
      });
    }
}

template <class T>
void test_pool_max(const KernelTable<T>& table) {
  for (std::int64_t channels : kChannels)
    for (int mode = 0; mode < 3; ++mode) {  // no winners, bytes, wide
      const std::int64_t h = 5, w = 9;
      const Lists l = random_lists(h, w, 4);
      Guarded<T> x(h * w * channels), y(l.out * channels), wide(y.size());
      Guarded<std::uint8_t> bytes(y.size());
      for (std::int64_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(random_int(-3, 3));  // ties
      for (int i = 0; i < 5; ++i) x[random_int(0, x.size() - 1)] = std::numeric_limits<T>::quiet_NaN();
      for (int i = 0; i < 20; ++i) x[random_int(0, x.size() - 1)] = -std::numeric_limits<T>::infinity();
      PoolArgs<T> a = arguments(l, x.data(), y.data(), w, channels);
      if (mode == 1) a.winners = bytes.data();
      if (mode == 2) a.wide_winners = wide.data();
      table.pool_max(a);
      for_elements(l, w, channels, [&](const PoolGroup&, std::int64_t i, const auto& elements) {
        T best = -std::numeric_limits<T>::infinity();
        int winner = 0;
        for (const auto& e : elements) {
          if (&e == &elements[0] || x[e.index] > best || std::isnan(x[e.index]))
            winner = e.row->tap * 20 + e.column->tap;
          if (x[e.index] > best || std::isnan(x[e.index])) best = x[e.index];
        }
        check(y[i] == best || (std::isnan(y[i]) && std::isnan(best)), "pool_max, channels " + std::to_string(channels));
        if (mode == 1) check(bytes[i] == winner, "pool_max winner, channels " + std::to_string(channels));
        if (mode == 2) check(wide[i] == static_cast<T>(winner), "pool_max wide winner");
      });
    }
}

template <class T>
void test_pool_max_backward(const KernelTable<T>& table) {
  for (std::int64_t channels : kChannels)
    for (bool is_wide : {false, true}) {
      const std::int64_t h = 5, w = 9;
      const Lists l = random_lists(h, w, 4);
      Guarded<T> dy(h * w * channels), dx(l.out * channels), wide(dy.size());
      Guarded<std::uint8_t> bytes(dy.size() + 64);
      fill_random(dy);
      dy[random_int(0, dy.size() - 1)] = std::numeric_limits<T>::infinity();
      for (std::int64_t i = 0; i < wide.size(); ++i) {
        bytes[i] = static_cast<std::uint8_t>(random_int(0, 3) * 20 + random_int(0, 3));
        wide[i] = static_cast<T>(bytes[i]);
      }
      PoolArgs<T> a = arguments(l, dy.data(), dx.data(), w, channels);
      if (is_wide)
        a.wide_winners = wide.data();
      else
        a.winners = bytes.data();
      table.pool_max_backward(a);
      for_elements(l, w, channels, [&](const PoolGroup&, std::int64_t i, const auto& elements) {
        double s = 0;
        for (const auto& e : elements)
          if (bytes[e.index] == e.row->tap * 20 + e.column->tap) s += static_cast<double>(dy[e.index]);
        check_close(dx[i], s, tolerance<T>(16), "pool_max_backward, channels " + std::to_string(channels));
      });
    }
}

// Blocks of windows side by side, in arrays with other things between them.
template <class T>
void test_pool_windows(const KernelTable<T>& table) {
  for (int trial = 0; trial < 200; ++trial) {
    PoolWindowsArgs<T> a{};
    a.window_h = random_int(1, 3), a.window_w = random_int(1, 3);
    if (random_int(0, 1)) a.window_h = a.window_w = 2;
    a.rows = random_int(0, 3), a.columns = random_int(0, 4);
    a.channels = kChannels[static_cast<std::size_t>(trial) % std::size(kChannels)];
    const std::int64_t h = a.rows * a.window_h, w = a.columns * a.window_w;
    a.x_pixel = a.channels + random_int(0, 3), a.x_row = w * a.x_pixel + random_int(0, 5);
    a.y_pixel = a.channels + random_int(0, 3), a.y_row = a.columns * a.y_pixel + random_int(0, 5);
    Guarded<T> x(h * a.x_row), y(a.rows * a.y_row);
    Guarded<std::uint8_t> winners(y.size());
    for (std::int64_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(random_int(-3, 3));  // ties
    for (std::int64_t i = 0; i < x.size(); i += 7) x[random_int(0, x.size() - 1)] = -std::numeric_limits<T>::infinity();
    for (std::int64_t i = 0; i < x.size(); i += 60)
      x[random_int(0, x.size() - 1)] = std::numeric_limits<T>::quiet_NaN();
    for (std::int64_t i = 0; i < y.size(); ++i) y[i] = T(777), winners[i] = 255;
    a.x = x.data(), a.y = y.data(), a.winners = trial % 3 ? winners.data() : nullptr;
    table.pool_windows(a);
    std::int64_t written = 0, untouched = 0;
    for (std::int64_t row = 0; row < a.rows; ++row)
      for (std::int64_t column = 0; column < a.columns; ++column)
        for (std::int64_t c = 0; c < a.channels; ++c, ++written) {
          T best = -std::numeric_limits<T>::infinity();
          std::int64_t winner = 0;
          for (std::int64_t i = 0; i < a.window_h; ++i)
            for (std::int64_t j = 0; j < a.window_w; ++j) {
              const T v = x[(row * a.window_h + i) * a.x_row + (column * a.window_w + j) * a.x_pixel + c];
              if (v > best || std::isnan(v)) best = v, winner = i * a.window_w + j;
            }
          const std::int64_t at = row * a.y_row + column * a.y_pixel + c;
          check(y[at] == best || (std::isnan(y[at]) && std::isnan(best)), "pool_windows");
          check(winners[at] == (a.winners ? winner : 255), "pool_windows' winners");
        }
    for (std::int64_t i = 0; i < y.size(); ++i) untouched += y[i] == T(777) && winners[i] == 255;
    check(written + untouched == y.size(), "pool_windows writes nothing else");
  }
}

template <class T>
void test_spread_windows(const KernelTable<T>& table) {
  for (int trial = 0; trial < 200; ++trial) {
    SpreadWindowsArgs<T> a{};
    a.window_h = random_int(1, 3), a.window_w = random_int(1, 3);
    const std::int64_t rows = random_int(1, 3), columns = random_int(1, 4);
    a.channels = kChannels[static_cast<std::size_t>(trial) % std::size(kChannels)];
    a.row = random_int(0, rows * a.window_h - 1), a.rows = random_int(1, rows * a.window_h - a.row);
    a.column = random_int(0, columns * a.window_w - 1), a.columns = random_int(1, columns * a.window_w - a.column);
    a.dy_pixel = a.channels + random_int(0, 3), a.dy_row = columns * a.dy_pixel + random_int(0, 5);
    a.whole = random_int(0, 1);
    const std::int64_t filled = a.whole ? (a.channels + table.width - 1) / table.width * table.width : a.channels;
    a.dx_pixel = filled + (a.whole ? 0 : random_int(0, 3)), a.dx_row = a.columns * a.dx_pixel + random_int(0, 5);
    Guarded<T> dy(rows * a.dy_row), dx(a.rows * a.dx_row);
    Guarded<std::uint8_t> winners(dy.size() + 64);
    fill_random(dy);
    dy[random_int(0, dy.size() - 1)] = std::numeric_limits<T>::infinity();
    for (std::int64_t i = 0; i < winners.size(); ++i)
      winners[i] = static_cast<std::uint8_t>(random_int(0, a.window_h * a.window_w - 1));
    for (std::int64_t i = 0; i < dx.size(); ++i) dx[i] = T(777);
    a.dy = dy.data(), a.winners = winners.data(), a.dx = dx.data();
    table.spread_windows(a);
    for (std::int64_t i = 0; i < dx.size(); ++i) {
      const std::int64_t r = i / a.dx_row, q = i % a.dx_row / a.dx_pixel, c = i % a.dx_row % a.dx_pixel;
      T expected = T(777);
      if (q < a.columns && c < filled) {
        const std::int64_t row = a.row + r, column = a.column + q;
        const std::int64_t from = row / a.window_h * a.dy_row + column / a.window_w * a.dy_pixel + c;
        const std::int64_t tap = row % a.window_h * a.window_w + column % a.window_w;
        expected = c < a.channels && winners[from] == tap ? dy[from] : T(0);
      }
      check(dx[i] == expected, "spread_windows");
    }
  }
}

template <class T>
void test_power(const KernelTable<T>& table) {
  for (double e : {1.0, 2.0, 3.0, -1.0, 0.0, 0.5, 1.5, -0.5, 1.0 / 3})
    for (std::int64_t n : {0, 1, 5, 16, 37}) {
      Guarded<T> x(n), factor(n), y(n), z(n);
      fill_random(x);
      fill_random(factor);
      if (n > 2) x[1] = 0;
      table.power({x.data(), nullptr, y.data(), n, e, false});
      table.power({x.data(), factor.data(), z.data(), n, e, true});
      for (std::int64_t i = 0; i < n; ++i) {
        const double p = std::pow(static_cast<double>(x[i]), e);
        check_close(y[i], p, tolerance<T>(8), "power " + std::to_string(e));
        check_close(z[i], x[i] == 0 ? 0 : p * static_cast<double>(factor[i]), tolerance<T>(8), "power times factor");
      }
    }
}

template <class T>
void test_pool_planes(const KernelTable<T>& table) {
  for (int trial = 0; trial < 300; ++trial) {
    const bool maximum = random_int(0, 1), listed = random_int(0, 2) == 0;
    const std::int64_t planes = random_int(1, 3), in_h = random_int(1, 6), in_w = random_int(1, 70);
    const std::int64_t out_h = random_int(1, 3), stride = random_int(1, 2), step = random_int(1, 3);
    const std::int64_t taps = random_int(1, 4), left = random_int(0, 3);
    const std::int64_t out_w = random_int(1, (in_w + left) / stride + 1);
    std::vector<PoolTap> rows, columns;
    std::vector<std::int32_t> row_first{0}, column_first{0};
    for (std::int64_t h = 0; h < out_h; ++h) {
      for (std::int64_t r = random_int(0, in_h); r < in_h; ++r) rows.push_back({static_cast<std::int32_t>(r), 0, 1});
      row_first.push_back(static_cast<std::int32_t>(rows.size()));
    }
    for (std::int64_t o = 0; o < out_w; ++o) {
      for (std::int64_t k = 0; k < taps; ++k) {
        const std::int64_t at = o * stride + k * step - left;
        if (at >= 0 && at < in_w) columns.push_back({static_cast<std::int32_t>(at), 0, 1});
      }
      column_first.push_back(static_cast<std::int32_t>(columns.size()));
    }
    Guarded<T> x(planes * in_h * in_w), y(planes * out_h * out_w), row_extents(out_h), column_extents(out_w);
    fill_random(x);
    if (maximum) x[random_int(0, x.size() - 1)] = std::numeric_limits<T>::quiet_NaN();
    for (std::int64_t i = 0; i < out_h; ++i) row_extents[i] = static_cast<T>(i + 2);
    for (std::int64_t i = 0; i < out_w; ++i) column_extents[i] = static_cast<T>(i % 5 + 1);
    const std::int64_t reach = std::max(left + in_w, (out_w - 1) * stride + (taps - 1) * step + 1);
    const std::int64_t line = (reach + 2) / 2 * 2 + 4 * table.width;
    Guarded<T> buffer(2 * line);
    PoolPlanesArgs<T> a{};
    a.maximum = maximum;
    a.x = x.data(), a.y = y.data();
    a.planes = planes, a.x_plane = in_h * in_w, a.y_plane = out_h * out_w;
    a.in_w = in_w, a.out_h = out_h, a.out_w = out_w;
    a.row_first = row_first.data(), a.rows = rows.data();
    a.row_extents = row_extents.data(), a.column_extents = column_extents.data();
    a.stride = stride, a.step = step, a.taps = taps, a.left = left;
    if (listed) a.column_first = column_first.data(), a.columns = columns.data();
    a.buffer = buffer.data(), a.line = line;
    table.pool_planes(a);
    for (std::int64_t i = 0; i < y.size(); ++i) {
      const std::int64_t p = i / a.y_plane, h = i % a.y_plane / out_w, o = i % out_w;
      double best = -std::numeric_limits<double>::infinity(), sum = 0;
      for (std::int32_t r = row_first[h]; r < row_first[h + 1]; ++r)
        for (std::int32_t c = column_first[o]; c < column_first[o + 1]; ++c) {
          const auto v = static_cast<double>(x[p * a.x_plane + rows[r].source * in_w + columns[c].source]);
          sum += v;
          if (v > best || std::isnan(v)) best = v;
        }
      sum /= static_cast<double>(row_extents[h]) * static_cast<double>(column_extents[o]);
      check_close(y[i], maximum ? best : sum, tolerance<T>(24), "pool_planes, width " + std::to_string(in_w));
    }
  }
}

template <class T>
void test_max_planes_backward(const KernelTable<T>& table) {
  const T special[] = {std::numeric_limits<T>::quiet_NaN(), std::numeric_limits<T>::infinity(),
                       -std::numeric_limits<T>::infinity()};
  for (int trial = 0; trial < 400; ++trial) {
    MaxPlanesBackwardArgs<T> a{};
    a.window = random_int(2, 3);
    a.planes = random_int(1, 2), a.in_h = random_int(a.window, 9), a.in_w = random_int(a.window, 75);
    if (a.window == 3) a.top = random_int(0, 1), a.left = random_int(0, 1);
    // The last window may reach over the edge, or leave an element out.
    const auto windows = [&](std::int64_t n) {
      return std::max<std::int64_t>(1, (n - a.window + random_int(0, 1)) / 2 + 1);
    };
    a.out_h = windows(a.in_h + a.top), a.out_w = windows(a.in_w + a.left);
    a.line = std::max((a.in_w + 1) / 2, a.out_w) + 1 + 2 * table.width;
    const std::int64_t plane = a.in_h * a.in_w;
    Guarded<T> x(a.planes * plane), dy(a.planes * a.out_h * a.out_w), dx(x.size()), buffer(16 * a.line);
    fill_random(x), fill_random(dy);
    if (trial % 2)
      for (std::int64_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(random_int(0, 2));  // ties
    if (trial % 3 == 0)
      for (std::int64_t i = random_int(1, x.size()); i > 0; --i) x[random_int(0, x.size() - 1)] = special[i % 3];
    for (std::int64_t i = 0; i < dx.size(); ++i) dx[i] = 7;
    a.x = x.data(), a.dy = dy.data(), a.dx = dx.data(), a.buffer = buffer.data();
    for (a.row_begin = 0; a.row_begin < a.out_h; a.row_begin = a.row_end) {
      a.row_end = random_int(a.row_begin + 1, a.out_h);
      table.max_planes_backward(a);
    }
    std::vector<T> expected(static_cast<std::size_t>(x.size()));
    for (std::int64_t i = 0; i < dy.size(); ++i) {
      const std::int64_t p = i / (a.out_h * a.out_w), top = i / a.out_w % a.out_h * 2 - a.top;
      const std::int64_t left = i % a.out_w * 2 - a.left;
      std::int64_t winner = -1;
      for (std::int64_t h = std::max<std::int64_t>(top, 0); h < std::min(top + a.window, a.in_h); ++h)
        for (std::int64_t w = std::max<std::int64_t>(left, 0); w < std::min(left + a.window, a.in_w); ++w) {
          const std::int64_t at = p * plane + h * a.in_w + w;
          if (winner < 0 || x[at] > x[winner] || std::isnan(x[at])) winner = at;
        }
      expected[static_cast<std::size_t>(winner)] += dy[i];
    }
    for (std::int64_t i = 0; i < dx.size(); ++i)
      check_close(dx[i], static_cast<double>(expected[static_cast<std::size_t>(i)]), tolerance<T>(0),
                  "max_planes_backward, width " + std::to_string(a.in_w) + ", window " + std::to_string(a.window));
  }
}

FASTCONV_TEST(pool_planes);
FASTCONV_TEST(max_planes_backward);
FASTCONV_TEST(pool_windows);
FASTCONV_TEST(spread_windows);
FASTCONV_TEST(pool_sum);
FASTCONV_TEST(pool_max);
FASTCONV_TEST(pool_max_backward);
FASTCONV_TEST(power);

}  // namespace fastconv::test
