// Weight gradient of the direct convolution: drives the conv_weights kernel, a product of two matrices whose inner
// dimension are the pixels of the whole batch (docs/adr/0012-weight-gradients.md). They are cut into a fixed number of
// chunks with partial sums of their own, added in order, so the bits do not depend on the number of threads.
#include <algorithm>
#include <cstring>

#include "backend/cpu/conv.hpp"

namespace fastconv::cpu {
namespace {

constexpr std::int64_t kUnit = 80;               // pixels of a kernel call: their output gradient stays in L1
constexpr std::int64_t kPieces = 16;             // wanted at least
constexpr std::int64_t kChunk = 2048;            // pixels, before channels are cut; adding chunks up is work too
constexpr std::int64_t kLeastChunk = 256;        // at least
constexpr std::int64_t kLeastRows = 48;          // of a piece
constexpr std::int64_t kMostBlocks = 4;          // of vectors in a piece
constexpr std::int64_t kPieceBytes = 512 << 10;  // of input in a unit, of sums in a block: stay in L2
constexpr std::int64_t kPanelBytes = 256 << 10;  // of gathered windows
constexpr std::int64_t kLeastRun = 12;           // elements of a window's row that a tile is made of
constexpr std::int64_t kFewChannels = 16;        // whose windows are gathered
constexpr std::int64_t kPage = 4096;
constexpr std::int64_t kSets = 512;        // bytes: a unit's pixels that far apart do not fit into L1's sets
constexpr std::int64_t kPackedRows = 128;  // that many rows read a vector: packing pays
constexpr std::int64_t kPartialBytes = std::int64_t{32} << 20;

// Blocks of 16 bytes, so that short runs need no calls: what is beyond the last one's end is read and written.
template <class T>
constexpr std::int64_t kBlock = 16 / sizeof(T);

template <class T>
void copy_blocks(const T* from, std::int64_t n, T* to) {
  for (std::int64_t i = 0; i < n; i += kBlock<T>) std::memcpy(to + i, from + i, 16);
}
template <std::int64_t kElements, class T>
void copy_runs(const T* from, std::int64_t step, std::int64_t runs, T* to, std::int64_t pitch) {
  for (std::int64_t i = 0; i < runs; ++i) copy_blocks(from + i * step, kElements, to + i * pitch);
}

template <class T>
class DirectWeights {
 public:
  DirectWeights(const ConvGeometry& geometry, const Windows& spread)
      : source_(geometry), g_(geometry), spread_(spread), table_(kernels<T>()) {
    in_ = g_.c / g_.groups, out_ = g_.k / g_.groups;
    pixels_ = g_.n * g_.oh * g_.ow;
    taps_ = g_.kh * g_.kw;
    const std::int64_t in_rows = reach(g_.oh, g_.stride_h, g_.kh, g_.dilation_h);
    const std::int64_t in_cols = reach(g_.ow, g_.stride_w, g_.kw, g_.dilation_w);
    padding_ = g_.top || g_.left || in_rows > g_.h || in_cols > g_.w;
    if (padding_ && g_.kh * g_.kw > 1 && g_.c < kFewChannels) {  // a padded copy of all images costs little
      g_.h = in_rows, g_.w = in_cols, g_.top = g_.left = 0;
      padding_ = false, copy_all_ = true;
    }
    // A tile's input elements are contiguous. Few channels: windows are gathered and are one tap then, or a tap is a
    // row of the window.
    const bool pad_w = g_.left || in_cols > g_.w;
    const bool rows_join = g_.dilation_w == 1 && g_.groups == 1;
    window_ = taps_ * in_;
    merge_ = rows_join && !pad_w && g_.kw > 1 && g_.kw * in_ >= kLeastRun;
    line_ = reach(std::min(kUnit, g_.ow), g_.stride_w, g_.kw, g_.dilation_w) * in_ + kBlock<T>;
    gather_ = taps_ > 1 && !merge_ && in_ < kFewChannels && bytes(kUnit * window_ + line_) <= kPanelBytes;
    run_ = merge_ || (gather_ && rows_join) ? g_.kw * in_ : in_;
    whole_rows_ = (gather_ || spread_) && g_.ow <= kUnit;
    units_ = whole_rows_ ? ceil_div(g_.n * g_.oh, kUnit / g_.ow) : ceil_div(pixels_, kUnit);
    if (merge_) taps_ = g_.kh;
    if (gather_) taps_ = 1;
    swap_ = taps_ == 1 && !merge_ && !(padding_ && !gather_) && cost(window_, out_) < 0.9 * cost(out_, window_);
    rows_ = swap_ ? out_ : gather_ ? window_ : run_;
    columns_ = swap_ ? window_ : out_;
    padded_ = round_up(columns_, table_.width);
    block_ = std::min<std::int64_t>(padded_, table_.tile_vectors * table_.width);
    blocks_ = ceil_div(padded_, block_);
    // Pixels whole pages apart fall into the same sets of L1.
    copy_x_ = taps_ == 1 && !gather_ && !swap_ && !padding_ && bytes(g_.stride_w * g_.c) % kPage == 0;
    steady_ = gather_ || (g_.kh * g_.kw == 1 && g_.stride_h == 1 && g_.stride_w == 1 && !padding_ && g_.h == g_.oh &&
                          g_.w == g_.ow);
    const std::int64_t pixel = swap_ ? g_.stride_w * g_.c : g_.k;
    pack_ = !(swap_ && gather_) &&
            (columns_ != padded_ || (block_ != pixel && (bytes(pixel) % kSets == 0 || taps_ * rows_ >= kPackedRows)));
    cut();
    size_ = g_.groups * taps_ * rows_ * padded_;
    chunks_ = std::clamp<std::int64_t>(kPartialBytes / std::max<std::int64_t>(bytes(size_), 1), 1, chunks_);
    same_ = !swap_ && padded_ == out_ && g_.groups == 1;
    x_pitch_ = gather_   ? round_up(window_ + kBlock<T>, swap_ ? table_.width : 4)
               : copy_x_ ? ceil_div(rows_, splits_) + 64 / sizeof(T)
                         : 0;
  }

