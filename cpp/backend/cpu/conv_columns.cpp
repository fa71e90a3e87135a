// Gradients of single convolutions on arrays that lie channels first, as products with the weights as they lie: OIHW is
// a matrix of output channels x columns, a column being an input channel's tap ("im2col"). No tensor is converted as a
// whole: what a piece needs in another order is turned in the cache (docs/adr/0007-channels-first.md).
#include <algorithm>
#include <numeric>

#include "backend/cpu/conv.hpp"

namespace fastconv::cpu {
namespace {

constexpr std::int64_t kUnit = 80;          // terms of a kernel call: what all its rows read stays in L1
constexpr std::int64_t kPieces = 16;        // wanted at least, for the threads there may be
constexpr std::int64_t kLeastPieces = 8;    // of the input's gradient, even with vectors that are not whole
constexpr std::int64_t kLeastRows = 48;     // of a piece
constexpr std::int64_t kMostRows = 1024;    // pixels
constexpr std::int64_t kTurned = 64;        // columns of sums that are turned at once
constexpr std::int64_t kChunk = 784;        // pixels of a panel: as many rows of a block stay in L2
constexpr std::int64_t kGroup = 256;        // columns of a piece, where each makes its own panels
constexpr std::int64_t kTogether = 56;      // rows that go through these before the next ones
constexpr std::int64_t kFewPixels = 64;     // of a batch's output: conversions of the weights cost more than products
constexpr std::int64_t kMostPixels = 1024;  // with strides

bool dense(const ConvGeometry& g) {
  return g.kh == 1 && g.kw == 1 && g.stride_h == 1 && g.stride_w == 1 && g.top == 0 && g.left == 0 && g.h == g.oh &&
         g.w == g.ow;
}

// Outputs [begin, end) of an axis whose tap, `offset` from the output's first input, reads an input that exists.
struct TapRange {
  std::int64_t begin, end;
};
TapRange tap_range(std::int64_t outputs, std::int64_t in, std::int64_t stride, std::int64_t offset) {
  const std::int64_t begin = offset < 0 ? std::min(outputs, ceil_div(-offset, stride)) : 0;
  return {begin, in > offset ? std::clamp(ceil_div(in - offset, stride), begin, outputs) : begin};
}

// The input's gradient: sums[pixel][column] = sum over output channels o of dy[o][pixel] * w[o][column], which are then
// added where the columns' taps have read (col2im). A piece has some channels and, where no two rows of the output read
// the same input, some rows.
template <class T>
class ColumnsInput {
 public:
  explicit ColumnsInput(const ConvGeometry& geometry) : g_(geometry), table_(kernels<T>()) {
    pixels_ = g_.oh * g_.ow, taps_ = g_.kh * g_.kw;
    dense_ = dense(g_);
    block_ = std::int64_t{table_.tile_vectors} * table_.width;
    units_ = ceil_div(g_.k, kUnit);
    for (std::int64_t i = 0; i < kUnit; ++i) {
      list_.push_back({i * pixels_, i * block_});
      next_.push_back({i * pixels_, i * g_.c * taps_});
    }
    channels_ = block_ / std::gcd(block_, taps_);  // whole blocks of columns
    if (g_.kh == 1) {
      const std::int64_t wanted = ceil_div(kLeastPieces, g_.n * ceil_div(g_.c, channels_));
      splits_ = std::clamp<std::int64_t>(wanted, 1, std::max<std::int64_t>(pixels_ / kLeastRows, 1));
      splits_ = std::min(std::max(splits_, ceil_div(pixels_, kMostRows)), g_.oh);
    }
    rows_ = ceil_div(g_.oh, splits_) * g_.ow;
    while (channels_ > table_.width && (g_.n * splits_ * ceil_div(g_.c, channels_) < kLeastPieces ||
                                        bytes(rows_ * channels_ * taps_) > caches().l2 / 4))
      channels_ /= 2;
    channels_ = std::min(channels_, g_.c);
    groups_ = ceil_div(g_.c, channels_);
    pitch_ = round_up(channels_ * taps_, table_.width);
    turn_ = std::min(std::max<std::int64_t>(kTurned / taps_, 1), channels_);
    lane_ = ceil_div(g_.w, g_.stride_w);
  }

