// Shape arithmetic shared by the operators' inference and gradients.
#pragma once
#include "graph/graph.hpp"

namespace fastconv {

// What plans keep a table of (the rows of an image that is resized, windows of pooling) may be of this size at most:
// no network comes near, and no file can make a plan of gigabytes.
constexpr std::int64_t kMostPlanned = std::int64_t{1} << 24;
// And so the output channels of a layer, or the columns of a matrix, which are planned in blocks.
constexpr std::int64_t kMostChannels = std::int64_t{1} << 28;

// axis in [-rank, rank) -> [0, rank); fails with the given and the expected values otherwise.
std::size_t normalize_axis(const InferContext& context, std::int64_t axis, std::size_t rank);
// Attribute "axes" (all when missing) as one flag a dimension; fails on axes out of range or repeated.
std::vector<bool> axis_flags(const InferContext& context, std::size_t rank);
// The same for a node whose inference has succeeded.
std::vector<bool> axis_flags(const Attrs& attrs, std::size_t rank);

// NumPy's rule; fails where the shapes do not fit.
Shape broadcast_shape(const InferContext& context, const Shape& a, const Shape& b);

// Shapes are taken by value: adding nodes moves the graph's own.
// The adjoint of broadcasting: sums `value` down to `shape`.
int reduce_to(GradContext& context, int value, Shape shape);
// `value` with another shape of as many elements.
int reshape_to(GradContext& context, int value, Shape shape);
// A tensor of one repeated number.
int filled(GradContext& context, double value, TensorType type);

}  // namespace fastconv
