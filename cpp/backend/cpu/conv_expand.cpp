// A 1x1 convolution and the depthwise convolution that reads it, in one step: rows of some channels of the first are
// made in scratch that stays in L2 and read there by the second.
#include <algorithm>
#include <cstdlib>

#include "backend/cpu/conv.hpp"

namespace fastconv::cpu {
namespace {

constexpr std::int64_t kPieces = 16;    // wanted, for the threads there may be
constexpr std::int64_t kVectors = 4;    // of channels in a piece; fewer would read the input too often
constexpr std::int64_t kPixels = 1536;  // between the two: with four vectors 200 to 400 KB, in L2 beside the rest
constexpr std::int64_t kHalo = 24;      // rows of a piece for each one that its neighbour computes too

struct Piece {
  std::size_t first_block, end_block;  // of channel_blocks()
  std::int64_t channel, channels;
};

template <class T>
class Expanded {
 public:
  Expanded(const ConvPass& expand, const ConvPass& depthwise)
      : e_(expand),
        d_(depthwise),
        table_(kernels<T>()),
        blocks_(channel_blocks(e_.out_c, table_.width, table_.tile_vectors)),
        h_(d_.phases[0].h) {
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
      const ChannelBlock& b = blocks_[i];
      if (pieces_.empty() || pieces_.back().channels + b.channels > kVectors * table_.width)
        pieces_.push_back({i, i, b.channel, 0});
      pieces_.back().end_block = i + 1;
      pieces_.back().channels += b.channels;
      widest_ = std::max(widest_, pieces_.back().channels);
    }
    // Channels first: rows at the border of two pieces are computed twice.
    const std::int64_t twice = std::max<std::int64_t>((h_.taps - 1) * h_.tap_step + 1 - h_.is, 0);
    const std::int64_t wanted = ceil_div(kPieces, e_.n * static_cast<std::int64_t>(pieces_.size()));
    piece_rows_ = std::max(ceil_div(h_.outputs, wanted), ceil_div(kHalo * twice, h_.is));
    piece_rows_ = std::clamp<std::int64_t>(piece_rows_, 1, h_.outputs);
    // Threads get equal shares of a power of two. Two blocks of rows also where the two halves of the channels' pieces
    // are so unlike that this costs more than the rows computed twice.
    row_pieces_ = ceil_div(h_.outputs, piece_rows_);
    while (row_pieces_ & (row_pieces_ - 1)) --row_pieces_;
    const std::int64_t half = pieces_[pieces_.size() / 2].channel, unlike = std::abs(2 * half - e_.out_c);
    if (e_.n * row_pieces_ == 1 && h_.outputs > 1 && unlike * h_.outputs * h_.is > 2 * twice * e_.out_c)
      row_pieces_ = 2;
    piece_rows_ = ceil_div(h_.outputs, row_pieces_);
    // Output rows at a time, as many in each turn.
    chunk_ = kPixels / std::max<std::int64_t>(d_.in_w, 1);
    chunk_ = std::clamp<std::int64_t>((chunk_ - twice) / h_.is, 1, piece_rows_);
    chunk_ = ceil_div(piece_rows_, ceil_div(piece_rows_, chunk_));
    chunks_ = ceil_div(piece_rows_, chunk_);
    in_rows_ = std::min((chunk_ - 1) * h_.is + (h_.taps - 1) * h_.tap_step + 1, d_.in_h);
  }

  std::int64_t pieces() const { return e_.n * row_pieces_ * static_cast<std::int64_t>(pieces_.size()); }
  std::size_t scratch_bytes() const {
    const std::int64_t parts = d_.mean == kNone ? 0 : chunk_ * widest_;
    return static_cast<std::size_t>(num_elements({in_rows_, d_.in_w, widest_}) + parts) * sizeof(T);
  }

  // Of an image, for means.
  std::int64_t blocks() const { return row_pieces_ * chunks_; }