  std::size_t scratch_bytes() const {
    const std::int64_t turned = dense_ ? 0 : turn_ * taps_ * rows_ + g_.h * g_.stride_w * lane_;
    return static_cast<std::size_t>(bytes(kUnit * block_ + rows_ * pitch_ + turned));
  }

  void run(const T* dy, const T* w, T* dx, const RunContext& context) const {
    parallel_for(g_.n * groups_ * splits_, [&](std::int64_t piece, int thread) {
      const std::int64_t split = piece % splits_, channel = piece / splits_ % groups_ * channels_;
      const std::int64_t image = piece / splits_ / groups_;
      run_piece(dy + image * g_.k * pixels_, w, channel, g_.oh * split / splits_, g_.oh * (split + 1) / splits_,
                reinterpret_cast<T*>(context.scratch(thread)), dx + image * g_.c * g_.h * g_.w);
    });
  }

 private:
  static std::int64_t bytes(std::int64_t n) { return n * static_cast<std::int64_t>(sizeof(T)); }

  // Rows [begin, end) of the output.
  void run_piece(const T* dy, const T* w, std::int64_t channel, std::int64_t begin, std::int64_t end, T* panel,
                 T* dx) const {
    const std::int64_t channels = std::min(channels_, g_.c - channel), n = (end - begin) * g_.ow;
    T *sums = panel + kUnit * block_, *turned = sums + rows_ * pitch_, *lanes = turned + turn_ * taps_ * rows_;
    multiply(dy + begin * g_.ow, n, w + channel * taps_, channels * taps_, panel, sums);
    dx += channel * g_.h * g_.w;
    if (dense_) return table_.transpose({sums, dx + begin * g_.ow, n, channels, pitch_, pixels_});
    for (std::int64_t first = 0; first < channels; first += turn_) {
      const std::int64_t together = std::min(turn_, channels - first);
      table_.transpose({sums + first * taps_, turned, n, together * taps_, pitch_, n});
      for (std::int64_t c = 0; c < together; ++c)
        add_taps(turned + c * taps_ * n, begin, end, lanes, dx + (first + c) * g_.h * g_.w);
    }
  }

  // [tap][pixel] of one channel to the rows of its plane that these pixels alone read. They are made in as many lanes
  // as the stride is wide, each of the columns that leave the same remainder.
  void add_taps(const T* from, std::int64_t begin, std::int64_t end, T* lanes, T* dx) const {
    const std::int64_t n = (end - begin) * g_.ow;
    const std::int64_t first = begin == 0 ? 0 : std::clamp<std::int64_t>(begin * g_.stride_h - g_.top, 0, g_.h);
    const std::int64_t last = end == g_.oh ? g_.h : std::clamp<std::int64_t>(end * g_.stride_h - g_.top, 0, g_.h);
    const std::int64_t plane = (last - first) * lane_;
    if (g_.stride_w == 1) lanes = dx + first * g_.w;
    std::fill_n(lanes, g_.stride_w * plane, T(0));
    for (std::int64_t i = 0; i < g_.kh; ++i) {
      const std::int64_t top = i * g_.dilation_h - g_.top;
      const TapRange h = tap_range(g_.oh, g_.h, g_.stride_h, top);
      const std::int64_t row = std::max(h.begin, begin), rows = std::min(h.end, end) - row;
      for (std::int64_t j = 0; j < g_.kw && rows > 0; ++j) {
        const std::int64_t left = j * g_.dilation_w - g_.left;
        const TapRange w = tap_range(g_.ow, g_.w, g_.stride_w, left);
        if (w.begin >= w.end) continue;
        const std::int64_t column = w.begin * g_.stride_w + left;
        T* to = lanes + column % g_.stride_w * plane + (row * g_.stride_h + top - first) * lane_ + column / g_.stride_w;
        table_.overlap_add({from + (i * g_.kw + j) * n + (row - begin) * g_.ow + w.begin, g_.ow, rows, w.end - w.begin,
                            g_.stride_h * lane_, to});
      }
    }
    for (std::int64_t r = first; r < last && g_.stride_w > 1; ++r)
      join(lanes + (r - first) * lane_, plane, dx + r * g_.w);
  }

