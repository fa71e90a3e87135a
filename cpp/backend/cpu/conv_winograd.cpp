// Winograd convolution, fused: a block of tiles goes from the input's transform through the products to
// the output's in scratch that stays in the cache. The products are 1x1 convolutions of the conv_row kernel, with tiles
// for pixels.
#include "backend/cpu/conv_winograd.hpp"

#include <algorithm>

namespace fastconv::cpu {
namespace {

using namespace winograd;

class Winograd {
 public:
  Winograd(const ConvPass& pass, const Algorithm& algorithm, bool packed_once)
      : p_(pass),
        size_(algorithm.size),
        inner_(algorithm.inner()),
        transposed_(algorithm.transposed),
        table_(kernels<float>()),
        blocks_(channel_blocks(pass.out_c, table_.width, table_.tile_vectors)),
        groups_(group_blocks(blocks_, table_.width)),
        s_(size_of(pass, algorithm, packed_once, static_cast<std::int64_t>(groups_.size()), table_.tile_pixels)) {
    for (Group& g : groups_) {
      columns_ = std::max(columns_, g.columns);
      g.weights = packed_;
      g.plane = s_.channels * g.columns;
      if (s_.streamed) g.plane = odd_lines(g.plane);
      packed_ += s_.weights * g.plane;
    }
    s_plane_ = odd_lines(s_.block * columns_);
    if (transposed_) {
      map_h_ = s_.tiles_h * s_.m + size_.taps - 1, map_w_ = s_.tiles_w * s_.m + size_.taps - 1;
    } else if (s_.together > 1) {
      map_h_ = s_.tiles_h * s_.m, map_w_ = s_.tiles_w * s_.m;
    } else if (p_.pool) {
      map_h_ = map_w_ = s_.m;
    }
  }

  bool streamed() const { return s_.streamed; }
  std::size_t packed_bytes() const { return static_cast<std::size_t>(packed_) * sizeof(float); }
  std::size_t scratch_bytes() const {
    const std::int64_t input = s_.shared ? 0 : s_.v_plane;
    const std::int64_t weights = s_.streamed ? s_.weights * odd_lines(s_.channels * columns_) : 0;
    return static_cast<std::size_t>(s_.planes * (input + s_plane_ + round_up(p_.in_c, kLine)) +
                                    map_h_ * map_w_ * columns_ + weights) *
           sizeof(float);
  }
  std::size_t workspace_bytes() const {
    return s_.shared ? static_cast<std::size_t>(s_.planes * s_.v_plane) * sizeof(float) : 0;
  }
  std::string pack_key() const {
    return std::string(transposed_ ? "transposed " : "") + "winograd " +
           join({size_.m, size_.taps, size_.stride, table_.width, table_.tile_vectors, p_.in_c, p_.out_c}) +
           weights_key(p_);
  }

  // [group][plane][block][input channel][vectors]
  void pack(const float* w, const float* scale, float* to) const {
    const std::int64_t chunk = kMostKernels / (size_.taps * size_.taps), chunks = ceil_div(p_.in_c, chunk);
    parallel_for(static_cast<std::int64_t>(blocks_.size()) * chunks, [&](std::int64_t piece, int) {
      const std::int64_t block = piece / chunks, first = piece % chunks * chunk;
      const Group& g =
          *std::find_if(groups_.rbegin(), groups_.rend(), [&](const Group& g) { return g.first <= block; });
      transform_weights(g, block, w, scale, first, std::min(chunk, p_.in_c - first), p_.in_c,
                        to + g.weights + first * std::int64_t{block_of(block).vectors} * table_.width);
    });
  }

