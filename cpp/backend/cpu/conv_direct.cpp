// Direct convolution: drives the conv_row kernel over images, rows and groups of output channels.
#include <algorithm>
#include <memory>
#include <numeric>

#include "backend/cpu/conv.hpp"

namespace fastconv::cpu {
namespace {

// One phase ready to run.
struct PhasePlan {
  Phase phase;
  bool flat;                  // 1x1 over dense pixels: the whole input is one row, or each image where they differ
  bool copy;                  // taps reach outside the input's columns: blocks are copied with zeros beside them; or
                              // the input lies channels first or is to be spread
  std::int64_t rows, pixels;  // of output, for one image; flat: 1 and all pixels
  std::int64_t images;
  std::int64_t block;                   // output rows (flat: pixels) of a piece
  std::int64_t blocks;                  // a image
  std::int64_t block_in_rows, in_cols;  // copied
  std::int64_t taps_w, run, x_tap_w;    // as the kernel sees them: adjacent columns are one long run
  std::int64_t splits;                  // pieces that the channel blocks are cut into
  bool weights_first;                   // consecutive pieces share their weights, not their input
  std::int64_t packed;                  // offset of this phase's weights
};

constexpr std::int64_t kBlockBytes = 192 << 10;  // input of a piece: stays in L2 beside the weights in use
// Pieces wanted for the threads there may be: as many as kMostPieces while each still has kPieceFlops.
constexpr std::int64_t kPieces = 16, kMostPieces = 64;
constexpr double kPieceFlops = 1e6;

// ceil(a / b) for any sign of a.
std::int64_t ceil_div_any(std::int64_t a, std::int64_t b) { return a > 0 ? (a + b - 1) / b : -(-a / b); }

bool reaches_outside(const AxisPhase& a, std::int64_t in) {
  return a.i0 < 0 || a.i0 + (a.outputs - 1) * a.is + (a.taps - 1) * a.tap_step >= in;
}

PhasePlan plan_phase(const ConvPass& p, const Phase& phase, std::int64_t channel_blocks, std::size_t element) {
  const AxisPhase &h = phase.h, &w = phase.w;
  PhasePlan q{};
  const auto all_wanted = static_cast<std::int64_t>(
      std::clamp(p.flops / static_cast<double>(p.phases.size()) / kPieceFlops, double{kPieces}, double{kMostPieces}));
  q.phase = phase;
  q.copy = h.taps > 0 && w.taps > 0 && (p.x_first || p.spread || reaches_outside(w, p.in_w));
  q.flat = !q.copy && !p.pool && !reaches_outside(h, p.in_h) && h.taps == 1 && w.taps == 1 && h.is == 1 && w.is == 1 &&
           h.os == 1 && w.os == 1 && p.in_h == p.out_h && p.in_w == p.out_w;
  q.images = q.flat && p.factor == kNone && p.mean == kNone ? 1 : p.n;
  q.rows = q.flat ? 1 : h.outputs;
  q.pixels = q.flat ? p.n / std::max<std::int64_t>(q.images, 1) * p.out_h * p.out_w : w.outputs;
  q.in_cols = q.copy ? (w.outputs - 1) * w.is + (w.taps - 1) * w.tap_step + 1 : p.in_w;
  const std::int64_t in_per_group = p.in_c / p.groups;
  const bool merge = w.tap_step == 1 && p.groups == 1;
  q.taps_w = merge ? std::min<std::int64_t>(w.taps, 1) : w.taps;
  q.run = merge ? w.taps * in_per_group : in_per_group;
  q.x_tap_w = w.tap_step * p.in_c;

  const auto bytes_of = [&](std::int64_t n) { return n * p.in_c * static_cast<std::int64_t>(element); };
  // With factors one image after the other: what they scale is kept.
  q.weights_first =
      (p.factor == kNone || p.n == 1) && h.taps * w.taps * in_per_group * p.out_c > p.n * p.in_h * p.in_w * p.in_c;
  // Weights that do not fit into L2 are cut into parts that do, each for all rows: rows of their own would read all
  // weights again.
  const std::int64_t weights_bytes = bytes_of(h.taps * w.taps * p.out_c) / p.groups;
  const std::int64_t parts =
      q.weights_first && !q.flat
          ? std::clamp<std::int64_t>(ceil_div(weights_bytes, caches().l2 / 2), 1, channel_blocks * p.groups)
          : 1;
  const std::int64_t most_bytes = parts > 1 ? caches().l2 / 4 : kBlockBytes;
  // A small batch is cut into rows (pixels).
  const std::int64_t wanted =
      std::max<std::int64_t>(ceil_div(all_wanted, std::max<std::int64_t>(q.images * parts, 1)), 1);
  if (q.flat) {
    constexpr std::int64_t tile = 28;  // of 7 and 14
    q.block = std::max(tile, kBlockBytes / std::max<std::int64_t>(bytes_of(1), 1) / tile * tile);
    q.block = std::min(q.block, round_up(std::max<std::int64_t>(ceil_div(q.pixels, wanted), 1), tile));
    q.blocks = ceil_div(q.pixels, q.block);
  } else {
    // Of the input, strides may leave rows and columns out.
    const auto read = [&](const AxisPhase& a, std::int64_t in) {
      const std::int64_t span = std::min((a.taps - 1) * a.tap_step + 1, a.is);
      return q.copy ? static_cast<double>(in)
                    : static_cast<double>(in * std::max<std::int64_t>(span, 1)) / static_cast<double>(a.is);
    };
    const double row_bytes = std::max(static_cast<double>(bytes_of(1)) * read(w, q.in_cols) * read(h, h.is), 1.0);
    q.block =
        std::clamp(static_cast<std::int64_t>(static_cast<double>(most_bytes) / row_bytes), std::int64_t{1}, q.rows);
    // A copy's halo makes single rows dear.
    q.block = std::min(q.block, std::max<std::int64_t>(ceil_div(q.rows, wanted), q.copy ? 4 : 1));
    q.block = std::clamp<std::int64_t>(q.block, 1, std::max<std::int64_t>(q.rows, 1));
    if (p.pool) q.block = round_up(q.block, p.pool.h);
    q.blocks = ceil_div(q.rows, q.block);
    q.block_in_rows = (q.block - 1) * h.is + (h.taps - 1) * h.tap_step + 1;
  }
  const std::int64_t pieces = std::max<std::int64_t>(q.images * q.blocks, 1), all = channel_blocks * p.groups;
  q.splits = std::clamp<std::int64_t>(std::max(ceil_div(all_wanted, pieces), parts), 1, all);
  return q;
}

// Smaller blocks of whole windows, where there are more threads than pieces: that changes no sum.
void refine(PhasePlan& q, std::int64_t window, std::int64_t threads) {
  const std::int64_t all = q.flat ? q.pixels : q.rows;
  const std::int64_t wanted =
      std::max<std::int64_t>(ceil_div(threads, std::max<std::int64_t>(q.images * q.splits, 1)), 1);
  if (wanted <= q.blocks || all == 0) return;
  constexpr std::int64_t tile = 7;
  q.block = round_up(ceil_div(all, wanted), q.flat ? tile : window);
  q.blocks = ceil_div(all, q.block);
}

template <class T>
class Direct {
 public:
  Direct(const ConvPass& pass, bool strict = false)
      : p_(pass),
        strict_(strict),
        table_(kernels<T>()),
        in_(pass.in_c / pass.groups),
        out_(pass.out_c / pass.groups),
        blocks_(channel_blocks(out_, table_.width, table_.tile_vectors)),
        group_vectors_(ceil_div(out_, table_.width)) {
    for (const Phase& phase : pass.phases) {
      PhasePlan q = plan_phase(pass, phase, static_cast<std::int64_t>(blocks_.size()), sizeof(T));
      q.packed = packed_;
      packed_ += p_.groups * group_packed(q);
      if (q.copy)  // only rows that exist are copied
        scratch_ = std::max(scratch_, num_elements({std::min(q.block_in_rows, p_.in_h), q.in_cols, p_.in_c}));
      if (p_.pool) {
        copied_ = round_up(scratch_, 16);
        scratch_ = copied_ + p_.pool.h * q.pixels * std::min<std::int64_t>(out_, table_.tile_vectors * table_.width);
      }
      if (p_.factor != kNone) scratch_ = scale_weights() ? packed_ : q.pixels * p_.in_c;
      phases_.push_back(q);
      pieces_.push_back(q.images * q.blocks * q.splits);
    }
  }

