// Gradients of single convolutions on arrays that lie channels first, as products with the weights as they lie: OIHW is
// a matrix of output channels x columns, a column being an input channel's tap ("im2col"). No tensor is converted as a
// whole: what a piece needs in another order is turned in the cache (docs/adr/0007-channels-first.md).
#include <algorithm>

#include "backend/cpu/conv.hpp"

namespace fastconv::cpu {
namespace {

constexpr std::int64_t kUnit = 80;             // terms of a kernel call: what all its rows read stays in L1
constexpr std::int64_t kPieces = 16;           // wanted at least, for the threads there may be
constexpr std::int64_t kLeastRows = 48;        // of a piece
constexpr std::int64_t kPlanePixels = 128;     // from here vectors along pixels waste little
constexpr std::int64_t kTurned = 64;           // columns of sums that are turned at once
constexpr std::int64_t kChunk = 784;           // pixels of a panel: as many rows of a block stay in L2
constexpr std::int64_t kGroup = 256;           // columns of a piece, where each makes its own panels
constexpr std::int64_t kTogether = 56;         // output channels that go through these before the next ones
constexpr std::int64_t kMostPanels = 8 << 20;  // bytes, of all panels
constexpr std::int64_t kFewPixels = 64;  // of a batch's output: conversions of the weights cost more than products
constexpr std::int64_t kMostPixels = 1024;

template <class T>
std::int64_t bytes(std::int64_t n) {
  return n * static_cast<std::int64_t>(sizeof(T));
}

bool dense(const ConvGeometry& g) {
  return g.kh == 1 && g.kw == 1 && g.stride_h == 1 && g.stride_w == 1 && g.top == 0 && g.left == 0 && g.h == g.oh &&
         g.w == g.ow;
}

// Outputs [begin, end) of an axis whose tap reads an input that exists; the first reads input `at`.
struct TapRange {
  std::int64_t begin, end, at;
};
TapRange tap_range(std::int64_t outputs, std::int64_t in, std::int64_t stride, std::int64_t offset) {
  TapRange r{};
  r.begin = offset < 0 ? std::min(outputs, ceil_div(-offset, stride)) : 0;
  r.end = in > offset ? std::clamp(ceil_div(in - offset, stride), r.begin, outputs) : r.begin;
  r.at = r.begin * stride + offset;
  return r;
}

// The input's gradient. With few pixels, sums[pixel][column] = sum over output channels o of dy[o][pixel] *
// w[o][column], which are then added where the columns' taps have read (col2im); else, of 1x1 kernels,
// dx[channel][pixel] itself.
template <class T>
class ColumnsInput {
 public:
  explicit ColumnsInput(const ConvGeometry& geometry) : g_(geometry), table_(kernels<T>()) {
    pixels_ = g_.oh * g_.ow, taps_ = g_.kh * g_.kw;
    dense_ = dense(g_), planes_ = dense_ && pixels_ >= kPlanePixels;
    block_ = std::int64_t{table_.tile_vectors} * table_.width;
    const std::int64_t all = g_.c * taps_;
    units_ = ceil_div(g_.k, kUnit);
    for (std::int64_t i = 0; i < kUnit; ++i) {
      list_.push_back({i * (planes_ ? all : pixels_), i * block_});
      next_.push_back({i * (planes_ ? all : pixels_), i * (planes_ ? pixels_ : all)});
    }
    if (planes_) {
      span_ = std::min(round_up(pixels_, block_), (pixels_ <= 4 * block_ ? 4 : 2) * block_);
      spans_ = ceil_div(pixels_, span_);
      const std::int64_t wanted = ceil_div(kPieces, g_.n * spans_);
      splits_ = std::max(wanted, ceil_div(bytes<T>(g_.c * span_), caches().l2 / 4));
      splits_ = std::clamp<std::int64_t>(splits_, 1, std::max<std::int64_t>(g_.c / kLeastRows, 1));
      sums_ = ceil_div(g_.c, splits_) * span_;
    } else {
      const std::int64_t most = std::max<std::int64_t>(caches().l2 / 4 / bytes<T>(pixels_ * taps_), 1);
      channels_ = std::min({round_up(ceil_div(g_.c, ceil_div(kPieces, g_.n)), table_.width),
                            std::max(most / table_.width * table_.width, std::int64_t{1}), g_.c});
      splits_ = ceil_div(g_.c, channels_);
      sums_ = round_up(pixels_ * round_up(channels_ * taps_, table_.width), 16);
      turn_ = std::max<std::int64_t>(kTurned / taps_, 1);
    }
  }