  // Weights are packed ones or, where they are streamed, those of the convolution.
  void run(const float* weights, const RunContext& context) const {
    const auto scratch = [&](int thread) { return reinterpret_cast<float*>(context.scratch(thread)); };
    float* all = reinterpret_cast<float*>(context.workspace());
    if (s_.shared)
      parallel_for(s_.tiles, [&](std::int64_t i, int thread) {
        transform_input(context, i, 1, all + i * s_.v_tile, scratch(thread));
      });
    // More threads than that: blocks are cut, which changes no sum.
    const std::int64_t parts = std::clamp<std::int64_t>(ceil_div(num_threads(), s_.blocks * s_.splits), 1, s_.block);
    const std::int64_t part = round_up(ceil_div(s_.block, parts), s_.together), blocks = ceil_div(s_.tiles, part);
    parallel_for(blocks * s_.splits, [&](std::int64_t piece, int thread) {
      const std::int64_t first = piece % blocks * part, n = std::min(part, s_.tiles - first);
      float *patch = scratch(thread), *s = patch + s_.planes * round_up(p_.in_c, kLine);
      float *map = s + s_.planes * s_plane_, *v = map + map_h_ * map_w_ * columns_;
      if (s_.shared)
        v = all + first * s_.v_tile;
      else
        transform_input(context, first, n, v, patch);
      run_piece(context, first, n, piece / blocks, v, weights, s, map);
    });
  }

 private:
  static constexpr std::int64_t kMostKernels = 9 * 16, kMostColumns = 64;  // transformed at once: elements x channels

  const ChannelBlock& block_of(std::int64_t i) const { return blocks_[static_cast<std::size_t>(i)]; }

  // Those of `n` input channels and one channel block, which has `u` of its group's planes.
  void transform_weights(const Group& g, std::int64_t block, const float* w, const float* scale, std::int64_t first,
                         std::int64_t n, std::int64_t all, float* u) const {
    const ChannelBlock& b = block_of(block);
    const std::int64_t columns = std::int64_t{b.vectors} * table_.width;
    alignas(64) float kernels[kMostKernels * kMostColumns];
    gather(w + first * p_.w_in + b.channel * p_.w_out, scale ? scale + b.channel : nullptr, n, b.channels, columns,
           kernels);
    WinogradWeightsArgs<float> a{};
    a.size = inner_, a.output = transposed_;
    a.w = kernels, a.count = n, a.run = columns;
    a.u = u + (b.packed - block_of(g.first).packed) * table_.width * all;
    a.u_plane = g.plane;
    table_.winograd_weights(a);
  }

  static const float* optional(const RunContext& context, int value) {
    return value == kNone ? nullptr : context.data<const float>(value);
  }

  // to[input channel][tap][column], taps in the order in which they read the input.
  void gather(const float* w, const float* scale, std::int64_t n, std::int64_t channels, std::int64_t columns,
              float* to) const {
    const Phase& q = p_.phases[0];
    if (transpose_weights(p_, q, w, scale, channels, n, columns, to)) return;
    const std::int64_t step = columns * size_.taps * size_.taps;
    const auto tap = [&](const AxisPhase& a, std::int64_t i) {
      return a.k0 + (transposed_ ? a.taps - 1 - i : i) * a.k_step;
    };
    for (std::int64_t i = 0; i < size_.taps; ++i)
      for (std::int64_t j = 0; j < size_.taps; ++j, to += columns) {
        const float* from = w + tap(q.h, i) * p_.w_kh + tap(q.w, j) * p_.w_kw;
        if (p_.w_out == 1) {
          for (std::int64_t r = 0; r < n; ++r) {
            std::copy_n(from + r * p_.w_in, channels, to + r * step);
            std::fill(to + r * step + channels, to + r * step + columns, 0.f);
          }
        } else {
          transpose_tap(p_, from, channels, n, columns, step, to);
        }
      }
  }

  // Where a tile of the batch lies.
  struct Tile {
    std::int64_t image, row, col;  // of its first output
  };
  Tile tile(std::int64_t i) const {
    const std::int64_t in_image = s_.tiles_h * s_.tiles_w, at = i % in_image;
    return {i / in_image, at / s_.tiles_w * s_.m, at % s_.tiles_w * s_.m};
  }

