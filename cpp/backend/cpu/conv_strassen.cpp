// 1x1 convolutions by one level of Strassen's algorithm in Winograd's form: 7 products of half the size each way
// instead of 8. A block of pixels is cut into two halves, the input channels too, and each two neighbouring blocks of
// output channels are the halves of the third side; all of it stays in scratch (docs/adr/0010-strassen.md).
#include <algorithm>
#include <cmath>

#include "backend/cpu/conv.hpp"

namespace fastconv::cpu {
namespace {

constexpr std::int64_t kPixels = 112;                                    // of a block, at most
constexpr std::int64_t kLeastPieces = 4, kPieces = 16, kPiecesEach = 2;  // each: for a processor of the machine
constexpr std::int64_t kFloat = sizeof(float);
constexpr std::int64_t kLine = 16;           // floats
constexpr std::int64_t kLeastChannels = 64;  // in and out: a product of fewer is mostly loads and stores
constexpr double kLeastGain = 0.04;          // of direct's time

class Strassen {
 public:
  Strassen(const ConvPass& pass)
      : p_(pass),
        table_(kernels<float>()),
        half_(pass.in_c / 2),
        columns_(std::int64_t{table_.tile_vectors} * table_.width),
        channels_(channel_blocks(pass.out_c, table_.width, table_.tile_vectors)),
        pairs_(pass.out_c / (2 * columns_)),
        units_(static_cast<std::int64_t>(channels_.size()) - pairs_) {
    const AxisPhase &h = p_.phases[0].h, &w = p_.phases[0].w;
    flat_ = h.is == 1 && w.is == 1;
    pixels_ = p_.out_h * p_.out_w;
    // An even number of blocks of whole register tiles: two threads share one image evenly.
    blocks_ = ceil_div(pixels_, kPixels);
    if (blocks_ > 1) blocks_ = round_up(blocks_, 2);
    while (p_.n * blocks_ * units_ < kLeastPieces && pixels_ / (2 * blocks_) >= 6 * std::int64_t{table_.tile_pixels})
      blocks_ *= 2;
    const std::int64_t wanted = std::max<std::int64_t>(kPieces, kPiecesEach * processors());
    splits_ = std::clamp<std::int64_t>(ceil_div(wanted, p_.n * blocks_), 1, units_);
    for (std::int64_t i = 0; i < blocks_; ++i) most_ = std::max(most_, begin(i + 1) - begin(i));
    rows_ = ceil_div(most_, 2);
    s_pixel_ = half_ + kLine;  // rows whole KBs apart would fall into the same sets of L1
    x_pixel_ = flat_ ? p_.in_c : p_.in_c + kLine;
    weights_first_ = p_.out_c > pixels_ * p_.n;
  }

  std::size_t scratch_bytes() const {
    return static_cast<std::size_t>(half_ * columns_ + (2 * rows_ + 2) * columns_ + 4 * rows_ * s_pixel_ +
                                    (flat_ ? 0 : most_ * x_pixel_)) *
           sizeof(float);
  }

  std::size_t workspace_bytes() const {
    return p_.mean == kNone ? 0 : static_cast<std::size_t>(p_.n * blocks_ * p_.out_c) * sizeof(float);
  }

  // How much less time than direct convolution's, which takes a cycle a product.
  double gain() const {
    const auto real = [](std::int64_t n) { return static_cast<double>(n); };
    const double tile = real(table_.tile_pixels), rows = real(rows_);
    const double tiles = std::ceil(rows / tile) * tile / rows;  // the last ones are narrower
    const double stores = 4 / real(p_.in_c), sums = 2.5 / real(pairs_ * 2 * columns_), weights = 1.6 / rows;
    const double share = real(pairs_ * 2 * columns_) / real(p_.out_c);
    return share * (1 - 7.0 / 8 * (1 + (tiles - 1) / 2) - stores - sums - weights);
  }
  std::int64_t pieces() const { return p_.n * blocks_ * splits_; }

