// Windows of pooling: one description for regular and adaptive ones, shared by shape inference and the backends.
#pragma once
#include <cstdint>
#include <vector>

#include "graph/graph.hpp"

namespace fastconv {

enum class PoolKind : std::uint8_t { max, average, lp };

// Along one axis, tap k of a window lies at start + k * step; taps [first, last) are inside the input.
struct PoolWindow {
  std::int64_t start, step, first, last;
  double extent;  // what a sum is divided by, one factor for each axis
};

struct PoolAxis {
  std::int64_t in = 0;
  std::int64_t taps = 0;  // of the largest window, before clipping
  std::vector<PoolWindow> windows;
  std::int64_t out() const { return static_cast<std::int64_t>(windows.size()); }
};

struct PoolGeometry {
  PoolAxis h, w;
  std::int64_t taps() const { return h.taps * w.taps; }
};

// From the attributes of a pooling operator (adaptive ones have output_size) or its gradient; throws Error.
PoolGeometry pool_geometry(PoolKind kind, const Attrs& attrs, std::int64_t height, std::int64_t width);

// Winners of max-pooling are one byte an element in windows of up to kByteTaps taps, otherwise of x's type.
constexpr std::int64_t kByteTaps = 256;
// The opaque tensor that holds them.
TensorType pool_winners_type(const TensorType& y, std::int64_t taps);

}  // namespace fastconv
