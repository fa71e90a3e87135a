// Winograd convolution, fused: a block of tiles goes from the input's transform through the products to
// the output's in scratch that stays in the cache. The products are 1x1 convolutions of the conv_row kernel, with tiles
// for pixels.
#include <algorithm>

#include "backend/cpu/conv.hpp"

namespace fastconv::cpu {
namespace {

constexpr std::int64_t kSharedBytes = 4 << 20;  // of the whole transformed input, to make it once for all pieces
constexpr std::int64_t kSharedTiles = 56;       // of a block then
constexpr std::int64_t kSharedPieces = 8;       // wanted at least then
constexpr std::int64_t kLeastChannels = 128;    // of a piece's output, where each transforms its input
constexpr std::int64_t kPieces = 16;            // wanted at least, for the threads there may be
constexpr std::int64_t kLeastInputs = 8;        // channels: a product of fewer is mostly loads and stores
constexpr std::int64_t kUsualSize = 28;         // of maps, where the choice is made for any size
constexpr std::int64_t kFloat = sizeof(float);
constexpr std::int64_t kLine = 16;          // floats
constexpr std::int64_t kGroupColumns = 64;  // output channels whose products are made before their transform
constexpr std::int64_t kImageTiles = 16;    // of an image that is made as a whole

// Some channel blocks, whose products of one plane follow one another while the plane's input is in L1.
struct Group {
  std::int64_t first, count;  // blocks
  std::int64_t channel, channels, columns;
  std::int64_t packed;  // offset in vectors of all groups before
};

std::vector<Group> group_blocks(const std::vector<ChannelBlock>& blocks, int width) {
  std::vector<Group> groups;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const ChannelBlock& b = blocks[i];
    const std::int64_t columns = std::int64_t{b.vectors} * width;
    if (groups.empty() || groups.back().columns + columns > kGroupColumns)
      groups.push_back({static_cast<std::int64_t>(i), 0, b.channel, 0, 0, b.packed});
    Group& g = groups.back();
    ++g.count, g.channels += b.channels, g.columns += columns;
  }
  return groups;
}

// What costs are in multiply-adds of one vector element: input and output transform of a tile and channel, transform of
// a pair's weights. Transposed: tiles of the input, whose parts of the output are added; for gradients of inputs.
struct Algorithm {
  WinogradSize size;
  double in, out, weights;
  bool transposed = false;