  std::size_t packed_bytes() const { return static_cast<std::size_t>(packed_) * sizeof(T); }
  std::size_t scratch_bytes() const { return static_cast<std::size_t>(scratch_) * sizeof(T); }
  std::size_t workspace_bytes() const {
    return p_.mean == kNone ? 0 : static_cast<std::size_t>(p_.n * phases_[0].blocks * p_.out_c) * sizeof(T);
  }

  // What pack() does: the layout of the weights, the blocks of channels and each phase's taps.
  std::string pack_key() const {
    return "direct " + join({static_cast<std::int64_t>(sizeof(T)), table_.width, table_.tile_vectors, in_, out_}) +
           weights_key(p_);
  }

  void pack(const T* w, const T* scale, T* to) const {
    const auto n = static_cast<std::int64_t>(blocks_.size());
    for (const PhasePlan& q : phases_) {
      parallel_for(p_.groups * n, [&](std::int64_t piece, int) {
        const std::int64_t group = piece / n;
        const ChannelBlock& b = blocks_[static_cast<std::size_t>(piece % n)];
        pack_block(q, b, w + group * p_.w_group + b.channel * p_.w_out, scale ? scale + b.channel : nullptr,
                   to + q.packed + group * group_packed(q) + b.packed * table_.width * taps(q) * in_);
      });
    }
  }