  std::size_t scratch_bytes() const {
    return static_cast<std::size_t>(kUnit * block_ + sums_ + (planes_ || dense_ ? 0 : turn_ * taps_ * pixels_)) *
           sizeof(T);
  }

  void run(const T* dy, const T* w, T* dx, const RunContext& context) const {
    const std::int64_t all = g_.n * splits_ * (planes_ ? spans_ : 1);
    parallel_for(all, [&](std::int64_t piece, int thread) {
      T *panel = reinterpret_cast<T*>(context.scratch(thread)), *sums = panel + kUnit * block_;
      const std::int64_t split = piece % splits_, image = piece / splits_ / (planes_ ? spans_ : 1);
      const T* gradient = dy + image * g_.k * pixels_;
      T* to = dx + image * g_.c * g_.h * g_.w;
      if (planes_)
        run_planes(gradient, w, piece / splits_ % spans_ * span_, split, panel, sums, to);
      else
        run_columns(gradient, w, split * channels_, panel, sums, to);
    });
  }

 private:
  void run_planes(const T* dy, const T* w, std::int64_t first, std::int64_t split, T* panel, T* sums, T* dx) const {
    const std::int64_t from = g_.c * split / splits_, rows = g_.c * (split + 1) / splits_ - from;
    const std::int64_t n = std::min(span_, pixels_ - first);
    multiply(w + from, g_.c, rows, dy + first, pixels_, n, panel, sums, span_);
    for (std::int64_t r = 0; r < rows; ++r) std::copy_n(sums + r * span_, n, dx + (from + r) * pixels_ + first);
  }

  void run_columns(const T* dy, const T* w, std::int64_t channel, T* panel, T* sums, T* dx) const {
    const std::int64_t channels = std::min(channels_, g_.c - channel), plane = g_.h * g_.w;
    const std::int64_t pitch = round_up(channels * taps_, table_.width);
    multiply(dy, pixels_, pixels_, w + channel * taps_, g_.c * taps_, channels * taps_, panel, sums, pitch);
    if (dense_) return table_.transpose({sums, dx + channel * plane, pixels_, channels, pitch, plane});
    T* turned = sums + sums_;
    std::fill_n(dx + channel * plane, channels * plane, T(0));
    for (std::int64_t first = 0; first < channels; first += turn_) {
      const std::int64_t n = std::min(turn_, channels - first);
      table_.transpose({sums + first * taps_, turned, pixels_, n * taps_, pitch, pixels_});
      for (std::int64_t c = 0; c < n; ++c) add_taps(turned + c * taps_ * pixels_, dx + (channel + first + c) * plane);
    }
  }

  // [tap][pixel] to where the taps of one channel have read.
  void add_taps(const T* from, T* dx) const {
    for (std::int64_t i = 0; i < g_.kh; ++i) {
      const TapRange h = tap_range(g_.oh, g_.h, g_.stride_h, i * g_.dilation_h - g_.top);
      for (std::int64_t j = 0; j < g_.kw; ++j, from += pixels_) {
        const TapRange w = tap_range(g_.ow, g_.w, g_.stride_w, j * g_.dilation_w - g_.left);
        const std::int64_t n = w.end - w.begin;
        for (std::int64_t r = h.begin; r < h.end; ++r) {
          const T* row = from + r * g_.ow + w.begin;
          T* to = dx + (h.at + (r - h.begin) * g_.stride_h) * g_.w + w.at;
          if (g_.stride_w == 1)
            for (std::int64_t t = 0; t < n; ++t) to[t] += row[t];
          else
            for (std::int64_t t = 0; t < n; ++t) to[t * g_.stride_w] += row[t];
        }
      }
    }
  }