  Step step(int x, int dy, int dw, const std::shared_ptr<const DirectWeights>& self) const {
    Step s;
    s.algorithm = "direct";
    s.flops = g_.flops();
    s.scratch = sizeof(Lists) +
                static_cast<std::size_t>(bytes(spread_panel() + x_panel() + (pack_ ? each_ * kUnit * block_ : 0)));
    s.workspace = static_cast<std::size_t>(bytes(partial_sums() + (copy_all_ ? g_.n * g_.h * g_.w * g_.c : 0)));
    s.run = [self, x, dy, dw](const RunContext& r) { self->run(r.data<const T>(x), dy, r.data<T>(dw), r); };
    return s;
  }

 private:
  struct Lists {
    PixelPair from[2][kUnit];                   // of this unit and the next: where a pixel's window and gradient begin
    std::int64_t row[2][kUnit], col[2][kUnit];  // of the input
    PixelPair pairs[kUnit], next[kUnit];        // for the kernel: broadcast side, vectors' side
  };

  static std::int64_t bytes(std::int64_t n) { return n * static_cast<std::int64_t>(sizeof(T)); }
  static std::int64_t reach(std::int64_t outputs, std::int64_t stride, std::int64_t kernel, std::int64_t dilation) {
    return (outputs - 1) * stride + (kernel - 1) * dilation + 1;
  }
  std::int64_t dy_pitch() const { return spread_ ? round_up(out_, table_.width) : g_.k; }
  std::int64_t spread_panel() const { return spread_ ? kUnit * dy_pitch() : 0; }
  std::int64_t x_panel() const { return gather_ || copy_x_ ? round_up(kUnit * x_pitch_ + line_, 16) : 0; }
  std::int64_t unit_begin(std::int64_t unit) const {
    return whole_rows_ ? g_.n * g_.oh * unit / units_ * g_.ow : pixels_ * unit / units_;
  }
  std::int64_t partial_sums() const { return same_ && chunks_ == 1 ? 0 : round_up(chunks_ * size_, 16); }