  void run(const T* packed, const RunContext& context) const {
    const T *x = context.data<const T>(p_.x), *factor = optional(context, p_.factor);
    T* sums = p_.mean == kNone ? nullptr : reinterpret_cast<T*>(context.workspace());
    if (p_.fill && phases_.size() != 1)
      fill_untouched(p_, optional(context, p_.bias), optional(context, p_.residual), context.data<T>(p_.y));
    std::vector<std::int64_t> scaled(factor ? static_cast<std::size_t>(num_threads()) : 0, -1);
    const auto work = [&](const std::vector<PhasePlan>& phases, const std::vector<std::int64_t>& pieces) {
      for_each_piece(pieces, [&](std::size_t phase, std::int64_t piece, int thread) {
        const PhasePlan& q = phases[phase];
        const std::int64_t blocks = q.images * q.blocks, split = q.weights_first ? piece / blocks : piece % q.splits;
        piece = q.weights_first ? piece % blocks : piece / q.splits;
        const std::int64_t image = piece / q.blocks;
        const T *in = x + (p_.spread ? 0 : image * p_.in_h * p_.in_w * p_.in_c), *weights = packed;
        T* scratch = reinterpret_cast<T*>(context.scratch(thread));
        if (factor) {
          std::int64_t& last = scaled[static_cast<std::size_t>(thread)];
          if (last != image) scale(in, packed, factor + image * p_.in_c, scratch);
          last = image;
          (scale_weights() ? weights : in) = scratch;
        }
        run_piece(context, q, piece, split, in, weights, sums, scratch);
      });
    };
    // The sums of a mean depend on where blocks end.
    const int threads = num_threads();
    if (sums || std::accumulate(pieces_.begin(), pieces_.end(), std::int64_t{0}) >= threads) {
      work(phases_, pieces_);
      if (sums) combine_sums(p_, sums, phases_[0].blocks, context.data<T>(p_.mean));
      return;
    }
    std::vector<PhasePlan> phases = phases_;
    std::vector<std::int64_t> pieces;
    for (PhasePlan& q : phases) {
      refine(q, p_.pool ? p_.pool.h : 1, threads);
      pieces.push_back(q.images * q.blocks * q.splits);
    }
    work(phases, pieces);
  }

 private:
  static const T* optional(const RunContext& context, int value) {
    return value == kNone ? nullptr : context.data<const T>(value);
  }
  static std::int64_t taps(const PhasePlan& q) { return q.phase.h.taps * q.phase.w.taps; }
  std::int64_t group_packed(const PhasePlan& q) const { return taps(q) * in_ * group_vectors_ * table_.width; }

  bool pack_channels_first(const PhasePlan& q, const ChannelBlock& b, const T* w, const T* scale, T* to) const {
    const std::int64_t columns = std::int64_t{b.vectors} * table_.width, all = taps(q);
    if (all == 1) return transpose_weights(p_, q.phase, w, scale, b.channels, in_, columns, to);
    const std::int64_t most = std::max<std::int64_t>(144 / std::max<std::int64_t>(all, 1), 1);  // rows stay in L1
    const std::unique_ptr<T[]> rows(new T[static_cast<std::size_t>(most * all * columns)]);
    for (std::int64_t first = 0; first < in_; first += most) {
      const std::int64_t n = std::min(most, in_ - first);
      if (!transpose_weights(p_, q.phase, w + first * all, scale, b.channels, n, columns, rows.get())) return false;
      const T* from = rows.get();
      for (std::int64_t r = first; r < first + n; ++r)
        for (std::int64_t t = 0; t < all; ++t, from += columns)
          std::copy_n(from, columns, to + (t * in_ + r) * columns);
    }
    return true;
  }