  // sums[r][c] = sum over output channels o of a[o * a_row + r] * b[o * b_row + c]
  void multiply(const T* a, std::int64_t a_row, std::int64_t rows, const T* b, std::int64_t b_row, std::int64_t columns,
                T* panel, T* sums, std::int64_t pitch) const {
    ConvWeightsArgs<T> args{};
    args.list = list_.data(), args.next = next_.data();
    args.run = rows, args.dw_row = pitch;
    for (std::int64_t unit = 0; unit < units_; ++unit) {
      const std::int64_t from = g_.k * unit / units_, end = g_.k * (unit + 1) / units_;
      args.pixels = end - from, args.add = unit > 0;
      for (std::int64_t c = 0; c < columns; c += block_) {
        const std::int64_t valid = std::min(block_, columns - c), all = round_up(valid, table_.width);
        const T* block = b + from * b_row + c;
        for (std::int64_t i = 0; i < args.pixels; ++i) {
          std::copy_n(block + i * b_row, valid, panel + i * block_);
          std::fill(panel + i * block_ + valid, panel + i * block_ + all, T(0));
        }
        // The next block, in this unit or the next one.
        const bool more = c + block_ < columns, last = unit + 1 == units_;
        const T* next = more ? block + block_ : last ? nullptr : b + end * b_row;
        args.x = a + from * a_row;
        args.next_x = c == 0 && !last ? a + end * a_row : nullptr;
        for (std::int64_t v = 0; v < all; v += args.vectors * table_.width) {
          args.vectors = table_.tile_vectors;
          while (args.vectors * table_.width > all - v) args.vectors /= 2;
          args.dy = panel + v, args.dw = sums + c + v;
          args.next_dy = next ? next + v : nullptr;
          table_.conv_weights(args);
          args.next_x = nullptr;
        }
      }
    }
  }

  ConvGeometry g_;
  const KernelTable<T>& table_;
  bool dense_, planes_;  // planes_: vectors along the pixels
  std::int64_t pixels_, taps_, block_, units_, splits_ = 1, sums_ = 0;
  std::int64_t span_ = 0, spans_ = 1;     // planes_: pixels of a piece, and how many such
  std::int64_t channels_ = 0, turn_ = 0;  // otherwise: of a piece, of those that are turned at once
  std::vector<PixelPair> list_, next_;
};

// The weights' gradient: dw[o][column] = sum over pixels of dy[o][pixel] * panel[pixel][column], panels being blocks of
// columns of the input as conv_row takes them.
template <class T>
class ColumnsWeights {
 public:
  explicit ColumnsWeights(const ConvGeometry& geometry) : g_(geometry), table_(kernels<T>()) {
    pixels_ = g_.oh * g_.ow, taps_ = g_.kh * g_.kw, columns_ = g_.c * taps_;
    dense_ = dense(g_);
    blocks_ = channel_blocks(columns_, table_.width, table_.tile_vectors);
    padded_ = round_up(columns_, table_.width);
    const std::int64_t whole = dense_ ? 1 : g_.ow;
    chunk_ = std::min(pixels_, std::max<std::int64_t>(kChunk / whole, 1) * whole);
    chunks_ = ceil_div(pixels_, chunk_);
    const std::int64_t block = std::int64_t{table_.tile_vectors} * table_.width;
    const auto n = static_cast<std::int64_t>(blocks_.size());
    shared_ = n < kPieces && g_.k >= 2 * kLeastRows;
    each_ = shared_ ? 1 : std::clamp<std::int64_t>(n / kPieces, 1, std::max<std::int64_t>(kGroup / block, 1));
    groups_ = ceil_div(n, each_);
    splits_ = shared_ ? std::clamp<std::int64_t>(ceil_div(kPieces, n), 1, g_.k / kLeastRows) : 1;
  }

  std::int64_t workspace_bytes() const { return shared_ ? bytes<T>(g_.n * pixels_ * padded_) : 0; }
  std::size_t scratch_bytes() const {
    const std::int64_t block = std::int64_t{table_.tile_vectors} * table_.width;
    return static_cast<std::size_t>((dense_ ? 0 : block * chunk_) + (shared_ ? 0 : each_ * block * chunk_)) * sizeof(T);
  }

