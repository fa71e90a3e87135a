#include <algorithm>
#include <limits>

#include "harness.hpp"

namespace fastconv::test {

template <class T>
void test_conv_row(const KernelTable<T>& table) {
  for (int round = 0; round < 400; ++round) {
    ConvRowArgs<T> a{};
    const int width = table.width;
    a.vectors = static_cast<int>(random_int(1, table.tile_vectors));
    a.channels = static_cast<int>(random_int((a.vectors - 1) * width + 1, a.vectors * width));
    a.pixels = random_int(1, 31);
    a.taps_h = random_int(0, 3), a.taps_w = random_int(1, 3), a.run = random_int(1, 19);
    a.x_pixel = random_int(1, 20), a.x_tap_w = random_int(1, 20), a.x_tap_h = random_int(1, 40);
    a.y_pixel = a.channels + random_int(0, 5);
    a.clamp = random_int(0, 1);
    a.lo = T(-0.5), a.hi = random_int(0, 1) ? T(1) : std::numeric_limits<T>::infinity();
    const auto last_tap = std::max<std::int64_t>(a.taps_h - 1, 0) * a.x_tap_h + (a.taps_w - 1) * a.x_tap_w;
    Guarded<T> x((a.pixels - 1) * a.x_pixel + last_tap + a.run);
    Guarded<T> w(a.taps_h * a.taps_w * a.run * a.vectors * width);
    Guarded<T> bias(a.channels), y((a.pixels - 1) * a.y_pixel + a.channels), residual(y.size());
    fill_random(x), fill_random(w, 0.3), fill_random(bias), fill_random(residual);
    for (std::int64_t i = 0; i < y.size(); ++i) y[i] = T(777);
    a.x = x.data(), a.w = w.data(), a.y = y.data();
    a.bias = random_int(0, 1) ? bias.data() : nullptr;
    const std::int64_t add = random_int(0, 2);  // no residual, one beside y, y itself
    if (add) a.residual = add == 1 ? residual.data() : y.data();
    for (std::int64_t p = 0; add == 2 && p < a.pixels; ++p)
      for (int c = 0; c < a.channels; ++c) y[p * a.y_pixel + c] = residual[p * a.y_pixel + c];
    Guarded<T> next(random_int(1, 40));  // what is fetched is never read, whatever lies behind it
    if (random_int(0, 1)) a.next = next.data(), a.next_lines = random_int(0, 999);
    table.conv_row(a);
    for (std::int64_t p = 0; p < a.pixels; ++p)
      for (int c = 0; c < a.y_pixel; ++c) {
        const std::int64_t at = p * a.y_pixel + c;
        if (at >= y.size()) break;
        if (c >= a.channels) {
          check(y[at] == T(777), "conv_row wrote between pixels");
          continue;
        }
        double s = a.bias ? a.bias[c] : 0;
        for (std::int64_t i = 0; i < a.taps_h * a.taps_w * a.run; ++i) {
          const std::int64_t r = i % a.run, tw = i / a.run % a.taps_w, th = i / a.run / a.taps_w;
          s += static_cast<double>(x[p * a.x_pixel + th * a.x_tap_h + tw * a.x_tap_w + r]) *
               static_cast<double>(w[i * a.vectors * width + c]);
        }
        if (add) s += static_cast<double>(residual[at]);
        if (a.clamp) s = std::min<double>(std::max<double>(s, a.lo), a.hi);
        check_close(y[at], s, tolerance<T>(static_cast<double>(a.taps_h * a.taps_w * a.run)), "conv_row");
      }
  }
  // NaN passes through the clamp.
  ConvRowArgs<T> a{};
  Guarded<T> x(1), w(table.width), y(1);
  x[0] = std::numeric_limits<T>::quiet_NaN();
  for (int i = 0; i < table.width; ++i) w[i] = 1;
  a.x = x.data(), a.w = w.data(), a.y = y.data();
  a.taps_h = a.taps_w = a.run = a.vectors = a.channels = 1;
  a.pixels = a.y_pixel = 1;
  a.clamp = true, a.lo = 0, a.hi = 6;
  table.conv_row(a);
  check(std::isnan(y[0]), "conv_row: relu of NaN is NaN");
}

template <class T>
void test_conv_dots(const KernelTable<T>& table) {
  for (int round = 0; round < 200; ++round) {
    ConvDotsArgs<T> a{};
    a.rows = random_int(0, 20), a.pixels = static_cast<int>(random_int(1, 4)), a.n = random_int(0, 70);
    a.w_row = a.n + random_int(0, 3), a.x_row = a.n + random_int(0, 3), a.y_row = a.pixels + random_int(0, 3);
    Guarded<T> w(a.rows ? (a.rows - 1) * a.w_row + a.n : 0), x((a.pixels - 1) * a.x_row + a.n), bias(a.rows);
    Guarded<T> y(a.rows ? (a.rows - 1) * a.y_row + a.pixels : 0);
    fill_random(w), fill_random(x), fill_random(bias);
    for (std::int64_t i = 0; i < y.size(); ++i) y[i] = T(777);
    if (round % 5 == 0 && x.size()) x[random_int(0, x.size() - 1)] = std::numeric_limits<T>::quiet_NaN();
    a.w = w.data(), a.x = x.data(), a.y = y.data();
    a.bias = random_int(0, 1) ? bias.data() : nullptr;
    a.clamp = random_int(0, 1);
    a.lo = T(-0.5), a.hi = random_int(0, 1) ? T(1) : std::numeric_limits<T>::infinity();
    table.conv_dots(a);
    for (std::int64_t r = 0; r < a.rows; ++r)
      for (std::int64_t p = 0; p < a.y_row && r * a.y_row + p < y.size(); ++p) {
        if (p >= a.pixels) {
          check(y[r * a.y_row + p] == T(777), "conv_dots wrote between rows");
          continue;
        }
        double s = a.bias ? a.bias[r] : 0;
        for (std::int64_t i = 0; i < a.n; ++i)
          s += static_cast<double>(w[r * a.w_row + i]) * static_cast<double>(x[p * a.x_row + i]);
        if (a.clamp && s == s) s = std::min<double>(std::max<double>(s, a.lo), a.hi);
        check_close(y[r * a.y_row + p], s, tolerance<T>(static_cast<double>(a.n)), "conv_dots");
      }
  }
}

template <class T>
void test_conv_narrow(const KernelTable<T>& table) {
  constexpr T inf = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  for (int round = 0; round < 400; ++round) {
    ConvNarrowArgs<T> a{};
    a.channels = static_cast<int>(random_int(1, 8));
    a.pixels = random_int(1, 70);
    a.taps_h = random_int(0, 3), a.taps_w = random_int(1, 5);
    a.x_tap_w = random_int(1, 3), a.x_tap_h = random_int(1, 90);
    a.clamp = random_int(0, 1);
    a.lo = T(-0.5), a.hi = random_int(0, 1) ? T(1) : inf;
    const std::int64_t columns = a.channels + a.channels % 2, taps = a.taps_h * a.taps_w;
    const std::int64_t readable = (a.pixels + table.width - 1) / table.width * table.width;
    Guarded<T> x(readable + std::max<std::int64_t>(a.taps_h - 1, 0) * a.x_tap_h + (a.taps_w - 1) * a.x_tap_w);
    if (random_int(0, 1)) a.y_plane = readable + random_int(0, 3);
    Guarded<T> w(taps * columns), bias(a.channels);
    Guarded<T> y(a.y_plane ? (a.channels - 1) * a.y_plane + readable : a.pixels * a.channels);
    fill_random(x), fill_random(w, 0.3), fill_random(bias);
    if (round % 5 == 0) x[random_int(0, x.size() - 1)] = nan;
    a.x = x.data(), a.w = w.data(), a.y = y.data(), a.bias = random_int(0, 1) ? bias.data() : nullptr;
    table.conv_narrow(a);
    for (std::int64_t p = 0; p < a.pixels; ++p)
      for (int c = 0; c < a.channels; ++c) {
        double s = a.bias ? a.bias[c] : 0;
        for (std::int64_t i = 0; i < taps; ++i)
          s += static_cast<double>(x[p + i / a.taps_w * a.x_tap_h + i % a.taps_w * a.x_tap_w]) *
               static_cast<double>(w[i * columns + c]);
        if (a.clamp && !std::isnan(s)) s = std::min<double>(std::max<double>(s, a.lo), a.hi);
        const std::int64_t at = a.y_plane ? c * a.y_plane + p : p * a.channels + c;
        check_close(y[at], s, tolerance<T>(static_cast<double>(taps)), "conv_narrow");
      }
  }
}

template <class T>
void test_pool_narrow(const KernelTable<T>& table) {
  for (int round = 0; round < 400; ++round) {
    PoolNarrowArgs<T> a{};
    a.channels = static_cast<int>(random_int(1, 8)), a.rows = random_int(1, 3), a.windows = random_int(1, 40);
    const std::int64_t readable = (a.windows + table.width - 1) / table.width * table.width * 2;
    a.plane = readable + random_int(0, 3);
    Guarded<T> x((a.rows * a.channels - 1) * a.plane + readable), y(a.windows * a.channels);
    Guarded<std::uint8_t> winners(y.size());
    for (std::int64_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(random_int(-3, 3));  // ties
    for (std::int64_t i = 0; i < x.size(); i += 20) {
      x[random_int(0, x.size() - 1)] = -std::numeric_limits<T>::infinity();
      x[random_int(0, x.size() - 1)] = std::numeric_limits<T>::quiet_NaN();
    }
    for (std::int64_t i = 0; i < y.size(); ++i) winners[i] = 255;
    a.x = x.data(), a.y = y.data(), a.winners = round % 3 ? winners.data() : nullptr;
    table.pool_narrow(a);
    for (std::int64_t p = 0; p < a.windows; ++p)
      for (int c = 0; c < a.channels; ++c) {
        T best = x[c * a.plane + 2 * p];
        std::int64_t winner = 0;
        for (std::int64_t i = 1; i < 2 * a.rows; ++i) {
          const T v = x[(i / 2 * a.channels + c) * a.plane + 2 * p + i % 2];
          if (v > best || std::isnan(v)) best = v, winner = i;
        }
        const std::int64_t at = p * a.channels + c;
        check(y[at] == best || (std::isnan(y[at]) && std::isnan(best)), "pool_narrow");
        check(winners[at] == (a.winners ? winner : 255), "pool_narrow's winners");
      }
  }
}

template <class T>
void test_conv_winners(const KernelTable<T>& table) {
  for (int round = 0; round < 400; ++round) {
    ConvWinnersArgs<T> a{};
    a.rows = random_int(0, 4), a.columns = random_int(1, 6), a.channels = random_int(1, 7);
    a.vectors = static_cast<int>(random_int(1, 2));
    a.taps_h = static_cast<int>(random_int(1, a.vectors == 1 ? 7 : kWinnerSums / 2));
    const std::int64_t run = a.vectors * table.width;
    a.x_row = random_int(0, 50), a.x_column = random_int(0, 9), a.x_tap_h = random_int(0, 40);
    std::vector<std::int64_t> taps(256);
    for (std::int64_t& t : taps) t = random_int(0, 60);
    const std::int64_t last = std::max<std::int64_t>(a.rows - 1, 0) * a.x_row + (a.columns - 1) * a.x_column +
                              *std::max_element(taps.begin(), taps.end()) + (a.taps_h - 1) * a.x_tap_h;
    Guarded<T> x(last + run), dy(a.rows * a.columns * a.channels), dw(a.channels * a.taps_h * run);
    Guarded<std::uint8_t> winners(dy.size());
    fill_random(x), fill_random(dy), fill_random(dw);
    for (std::int64_t i = 0; i < dy.size(); ++i) winners[i] = static_cast<std::uint8_t>(random_int(0, 255));
    std::vector<double> expected(dw.data(), dw.data() + dw.size());
    for (std::int64_t i = 0; i < dy.size(); ++i) {
      const std::int64_t k = i % a.channels, column = i / a.channels % a.columns, row = i / a.channels / a.columns;
      const std::int64_t from = row * a.x_row + column * a.x_column + taps[winners[i]];
      for (std::int64_t j = 0; j < a.taps_h * run; ++j)
        expected[static_cast<std::size_t>(k * a.taps_h * run + j)] +=
            static_cast<double>(dy[i]) * static_cast<double>(x[from + j / run * a.x_tap_h + j % run]);
    }
    a.x = x.data(), a.taps = taps.data(), a.dy = dy.data(), a.winners = winners.data(), a.dw = dw.data();
    table.conv_winners(a);
    for (std::int64_t i = 0; i < dw.size(); ++i)
      check_close(dw[i], expected[static_cast<std::size_t>(i)],
                  tolerance<T>(static_cast<double>(a.rows * a.columns) + 1), "conv_winners");
  }
}

template <class T>
void test_conv_weights(const KernelTable<T>& table) {
  for (int round = 0; round < 200; ++round) {
    ConvWeightsArgs<T> a{};
    a.vectors = 1 << random_int(0, table.tile_vectors == 4 ? 2 : 1);
    const std::int64_t channels = a.vectors * table.width;
    a.run = random_int(1, 27);
    a.pixels = random_int(0, 40);
    a.dw_row = channels + random_int(0, 3);
    a.add = random_int(0, 1);
    std::vector<PixelPair> list(static_cast<std::size_t>(a.pixels)), next = list;
    for (PixelPair& p : list) p = {random_int(0, 90), random_int(0, 90)};
    for (PixelPair& p : next) p = {random_int(0, 90), random_int(0, 90)};
    Guarded<T> x(90 + a.run), dy(90 + channels), dw((a.run - 1) * a.dw_row + channels);
    fill_random(x), fill_random(dy), fill_random(dw);
    std::vector<double> expected(static_cast<std::size_t>(dw.size()));
    for (std::int64_t i = 0; i < dw.size(); ++i) expected[static_cast<std::size_t>(i)] = dw[i];
    for (std::int64_t r = 0; r < a.run; ++r)
      for (std::int64_t c = 0; c < channels; ++c) {
        double& sum = expected[static_cast<std::size_t>(r * a.dw_row + c)];
        if (!a.add) sum = 0;
        for (const PixelPair& p : list) sum += static_cast<double>(x[p.x + r]) * static_cast<double>(dy[p.dy + c]);
      }
    a.x = x.data(), a.dy = dy.data(), a.dw = dw.data();
    a.list = list.data(), a.next = next.data();
    a.next_x = random_int(0, 1) ? a.x : nullptr, a.next_dy = random_int(0, 1) ? a.dy : nullptr;
    table.conv_weights(a);
    for (std::int64_t i = 0; i < dw.size(); ++i)
      check_close(dw[i], expected[static_cast<std::size_t>(i)], tolerance<T>(static_cast<double>(a.pixels + 1)),
                  "conv_weights");
  }
}

template <class T>
void test_overlap_add(const KernelTable<T>& table) {
  for (int round = 0; round < 200; ++round) {
    OverlapArgs<T> a{};
    a.runs = random_int(0, 20), a.n = random_int(1, 3 * table.width), a.step = random_int(1, 20);
    a.x_run = a.n + random_int(0, 3);
    Guarded<T> x(std::max<std::int64_t>(a.runs - 1, 0) * a.x_run + a.n);
    Guarded<T> y(std::max<std::int64_t>(a.runs - 1, 0) * a.step + a.n);
    fill_random(x), fill_random(y);
    std::vector<double> expected;
    for (std::int64_t i = 0; i < y.size(); ++i) expected.push_back(static_cast<double>(y[i]));
    for (std::int64_t i = 0; i < a.runs; ++i)
      for (std::int64_t c = 0; c < a.n; ++c)
        expected[static_cast<std::size_t>(i * a.step + c)] += static_cast<double>(x[i * a.x_run + c]);
    a.x = x.data(), a.y = y.data();
    table.overlap_add(a);
    for (std::int64_t i = 0; i < y.size(); ++i)
      check_close(y[i], expected[static_cast<std::size_t>(i)], tolerance<T>(static_cast<double>(a.n)), "overlap_add");
  }
}

// Of rows x pixels of outputs; the window moves over the input's edges, far outside too.
template <class Args>
void random_windows(Args& a) {
  a.taps_h = random_int(1, 5), a.taps_w = random_int(0, 1) ? 3 + 2 * random_int(0, 1) : random_int(1, 7);
  a.stride_h = random_int(1, 3), a.stride_w = random_int(0, 3) ? random_int(1, 2) : 3;
  a.step_h = random_int(1, 2), a.step_w = random_int(0, 3) ? 1 : random_int(2, 3);
  a.row = random_int(-4, 2), a.col = random_int(-6, 2);
  const std::int64_t down = a.row + (a.rows - 1) * a.stride_h + (a.taps_h - 1) * a.step_h;
  const std::int64_t right = a.col + (a.pixels - 1) * a.stride_w + (a.taps_w - 1) * a.step_w;
  a.in_h = std::max<std::int64_t>(1, down + 1 + random_int(-4, 1));
  a.in_w = std::max<std::int64_t>(1, right + 1 + random_int(-6, 1));
  a.x_pixel = a.channels + random_int(0, 3), a.x_row = a.in_w * a.x_pixel + random_int(0, 3);
}

template <class T>
void test_depthwise(const KernelTable<T>& table) {
  for (int round = 0; round < 1500; ++round) {
    DepthwiseArgs<T> a{};
    a.channels = random_int(1, 5 * table.width + 1), a.rows = random_int(1, 6), a.pixels = random_int(1, 21);
    random_windows(a);
    a.w_tap = a.channels + random_int(0, 2);
    a.y_pixel = a.channels * random_int(1, 2), a.y_row = a.pixels * a.y_pixel + random_int(0, 3);
    a.clamp = random_int(0, 1), a.lo = 0, a.hi = 6;
    Guarded<T> x((a.in_h - 1) * a.x_row + (a.in_w - 1) * a.x_pixel + a.channels);
    Guarded<T> w((a.taps_h * a.taps_w - 1) * a.w_tap + a.channels), bias(a.channels);
    Guarded<T> y((a.rows - 1) * a.y_row + (a.pixels - 1) * a.y_pixel + a.channels), residual(y.size());
    fill_random(x), fill_random(w), fill_random(bias), fill_random(residual);
    const std::int64_t add = random_int(0, 2);  // no residual, one beside y, y itself
    for (std::int64_t i = 0; i < y.size(); ++i) y[i] = add == 2 ? residual[i] : T(777);
    a.x = x.data(), a.w = w.data(), a.y = y.data(), a.bias = random_int(0, 1) ? bias.data() : nullptr;
    if (add) a.residual = add == 1 ? residual.data() : y.data();
    table.depthwise(a);
    std::vector<bool> written(static_cast<std::size_t>(y.size()));
    for (std::int64_t r = 0; r < a.rows; ++r)
      for (std::int64_t p = 0; p < a.pixels; ++p)
        for (std::int64_t c = 0; c < a.channels; ++c) {
          double s = a.bias ? a.bias[c] : 0;
          for (std::int64_t th = 0; th < a.taps_h; ++th)
            for (std::int64_t tw = 0; tw < a.taps_w; ++tw) {
              const std::int64_t h = a.row + r * a.stride_h + th * a.step_h, v = a.col + p * a.stride_w + tw * a.step_w;
              if (h < 0 || h >= a.in_h || v < 0 || v >= a.in_w) continue;
              s += static_cast<double>(x[h * a.x_row + v * a.x_pixel + c]) *
                   static_cast<double>(w[(th * a.taps_w + tw) * a.w_tap + c]);
            }
          const std::int64_t at = r * a.y_row + p * a.y_pixel + c;
          written[static_cast<std::size_t>(at)] = true;
          if (add) s += static_cast<double>(residual[at]);
          if (a.clamp) s = std::min(std::max(s, 0.0), 6.0);
          check_close(y[at], s, tolerance<T>(static_cast<double>(a.taps_h * a.taps_w)), "depthwise");
        }
    for (std::int64_t i = 0; i < y.size(); ++i)
      if (!written[static_cast<std::size_t>(i)])
        check(y[i] == (add == 2 ? residual[i] : T(777)), "depthwise wrote between pixels");
  }
}

template <class T>
void test_depthwise_transposed(const KernelTable<T>& table) {
  for (int round = 0; round < 1500; ++round) {
    DepthwiseTransposedArgs<T> a{};
    a.channels = random_int(1, 3 * table.width + 1), a.pixels = random_int(1, 21);
    if (round % 2) a.channels = random_int(1, 3) * table.width;
    a.taps_h = random_int(1, 5), a.taps_w = 3 + 2 * random_int(0, 1);
    a.top = random_int(0, 6), a.left = random_int(0, 6);
    a.in_h = random_int(1, 6), a.in_w = random_int(1, 12);
    a.first = random_int(0, 5), a.rows = random_int(1, 5);
    a.x_pixel = a.channels + random_int(0, 3), a.x_row = a.in_w * a.x_pixel + random_int(0, 3);
    a.w_tap = a.channels + random_int(0, 2);
    a.y_pixel = a.channels * random_int(1, 2);
    a.y_row = a.pixels * a.y_pixel + (round % 2 ? 0 : random_int(0, 3));
    a.clamp = random_int(0, 1), a.lo = 0, a.hi = 6;
    a.stream = random_int(0, 1);
    Guarded<T> x((a.in_h - 1) * a.x_row + (a.in_w - 1) * a.x_pixel + a.channels);
    Guarded<T> w((a.taps_h * a.taps_w - 1) * a.w_tap + a.channels), bias(a.channels);
    Guarded<T> y((a.rows - 1) * a.y_row + a.pixels * a.y_pixel), residual(y.size());
    fill_random(x), fill_random(w), fill_random(bias), fill_random(residual);
    const std::int64_t add = random_int(0, 2);  // no residual, one beside y, y itself
    for (std::int64_t i = 0; i < y.size(); ++i) y[i] = add == 2 ? residual[i] : T(777);
    a.x = x.data(), a.w = w.data(), a.y = y.data(), a.bias = random_int(0, 1) ? bias.data() : nullptr;
    if (add) a.residual = add == 1 ? residual.data() : y.data();
    table.depthwise_transposed(a);
    std::vector<bool> written(static_cast<std::size_t>(y.size()));
    for (std::int64_t r = 0; r < a.rows; ++r)
      for (std::int64_t p = 0; p < a.pixels; ++p)
        for (std::int64_t c = 0; c < a.channels; ++c) {
          double s = a.bias ? a.bias[c] : 0;
          for (std::int64_t th = 0; th < a.taps_h; ++th)
            for (std::int64_t tw = 0; tw < a.taps_w; ++tw) {
              const std::int64_t h = a.first + r + a.top - th, v = p + a.left - tw;
              if (h < 0 || h % 2 || h / 2 >= a.in_h || v < 0 || v % 2 || v / 2 >= a.in_w) continue;
              s += static_cast<double>(x[h / 2 * a.x_row + v / 2 * a.x_pixel + c]) *
                   static_cast<double>(w[(th * a.taps_w + tw) * a.w_tap + c]);
            }
          const std::int64_t at = r * a.y_row + p * a.y_pixel + c;
          written[static_cast<std::size_t>(at)] = true;
          if (add) s += static_cast<double>(residual[at]);
          if (a.clamp) s = std::min(std::max(s, 0.0), 6.0);
          check_close(y[at], s, tolerance<T>(static_cast<double>(a.taps_h * a.taps_w)), "depthwise_transposed");
        }
    for (std::int64_t i = 0; i < y.size(); ++i)
      if (!written[static_cast<std::size_t>(i)])
        check(y[i] == (add == 2 ? residual[i] : T(777)), "depthwise_transposed wrote between pixels");
  }
}

template <class T>
void test_depthwise_weights(const KernelTable<T>& table) {
  for (int round = 0; round < 800; ++round) {
    DepthwiseWeightsArgs<T> a{};
    a.channels = random_int(1, 4 * table.width + 1), a.rows = random_int(1, 4), a.pixels = random_int(1, 19);
    random_windows(a);
    a.dy_pixel = a.channels + random_int(0, 3), a.dy_row = a.pixels * a.dy_pixel + random_int(0, 3);
    a.dw_tap = a.channels + random_int(0, 1);
    Guarded<T> x((a.in_h - 1) * a.x_row + (a.in_w - 1) * a.x_pixel + a.channels);
    Guarded<T> dy((a.rows - 1) * a.dy_row + (a.pixels - 1) * a.dy_pixel + a.channels);
    Guarded<T> dw((a.taps_h * a.taps_w - 1) * a.dw_tap + a.channels);
    fill_random(x), fill_random(dy);
    for (std::int64_t i = 0; i < dw.size(); ++i) dw[i] = T(1);
    a.x = x.data(), a.dy = dy.data(), a.dw = dw.data();
    table.depthwise_weights(a);
    std::vector<double> expected(static_cast<std::size_t>(dw.size()), 1);
    for (std::int64_t t = 0; t < a.taps_h * a.taps_w; ++t)
      for (std::int64_t r = 0; r < a.rows; ++r)
        for (std::int64_t p = 0; p < a.pixels; ++p) {
          const std::int64_t h = a.row + r * a.stride_h + t / a.taps_w * a.step_h;
          const std::int64_t v = a.col + p * a.stride_w + t % a.taps_w * a.step_w;
          if (h < 0 || h >= a.in_h || v < 0 || v >= a.in_w) continue;
          for (std::int64_t c = 0; c < a.channels; ++c)
            expected[static_cast<std::size_t>(t * a.dw_tap + c)] +=
                static_cast<double>(x[h * a.x_row + v * a.x_pixel + c]) *
                static_cast<double>(dy[r * a.dy_row + p * a.dy_pixel + c]);
        }
    for (std::int64_t i = 0; i < dw.size(); ++i)
      check_close(dw[i], expected[static_cast<std::size_t>(i)], tolerance<T>(static_cast<double>(a.rows * a.pixels)),
                  "depthwise_weights");
  }
}

FASTCONV_TEST(conv_row);
FASTCONV_TEST(conv_dots);
FASTCONV_TEST(conv_narrow);
FASTCONV_TEST(pool_narrow);
FASTCONV_TEST(conv_winners);
FASTCONV_TEST(overlap_add);
FASTCONV_TEST(conv_weights);
FASTCONV_TEST(depthwise);
FASTCONV_TEST(depthwise_transposed);
FASTCONV_TEST(depthwise_weights);

}  // namespace fastconv::test