  // Of a pixel, in products of a vector: narrow tiles are bound by loads, small ones by latency.
  double cost(std::int64_t columns, std::int64_t rows) const {
    double sum = 0;
    for (std::int64_t left = ceil_div(columns, table_.width), take = table_.tile_vectors; left > 0; left -= take) {
      while (take > left) take /= 2;
      const double slower = take == table_.tile_vectors ? 1 : take * 2 == table_.tile_vectors ? 1.1 : 1.3;
      sum += static_cast<double>(std::max<std::int64_t>(rows * take, 8)) * slower;
    }
    return sum;
  }

  // Into pieces of some rows x some blocks x a chunk of the units.
  void cut() {
    splits_ =
        std::max(ceil_div(bytes(kUnit * rows_), kPieceBytes), ceil_div(bytes(taps_ * rows_ * block_), kPieceBytes));
    splits_ = std::clamp<std::int64_t>(splits_, 1, rows_);
    each_ = std::min(blocks_, kMostBlocks);
    const auto pieces = [&] { return splits_ * ceil_div(blocks_, each_) * g_.groups; };
    chunks_ = std::clamp<std::int64_t>(ceil_div(kPieces, pieces()), 1, ceil_div(pixels_, kChunk));
    // The longer side of what is copied for a piece is cut.
    while (pieces() * chunks_ < kPieces) {
      const bool rows = rows_ >= 2 * splits_ * kLeastRows;
      if (rows && (each_ == 1 || (copy_x_ && pack_ && rows_ > splits_ * each_ * block_)))
        splits_ *= 2;
      else if (each_ > 1)
        each_ = ceil_div(each_, 2);
      else
        break;
    }
    if (pieces() * chunks_ < kPieces)
      chunks_ = std::clamp<std::int64_t>(ceil_div(kPieces, pieces()), chunks_, ceil_div(pixels_, kLeastChunk));
  }

  void run(const T* x, int gradient, T* dw, const RunContext& r) const {
    const auto dy = spread_map<T>(r, spread_, g_.oh, g_.ow, g_.k, gradient);
    T* partial = same_ && chunks_ == 1 ? dw : reinterpret_cast<T*>(r.workspace());
    if (copy_all_) {
      T* padded = reinterpret_cast<T*>(r.workspace()) + partial_sums();
      const std::int64_t from = source_.h * source_.w * g_.c, to = g_.h * g_.w * g_.c;
      parallel_for(g_.n, [&](std::int64_t i, int) {
        copy_padded(x + i * from, source_.h, source_.w, g_.c, -source_.top, g_.h, -source_.left, g_.w, 1,
                    padded + i * to);
      });
      x = padded;
    }
    const std::int64_t out_pieces = ceil_div(blocks_, each_);
    parallel_for(chunks_ * g_.groups * out_pieces * splits_, [&](std::int64_t piece, int thread) {
      const std::int64_t split = piece % splits_, first = piece / splits_ % out_pieces * each_;
      const std::int64_t group = piece / splits_ / out_pieces % g_.groups,
                         chunk = piece / splits_ / out_pieces / g_.groups;
      run_piece({x, dy, partial + chunk * size_ + group * taps_ * rows_ * padded_, r.scratch(thread)}, chunk, group,
                split, first);
    });
    if (same_ && chunks_ == 1) return;
    add_chunks(partial, chunks_, size_, same_ ? dw : partial);
    if (same_) return;
    // partial: [group][taps][in][padded out] or [group][out][padded taps * in] -> dw [taps][in][group][out]
    parallel_range(g_.groups * window_, std::max<std::int64_t>(1, 16384 / out_), [&](auto begin, auto end, int) {
      for (std::int64_t i = begin; i < end;) {
        const std::int64_t group = i / window_, row = i % window_, rows = std::min(end - i, window_ - row);
        T* to = dw + row * g_.k + group * out_;
        if (swap_)
          table_.transpose({partial + group * rows_ * padded_ + row, to, out_, rows, padded_, g_.k, nullptr});
        else
          for (std::int64_t j = 0; j < rows; ++j) std::copy_n(partial + (i + j) * padded_, out_, to + j * g_.k);
        i += rows;
      }
    });
  }