  void run(const T* x, const T* dy, T* dw, const RunContext& context) const {
    const auto n = static_cast<std::int64_t>(blocks_.size());
    T* panels = reinterpret_cast<T*>(context.workspace());
    if (shared_)
      parallel_for(g_.n * chunks_ * n, [&](std::int64_t i, int thread) {
        fill_panel(x, i / n, blocks_[static_cast<std::size_t>(i % n)], reinterpret_cast<T*>(context.scratch(thread)),
                   panels + begin(i / n) * padded_);
      });
    parallel_for(groups_ * splits_, [&](std::int64_t piece, int thread) {
      const std::int64_t split = piece % splits_, first = piece / splits_ * each_, end = std::min(first + each_, n);
      const std::int64_t from = g_.k * split / splits_, to = g_.k * (split + 1) / splits_;
      T *rows = reinterpret_cast<T*>(context.scratch(thread)), *own = rows + (dense_ ? 0 : block() * chunk_);
      const std::int64_t skipped = blocks_[static_cast<std::size_t>(first)].packed * table_.width;
      for (std::int64_t chunk = 0; chunk < g_.n * chunks_; ++chunk) {
        // A panel begins where its block's first column does, times the chunk's pixels.
        const T* panel = shared_ ? panels + begin(chunk) * padded_ : own - skipped * pixels_of(chunk);
        for (std::int64_t b = first; !shared_ && b < end; ++b)
          fill_panel(x, chunk, blocks_[static_cast<std::size_t>(b)], rows, own - skipped * pixels_of(chunk));
        for (std::int64_t k = from; k < to; k += kTogether)
          for (std::int64_t b = first; b < end; ++b)
            multiply(dy, chunk, blocks_[static_cast<std::size_t>(b)], k, std::min(k + kTogether, to), panel, dw);
      }
    });
  }

 private:
  std::int64_t block() const { return std::int64_t{table_.tile_vectors} * table_.width; }
  // The chunk's first pixel, of all images and of its own.
  std::int64_t begin(std::int64_t chunk) const { return chunk / chunks_ * pixels_ + first_of(chunk); }
  std::int64_t first_of(std::int64_t chunk) const { return chunk % chunks_ * chunk_; }
  std::int64_t pixels_of(std::int64_t chunk) const { return std::min(chunk_, pixels_ - first_of(chunk)); }

  void fill_panel(const T* x, std::int64_t chunk, const ChannelBlock& b, T* rows, T* panels) const {
    const std::int64_t n = pixels_of(chunk), columns = std::int64_t{b.vectors} * table_.width;
    const T* image = x + chunk / chunks_ * g_.c * g_.h * g_.w;
    T* panel = panels + b.packed * table_.width * n;
    if (b.channels < columns) std::fill_n(panel, n * columns, T(0));
    if (dense_) {
      table_.transpose({image + b.channel * pixels_ + first_of(chunk), panel, b.channels, n, pixels_, columns});
      return;
    }
    for (std::int64_t i = 0; i < b.channels; ++i) {
      const std::int64_t column = b.channel + i;
      gather(image + column / taps_ * g_.h * g_.w, column % taps_, first_of(chunk) / g_.ow, n / g_.ow, rows + i * n);
    }
    table_.transpose({rows, panel, b.channels, n, n, columns});
  }

  // What a tap reads for some rows of the output; zeros outside.
  void gather(const T* plane, std::int64_t tap, std::int64_t first, std::int64_t rows, T* to) const {
    const std::int64_t top = tap / g_.kw * g_.dilation_h - g_.top;
    const TapRange w = tap_range(g_.ow, g_.w, g_.stride_w, tap % g_.kw * g_.dilation_w - g_.left);
    for (std::int64_t r = first; r < first + rows; ++r, to += g_.ow) {
      const std::int64_t row = r * g_.stride_h + top;
      if (row < 0 || row >= g_.h) {
        for (std::int64_t t = 0; t < g_.ow; ++t) to[t] = T(0);
        continue;
      }
      const T* from = plane + row * g_.w + w.at - w.begin * g_.stride_w;
      for (std::int64_t t = 0; t < w.begin; ++t) to[t] = T(0);
      if (g_.stride_w == 1)
        for (std::int64_t t = w.begin; t < w.end; ++t) to[t] = from[t];
      else
        for (std::int64_t t = w.begin; t < w.end; ++t) to[t] = from[t * g_.stride_w];
      for (std::int64_t t = w.end; t < g_.ow; ++t) to[t] = T(0);
    }
  }