  void run_piece(std::int64_t i, const T* x, const T* w, const T* bias, const T* taps, const T* taps_bias, T* y,
                 T* sums, T* scratch) const {
    const auto n = static_cast<std::int64_t>(pieces_.size());
    const Piece& piece = pieces_[static_cast<std::size_t>(i % n)];
    const std::int64_t image = i / n / row_pieces_, part = i / n % row_pieces_;
    const std::int64_t begin = h_.outputs * part / row_pieces_, end = h_.outputs * (part + 1) / row_pieces_;
    const std::int64_t row = d_.in_w * piece.channels;
    x += image * e_.in_h * e_.in_w * e_.in_c;

    DepthwiseArgs<T> a = depthwise_args<T>(d_, d_.phases[0]);
    a.x = scratch, a.x_row = row, a.x_pixel = piece.channels;
    a.channels = piece.channels;
    a.w = taps + piece.channel;
    if (taps_bias) a.bias = taps_bias + piece.channel;
    std::int64_t top = 0, bottom = 0;  // the rows in the scratch
    if (sums) sums += i / n * chunks_ * e_.out_c + piece.channel;
    for (std::int64_t first = begin; first < end; first += chunk_) {
      a.rows = std::min(chunk_, end - first);
      const std::int64_t start = h_.i0 + first * h_.is;
      const std::int64_t from = std::clamp<std::int64_t>(start, 0, d_.in_h);
      const std::int64_t to =
          std::clamp<std::int64_t>(start + (a.rows - 1) * h_.is + (h_.taps - 1) * h_.tap_step + 1, from, d_.in_h);
      if (first > begin && from < bottom)  // the last rows are the next first ones
        std::copy(scratch + (from - top) * row, scratch + (bottom - top) * row, scratch);
      const std::int64_t next = first > begin ? std::max(from, bottom) : from;
      expand_rows(piece, x + next * e_.in_w * e_.in_c, w, bias, (to - next) * e_.in_w, scratch + (next - from) * row);
      top = from, bottom = std::max(to, next);
      a.in_h = to - from, a.row = start - from;
      a.y = y + ((image * d_.out_h + first) * d_.out_w) * d_.y_pixel + piece.channel;
      table_.depthwise(a);
      finish_rows(d_, a, scratch + in_rows_ * d_.in_w * widest_,
                  sums ? sums + (first - begin) / chunk_ * e_.out_c : nullptr);
    }
    // The last piece may have fewer.
    if (sums)
      for (std::int64_t k = ceil_div(end - begin, chunk_); k < chunks_; ++k)
        std::fill_n(sums + k * e_.out_c, piece.channels, T(0));
  }

 private:
  void expand_rows(const Piece& piece, const T* x, const T* w, const T* bias, std::int64_t pixels, T* to) const {
    if (pixels <= 0) return;
    ConvRowArgs<T> a{};
    a.x = x, a.x_pixel = e_.in_c;
    a.taps_h = a.taps_w = 1, a.run = e_.in_c;
    a.y_pixel = piece.channels;
    a.pixels = pixels;
    a.clamp = e_.clamp, a.lo = static_cast<T>(e_.lo), a.hi = static_cast<T>(e_.hi);
    for (std::size_t i = piece.first_block; i < piece.end_block; ++i) {
      const ChannelBlock& b = blocks_[i];
      a.vectors = b.vectors, a.channels = b.channels;
      a.w = w + b.packed * table_.width * e_.in_c;
      if (bias) a.bias = bias + b.channel;
      a.y = to + b.channel - piece.channel;
      table_.conv_row(a);
    }
    activate(e_, to, pixels, piece.channels, piece.channels);
  }

  ConvPass e_, d_;
  const KernelTable<T>& table_;
  std::vector<ChannelBlock> blocks_;
  AxisPhase h_;
  std::vector<Piece> pieces_;
  std::int64_t widest_ = 0, piece_rows_ = 0, row_pieces_ = 0, chunk_ = 0, chunks_ = 0, in_rows_ = 0;
};

}  // namespace

template <class T>
Step plan_expanded_depthwise(PlanContext& c, const ConvPass& expand, const ConvPass& depthwise) {
  const int weights = c.pack(direct_weights<T>(expand)), taps = c.pack(depthwise_weights<T>(depthwise));
  Step step;
  step.algorithm = "direct + depthwise";
  step.flops = expand.flops + depthwise.flops;
  if (depthwise.n * depthwise.out_h * depthwise.out_w == 0) {
    step.run = [](const RunContext&) {};
    return step;
  }
  const auto expanded = std::make_shared<const Expanded<T>>(expand, depthwise);
  step.scratch = expanded->scratch_bytes();
  if (depthwise.mean != kNone)
    step.workspace = static_cast<std::size_t>(depthwise.n * expanded->blocks() * depthwise.out_c) * sizeof(T);
  step.run = [=](const RunContext& r) {
    const auto optional = [&r](int value) { return value == kNone ? nullptr : r.data<const T>(value); };
    const T *x = r.data<const T>(expand.x), *bias = optional(expand.bias), *taps_bias = optional(depthwise.bias);
    const T *w = r.packed<T>(weights), *t = r.packed<T>(taps);
    T *y = r.data<T>(depthwise.y), *sums = depthwise.mean == kNone ? nullptr : reinterpret_cast<T*>(r.workspace());
    parallel_for(expanded->pieces(), [&](std::int64_t i, int thread) {
      expanded->run_piece(i, x, w, bias, t, taps_bias, y, sums, reinterpret_cast<T*>(r.scratch(thread)));
    });
    if (sums) combine_sums(depthwise, sums, expanded->blocks(), r.data<T>(depthwise.mean));
  };
  return step;
}

template Step plan_expanded_depthwise<float>(PlanContext&, const ConvPass&, const ConvPass&);
template Step plan_expanded_depthwise<double>(PlanContext&, const ConvPass&, const ConvPass&);

}  // namespace fastconv::cpu