  void pack_block(const PhasePlan& q, const ChannelBlock& b, const T* w, const T* scale, T* to) const {
    const std::int64_t columns = std::int64_t{b.vectors} * table_.width;
    if (pack_channels_first(q, b, w, scale, to)) return;
    for (std::int64_t i = 0; i < q.phase.h.taps; ++i)
      for (std::int64_t j = 0; j < q.phase.w.taps; ++j) {
        const T* from =
            w + (q.phase.h.k0 + i * q.phase.h.k_step) * p_.w_kh + (q.phase.w.k0 + j * q.phase.w.k_step) * p_.w_kw;
        if (p_.w_out == 1) {
          for (std::int64_t r = 0; r < in_; ++r, to += columns) {
            std::copy_n(from + r * p_.w_in, b.channels, to);
            std::fill(to + b.channels, to + columns, T(0));
          }
        } else {
          transpose_tap(p_, from, b.channels, in_, columns, columns, to);
          to += in_ * columns;
        }
      }
  }

  // Whether factors multiply all weights, not all of an image, since they are fewer. Every thread does that for itself:
  // another one's would come from its cache.
  bool scale_weights() const { return p_.out_c < p_.in_h * p_.in_w; }

  void scale(const T* x, const T* packed, const T* factor, T* to) const {
    if (!scale_weights()) {
      table_.binary({Binary::mul, x, factor, to, p_.in_h * p_.in_w, in_, in_, 0, in_, 1, 1});
      return;
    }
    for (const ChannelBlock& b : blocks_) {
      const std::int64_t columns = std::int64_t{b.vectors} * table_.width, at = b.packed * table_.width * in_;
      table_.binary({Binary::mul, packed + at, factor, to + at, in_, columns, columns, 1, columns, 1, 0});
    }
  }