  std::string name() const { return winograd_name(size) + (transposed ? "T" : ""); }
  // Of the kernels: F(m, taps) transposed has the matrices of F(taps, m).
  WinogradSize inner() const { return transposed ? WinogradSize{size.taps, size.m, 1} : size; }
};

struct Size {
  std::int64_t m, alpha, planes, weights;  // weights: planes of them
  std::int64_t tiles_h, tiles_w, tiles;    // tiles: of the whole batch
  std::int64_t together;         // tiles of a map: one, or those of an image where windows or parts cross tiles
  std::int64_t block, blocks;    // tiles of a block, and how many blocks
  std::int64_t splits;           // pieces that a block's output channels are cut into
  bool shared;                   // all input is transformed first, once for all pieces
  std::int64_t v_tile, v_plane;  // distances in the transformed input
};

bool windows_cross_tiles(const ConvPass& p, const WinogradSize& size) {
  return p.pool && (size.m % p.pool.h || size.m % p.pool.w);
}

Size size_of(const ConvPass& p, const Algorithm& algorithm, std::int64_t groups, std::int64_t tile_pixels) {
  const WinogradSize& size = algorithm.size;
  Size s{};
  s.m = size.m, s.alpha = size.alpha(), s.planes = s.alpha * s.alpha;
  s.weights = std::int64_t{size.weights()} * size.weights();
  const bool transposed = algorithm.transposed;
  s.tiles_h = ceil_div(transposed ? p.in_h : p.out_h, s.m), s.tiles_w = ceil_div(transposed ? p.in_w : p.out_w, s.m);
  s.tiles = p.n * s.tiles_h * s.tiles_w;
  s.together = transposed || windows_cross_tiles(p, size) ? s.tiles_h * s.tiles_w : 1;
  // Tiles whole KBs apart would fall into the same sets of L1, planes whole pages apart into the same of all caches.
  s.v_tile = round_up(p.in_c, kLine);
  if (s.v_tile % 256 == 0) s.v_tile += kLine;
  const std::int64_t tile_bytes = s.planes * s.v_tile * kFloat;
  s.shared = groups > 1 && static_cast<double>(s.tiles) * static_cast<double>(tile_bytes) <= kSharedBytes;
  const std::int64_t product_bytes = s.planes * kGroupColumns * kFloat;
  // A block's input and a group's products stay in L2. Whole register tiles: those of fewer pixels read the weights
  // more often.
  const std::int64_t most =
      s.shared ? std::min(kSharedTiles, ceil_div(s.tiles * groups, kSharedPieces))
               : std::min(caches().l2 * 3 / 4 / (tile_bytes + product_bytes), ceil_div(s.tiles, kPieces));
  const std::int64_t whole = std::max(most / tile_pixels, std::int64_t{1}) * tile_pixels;
  s.block =
      most >= s.tiles ? s.tiles : std::min(round_up(ceil_div(s.tiles, ceil_div(s.tiles, whole)), tile_pixels), s.tiles);
  s.block = round_up(s.block, s.together);
  s.blocks = ceil_div(s.tiles, s.block);
  const std::int64_t finest = s.shared ? groups : std::max<std::int64_t>(p.out_c / kLeastChannels, 1);
  s.splits = std::clamp<std::int64_t>(ceil_div(kPieces, s.blocks), 1, std::min(finest, groups));
  const auto odd_lines = [](std::int64_t n) { return (ceil_div(n, kLine) | 1) * kLine; };
  s.v_plane = odd_lines((s.shared ? s.tiles : s.block) * s.v_tile);
  return s;
}

class Winograd {
 public:
  Winograd(const ConvPass& pass, const Algorithm& algorithm)
      : p_(pass),
        size_(algorithm.size),
        inner_(algorithm.inner()),
        transposed_(algorithm.transposed),
        table_(kernels<float>()),
        blocks_(channel_blocks(pass.out_c, table_.width, table_.tile_vectors)),
        groups_(group_blocks(blocks_, table_.width)),
        s_(size_of(pass, algorithm, static_cast<std::int64_t>(groups_.size()), table_.tile_pixels)) {
    for (const Group& g : groups_) columns_ = std::max(columns_, g.columns);
    s_plane_ = (ceil_div(s_.block * columns_, kLine) | 1) * kLine;
    if (transposed_) {
      map_h_ = s_.tiles_h * s_.m + size_.taps - 1, map_w_ = s_.tiles_w * s_.m + size_.taps - 1;
    } else if (s_.together > 1) {
      map_h_ = s_.tiles_h * s_.m, map_w_ = s_.tiles_w * s_.m;
    } else if (p_.pool) {
      map_h_ = map_w_ = s_.m;
    }
  }

