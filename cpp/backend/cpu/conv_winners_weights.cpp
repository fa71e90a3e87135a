// Weight gradient of a convolution of few input channels whose output is pooled by maxima: only the maxima have a
// gradient, and each adds its window of the input (docs/adr/0012-weight-gradients.md).
#include <algorithm>
#include <array>
#include <memory>
#include <string>

#include "backend/cpu/conv.hpp"

namespace fastconv::cpu {
namespace {

constexpr std::int64_t kChunks = 16;   // of the batch, with sums of their own that are added in order
constexpr std::int64_t kMostRows = 7;  // of a window, that the kernel knows
constexpr std::int64_t kMostVectors = 2;
// In products of a vector: finding a winner, a product whose input crosses cache lines; what an output costs besides
// its products where all are summed, spread and gathered.
constexpr double kWinner = 2, kCrossing = 1.5, kSpread = 24;

template <class T>
class WinnersWeights {
 public:
  WinnersWeights(const ConvGeometry& g, const Windows& windows)
      : g_(g),
        windows_(windows),
        table_(kernels<T>()),
        rows_((g.oh - 1) * g.stride_h + (g.kh - 1) * g.dilation_h + 1),
        columns_((g.ow - 1) * g.stride_w + g.kw),
        chunks_(std::min(g.n, kChunks)),
        vectors_(ceil_div(g.kw * g.c, table_.width)),
        row_(vectors_ * table_.width),
        size_(g.k * g.kh * row_) {
    taps_.fill(0);
    for (std::int64_t i = 0; i < windows.h; ++i)
      for (std::int64_t j = 0; j < windows.w; ++j)
        taps_[static_cast<std::size_t>(i * windows.w + j)] = (i * g.stride_h * columns_ + j * g.stride_w) * g.c;
  }

  bool covers() const {
    return g_.groups == 1 && g_.dilation_w == 1 && g_.kh <= kMostRows && vectors_ <= kMostVectors &&
           g_.kh * vectors_ <= kWinnerSums;
  }
  // Against a sum over all outputs.
  bool pays() const {
    const auto real = [](std::int64_t n) { return static_cast<double>(n); };
    const std::int64_t window = g_.kw * g_.c * g_.kh, width = table_.width;
    const double mine = real(g_.oh / windows_.h) * real(g_.ow / windows_.w) * real(g_.k) *
                        (real(g_.kh * vectors_) * kCrossing + kWinner);
    const std::int64_t all = std::min(window * ceil_div(g_.k, width), g_.k * ceil_div(window, width));
    return mine < real(g_.oh) * real(g_.ow) * (real(all) + kSpread);
  }

  Step step(int x, int dy, int dw, const std::shared_ptr<const WinnersWeights>& self) const {
    Step s;
    s.algorithm = "winners";
    s.flops = g_.flops();
    s.scratch = static_cast<std::size_t>(rows_ * columns_ * g_.c + row_) * sizeof(T);
    s.workspace = static_cast<std::size_t>(chunks_ * size_) * sizeof(T);
    s.run = [self, x, dy, dw](const RunContext& r) {
      self->run(r.data<const T>(x), r.data<const T>(dy), r.data<T>(dw), r);
    };
    return s;
  }

 private:
  void run(const T* x, const T* dy, T* dw, const RunContext& r) const {
    T* sums = reinterpret_cast<T*>(r.workspace());
    const std::int64_t height = g_.oh / windows_.h, width = g_.ow / windows_.w;
    parallel_for(chunks_, [&](std::int64_t chunk, int thread) {
      T* image = reinterpret_cast<T*>(r.scratch(thread));
      std::fill_n(image + rows_ * columns_ * g_.c, row_, T(0));
      ConvWinnersArgs<T> a{};
      a.x = image, a.x_row = windows_.h * g_.stride_h * columns_ * g_.c, a.x_column = windows_.w * g_.stride_w * g_.c;
      a.taps = taps_.data();
      a.x_tap_h = g_.dilation_h * columns_ * g_.c, a.taps_h = static_cast<int>(g_.kh);
      a.vectors = static_cast<int>(vectors_);
      a.rows = height, a.columns = width, a.channels = g_.k;
      a.dw = sums + chunk * size_;
      std::fill_n(a.dw, size_, T(0));
      for (std::int64_t n = g_.n * chunk / chunks_; n < g_.n * (chunk + 1) / chunks_; ++n) {
        copy_padded(x + n * g_.h * g_.w * g_.c, g_.h, g_.w, g_.c, -g_.top, rows_, -g_.left, columns_, 1, image);
        const std::int64_t at = n * height * width * g_.k;
        a.dy = dy + at, a.winners = winners_of<const std::uint8_t>(r, windows_) + at;
        table_.conv_winners(a);
      }
    });
    add_chunks(sums, chunks_, size_, sums);
    // [out][row][column and in, whole vectors] -> [row][column and in][out]
    const std::int64_t run = g_.kw * g_.c;
    for (std::int64_t k = 0; k < g_.k; ++k)
      for (std::int64_t i = 0; i < g_.kh; ++i)
        for (std::int64_t j = 0; j < run; ++j) dw[(i * run + j) * g_.k + k] = sums[(k * g_.kh + i) * row_ + j];
  }

  ConvGeometry g_;
  Windows windows_;
  const KernelTable<T>& table_;
  std::int64_t rows_, columns_;  // of an image with its padding
  std::int64_t chunks_;
  std::int64_t vectors_, row_, size_;  // of a row of the window's sums, and of all sums
  std::array<std::int64_t, 256> taps_;
};

}  // namespace

template <class T>
Step plan_winners_weights(const PlanContext& c, const ConvGeometry& g, const Windows& windows) {
  const std::string wish = c.attrs().text("algorithm", "");
  if (!windows || (!wish.empty() && wish != "winners")) return {};
  const auto weights = std::make_shared<const WinnersWeights<T>>(g, windows);
  const bool takes = weights->covers() && (!wish.empty() || weights->pays());
  return takes ? weights->step(c.in(0), c.in(1), c.out(), weights) : Step{};
}

template Step plan_winners_weights<float>(const PlanContext&, const ConvGeometry&, const Windows&);
template Step plan_winners_weights<double>(const PlanContext&, const ConvGeometry&, const Windows&);

}  // namespace fastconv::cpu