  struct Piece {
    const T* x;
    const SpreadMap<T>& dy;
    T* dw;
    std::byte* scratch;
  };

  void run_piece(const Piece& piece, std::int64_t chunk, std::int64_t group, std::int64_t split,
                 std::int64_t first_block) const {
    Lists& lists = *reinterpret_cast<Lists*>(piece.scratch);
    T* spread = reinterpret_cast<T*>(piece.scratch + sizeof(Lists));
    T* x_panel = spread + spread_panel();
    T* panel = swap_ && gather_ ? x_panel : x_panel + this->x_panel();
    const T *x = piece.x + group * in_, *dy = piece.dy.dy + group * out_;
    const std::int64_t from = rows_ * split / splits_, rows = rows_ * (split + 1) / splits_ - from;
    const std::int64_t end_block = std::min(first_block + each_, blocks_);
    const std::int64_t first = units_ * chunk / chunks_, end = units_ * (chunk + 1) / chunks_;
    const auto turned = [&](const PixelPair& q) { return swap_ ? PixelPair{q.dy, q.x} : q; };
    if (steady_)
      for (std::int64_t p = 0; p < kUnit; ++p) {
        lists.from[0][p] = lists.from[1][p] = {p * g_.c, p * dy_pitch()};
        lists.next[p] = turned(lists.from[0][p]);
      }

    ConvWeightsArgs<T> a{};
    a.list = lists.pairs, a.next = lists.next;
    a.run = rows, a.dw_row = padded_;
    for (std::int64_t unit = first; unit < end; ++unit) {
      const int at = static_cast<int>(unit % 2);
      const bool fetch = unit + 1 < end;
      const std::int64_t begin = unit_begin(unit), next = unit_begin(unit + 1), n = next - begin;
      const PixelPair* base = lists.from[at];
      if (!steady_) {
        if (unit == first) locate(unit, lists, at);
        if (fetch) locate(unit + 1, lists, 1 - at);
        const std::int64_t last = unit_begin(unit + 2) - next - 1;
        for (std::int64_t p = 0; fetch && p < n; ++p) lists.next[p] = turned(lists.from[1 - at][std::min(p, last)]);
      }
      // Where the lists' offsets begin, for this unit and the next.
      const T *dys = dy + begin * g_.k, *next_dys = spread_ ? nullptr : dy + next * g_.k;
      const T *xs = steady_ ? x + begin * g_.c : x, *next_xs = steady_ ? x + next * g_.c : x;

      if (spread_) {
        spread_rows(piece.dy, begin, n, spread);
        dys = spread;
      }
      if (gather_) gather(piece.x, group, begin, n, x_panel, x_panel + kUnit * x_pitch_);
      if (copy_x_)
        for (std::int64_t p = 0; p < n; ++p) std::copy_n(xs + base[p].x + from, rows, x_panel + p * x_pitch_);
      for (std::int64_t b = first_block; pack_ && b < end_block; ++b)
        pack(swap_ ? xs : dys, base, n, b, panel + (b - first_block) * kUnit * block_);

      a.add = unit > first;
      for (std::int64_t tap = 0; tap < taps_; ++tap) {
        const std::int64_t i = merge_ ? tap : tap / g_.kw, j = merge_ ? 0 : tap % g_.kw;
        const std::int64_t shift = (i * g_.dilation_h * g_.w + j * g_.dilation_w) * g_.c;
        if (tap == 0 ? !steady_ || unit == first : padding_ && !steady_) {
          a.pixels = 0;
          for (std::int64_t p = 0; p < (steady_ ? kUnit : n); ++p) {
            PixelPair& q = lists.pairs[a.pixels];
            q.x = swap_ ? base[p].dy : gather_ || copy_x_ ? p * x_pitch_ : base[p].x + (padding_ ? shift : 0);
            q.dy = pack_ ? p * block_ : swap_ && gather_ ? p * x_pitch_ : swap_ ? base[p].x : base[p].dy;
            a.pixels += steady_ || !padding_ || inside(lists, at, p, i, j);
          }
        }
        if (steady_) a.pixels = n;
        a.x = swap_ ? dys + from : gather_ ? x_panel + from : copy_x_ ? x_panel : xs + from + (padding_ ? 0 : shift);
        // What the next unit reads is fetched: each element of the input by the first tap that meets it.
        const bool meets = fetch && i < g_.stride_h && j < g_.stride_w;
        for (std::int64_t b = first_block; b < end_block; ++b) {
          const std::int64_t column = b * block_;
          const T* vectors = pack_              ? panel + (b - first_block) * kUnit * block_
                             : swap_ && gather_ ? panel + column
                             : swap_            ? xs + column
                                                : dys + column;
          a.next_x = !meets || b > first_block || (gather_ && !swap_) ? nullptr
                     : swap_                                          ? (spread_ ? nullptr : next_dys + from)
                                                                      : next_xs + shift + from;
          const T* next_vectors = !fetch || tap > 0 || (gather_ && swap_) ? nullptr
                                  : swap_                                 ? next_xs + column
                                  : spread_                               ? nullptr
                                                                          : next_dys + column;
          run_block(a, std::min(padded_ - column, block_), vectors, next_vectors,
                    piece.dw + (tap * rows_ + from) * padded_ + column);
        }
      }
    }
  }