  std::size_t packed_bytes() const {
    return static_cast<std::size_t>(num_elements({s_.weights, p_.in_c, round_up(p_.out_c, table_.width)})) *
           sizeof(float);
  }
  std::size_t scratch_bytes() const {
    const std::int64_t input = s_.shared ? 0 : s_.v_plane;
    return static_cast<std::size_t>(s_.planes * (input + s_plane_ + round_up(p_.in_c, kLine)) +
                                    map_h_ * map_w_ * columns_) *
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
      const ChannelBlock& b = blocks_[static_cast<std::size_t>(piece / chunks)];
      const Group& g =
          *std::find_if(groups_.rbegin(), groups_.rend(), [&](const Group& g) { return g.packed <= b.packed; });
      const std::int64_t first = piece % chunks * chunk, n = std::min(chunk, p_.in_c - first);
      const std::int64_t columns = std::int64_t{b.vectors} * table_.width;
      alignas(64) float kernels[kMostKernels * kMostColumns];
      gather(w + first * p_.w_in + b.channel * p_.w_out, scale ? scale + b.channel : nullptr, n, b.channels, columns,
             kernels);
      WinogradWeightsArgs<float> a{};
      a.size = inner_, a.output = transposed_;
      a.w = kernels, a.count = n, a.run = columns;
      a.u = to + (g.packed * s_.weights + b.packed - g.packed) * table_.width * p_.in_c + first * columns;
      a.u_plane = p_.in_c * g.columns;
      table_.winograd_weights(a);
    });
  }

  void run(const float* packed, const RunContext& context) const {
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
      run_piece(context, first, n, piece / blocks, v, packed, s, map);
    });
  }

 private:
  static constexpr std::int64_t kMostKernels = 9 * 16, kMostColumns = 64;  // transformed at once: elements x channels

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
          for (std::int64_t o = 0; o < columns; ++o)
            for (std::int64_t r = 0; r < n; ++r)
              to[r * step + o] = o < channels ? from[o * p_.w_out + r * p_.w_in] : 0.f;
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
    const std::int64_t stride = size_.stride, step = s_.m * stride;
    WinogradInputArgs<float> a{};
    a.size = size_;
    a.channels = p_.in_c;
    a.v_plane = s_.v_plane;
    for (std::int64_t i = 0; i < n; ++i) {
      const Tile t = tile(first + i);
      const float* image = x + (p_.spread ? 0 : t.image * p_.in_h * p_.in_w * p_.in_c);
      const std::int64_t row = t.row * stride + q.h.i0, col = t.col * stride + q.w.i0;
      a.next = nullptr;
      a.x = patch;
      a.x_row = s_.alpha * p_.in_c;
      if (p_.spread) {
        spread_map<float>(context, p_.spread, p_.in_h, p_.in_w, p_.in_c, p_.x)
            .copy(t.image, row, s_.alpha, col, s_.alpha, 0, p_.in_c, patch, p_.in_c);
      } else if (row >= 0 && col >= 0 && row + s_.alpha <= p_.in_h && col + s_.alpha <= p_.in_w) {
        a.x = image + (row * p_.in_w + col) * p_.in_c;
        a.x_row = p_.in_w * p_.in_c;
        if (i + 1 < n && col + step + s_.alpha <= p_.in_w) a.next = a.x + step * p_.in_c;
      } else {
        copy_padded(image, p_.in_h, p_.in_w, p_.in_c, row, s_.alpha, col, s_.alpha, 1, patch);
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

  void multiply(const Group& g, std::int64_t n, const float* v, const float* packed, float* s) const {
    ConvRowArgs<float> a{};
    a.x_pixel = s_.v_tile;
    a.taps_h = a.taps_w = 1;
    a.run = p_.in_c;
    a.y_pixel = g.columns;
    a.pixels = n;
    const float* weights = packed + g.packed * table_.width * s_.weights * p_.in_c;
    const int some = size_.weights(), alpha = size_.alpha();
    for (int k = 0; k < some * some; ++k, weights += p_.in_c * g.columns)
      for (int i = k / some; i < alpha && size_.weight(i) == k / some; ++i)
        for (int j = k % some; j < alpha && size_.weight(j) == k % some; ++j) {
          const std::int64_t plane = i * alpha + j;
          const bool first = i == k / some && j == k % some;  // the others find their weights in the cache
          a.x = v + plane * s_.v_plane;
          a.y = s + plane * s_plane_;
          a.w = weights;
          multiply_blocks(g, first, a);
        }
  }

  void multiply_blocks(const Group& g, bool fetch, ConvRowArgs<float>& a) const {
    for (std::int64_t i = g.first; i < g.first + g.count; ++i) {
      const ChannelBlock& b = blocks_[static_cast<std::size_t>(i)];
      const std::int64_t columns = std::int64_t{b.vectors} * table_.width;
      a.vectors = b.vectors, a.channels = static_cast<int>(columns);
      a.next = fetch ? a.w + p_.in_c * columns : nullptr;
      a.next_lines = fetched_lines(p_.in_c * columns * kFloat, static_cast<std::int64_t>(packed_bytes()));
      table_.conv_row(a);
      a.y += columns;
      a.w += p_.in_c * columns;
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
                 const float* packed, float* s, float* map) const {
    const auto groups = static_cast<std::int64_t>(groups_.size());
    const std::int64_t from = groups * split / s_.splits, to = groups * (split + 1) / s_.splits;
    for (std::int64_t g = from; g < to; ++g) {
      const Group& group = groups_[static_cast<std::size_t>(g)];
      multiply(group, n, v, packed, s);
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
  std::int64_t columns_ = 0, s_plane_;  // of the widest group; between planes of products
  std::int64_t map_h_ = 0, map_w_ = 0;  // of tiles together
};

constexpr Algorithm kAlgorithms[] = {
    {{2, 3, 1}, 60, 60, 40},          {{3, 3, 1}, 130, 100, 70},       {{4, 3, 1}, 220, 140, 100},
    {{5, 3, 1}, 800, 330, 150},       {{6, 3, 1}, 750, 450, 200},      {{2, 5, 1}, 220, 90, 120},
    {{3, 5, 1}, 800, 250, 200},       {{4, 5, 1}, 750, 350, 250},      {{2, 3, 2}, 300, 150, 40},
    {{4, 3, 2}, 1000, 400, 100},      {{3, 3, 1}, 150, 300, 60, true}, {{4, 3, 1}, 250, 450, 80, true},
    {{5, 3, 1}, 400, 700, 120, true},
};

bool covers(const PlanContext& c, const Algorithm& a, const ConvPass& p) {
  const WinogradSize& s = a.size;
  const auto fits = [&](std::int64_t h, std::int64_t w) {
    return !c.options().any_size && ceil_div(h, s.m) * ceil_div(w, s.m) <= kImageTiles;
  };
  if (windows_cross_tiles(p, s) && !fits(p.out_h, p.out_w)) return false;
  if (a.transposed && (!fits(p.in_h, p.in_w) || p.bias != kNone || p.residual != kNone || p.clamp || p.activate ||
                       p.pool || p.in_c % kernels<float>().width || p.phases.empty() || p.phases[0].h.k_step != -1))
    return false;
  if (p.groups != 1 || p.phases.size() != 1 || p.fill || p.n * p.in_h * p.in_w * p.in_c == 0) return false;
  const auto regular = [&](const AxisPhase& a, std::int64_t out) {
    return a.taps == s.taps && a.tap_step == 1 && a.is == s.stride && a.os == 1 && a.o0 == 0 && a.outputs == out &&
           out > 0;
  };
  return regular(p.phases[0].h, p.out_h) && regular(p.phases[0].w, p.out_w) && p.out_c > 0;
}

// What an algorithm costs one core, in the time of a multiply-add of one vector element. Threads are not asked for:
// results must not depend on them. Measured for AVX2 and AVX-512 (docs/adr/0005-winograd.md).
class Costs {
 public:
  Costs(const ConvPass& p, bool packed_once) : p_(p), packed_once_(packed_once) {
    if (width_ < 8) memory_ *= 4, l3_ *= 4;  // slower arithmetic, the same memory
  }

  double direct() const {
    const AxisPhase& h = p_.phases[0].h;
    double rows = 0;  // that taps read: those outside are skipped
    for (std::int64_t i = 0; i < h.taps; ++i) {
      const std::int64_t end = std::min(h.outputs, ceil_div(std::max<std::int64_t>(0, p_.in_h - h.i0 - i), h.is));
      rows += real(std::max<std::int64_t>(0, end - ceil_div(std::max<std::int64_t>(0, -h.i0 - i), h.is)));
    }
    // Register tiles of too few pixels wait for their sums: 7 pixels, 4 + 3, cost AVX2 as many as 10.
    const std::int64_t tiles = ceil_div(p_.out_w, table_.tile_pixels), least = ceil_div(10, table_.tile_vectors);
    const double columns = real(std::max(p_.out_w, std::min(least, std::int64_t{table_.tile_pixels}) * tiles));
    const double products = real(p_.n) * rows * real(h.taps) * columns * pairs();
    const double weights = real(h.taps * h.taps) * 4 * pairs();
    return std::max(products / 0.95, weights / memory_) + (packed_once_ ? 0 : 2 * weights / l3_);
  }

  double winograd(const Algorithm& a) const {
    const auto channels = channel_blocks(p_.out_c, width_, table_.tile_vectors);
    const auto blocks = static_cast<std::int64_t>(channels.size());
    const Size s = size_of(p_, a, static_cast<std::int64_t>(group_blocks(channels, width_).size()), table_.tile_pixels);
    const double call = 100;
    const double planes = real(s.planes), tiles = real(s.tiles), bytes = real(s.weights) * 4 * pairs();
    const double inputs = s.shared ? 1 : real(s.splits);
    const double transforms =
        tiles * (a.in * inputs * real(round_up(p_.in_c, width_)) + a.out * real(round_up(p_.out_c, width_)));
    const double products = planes * tiles * pairs() / 0.95 + planes * real(s.blocks * blocks * width_) * call;
    const double repeated = bytes <= real(caches().l2) / 2 ? 0 : bytes <= real(caches().l3) / 2 ? l3_ : memory_;
    double traffic = bytes / memory_;
    if (repeated > 0) traffic += real(s.blocks - 1) * bytes / repeated;
    const double packing = packed_once_ ? 0 : a.weights * pairs() + 2 * bytes / (repeated > 0 ? repeated : l3_);
    const double held = packed_once_ ? price_ * (bytes - real(a.size.taps * a.size.taps) * 4 * pairs())
                                     : 0;  // more memory than direct's
    // Three pairs of points have several times the error.
    return (transforms + std::max(products, traffic) + packing + held) * (a.size.alpha() >= 7 ? 1.1 : 1);
  }

 private:
  static double real(std::int64_t n) { return static_cast<double>(n); }
  double pairs() const { return real(p_.in_c) * real(round_up(p_.out_c, width_)); }

  const ConvPass& p_;
  bool packed_once_;
  const KernelTable<float>& table_ = kernels<float>();
  int width_ = table_.width;
  double memory_ = 0.3, l3_ = 1.3;  // bytes in that time
  // What a byte of packed weights must save: 42 ps. So 256 at 14x14 gets F(2,3), which is a fifth slower than F(4,3)
  // there and takes 2.25 times less: ResNet-50's packs are 26 MB smaller for 1 % of its time.
  double price_ = 2.5;
};

// Null where direct convolution is better.
const Algorithm* choose(const PlanContext& c, const ConvPass& p) {
  if (c.dtype() != DType::f32 || c.options().strict) return nullptr;
  const std::string wish = wished_algorithm(c, p);
  const bool stable = c.stable(p.w);
  ConvPass sized = p;
  if (c.options().any_size && p.phases.size() == 1) {
    AxisPhase& h = sized.phases[0].h;
    sized.n = 1;
    sized.out_h = sized.out_w = h.outputs = kUsualSize;
    sized.in_h = sized.in_w = kUsualSize * h.is;
    h.i0 = -h.taps / 2;
  }
  const Costs costs(sized, stable);
  const Algorithm* best = nullptr;
  double least = 0;
  for (const Algorithm& a : kAlgorithms) {
    if (!covers(c, a, p)) continue;
    if (!wish.empty()) {
      if (wish == a.name()) return &a;
      continue;
    }
    const double cost = costs.winograd(a);
    if (!best || cost < least) best = &a, least = cost;
  }
  if (!best || p.in_c < kLeastInputs || least * (stable ? 1.15 : 1.2) > costs.direct()) return nullptr;
  return best;
}

}  // namespace

std::string winograd_name(const WinogradSize& s) {
  return "winograd F(" + std::to_string(s.m) + "," + std::to_string(s.taps) + ")" + (s.stride == 2 ? "/2" : "");
}

Step plan_winograd(PlanContext& c, const ConvPass& pass) {
  const Algorithm* chosen = choose(c, pass);
  if (!chosen) return {};
  const auto winograd = std::make_shared<const Winograd>(pass, *chosen);
  const int slot = c.pack({pass.w, winograd->packed_bytes(),
                           [winograd](const void* from, const void* scale, void* to) {
                             winograd->pack(static_cast<const float*>(from), static_cast<const float*>(scale),
                                            static_cast<float*>(to));
                           },
                           winograd->pack_key(), pass.w_scale});
  Step step;
  step.algorithm = chosen->name();
  step.flops = pass.flops;
  step.scratch = winograd->scratch_bytes();
  step.workspace = winograd->workspace_bytes();
  step.run = [winograd, slot](const RunContext& r) { winograd->run(r.packed<float>(slot), r); };
  return step;
}

std::vector<std::string> winograd_candidates(const PlanContext& c, const ConvPass& p) {
  if (c.dtype() != DType::f32 || c.options().strict) return {};
  std::vector<std::string> names;
  for (const Algorithm& a : kAlgorithms)
    if (covers(c, a, p)) names.push_back(a.name());
  return names;
}

}  // namespace fastconv::cpu
