// How the CPU runs convolutions: every pass is a set of phases, each a convolution whose taps are regular.
#pragma once
#include <algorithm>
#include <initializer_list>
#include <numeric>
#include <string>
#include <vector>

#include "backend/cpu/cpu.hpp"
#include "backend/cpu/pooled.hpp"
#include "ops/conv.hpp"
#include "ops/elementwise.hpp"

namespace fastconv::cpu {

// Along one axis: output o0 + i * os (i < outputs) reads input i0 + i * is + j * tap_step for each tap j < taps, and
// kernel element k0 + j * k_step. Inputs outside [0, in) are zeros.
struct AxisPhase {
  std::int64_t outputs = 0, o0 = 0, os = 1;
  std::int64_t i0 = 0, is = 1;
  std::int64_t taps = 0, tap_step = 1, k0 = 0, k_step = 1;
};

struct Phase {
  AxisPhase h, w;
};

// What an "activation" attribute asks for.
struct Activation {
  bool clamp = false;  // in registers
  double lo = 0, hi = 0;
  bool activate = false;  // any other: on what a piece has written, while it is in the cache
  Unary function{};
  UnaryParameters parameters;
};
void set_activation(Activation& activation, const Attrs& attrs);

// A pass over x -> y in channels last. Weights lie at kh * w_kh + kw * w_kw + in * w_in + out * w_out +
// group * w_group, in and out counted inside their group.
struct ConvPass : Activation {
  std::int64_t n, in_h, in_w, in_c, out_h, out_w, out_c, groups;
  std::int64_t w_kh, w_kw, w_in, w_out, w_group;
  std::vector<Phase> phases;
  bool fill = false;     // some outputs have no tap
  int x, w, bias, y;     // values; bias may be kNone
  int w_scale = kNone;   // a number for each output channel, which its weights are multiplied by while they are packed
  std::int64_t y_pixel;  // elements from one pixel of y to the next: out_c, or more without a residual
  int residual = kNone;
  int factor = kNone;    // of x: a number for each image and channel; 1x1 kernels only
  int mean = kNone;      // of y over each image's pixels: 1x1 and depthwise convolutions only
  bool x_first = false;  // x lies channels first
  Windows pool;          // y has the maxima of these; out_h x out_w is the map before, in whole windows
  Windows spread;        // x has the gradients of such maxima; in_h x in_w is the map before
  double flops = 0;
};

ConvPass forward_pass(const PlanContext& c);
// Which tensors of a conv2d are rather channels first.
ChannelsFirst conv_channels_first(const PlanContext& c, ChannelsFirst offered);
// The same of a conv_transpose2d or conv2d_backward_weights: all or none.
ChannelsFirst gradient_channels_first(const PlanContext& c, ChannelsFirst offered);
ConvPass forward_pass(const ConvGeometry& g);  // all but the values and the activation
ConvPass transposed_pass(PlanContext& c);      // one phase for each residue of the stride that has a tap
ConvPass dense_pass(PlanContext& c);
// "1,2,3,", and where a pass's weights lie and which of them each phase reads: for keys of packs.
std::string join(std::initializer_list<std::int64_t> numbers);
std::string weights_key(const ConvPass& pass);
// All that the choice of an algorithm may depend on.
std::string problem_key(const ConvPass& pass, const PlanOptions& options);
// The algorithm that the node's attribute or, without one, a measurement asks for; empty where neither does.
std::string wished_algorithm(const PlanContext& c, const ConvPass& pass);

// Algorithms, each for float and double. They answer a step without `run` for what they do not cover.
template <class T>
Step plan_conv_planes(const PlanContext& c, const ConvPass& pass);
template <class T>
Step plan_columns_input(PlanContext& c);
template <class T>
Step plan_columns_weights(PlanContext& c);
template <class T>
Step plan_depthwise(PlanContext& c, const ConvPass& pass);
template <class T>
Step plan_overlap(PlanContext& c, const ConvPass& pass);
template <class T>
Step plan_narrow(PlanContext& c, const ConvPass& pass);
template <class T>
Step plan_direct(PlanContext& c, const ConvPass& pass);
template <class T>
Step plan_expanded_depthwise(PlanContext& c, const ConvPass& expand, const ConvPass& depthwise);
template <class T>
Step plan_depthwise_weights(const ConvGeometry& g, int x, int dy, int dw);
// From the maxima of a pooled map; no step where that does not pay.
template <class T>
Step plan_winners_weights(const PlanContext& c, const ConvGeometry& g, const Windows& windows);
template <class T>
Step plan_direct_weights(const ConvGeometry& g, int x, int dy, int dw, const Windows& spread);

// Float32 only, whose rounding the following trade for speed; float64 is asked for its precision.
Step plan_winograd(PlanContext& c, const ConvPass& pass);
Step plan_winograd_weights(const PlanContext& c, const ConvGeometry& g, const Windows& spread);
std::string winograd_name(const WinogradSize& size);
std::vector<std::string> winograd_candidates(const PlanContext& c, const ConvPass& pass);
Step plan_strassen(PlanContext& c, const ConvPass& pass);
bool strassen_covers(const PlanContext& c, const ConvPass& pass);

// The weights of these algorithms, which others read too. Direct: per block of channel_blocks() and tap [in][vectors *
// width]; depthwise: [tap][channel], phase by phase.
template <class T>
PackRequest direct_weights(const ConvPass& pass);
template <class T>
PackRequest depthwise_weights(const ConvPass& pass);

// The kernel's arguments but for the pointers, the rows and the channels; on the pass's own input and output.
template <class T>
DepthwiseArgs<T> depthwise_args(const ConvPass& p, const Phase& q) {
  DepthwiseArgs<T> a{};
  a.x_row = p.in_w * p.in_c, a.x_pixel = p.in_c;
  a.in_h = p.in_h, a.in_w = p.in_w;
  a.row = q.h.i0, a.col = q.w.i0;
  a.stride_h = q.h.is, a.stride_w = q.w.is;
  a.step_h = q.h.tap_step, a.step_w = q.w.tap_step;
  a.taps_h = q.h.taps, a.taps_w = q.w.taps;
  a.w_tap = p.out_c;
  a.y_row = q.h.os * p.out_w * p.y_pixel, a.y_pixel = q.w.os * p.y_pixel;
  a.pixels = q.w.outputs;
  a.clamp = p.clamp, a.lo = static_cast<T>(p.lo), a.hi = static_cast<T>(p.hi);
  return a;
}

// The activation that is not a clamp, on `rows` runs of n elements.
template <class T>
void activate(const Activation& p, T* y, std::int64_t rows, std::int64_t row, std::int64_t n) {
  if (!p.activate) return;
  if (row == n) n *= rows, rows = 1;
  kernels<T>().unary({p.function, p.parameters, y, y, n, rows, row});
}

// Means of y: pieces leave the sums of what they have just written as [image][block of pixels][channel]; their total is
// made of the blocks in order.
template <class T>
void add_up(const T* y, std::int64_t pixels, std::int64_t y_pixel, std::int64_t channels, T* sums) {
  kernels<T>().reduce_columns({Reduce::sum, y, sums, pixels, channels, y_pixel, T(1)});
}
// Activates whole rows that a depthwise kernel has written, and adds them up (into `sums`, if not null) a few at a time
// while they are in the first-level cache, through `parts` of [rows][channels].
template <class T>
void finish_rows(const Activation& p, const DepthwiseArgs<T>& a, T* parts, T* sums) {
  constexpr std::int64_t kTogether = 4096;
  const std::int64_t group = std::max<std::int64_t>(kTogether / std::max<std::int64_t>(a.pixels * a.channels, 1), 1);
  const bool once = group >= a.rows;
  std::int64_t groups = 0;
  for (std::int64_t first = 0; first < a.rows; first += group, ++groups) {
    const std::int64_t rows = std::min(group, a.rows - first);
    T* y = a.y + first * a.y_row;
    for (std::int64_t r = 0; r < rows; ++r) activate(p, y + r * a.y_row, a.pixels, a.y_pixel, a.channels);
    if (sums) add_up(y, rows * a.pixels, a.y_pixel, a.channels, once ? sums : parts + groups * a.channels);
  }
  if (sums && !once) add_up(parts, groups, a.channels, a.channels, sums);
}
template <class T>
void combine_sums(const ConvPass& p, const T* sums, std::int64_t blocks, T* means) {
  const auto part = static_cast<T>(1.0 / static_cast<double>(p.out_h * p.out_w));
  for (std::int64_t n = 0; n < p.n; ++n, sums += blocks * p.out_c, means += p.out_c)
    kernels<T>().reduce_columns({Reduce::sum, sums, means, blocks, p.out_c, p.out_c, part});
}

// Up to tile_vectors vectors of output channels, as conv_row takes them.
struct ChannelBlock {
  std::int64_t channel;  // first
  int channels, vectors;
  std::int64_t packed;  // offset in vectors of all blocks before
};
std::vector<ChannelBlock> channel_blocks(std::int64_t channels, int width, int most);

// conv_row for strict plans: long sums are added in blocks of at most 256 products, whose sums are then added. One by
// one, the later products of thousands would be rounded to the digits of the sum of all before.
template <class T>
void conv_row_in_blocks(const ConvRowArgs<T>& a);

// Transposes a block of weights that lie channels first (OIHW): to[r][tap][columns] for n input channels r; zeros where
// there are fewer channels than columns. False where the weights lie otherwise. `scale` (or null): w_scale from the
// block's first channel on.
template <class T>
bool transpose_weights(const ConvPass& p, const Phase& phase, const T* w, const T* scale, std::int64_t channels,
                       std::int64_t n, std::int64_t columns, T* to);
// The same of one tap of weights whose input channels lie w_in apart: to[r * row + column].
template <class T>
void transpose_tap(const ConvPass& p, const T* w, std::int64_t channels, std::int64_t n, std::int64_t columns,
                   std::int64_t row, T* to);
// Lines of the next weights that conv_row fetches into L2 meanwhile: all, or none where they would displace too much
// or where all the layer's weights stay there anyway.
inline std::int64_t fetched_lines(std::int64_t next_bytes, std::int64_t all_bytes) {
  return next_bytes <= caches().l2 / 4 && all_bytes > caches().l2 / 4 ? next_bytes / 64 : 0;
}

// That many floats or more: planes an odd number of cache lines apart do not fall into the same sets of a cache.
inline std::int64_t odd_lines(std::int64_t floats) { return (ceil_div(floats, 16) | 1) * 16; }

// The sum of partial gradients of n elements each, always in the same order.
template <class T>
void add_chunks(const T* partial, std::int64_t chunks, std::int64_t n, T* sum) {
  parallel_range(n, std::max<std::int64_t>(1, 16384 / chunks), [&](auto begin, auto end, int) {
    kernels<T>().reduce_columns({Reduce::sum, partial + begin, sum + begin, chunks, end - begin, n, T(1)});
  });
}

// y = activation(bias + residual) for the pixels that no phase writes: of rows [begin, end) of all images, `channels`
// channels from where the pointers are; and of all, in parallel.
template <class T>
void fill_rows(const ConvPass& pass, const T* bias, const T* residual, std::int64_t begin, std::int64_t end,
               std::int64_t channels, T* y);
template <class T>
void fill_untouched(const ConvPass& pass, const T* bias, const T* residual, T* y);

// Runs fn(phase, piece, thread) for every piece of every phase in one parallel region.
template <class Fn>
void for_each_piece(const std::vector<std::int64_t>& pieces, Fn&& fn) {
  std::vector<std::int64_t> ends(pieces.size());
  std::partial_sum(pieces.begin(), pieces.end(), ends.begin());
  parallel_for(ends.empty() ? 0 : ends.back(), [&](std::int64_t i, int thread) {
    const auto phase = static_cast<std::size_t>(std::upper_bound(ends.begin(), ends.end(), i) - ends.begin());
    fn(phase, i - (ends[phase] - pieces[phase]), thread);
  });
}

// Rows [row, row + rows) x columns [col, col + cols) of an image, zeros outside it, each channel repeated `repeat`
// times, written densely; or the first `channels` of each pixel, once, and zeros up to `to_pixel`.
template <class T>
void copy_padded(const T* image, std::int64_t h, std::int64_t w, std::int64_t c, std::int64_t row, std::int64_t rows,
                 std::int64_t col, std::int64_t cols, std::int64_t repeat, T* to, std::int64_t channels = 0,
                 std::int64_t to_pixel = 0);

// The same of an image that lies channels first; each channel once.
template <class T>
void copy_planes(const T* image, std::int64_t h, std::int64_t w, std::int64_t c, std::int64_t row, std::int64_t rows,
                 std::int64_t col, std::int64_t cols, T* to);

}  // namespace fastconv::cpu