  // The gradients of n pixels, whole vectors each.
  void spread_rows(const SpreadMap<T>& dy, std::int64_t pixel, std::int64_t n, T* to) const {
    for (const std::int64_t end = pixel + n; pixel < end;) {  // a row after the other
      const std::int64_t ow = pixel % g_.ow, oh = pixel / g_.ow % g_.oh, image = pixel / g_.ow / g_.oh;
      const std::int64_t count = std::min(end - pixel, g_.ow - ow);
      dy.copy(image, oh, 1, ow, count, 0, out_, to, dy_pitch());
      pixel += count, to += count * dy_pitch();
    }
  }

  void run_block(ConvWeightsArgs<T>& a, std::int64_t columns, const T* from, const T* next, T* dw) const {
    for (std::int64_t c = 0; c < columns; c += a.vectors * table_.width) {
      a.vectors = table_.tile_vectors;
      while (a.vectors * table_.width > columns - c) a.vectors /= 2;
      a.dy = from + c, a.dw = dw + c;
      a.next_dy = next ? next + c : nullptr;
      table_.conv_weights(a);
      a.next_x = nullptr;
    }
  }

  void locate(std::int64_t unit, Lists& lists, int at) const {
    const std::int64_t begin = unit_begin(unit), n = unit_begin(unit + 1) - begin;
    std::int64_t ow = begin % g_.ow, oh = begin / g_.ow % g_.oh, image = begin / g_.ow / g_.oh;
    for (std::int64_t p = 0; p < n; ++p) {
      const std::int64_t row = oh * g_.stride_h - g_.top, col = ow * g_.stride_w - g_.left;
      lists.row[at][p] = row, lists.col[at][p] = col;
      lists.from[at][p] = {((image * g_.h + row) * g_.w + col) * g_.c, p * dy_pitch()};
      if (++ow == g_.ow) {
        ow = 0;
        if (++oh == g_.oh) oh = 0, ++image;
      }
    }
  }

  // Whether tap (i, j) of a pixel's window is.
  bool inside(const Lists& lists, int at, std::int64_t p, std::int64_t i, std::int64_t j) const {
    const std::int64_t row = lists.row[at][p] + i * g_.dilation_h, col = lists.col[at][p] + j * g_.dilation_w;
    return (row >= 0) & (row < g_.h) & (col >= 0) & (col < g_.w);
  }

  // The windows of n pixels, [tap][channel] each.
  void gather(const T* x, std::int64_t group, std::int64_t pixel, std::int64_t n, T* to, T* line) const {
    for (const std::int64_t end = pixel + n; pixel < end;) {  // a row of outputs after the other
      const std::int64_t ow = pixel % g_.ow, oh = pixel / g_.ow % g_.oh, image = pixel / g_.ow / g_.oh;
      const std::int64_t count = std::min(end - pixel, g_.ow - ow);
      for (std::int64_t i = 0; i < g_.kh; ++i)
        gather_row(x, group, image, oh * g_.stride_h - g_.top + i * g_.dilation_h, ow * g_.stride_w - g_.left, count,
                   to + i * g_.kw * in_, line);
      pixel += count, to += count * x_pitch_;
    }
  }