  void multiply(const T* dy, std::int64_t chunk, const ChannelBlock& b, std::int64_t from, std::int64_t to,
                const T* panels, T* dw) const {
    ConvRowArgs<T> a{};
    a.x = dy + (chunk / chunks_ * g_.k + from) * pixels_ + first_of(chunk);
    a.x_pixel = pixels_;
    a.taps_h = a.taps_w = 1;
    a.run = pixels_of(chunk);
    a.w = panels + b.packed * table_.width * a.run;
    a.vectors = b.vectors, a.channels = b.channels;
    a.y = dw + from * columns_ + b.channel;
    a.y_pixel = columns_;
    a.pixels = to - from;
    if (chunk > 0) a.residual = a.y;
    table_.conv_row(a);
  }

  ConvGeometry g_;
  const KernelTable<T>& table_;
  bool dense_, shared_;  // shared_: panels are made once, before pieces of some output channels each
  std::int64_t pixels_, taps_, columns_, padded_;
  std::int64_t chunk_, chunks_;  // pixels of a panel, and panels of an image
  std::vector<ChannelBlock> blocks_;
  std::int64_t each_, groups_, splits_;  // blocks of a piece, such groups, pieces of output channels
};

ConvGeometry geometry_of(const Attrs& attrs, const Shape& x, const Shape& w, const Shape& y) {
  const auto last = [](const Shape& s) { return Shape{s[0], s[2], s[3], s[1]}; };
  return conv_geometry(attrs, last(x), {w[2], w[3], w[1], w[0]}, last(y));
}

}  // namespace

ChannelsFirst gradient_channels_first(const PlanContext& c, ChannelsFirst offered) {
  if (!offered.input || !offered.weights || !offered.output) return {};
  if (c.options().strict || !c.attrs().text("algorithm", "").empty() || !c.attrs().text("activation", "").empty())
    return {};
  const bool weights = c.node().op->name == "conv2d_backward_weights";
  const ConvGeometry g = weights ? conv_geometry(c.attrs(), c.in_shape(0), c.out_shape(), c.in_shape(1))
                                 : conv_geometry(c.attrs(), c.out_shape(), c.in_shape(1), c.in_shape(0));
  const std::int64_t pixels = g.n * g.oh * g.ow;
  if (g.groups != 1 || pixels == 0 || g.h * g.w == 0 || g.c < 16 || g.k < 16) return {};
  const bool few = pixels <= kFewPixels;
  const bool strided = (g.stride_h > 1 || g.stride_w > 1) && pixels <= kMostPixels;
  if (!dense(g) && !few && !strided) return {};
  return offered;
}

template <class T>
Step plan_columns_input(PlanContext& c) {
  const ConvGeometry g = geometry_of(c.attrs(), c.out_shape(), c.in_shape(1), c.in_shape(0));
  const auto columns = std::make_shared<const ColumnsInput<T>>(g);
  Step step;
  step.algorithm = "columns";
  step.flops = g.flops();
  step.scratch = columns->scratch_bytes();
  step.run = [columns, dy = c.in(0), w = c.in(1), dx = c.out()](const RunContext& r) {
    columns->run(r.data<const T>(dy), r.data<const T>(w), r.data<T>(dx), r);
  };
  return step;
}

template <class T>
Step plan_columns_weights(PlanContext& c) {
  const ConvGeometry g = geometry_of(c.attrs(), c.in_shape(0), c.out_shape(), c.in_shape(1));
  const auto columns = std::make_shared<const ColumnsWeights<T>>(g);
  Step step;
  step.algorithm = "columns";
  step.flops = g.flops();
  step.scratch = columns->scratch_bytes();
  step.workspace = static_cast<std::size_t>(columns->workspace_bytes());
  step.run = [columns, x = c.in(0), dy = c.in(1), dw = c.out()](const RunContext& r) {
    columns->run(r.data<const T>(x), r.data<const T>(dy), r.data<T>(dw), r);
  };
  return step;
}

template Step plan_columns_input<float>(PlanContext&);
template Step plan_columns_input<double>(PlanContext&);
template Step plan_columns_weights<float>(PlanContext&);
template Step plan_columns_weights<double>(PlanContext&);

}  // namespace fastconv::cpu
