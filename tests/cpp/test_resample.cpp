// Rows and pixels made of weighted sums of others.
#include "harness.hpp"

namespace fastconv::test {
namespace {

template <class T>
struct RandomTaps {
  std::vector<std::int32_t> start{0}, index;
  std::vector<T> weight;
  RandomTaps(std::int64_t outputs, std::int64_t inputs) {
    for (std::int64_t i = 0; i < outputs; ++i) {
      for (std::int64_t k = random_int(0, 3); k > 0; --k) {
        index.push_back(static_cast<std::int32_t>(random_int(0, inputs - 1)));
        weight.push_back(static_cast<T>(random_int(-8, 8)) / 4);
      }
      start.push_back(static_cast<std::int32_t>(index.size()));
    }
  }
  TapsView<T> view() const { return {start.data(), index.data(), weight.data()}; }
  template <class Read>
  double sum(std::int64_t output, Read read) const {
    double s = 0;
    for (auto k = start[output]; k < start[output + 1]; ++k) s += static_cast<double>(weight[k]) * read(index[k]);
    return s;
  }
};

}  // namespace

template <class T>
void test_combine_rows(const KernelTable<T>& table) {
  for (std::int64_t n : {1, 3, 16, 21, 64, 150}) {
    const std::int64_t rows = 4, row = n + 1;
    Guarded<T> x((rows - 1) * row + n), y(n);
    fill_random(x);
    const RandomTaps<T> taps(5, rows);
    for (std::int64_t r = 0; r < 5; ++r) {
      table.combine_rows({x.data(), y.data(), r, n, row, taps.view()});
      for (std::int64_t i = 0; i < n; ++i)
        check_close(y[i], taps.sum(r, [&](auto k) { return static_cast<double>(x[k * row + i]); }), tolerance<T>(3),
                    "combine_rows of " + std::to_string(n));
    }
  }
}

template <class T>
void test_combine_pixels(const KernelTable<T>& table) {
  for (std::int64_t channels : {1, 2, 3, 4, 8, 16, 19, 64, 70}) {
    const std::int64_t in = 5, width = 7;
    Guarded<T> x(in * channels + table.width), y(width * channels);
    fill_random(x);
    const RandomTaps<T> taps(width, in);
    table.combine_pixels({x.data(), y.data(), width, channels, taps.view()});
    for (std::int64_t w = 0; w < width; ++w)
      for (std::int64_t c = 0; c < channels; ++c)
        check_close(y[w * channels + c], taps.sum(w, [&](auto k) { return static_cast<double>(x[k * channels + c]); }),
                    tolerance<T>(3), "combine_pixels of " + std::to_string(channels) + " channels");
  }
}

FASTCONV_TEST(combine_rows);
FASTCONV_TEST(combine_pixels);

}  // namespace fastconv::test