  // One row of the windows of `count` pixels beside each other, which begin at column col.
  void gather_row(const T* x, std::int64_t group, std::int64_t image, std::int64_t row, std::int64_t col,
                  std::int64_t count, T* to, T* line) const {
    const std::int64_t cols = reach(count, g_.stride_w, g_.kw, g_.dilation_w), at = (image * g_.h + row) * g_.w + col;
    const T* from = x + at * g_.c + group * in_;
    std::int64_t pixel = g_.c;
    if (row < 0 || row >= g_.h || col < 0 || col + cols > g_.w ||
        at + cols + ceil_div(kBlock<T>, g_.c) > g_.n * g_.h * g_.w) {
      const std::int64_t part = g_.groups == 1 ? 0 : in_;
      copy_padded(x + image * g_.h * g_.w * g_.c + group * in_, g_.h, g_.w, g_.c, row, 1, col, cols, 1, line, part,
                  part);
      from = line, pixel = in_;
    }
    const std::int64_t step = g_.stride_w * pixel;
    for (std::int64_t j = 0; j < g_.kw * in_; j += run_, from += g_.dilation_w * pixel) {
      if (run_ <= kBlock<T>)
        copy_runs<kBlock<T>>(from, step, count, to + j, x_pitch_);
      else if (run_ <= 2 * kBlock<T>)
        copy_runs<2 * kBlock<T>>(from, step, count, to + j, x_pitch_);
      else if (run_ <= 3 * kBlock<T>)
        copy_runs<3 * kBlock<T>>(from, step, count, to + j, x_pitch_);
      else
        for (std::int64_t p = 0; p < count; ++p) copy_blocks(from + p * step, run_, to + p * x_pitch_ + j);
    }
  }

  // A block of the vectors' side, densely.
  void pack(const T* from, const PixelPair* base, std::int64_t n, std::int64_t block, T* to) const {
    const std::int64_t first = block * block_, valid = std::min(block_, columns_ - first);
    for (std::int64_t p = 0; p < n; ++p, to += block_) {
      std::copy_n(from + (swap_ ? base[p].x : base[p].dy) + first, valid, to);
      std::fill_n(to + valid, block_ - valid, T(0));
    }
  }

  ConvGeometry source_, g_;  // g_: of the padded copy, where there is one
  Windows spread_;
  const KernelTable<T>& table_;
  std::int64_t in_, out_;        // channels of a group
  std::int64_t pixels_, units_;  // of the batch
  std::int64_t taps_, window_;   // window_: all elements that a pixel and group read
  std::int64_t run_;             // elements beside each other that a tap or a window's row reads
  std::int64_t line_;            // of a row of the input that a unit's windows may read
  bool padding_, merge_, gather_, copy_x_, pack_, copy_all_ = false;
  bool whole_rows_;              // units are whole rows of the output
  bool steady_;                  // pixels of all units lie alike
  bool swap_;                    // the vectors are of the input, the gradient is transposed
  std::int64_t rows_, columns_;  // of a tap's gradient: broadcast, in vectors
  std::int64_t padded_, block_, blocks_;
  std::int64_t splits_, each_, chunks_, size_;  // each_: blocks of a piece
  std::int64_t x_pitch_;
  bool same_;  // partial sums lie as the gradient does
};

}  // namespace

template <class T>
Step plan_direct_weights(const ConvGeometry& g, int x, int dy, int dw, const Windows& spread) {
  const auto weights = std::make_shared<const DirectWeights<T>>(g, spread);
  return weights->step(x, dy, dw, weights);
}

template Step plan_direct_weights<float>(const ConvGeometry&, int, int, int, const Windows&);
template Step plan_direct_weights<double>(const ConvGeometry&, int, int, int, const Windows&);

}  // namespace fastconv::cpu