  void run(const float* packed, const RunContext& context) const {
    const Buffers b{
        context.data<const float>(p_.x), packed,
        optional(context, p_.bias),      optional(context, p_.residual),
        context.data<float>(p_.y),       p_.mean == kNone ? nullptr : reinterpret_cast<float*>(context.workspace())};
    const std::int64_t blocks = p_.n * blocks_;
    parallel_for(blocks * splits_, [&](std::int64_t i, int thread) {
      const std::int64_t block = weights_first_ ? i % blocks : i / splits_;
      const std::int64_t split = weights_first_ ? i / blocks : i % splits_;
      run_piece(b, block / blocks_, block % blocks_, units_ * split / splits_, units_ * (split + 1) / splits_,
                reinterpret_cast<float*>(context.scratch(thread)));
    });
    if (b.sums) combine_sums(p_, b.sums, blocks_, context.data<float>(p_.mean));
  }

 private:
  struct Buffers {
    const float *x, *w, *bias, *residual;
    float *y, *sums;
  };
  // A piece's pixels, and its part of the scratch.
  struct Piece {
    std::int64_t image, first, pixels;
    const float* x;
    float *made, *u2, *u3, *unused, *sums, *copy;
    bool summed = false;
  };

  static const float* optional(const RunContext& context, int value) {
    return value == kNone ? nullptr : context.data<const float>(value);
  }

  std::int64_t begin(std::int64_t block) const {
    return std::min(round_up(pixels_ * block / blocks_, 2 * std::int64_t{table_.tile_pixels}), pixels_);
  }

  void run_piece(const Buffers& b, std::int64_t image, std::int64_t block, std::int64_t from, std::int64_t to,
                 float* scratch) const {
    Piece q{};
    q.image = image, q.first = begin(block), q.pixels = begin(block + 1) - q.first;
    q.made = scratch, q.u2 = q.made + half_ * columns_, q.u3 = q.u2 + rows_ * columns_;
    q.unused = q.u3 + rows_ * columns_, q.sums = q.unused + 2 * columns_, q.copy = q.sums + 4 * rows_ * s_pixel_;
    const std::int64_t channel = first_channel(from), channels = first_channel(to) - channel;
    float* sums = b.sums ? b.sums + (image * blocks_ + block) * p_.out_c + channel : nullptr;
    if (q.pixels == 0) {
      if (sums) std::fill_n(sums, channels, 0.f);
      return;
    }
    gather(b.x, q);
    for (std::int64_t i = from; i < to; ++i)
      if (i < pairs_)
        run_pair(b, q, i);
      else
        run_single(b, q, i + pairs_);
    if (from == to) return;
    float* y = b.y + (image * pixels_ + q.first) * p_.y_pixel + channel;
    activate(p_, y, q.pixels, p_.y_pixel, channels);
    if (sums) add_up(y, q.pixels, p_.y_pixel, channels, sums);
  }

  std::int64_t first_channel(std::int64_t unit) const {
    const auto block = static_cast<std::size_t>(unit < pairs_ ? 2 * unit : unit + pairs_);
    return block < channels_.size() ? channels_[block].channel : p_.out_c;
  }

  // Where the piece's pixels lie side by side.
  void gather(const float* x, Piece& q) const {
    const AxisPhase &h = p_.phases[0].h, &w = p_.phases[0].w;
    x += q.image * p_.in_h * p_.in_w * p_.in_c;
    q.x = flat_ ? x + q.first * p_.in_c : q.copy;
    if (flat_) return;
    for (std::int64_t i = 0; i < q.pixels; ++i) {
      const std::int64_t row = (q.first + i) / p_.out_w, col = (q.first + i) % p_.out_w;
      std::copy_n(x + ((h.i0 + row * h.is) * p_.in_w + w.i0 + col * w.is) * p_.in_c, p_.in_c, q.copy + i * x_pixel_);
    }
  }

  const float* block_weights(const Buffers& b, std::int64_t block) const {
    return b.w + channels_[static_cast<std::size_t>(block)].packed * table_.width * p_.in_c;
  }