  void transform_input(const RunContext& context, std::int64_t first, std::int64_t n, float* v, float* patch) const {
    if (transposed_) return transform_parts(context, first, n, v, patch);
    const Phase& q = p_.phases[0];
    const float* x = context.data<const float>(p_.x);
    WinogradInputArgs<float> a{};
    a.size = size_;
    a.channels = p_.in_c;
    a.v_plane = s_.v_plane;
    for (std::int64_t i = 0; i < n; ++i) {
      const Tile t = tile(first + i);
      const float* image = x + (p_.spread ? 0 : t.image * p_.in_h * p_.in_w * p_.in_c);
      const std::int64_t row = t.row / s_.m * s_.step + q.h.i0, col = t.col / s_.m * s_.step + q.w.i0;
      a.next = nullptr;
      a.x = patch;
      a.x_row = s_.inputs * p_.in_c;
      if (p_.spread) {
        spread_map<float>(context, p_.spread, p_.in_h, p_.in_w, p_.in_c, p_.x)
            .copy(t.image, row, s_.inputs, col, s_.inputs, 0, p_.in_c, patch, p_.in_c);
      } else if (row >= 0 && col >= 0 && row + s_.inputs <= p_.in_h && col + s_.inputs <= p_.in_w) {
        a.x = image + (row * p_.in_w + col) * p_.in_c;
        a.x_row = p_.in_w * p_.in_c;
        if (i + 1 < n && col + s_.step + s_.inputs <= p_.in_w) a.next = a.x + s_.step * p_.in_c;
      } else {
        copy_padded(image, p_.in_h, p_.in_w, p_.in_c, row, s_.inputs, col, s_.inputs, 1, patch);
      }
      a.x_pixel = p_.in_c;
      a.v = v + i * s_.v_tile;
      table_.winograd_input(a);
    }
  }

  // Tiles of the input itself, the outputs of the transposed convolution.
  void transform_parts(const RunContext& context, std::int64_t first, std::int64_t n, float* v, float* patch) const {
    const auto spread = spread_map<float>(context, p_.spread, p_.in_h, p_.in_w, p_.in_c, p_.x);
    for (std::int64_t i = 0; i < n; ++i) {
      const Tile t = tile(first + i);
      if (p_.spread)
        spread.copy(t.image, t.row, s_.m, t.col, s_.m, 0, p_.in_c, patch, p_.in_c);
      else
        copy_padded(spread.dy + t.image * p_.in_h * p_.in_w * p_.in_c, p_.in_h, p_.in_w, p_.in_c, t.row, s_.m, t.col,
                    s_.m, 1, patch);
      table_.winograd_weights({inner_, patch, 1, p_.in_c, v + i * s_.v_tile, s_.v_plane});
    }
  }

  // Of `channels` of the input; `more`: added to what is there.
  void multiply(const Group& g, std::int64_t n, std::int64_t channels, const float* v, const float* weights, bool more,
                float* s) const {
    ConvRowArgs<float> a{};
    a.x_pixel = s_.v_tile;
    a.taps_h = a.taps_w = 1;
    a.run = channels;
    a.y_pixel = g.columns;
    a.pixels = n;
    const int some = size_.weights(), alpha = size_.alpha();
    for (int k = 0; k < some * some; ++k, weights += g.plane)
      for (int i = k / some; i < alpha && size_.weight(i) == k / some; ++i)
        for (int j = k % some; j < alpha && size_.weight(j) == k % some; ++j) {
          const std::int64_t plane = i * alpha + j;
          const bool first = i == k / some && j == k % some;  // the others find their weights in the cache
          a.x = v + plane * s_.v_plane;
          a.y = s + plane * s_plane_;
          a.w = weights;
          multiply_blocks(g, first && !s_.streamed, more, a);
        }
  }

  void multiply_blocks(const Group& g, bool fetch, bool more, ConvRowArgs<float>& a) const {
    for (std::int64_t i = g.first; i < g.first + g.count; ++i) {
      const ChannelBlock& b = block_of(i);
      const std::int64_t columns = std::int64_t{b.vectors} * table_.width;
      a.vectors = b.vectors, a.channels = static_cast<int>(columns);
      a.residual = more ? a.y : nullptr;
      a.next = fetch ? a.w + a.run * columns : nullptr;
      a.next_lines = fetched_lines(a.run * columns * kFloat, static_cast<std::int64_t>(packed_bytes()));
      table_.conv_row(a);
      a.y += columns;
      a.w += a.run * columns;
    }
  }