  // `x` is the image, or where the pooled gradients begin.
  void run_piece(const RunContext& context, const PhasePlan& q, std::int64_t piece, std::int64_t split, const T* x,
                 const T* packed, T* sums, T* scratch) const {
    const AxisPhase &h = q.phase.h, &w = q.phase.w;
    const T *bias = optional(context, p_.bias), *residual = optional(context, p_.residual);
    T* y = context.data<T>(p_.y);
    const std::int64_t image = piece / q.blocks, block = piece % q.blocks;
    const std::int64_t first = block * q.block;
    const std::int64_t rows = q.flat ? 1 : std::min(q.block, q.rows - first);

    // Where the block reads: its first row's number and its row length.
    const T* in = x;
    std::int64_t in_row = p_.in_w * p_.in_c, in_first = 0;
    if (q.flat) {
      in += first * p_.in_c;
    } else if (q.copy) {
      const std::int64_t begin = h.i0 + first * h.is;
      const std::int64_t end = begin + (rows - 1) * h.is + (h.taps - 1) * h.tap_step + 1;
      in_first = std::clamp<std::int64_t>(begin, 0, p_.in_h);
      const std::int64_t in_rows = std::clamp<std::int64_t>(end, in_first, p_.in_h) - in_first;
      if (p_.spread)
        spread_map<T>(context, p_.spread, p_.in_h, p_.in_w, p_.in_c, p_.x)
            .copy(image, in_first, in_rows, w.i0, q.in_cols, 0, p_.in_c, scratch, p_.in_c);
      else if (p_.x_first)
        copy_planes(in, p_.in_h, p_.in_w, p_.in_c, in_first, in_rows, w.i0, q.in_cols, scratch);
      else
        copy_padded(in, p_.in_h, p_.in_w, p_.in_c, in_first, in_rows, w.i0, q.in_cols, 1, scratch);
      in = scratch;
      in_row = q.in_cols * p_.in_c;
    } else {
      in += w.i0 * p_.in_c;
    }

    ConvRowArgs<T> a{};
    a.x_pixel = w.is * p_.in_c;
    a.x_tap_h = h.tap_step * in_row;
    a.x_tap_w = q.x_tap_w;
    a.taps_w = q.taps_w;
    a.run = q.run;
    a.y_pixel = w.os * p_.y_pixel;
    const std::int64_t window = p_.pool ? p_.pool.h : 1;
    a.pixels = q.flat ? std::min(q.block, q.pixels - first) : q.pixels;
    a.clamp = p_.clamp;
    a.lo = static_cast<T>(p_.lo), a.hi = static_cast<T>(p_.hi);

    const auto n = static_cast<std::int64_t>(blocks_.size()), all = n * p_.groups;
    const std::int64_t taps_h = q.taps_w ? h.taps : 0;
    const std::int64_t from = all * split / q.splits, to = all * (split + 1) / q.splits;
    // Where the piece's pixels begin.
    const std::int64_t y_row = h.os * p_.out_w * p_.y_pixel;
    const std::int64_t y_first = q.flat ? (image * q.pixels + first) * p_.y_pixel
                                        : ((image * p_.out_h + h.o0 + first * h.os) * p_.out_w + w.o0) * p_.y_pixel;
    if (p_.fill && phases_.size() == 1 && from < to) {  // beside what the piece writes
      const std::int64_t channel = channel_at(from), top = image * p_.out_h;
      const std::int64_t end = first + rows == q.rows ? p_.out_h : (first + rows) * h.os;
      fill_rows(p_, bias ? bias + channel : nullptr, residual ? residual + channel : nullptr, top + first * h.os,
                top + end, channel_at(to) - channel, y + channel);
    }
    for (std::int64_t i = from; i < to; ++i) {
      const std::int64_t group = i / n;
      const ChannelBlock& b = blocks_[static_cast<std::size_t>(i % n)];
      const T* weights = block_weights(q, packed, i);
      const T* next = block_weights(q, packed, (i + 1) % all);
      const auto element = static_cast<std::int64_t>(sizeof(T));
      const std::int64_t lines = fetched_lines(taps(q) * in_ * b.vectors * table_.width * element, packed_ * element);
      a.vectors = b.vectors, a.channels = b.channels;
      const std::int64_t channel = group * out_ + b.channel;
      a.bias = bias ? bias + channel : nullptr;
      const std::int64_t out = y_first + channel;
      T* rows_of_windows = scratch + copied_;
      if (p_.pool) a.y_pixel = b.channels;
      for (std::int64_t r = 0; r < rows; ++r) {
        // Only the taps whose input row exists.
        const std::int64_t top = h.i0 + (first + r) * h.is;
        const std::int64_t begin = q.flat ? 0 : std::clamp<std::int64_t>(ceil_div_any(-top, h.tap_step), 0, taps_h);
        const std::int64_t end =
            q.flat ? taps_h : std::clamp<std::int64_t>(ceil_div_any(p_.in_h - top, h.tap_step), begin, taps_h);
        a.taps_h = end - begin;
        a.w = weights + begin * q.phase.w.taps * in_ * b.vectors * table_.width;
        a.x = in + group * in_;
        if (!q.flat && a.taps_h > 0) a.x += (top + begin * h.tap_step - in_first) * in_row;
        a.y = p_.pool ? rows_of_windows + r % window * a.pixels * a.y_pixel : y + out + r * y_row;
        if (residual) a.residual = residual + out + r * y_row;
        a.next = next + lines * r / rows * 64 / element;
        a.next_lines = lines * (r + 1) / rows - lines * r / rows;
        if (strict_)
          conv_row_in_blocks(a);
        else
          table_.conv_row(a);
        if (!p_.pool || (r + 1) % window) continue;
        const std::int64_t row = a.pixels * a.y_pixel;
        activate(p_, rows_of_windows, 1, 0, window * row);
        pooled_map<T>(context, p_.pool, p_.out_h, p_.out_w, p_.out_c, p_.y)
            .write(image, (first + r) / window, 1, 0, p_.out_w / p_.pool.w, channel, b.channels, rows_of_windows, row,
                   a.y_pixel);
      }
      if (sums && !p_.activate) add_up(y + out, a.pixels, a.y_pixel, b.channels, sums + piece * p_.out_c + channel);
    }
    if (p_.activate && !p_.pool && from < to) {
      const std::int64_t begin = channel_at(from), n = channel_at(to) - begin;
      T* written = y + y_first + begin;
      for (std::int64_t r = 0; r < rows; ++r) activate(p_, written + r * y_row, a.pixels, a.y_pixel, n);
      if (sums) add_up(written, a.pixels, a.y_pixel, n, sums + piece * p_.out_c + begin);
    }
  }