  void join(const T* lanes, std::int64_t plane, T* row) const {
    if (g_.stride_w == 2) {
      const T* odd = lanes + plane;
      for (std::int64_t t = 0; t < g_.w / 2; ++t) row[2 * t] = lanes[t], row[2 * t + 1] = odd[t];
      if (g_.w % 2) row[g_.w - 1] = lanes[lane_ - 1];
      return;
    }
    for (std::int64_t t = 0; t < g_.w; ++t) row[t] = lanes[t % g_.stride_w * plane + t / g_.stride_w];
  }

  // Of some pixels and columns.
  void multiply(const T* dy, std::int64_t pixels, const T* w, std::int64_t columns, T* panel, T* sums) const {
    const std::int64_t w_row = g_.c * taps_;
    ConvWeightsArgs<T> args{};
    args.list = list_.data(), args.next = next_.data();
    args.run = pixels, args.dw_row = pitch_;
    for (std::int64_t unit = 0; unit < units_; ++unit) {
      const std::int64_t from = g_.k * unit / units_, end = g_.k * (unit + 1) / units_;
      const bool last = unit + 1 == units_;
      args.pixels = end - from, args.add = unit > 0;
      args.x = dy + from * pixels_;
      for (std::int64_t c = 0; c < columns; c += block_) {
        const std::int64_t valid = std::min(block_, columns - c), all = round_up(valid, table_.width);
        const T* block = w + from * w_row + c;
        table_.copy_rows({block, panel, args.pixels, valid, w_row, block_});
        // The next block, in this unit or the next one.
        const T* next = c + block_ < columns ? block + block_ : last ? nullptr : w + end * w_row;
        args.next_x = c == 0 && !last ? dy + end * pixels_ : nullptr;
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
  bool dense_;
  std::int64_t pixels_, taps_, block_, units_;  // of an image's output; a window; columns; parts of the channels
  std::int64_t channels_, groups_;              // of a piece, and how many such
  std::int64_t splits_ = 1, rows_;              // parts of the output's rows, and most pixels of one
  std::int64_t pitch_, turn_, lane_;            // of a pixel's sums; channels turned at once; columns of a lane
  std::vector<PixelPair> list_, next_;
};

// The weights' gradient: dw[o][column] = sum over pixels of dy[o][pixel] * panel[pixel][column], panels being blocks of
// columns of the input as conv_row takes them. Swapped, rows are of the input and columns of dy, and dw is turned: less
// work where dy is smaller.
template <class T>
class ColumnsWeights {
 public:
  explicit ColumnsWeights(const ConvGeometry& geometry) : g_(geometry), table_(kernels<T>()) {
    pixels_ = g_.oh * g_.ow, taps_ = g_.kh * g_.kw;
    dense_ = dense(g_);
    swap_ = dense_ && 4 * (g_.k * pixels_ + 2 * g_.c * g_.k) < 3 * g_.c * pixels_;
    rows_ = swap_ ? g_.c : g_.k, columns_ = swap_ ? g_.k : g_.c * taps_;
    blocks_ = channel_blocks(columns_, table_.width, table_.tile_vectors);
    padded_ = round_up(columns_, table_.width), block_ = std::int64_t{table_.tile_vectors} * table_.width;
    const std::int64_t whole = dense_ ? 1 : g_.ow, n = count();
    chunk_ = std::min(pixels_, std::max<std::int64_t>(kChunk / whole, 1) * whole);
    chunks_ = ceil_div(pixels_, chunk_);
    if (n < kPieces)
      splits_ = std::clamp<std::int64_t>(ceil_div(kPieces, n), 1, std::max<std::int64_t>(rows_ / kLeastRows, 1));
    if (splits_ == 1 && !swap_)
      each_ = std::clamp<std::int64_t>(n / kPieces, 1, std::max<std::int64_t>(kGroup / block_, 1));
  }

  // Panels that several pieces read are made before.
  std::size_t workspace_bytes() const {
    return splits_ == 1 ? 0 : static_cast<std::size_t>(g_.n * pixels_ * padded_) * sizeof(T);
  }
  std::size_t scratch_bytes() const {
    const std::int64_t sums = swap_ ? ceil_div(rows_, splits_) * block_ : 0;
    return static_cast<std::size_t>(gathered() + (splits_ == 1 ? each_ * block_ * chunk_ : 0) + sums) * sizeof(T);
  }

  void run(const T* x, const T* dy, T* dw, const RunContext& context) const {
    const T *rows = swap_ ? x : dy, *columns = swap_ ? dy : x;
    T* shared = splits_ == 1 ? nullptr : reinterpret_cast<T*>(context.workspace());
    if (shared)
      parallel_for(g_.n * chunks_ * count(), [&](std::int64_t i, int thread) {
        const Chunk chunk = chunk_at(i / count());
        const ChannelBlock& b = blocks_[static_cast<std::size_t>(i % count())];
        fill_panel(columns, chunk, b, reinterpret_cast<T*>(context.scratch(thread)),
                   shared + chunk.before * padded_ + b.packed * table_.width * chunk.pixels);
      });
    parallel_for(ceil_div(count(), each_) * splits_, [&](std::int64_t piece, int thread) {
      const std::int64_t split = piece % splits_, first = piece / splits_ * each_;
      run_piece(rows, columns, rows_ * split / splits_, rows_ * (split + 1) / splits_, first,
                std::min(first + each_, count()), shared, reinterpret_cast<T*>(context.scratch(thread)), dw);
    });
  }

 private:
  struct Chunk {
    std::int64_t image, first, pixels, before;  // before: of all images' pixels
  };
  Chunk chunk_at(std::int64_t i) const {
    const std::int64_t image = i / chunks_, first = i % chunks_ * chunk_;
    return {image, first, std::min(chunk_, pixels_ - first), image * pixels_ + first};
  }
  std::int64_t count() const { return static_cast<std::int64_t>(blocks_.size()); }
  std::int64_t gathered() const { return dense_ ? 0 : block_ * chunk_; }

  void run_piece(const T* rows, const T* columns, std::int64_t from, std::int64_t to, std::int64_t first,
                 std::int64_t end, const T* shared, T* scratch, T* dw) const {
    T *own = scratch + gathered(), *sums = own + (shared ? 0 : each_ * block_ * chunk_);
    const std::int64_t before = blocks_[static_cast<std::size_t>(first)].packed * table_.width;
    for (std::int64_t i = 0; i < g_.n * chunks_; ++i) {
      const Chunk chunk = chunk_at(i);
      const auto at = [&](const ChannelBlock& b) { return (b.packed * table_.width - before) * chunk.pixels; };
      const T* panels = shared ? shared + chunk.before * padded_ + before * chunk.pixels : own;
      for (std::int64_t b = first; !shared && b < end; ++b) {
        const ChannelBlock& block = blocks_[static_cast<std::size_t>(b)];
        fill_panel(columns, chunk, block, scratch, own + at(block));
      }
      for (std::int64_t r = from; r < to; r += kTogether)
        for (std::int64_t b = first; b < end; ++b) {
          const ChannelBlock& block = blocks_[static_cast<std::size_t>(b)];
          ConvRowArgs<T> a{};
          a.x = rows + (chunk.image * rows_ + r) * pixels_ + chunk.first;
          a.x_pixel = pixels_;
          a.taps_h = a.taps_w = 1;
          a.run = chunk.pixels;
          a.w = panels + at(block);
          a.vectors = block.vectors, a.channels = block.channels;
          a.y = swap_ ? sums + (r - from) * block_ : dw + r * columns_ + block.channel;
          a.y_pixel = swap_ ? block_ : columns_;
          a.pixels = std::min(kTogether, to - r);
          if (i > 0) a.residual = a.y;
          table_.conv_row(a);
        }
    }
    if (!swap_) return;
    const ChannelBlock& b = blocks_[static_cast<std::size_t>(first)];
    table_.transpose({sums, dw + b.channel * rows_ + from, to - from, b.channels, block_, rows_});
  }

  // [pixel][column] of a block, zeros in columns that there are not.
  void fill_panel(const T* from, const Chunk& chunk, const ChannelBlock& b, T* gathered, T* panel) const {
    const std::int64_t n = chunk.pixels, columns = std::int64_t{b.vectors} * table_.width, plane = g_.h * g_.w;
    if (b.channels < columns) std::fill_n(panel, n * columns, T(0));
    if (dense_) {
      from += (chunk.image * (swap_ ? g_.k : g_.c) + b.channel) * pixels_ + chunk.first;
      return table_.transpose({from, panel, b.channels, n, pixels_, columns});
    }
    from += chunk.image * g_.c * plane;
    for (std::int64_t i = 0; i < b.channels; ++i) {
      const std::int64_t column = b.channel + i;
      gather(from + column / taps_ * plane, column % taps_, chunk.first / g_.ow, n / g_.ow, gathered + i * n);
    }
    table_.transpose({gathered, panel, b.channels, n, n, columns});
  }

  // What a tap reads for some rows of the output; zeros outside.
  void gather(const T* plane, std::int64_t tap, std::int64_t first, std::int64_t rows, T* to) const {
    const std::int64_t top = tap / g_.kw * g_.dilation_h - g_.top, left = tap % g_.kw * g_.dilation_w - g_.left;
    const TapRange range = tap_range(g_.ow, g_.w, g_.stride_w, left);
    for (std::int64_t r = first; r < first + rows; ++r, to += g_.ow) {
      const std::int64_t row = r * g_.stride_h + top;
      const TapRange w = row < 0 || row >= g_.h ? TapRange{g_.ow, g_.ow} : range;
      for (std::int64_t t = 0; t < w.begin; ++t) to[t] = T(0);
      for (std::int64_t t = w.end; t < g_.ow; ++t) to[t] = T(0);
      if (w.begin >= w.end) continue;
      const T* from = plane + row * g_.w + w.begin * g_.stride_w + left;
      T* inside = to + w.begin;
      const std::int64_t n = w.end - w.begin;
      if (g_.stride_w == 1)
        for (std::int64_t t = 0; t < n; ++t) inside[t] = from[t];
      else if (g_.stride_w == 2)
        for (std::int64_t t = 0; t < n; ++t) inside[t] = from[2 * t];
      else
        for (std::int64_t t = 0; t < n; ++t) inside[t] = from[t * g_.stride_w];
    }
  }

  ConvGeometry g_;
  const KernelTable<T>& table_;
  bool dense_, swap_;
  std::int64_t pixels_, taps_;                    // of an image's output, of a window
  std::int64_t rows_, columns_, padded_, block_;  // of the product; columns in whole vectors; of a block at most
  std::int64_t chunk_, chunks_;                   // pixels of a panel, and panels of an image
  std::int64_t splits_ = 1, each_ = 1;            // parts of the rows; blocks of a piece
  std::vector<ChannelBlock> blocks_;              // of columns
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
  // Every image reads all weights.
  const std::int64_t columns = g.c * g.kh * g.kw;
  if (g.n > 1 && columns * g.k > g.oh * g.ow * (columns + g.k)) return {};
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
  step.workspace = columns->workspace_bytes();
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