  // The weights of some input channels at a time are transformed and multiplied with while they are in L2.
  void multiply_streamed(const Group& g, std::int64_t n, const float* v, const float* w, float* u, float* s) const {
    const std::int64_t chunk = kMostKernels / (size_.taps * size_.taps);
    for (std::int64_t first = 0; first < p_.in_c; first += s_.channels) {
      const std::int64_t channels = std::min(s_.channels, p_.in_c - first);
      for (std::int64_t block = g.first; block < g.first + g.count; ++block)
        for (std::int64_t c = 0; c < channels; c += chunk)
          transform_weights(g, block, w, nullptr, first + c, std::min(chunk, channels - c), channels,
                            u + c * std::int64_t{block_of(block).vectors} * table_.width);
      multiply(g, n, channels, v + first, u, first > 0, s);
    }
  }

  void transform_output(const RunContext& context, const Group& b, std::int64_t first, std::int64_t n, const float* s,
                        float* map) const {
    if (transposed_) return add_parts(context, b, first, n, s, map);
    const float *bias = optional(context, p_.bias), *residual = optional(context, p_.residual);
    float* y = context.data<float>(p_.y);
    WinogradOutputArgs<float> a{};
    a.size = size_;
    a.s_plane = s_plane_;
    a.channels = b.channels;
    a.bias = bias ? bias + b.channel : nullptr;
    a.y_row = p_.out_w * p_.y_pixel, a.y_pixel = p_.y_pixel;
    a.clamp = p_.clamp;
    a.lo = static_cast<float>(p_.lo), a.hi = static_cast<float>(p_.hi);
    if (p_.pool) a.y_row = map_w_ * b.channels, a.y_pixel = b.channels;
    for (std::int64_t i = 0; i < n; ++i) {
      const Tile t = tile(first + i);
      const std::int64_t at = output_of(t) + b.channel;
      a.rows = static_cast<int>(std::min(s_.m, p_.out_h - t.row));
      a.columns = static_cast<int>(std::min(s_.m, p_.out_w - t.col));
      a.s = s + i * b.columns;
      if (p_.pool) {
        a.y = s_.together > 1 ? map + t.row * a.y_row + t.col * a.y_pixel : map;
        table_.winograd_output(a);
        if ((i + 1) % s_.together == 0) pool(context, b, t, map);
        continue;
      }
      a.y = y + at;
      a.residual = residual ? residual + at : nullptr;
      a.next = i + 1 < n && t.col + 2 * s_.m <= p_.out_w ? a.y + s_.m * p_.y_pixel : nullptr;
      table_.winograd_output(a);
    }
  }

  // Each tile's part of the output is added to the map of its image.
  void add_parts(const RunContext& context, const Group& b, std::int64_t first, std::int64_t n, const float* s,
                 float* map) const {
    WinogradScatterArgs<float> a{};
    a.size = inner_;
    a.s_plane = s_plane_;
    a.channels = a.x_pixel = b.columns;
    a.x_row = map_w_ * b.columns;
    for (std::int64_t i = 0; i < n; ++i) {
      const Tile t = tile(first + i);
      if (i % s_.together == 0) std::fill_n(map, map_h_ * a.x_row, 0.f);
      a.s = s + i * b.columns;
      a.x = map + t.row * a.x_row + t.col * a.x_pixel;
      table_.winograd_scatter(a);
      if ((i + 1) % s_.together == 0)
        copy_map(b, map, context.data<float>(p_.y) + t.image * p_.out_h * p_.out_w * p_.y_pixel);
    }
  }

  // To an image of the output: it begins as many rows and columns inside the map as there is padding.
  void copy_map(const Group& b, const float* map, float* y) const {
    const std::int64_t top = p_.phases[0].h.i0 + size_.taps - 1, left = p_.phases[0].w.i0 + size_.taps - 1;
    const std::int64_t columns = std::clamp<std::int64_t>(map_w_ - left, 0, p_.out_w);
    const bool dense = b.channels == p_.y_pixel && b.columns == b.channels;
    for (std::int64_t i = 0; i < p_.out_h; ++i) {
      float* to = y + i * p_.out_w * p_.y_pixel + b.channel;
      const float* from = map + ((i + top) * map_w_ + left) * b.columns;
      const std::int64_t made = i + top < map_h_ ? columns : 0;
      if (dense) std::copy_n(from, made * b.columns, to);
      for (std::int64_t j = dense ? made : 0; j < p_.out_w; ++j) {
        if (j < made)
          std::copy_n(from + j * b.columns, b.channels, to + j * p_.y_pixel);
        else
          std::fill_n(to + j * p_.y_pixel, b.channels, 0.f);
      }
    }
  }