  void run_single(const Buffers& b, const Piece& q, std::int64_t block) const {
    const ChannelBlock& c = channels_[static_cast<std::size_t>(block)];
    const std::int64_t at = (q.image * pixels_ + q.first) * p_.y_pixel + c.channel;
    ConvRowArgs<float> a{};
    a.x = q.x, a.x_pixel = x_pixel_, a.taps_h = a.taps_w = 1, a.run = p_.in_c;
    a.w = block_weights(b, block), a.vectors = c.vectors, a.channels = c.channels;
    a.bias = b.bias ? b.bias + c.channel : nullptr;
    a.residual = b.residual ? b.residual + at : nullptr;
    a.y = b.y + at, a.y_pixel = p_.y_pixel, a.pixels = q.pixels;
    a.clamp = p_.clamp, a.lo = static_cast<float>(p_.lo), a.hi = static_cast<float>(p_.hi);
    table_.conv_row(a);
  }

  // With x = [a11 a12; a21 a22] and w = [b11 b12; b21 b22], u1 = a11 b11:
  //   y11 = u1 + a12 b21
  //   u2 = u1 + (a21 + a22 - a11)(b22 - b12 + b11), u3 = u2 + (a11 - a21)(b22 - b12)
  //   y21 = u3 + a22 (b21 - b22 + b12 - b11)
  //   u5 = (a21 + a22)(b12 - b11), y22 = u3 + u5, y12 = u2 + u5 + (a12 - a21 - a22 + a11) b22
  // An odd number of pixels: the halves share the middle one, which the upper half writes.
  void run_pair(const Buffers& b, Piece& q, std::int64_t pair) const {
    const std::int64_t rows = ceil_div(q.pixels, 2), shared = 2 * rows - q.pixels;
    const float *upper = q.x, *lower = upper + (rows - shared) * x_pixel_;
    const std::int64_t plane = rows * s_pixel_, panel = half_ * columns_;
    const float *s1 = q.sums, *s2 = s1 + plane, *s3 = s2 + plane, *s4 = s3 + plane;
    const float *b11 = block_weights(b, 2 * pair), *b21 = b11 + panel, *b12 = b21 + panel, *b22 = b12 + panel;
    const std::int64_t all = static_cast<std::int64_t>(channels_.size());
    const float* following = block_weights(b, (2 * pair + 2) % all);
    const std::int64_t lines = fetched_lines(panel * kFloat, p_.in_c * p_.out_c * kFloat);
    const std::int64_t channel = 2 * pair * columns_;
    const std::int64_t at = (q.image * pixels_ + q.first) * p_.y_pixel + channel;
    const std::int64_t at_lower = at + rows * p_.y_pixel;  // the shared pixel left out
    float difference[64];                                  // of the halves' biases
    const float* bias = b.bias ? b.bias + channel : nullptr;
    for (std::int64_t i = 0; bias && i < columns_; ++i) difference[i] = bias[columns_ + i] - bias[i];

    StrassenSums<float> sums{upper, x_pixel_, lower - upper, half_, q.sums, s_pixel_, plane, q.summed ? 0 : rows, 0};
    StrassenRowArgs<float> a{};
    a.run = half_, a.pixels = rows;
    a.lo = static_cast<float>(p_.lo), a.hi = static_cast<float>(p_.hi);
    const auto input = [&](const float* x, std::int64_t pixel) { a.x = x, a.x_pixel = pixel; };
    const auto weights = [&](StrassenWeights how, const float* w, const float* other, const float* next,
                             std::int64_t panels) {
      a.weights = how, a.w = w, a.other = other, a.made = q.made;
      a.next = next, a.next_lines = panels * lines;
    };
    const auto to_scratch = [&](const float* partial, float* y) {
      a.partial = partial, a.residual = nullptr, a.y = y, a.y_pixel = columns_, a.clamp = false;
      table_.strassen_row(a);
    };
    const auto to_output = [&](const float* partial, std::int64_t to) {
      a.partial = partial, a.residual = b.residual ? b.residual + to : nullptr;
      a.y = b.y + to, a.y_pixel = p_.y_pixel, a.clamp = p_.clamp;
      table_.strassen_row(a);
    };
    constexpr auto plain = StrassenWeights::plain, sum = StrassenWeights::sum, minus = StrassenWeights::difference;

    a.sums = &sums, a.bias = bias;
    input(upper, x_pixel_), weights(plain, b11, nullptr, b21, 1), to_scratch(nullptr, q.u2);
    a.bias = nullptr;
    input(upper + half_, x_pixel_), weights(plain, b21, nullptr, b12, 2), to_output(q.u2, at);
    a.sums = nullptr;
    table_.strassen_sums(sums);  // that are left
    q.summed = true;

    input(s3, s_pixel_), weights(minus, b22, b12, nullptr, 0), to_scratch(q.u2, q.u3);
    a.also = q.u3;
    input(s2, s_pixel_), weights(sum, q.made, b11, nullptr, 0), to_scratch(q.u2, q.u2);
    a.also = nullptr;
    a.pixels = rows - shared;
    input(lower + half_ + shared * x_pixel_, x_pixel_), weights(minus, b21, q.made, nullptr, 0);
    to_output(q.u3 + shared * columns_, at_lower);
    input(s1 + shared * s_pixel_, s_pixel_), weights(minus, b12, b11, nullptr, 0);
    a.bias = bias ? difference : nullptr;
    a.also = q.u2 + shared * columns_;
    to_output(q.u3 + shared * columns_, at_lower + columns_);
    if (shared) {  // into u2 alone
      a.pixels = 1, a.also = q.u2;
      input(s1, s_pixel_), weights(plain, q.made, nullptr, nullptr, 0), to_scratch(nullptr, q.unused);
    }
    a.bias = nullptr, a.also = nullptr, a.pixels = rows;
    input(s4, s_pixel_), weights(plain, b22, nullptr, following, 1), to_output(q.u2, at + columns_);
  }

