// What a Winograd convolution is made of: how tiles and channels are cut, and which algorithm runs it.
#pragma once
#include <string>
#include <vector>

#include "backend/cpu/conv.hpp"

namespace fastconv::cpu::winograd {

constexpr std::int64_t kFloat = sizeof(float);
constexpr std::int64_t kLine = 16;  // floats

// Some channel blocks, whose products of one plane follow one another while the plane's input is in L1.
struct Group {
  std::int64_t first, count;  // blocks
  std::int64_t channel, channels, columns;
  std::int64_t weights, plane;  // where its transformed weights begin, and from one of their planes to the next
};
std::vector<Group> group_blocks(const std::vector<ChannelBlock>& blocks, int width);

// The gradient of the input of a 3x3 convolution with stride 2 in one phase instead of four, whose three taps are those
// of both phases of an axis in the order of the forward pass; any other pass as it is.
ConvPass join_phases(const ConvPass& p);

// What costs are in multiply-adds of one vector element: input and output transform of a tile and channel, transform of
// a pair's weights. Transposed: tiles of the input, whose parts of the output are added; for gradients of inputs.
struct Algorithm {
  WinogradSize size;
  double in, out, weights;
  bool transposed = false;  // with stride 1

  std::string name() const { return winograd_name(size) + (transposed ? "T" : ""); }
  // Of the kernels: F(m, taps) transposed has the matrices of F(taps, m).
  WinogradSize inner() const { return transposed ? WinogradSize{size.taps, size.m, 1} : size; }
};

struct Size {
  std::int64_t m, inputs, step, planes, weights;  // outputs of a tile, weights: planes of them
  std::int64_t tiles_h, tiles_w, tiles;           // tiles: of the whole batch
  std::int64_t together;         // tiles of a map: one, or those of an image where windows or parts cross tiles
  std::int64_t block, blocks;    // tiles of a block, and how many blocks
  std::int64_t splits;           // pieces that a block's output channels are cut into
  bool shared;                   // all input is transformed first, once for all pieces
  bool streamed;                 // weights, in blocks that stay in L2: new ones each run, too many to keep
  std::int64_t channels;         // of input, in such a block
  std::int64_t v_tile, v_plane;  // distances in the transformed input
};

Size size_of(const ConvPass& p, const Algorithm& algorithm, bool packed_once, std::int64_t groups,
             std::int64_t tile_pixels);

// Null where direct convolution is better.
const Algorithm* choose(const PlanContext& c, const ConvPass& p);

}  // namespace fastconv::cpu::winograd