  // The map, which ends with tile `last`.
  void pool(const RunContext& context, const Group& b, const Tile& last, float* map) const {
    activate(p_, map, 1, 0, map_h_ * map_w_ * b.channels);
    const std::int64_t row = s_.together > 1 ? 0 : last.row, col = s_.together > 1 ? 0 : last.col;
    pooled_map<float>(context, p_.pool, p_.out_h, p_.out_w, p_.out_c, p_.y)
        .write(last.image, row / p_.pool.h, std::min(map_h_, p_.out_h - row) / p_.pool.h, col / p_.pool.w,
               std::min(map_w_, p_.out_w - col) / p_.pool.w, b.channel, b.channels, map, map_w_ * b.channels,
               b.channels);
  }

  std::int64_t output_of(const Tile& t) const { return ((t.image * p_.out_h + t.row) * p_.out_w + t.col) * p_.y_pixel; }

  void run_piece(const RunContext& context, std::int64_t first, std::int64_t n, std::int64_t split, const float* v,
                 const float* weights, float* s, float* map) const {
    const auto groups = static_cast<std::int64_t>(groups_.size());
    const std::int64_t from = groups * split / s_.splits, to = groups * (split + 1) / s_.splits;
    for (std::int64_t g = from; g < to; ++g) {
      const Group& group = groups_[static_cast<std::size_t>(g)];
      if (s_.streamed)
        multiply_streamed(group, n, v, weights, map + map_h_ * map_w_ * columns_, s);
      else
        multiply(group, n, p_.in_c, v, weights + group.weights, false, s);
      transform_output(context, group, first, n, s, map);
    }
    if (!p_.activate || p_.pool || from == to) return;
    float* y = context.data<float>(p_.y);
    const Group& last = groups_[static_cast<std::size_t>(to - 1)];
    const std::int64_t channel = groups_[static_cast<std::size_t>(from)].channel;
    for (std::int64_t i = 0; i < n; ++i) {
      const Tile t = tile(first + i);
      for (std::int64_t r = 0; r < std::min(s_.m, p_.out_h - t.row); ++r)
        activate(p_, y + output_of(t) + r * p_.out_w * p_.y_pixel + channel, std::min(s_.m, p_.out_w - t.col),
                 p_.y_pixel, last.channel + last.channels - channel);
    }
  }

  ConvPass p_;
  WinogradSize size_, inner_;
  bool transposed_;
  const KernelTable<float>& table_;
  std::vector<ChannelBlock> blocks_;
  std::vector<Group> groups_;
  Size s_;
  std::int64_t packed_ = 0, columns_ = 0, s_plane_;  // weights; columns of the widest group; between planes of products
  std::int64_t map_h_ = 0, map_w_ = 0;               // of tiles together
};

}  // namespace

Step plan_winograd(PlanContext& c, const ConvPass& given) {
  const ConvPass pass = winograd::join_phases(given);
  const winograd::Algorithm* chosen = winograd::choose(c, pass);
  if (!chosen) return {};
  const auto winograd = std::make_shared<const Winograd>(pass, *chosen, c.stable(pass.w));
  Step step;
  step.algorithm = chosen->name();
  step.flops = pass.flops;
  step.scratch = winograd->scratch_bytes();
  step.workspace = winograd->workspace_bytes();
  if (winograd->streamed()) {
    step.run = [winograd, w = pass.w](const RunContext& r) { winograd->run(r.data<const float>(w), r); };
    return step;
  }
  const int slot = c.pack({pass.w, winograd->packed_bytes(),
                           [winograd](const void* from, const void* scale, void* to) {
                             winograd->pack(static_cast<const float*>(from), static_cast<const float*>(scale),
                                            static_cast<float*>(to));
                           },
                           winograd->pack_key(), pass.w_scale});
  step.run = [winograd, slot](const RunContext& r) { winograd->run(r.packed<float>(slot), r); };
  return step;
}

}  // namespace fastconv::cpu