  ConvPass p_;
  const KernelTable<float>& table_;
  std::int64_t half_, columns_;  // input channels of a half, output channels of a block
  std::vector<ChannelBlock> channels_;
  std::int64_t pairs_, units_;  // of blocks; pairs and the blocks after them
  bool flat_;
  std::int64_t pixels_, blocks_, splits_, most_ = 0, rows_;  // of an image; most_ of a block, rows_ of half a block
  std::int64_t s_pixel_, x_pixel_;
  bool weights_first_;
};

}  // namespace

bool strassen_covers(const PlanContext& c, const ConvPass& p) {
  if (c.dtype() != DType::f32) return false;
  // Rows of a dense layer are samples, whose results must not depend on one another: out_h is 1.
  if (c.options().strict || p.groups != 1 || p.phases.size() != 1 || p.fill || p.out_h < 2) return false;
  if (p.factor != kNone || p.x_first || p.pool || p.spread) return false;
  const auto one = [](const AxisPhase& a, std::int64_t in, std::int64_t out) {
    return a.taps == 1 && a.os == 1 && a.o0 == 0 && a.outputs == out && a.i0 >= 0 && a.i0 + (out - 1) * a.is < in;
  };
  if (!one(p.phases[0].h, p.in_h, p.out_h) || !one(p.phases[0].w, p.in_w, p.out_w) || p.n == 0) return false;
  const KernelTable<float>& t = kernels<float>();
  return std::min(p.in_c, p.out_c) >= kLeastChannels && p.in_c % (2 * std::max(t.width, 4)) == 0 &&
         p.out_c >= 2 * t.tile_vectors * t.width && p.out_h * p.out_w >= 4 * t.tile_pixels;
}

Step plan_strassen(PlanContext& c, const ConvPass& pass) {
  if (!strassen_covers(c, pass)) return {};
  const std::string wish = wished_algorithm(c, pass);
  if (!wish.empty() && wish != "strassen") return {};
  const auto strassen = std::make_shared<const Strassen>(pass);
  // A block's size is part of the result, so there are no more pieces for more threads.
  const std::int64_t least = std::max<std::int64_t>(kLeastPieces, kPiecesEach * processors());
  if (wish.empty() && (strassen->pieces() < least || strassen->gain() < kLeastGain)) return {};
  const int slot = c.pack(direct_weights<float>(pass));
  Step step;
  step.algorithm = "strassen";
  step.flops = pass.flops;
  step.scratch = strassen->scratch_bytes();
  step.workspace = strassen->workspace_bytes();
  step.run = [strassen, slot](const RunContext& r) { strassen->run(r.packed<float>(slot), r); };
  return step;
}

}  // namespace fastconv::cpu