  // The weights of block i of all groups' blocks.
  const T* block_weights(const PhasePlan& q, const T* packed, std::int64_t i) const {
    const auto n = static_cast<std::int64_t>(blocks_.size());
    return packed + q.packed + i / n * group_packed(q) +
           blocks_[static_cast<std::size_t>(i % n)].packed * table_.width * taps(q) * in_;
  }

  // The first channel of block i of all groups' blocks.
  std::int64_t channel_at(std::int64_t i) const {
    const auto n = static_cast<std::int64_t>(blocks_.size());
    return i / n * out_ + (i % n ? blocks_[static_cast<std::size_t>(i % n)].channel : 0);
  }

  ConvPass p_;
  bool strict_;
  const KernelTable<T>& table_;
  std::int64_t in_, out_;  // channels of a group
  std::vector<ChannelBlock> blocks_;
  std::int64_t group_vectors_;
  std::vector<PhasePlan> phases_;
  std::vector<std::int64_t> pieces_;
  std::int64_t packed_ = 0, scratch_ = 0;
  std::int64_t copied_ = 0;  // of the scratch; then follow rows to be pooled
};

}  // namespace

template <class T>
void conv_row_in_blocks(const ConvRowArgs<T>& whole) {
  constexpr std::int64_t most = 256;
  const KernelTable<T>& table = kernels<T>();
  if (whole.taps_h * whole.taps_w * whole.run <= most) return table.conv_row(whole);
  const std::int64_t parts = ceil_div(whole.run, most), calls = whole.taps_h * whole.taps_w * parts;
  ConvRowArgs<T> a = whole;
  a.taps_h = a.taps_w = 1;
  a.clamp = false;
  a.next = nullptr, a.next_lines = 0;
  for (std::int64_t i = 0; i < calls; ++i) {
    const std::int64_t tap = i / parts, part = i % parts, from = whole.run * part / parts;
    a.x = whole.x + tap / whole.taps_w * whole.x_tap_h + tap % whole.taps_w * whole.x_tap_w + from;
    a.run = whole.run * (part + 1) / parts - from;
    if (i + 1 == calls) a.clamp = whole.clamp, a.next = whole.next, a.next_lines = whole.next_lines;
    table.conv_row(a);
    a.w += a.run * a.vectors * table.width;
    a.bias = nullptr, a.residual = whole.y;
  }
}

std::vector<ChannelBlock> channel_blocks(std::int64_t channels, int width, int most) {
  std::vector<ChannelBlock> blocks;
  std::int64_t left = ceil_div(channels, width), at = 0;
  while (left > 0) {
    int v = most;
    while (v > left) v /= 2;
    const auto n = std::min<std::int64_t>(std::int64_t{v} * width, channels - at * width);
    blocks.push_back({at * width, static_cast<int>(n), v, at});
    at += v;
    left -= v;
  }
  return blocks;
}

template <class T>
PackRequest weights_of(std::shared_ptr<const Direct<T>> direct, const ConvPass& pass) {
  return {pass.w, direct->packed_bytes(),
          [direct](const void* from, const void* scale, void* to) {
            direct->pack(static_cast<const T*>(from), static_cast<const T*>(scale), static_cast<T*>(to));
          },
          direct->pack_key(), pass.w_scale};
}

template <class T>
PackRequest direct_weights(const ConvPass& pass) {
  return weights_of<T>(std::make_shared<const Direct<T>>(pass), pass);
}

template <class T>
Step plan_direct(PlanContext& c, const ConvPass& pass) {
  const auto direct = std::make_shared<const Direct<T>>(pass, c.options().strict);
  const int slot = c.pack(weights_of<T>(direct, pass));
  Step step;
  step.algorithm = "direct";
  step.flops = pass.flops;
  step.scratch = direct->scratch_bytes();
  step.workspace = direct->workspace_bytes();
  step.run = [direct, slot](const RunContext& r) { direct->run(r.packed<T>(slot), r); };
  return step;
}

template void conv_row_in_blocks<float>(const ConvRowArgs<float>&);
template void conv_row_in_blocks<double>(const ConvRowArgs<double>&);
template PackRequest direct_weights<float>(const ConvPass&);
template PackRequest direct_weights<double>(const ConvPass&);
template Step plan_direct<float>(PlanContext&, const ConvPass&);
template Step plan_direct<double>(PlanContext&, const ConvPass&);

}  // namespace fastconv::cpu
