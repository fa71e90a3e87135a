#include "ops/shapes.hpp"

#include <algorithm>

namespace fastconv {

std::size_t normalize_axis(const InferContext& context, std::int64_t axis, std::size_t rank) {
  const auto r = static_cast<std::int64_t>(rank);
  if (axis < -r || axis >= r)
    context.fail("axis " + std::to_string(axis) + " is out of range for rank " + std::to_string(rank));
  return static_cast<std::size_t>(axis < 0 ? axis + r : axis);
}

std::vector<bool> axis_flags(const InferContext& context, std::size_t rank) {
  if (!context.attrs().has("axes")) return std::vector<bool>(rank, true);
  std::vector<bool> flags(rank, false);
  for (auto axis : context.attrs().ints("axes")) {
    const std::size_t i = normalize_axis(context, axis, rank);
    if (flags[i]) context.fail("axis " + std::to_string(axis) + " is given twice");
    flags[i] = true;
  }
  return flags;
}

std::vector<bool> axis_flags(const Attrs& attrs, std::size_t rank) {
  if (!attrs.has("axes")) return std::vector<bool>(rank, true);
  std::vector<bool> flags(rank, false);
  for (auto axis : attrs.ints("axes"))
    flags[static_cast<std::size_t>(axis < 0 ? axis + static_cast<std::int64_t>(rank) : axis)] = true;
  return flags;
}

Shape broadcast_shape(const InferContext& context, const Shape& a, const Shape& b) {
  Shape shape(std::max(a.size(), b.size()), 1);
  for (std::size_t i = 0; i < shape.size(); ++i) {
    const std::int64_t da = i < a.size() ? a[a.size() - 1 - i] : 1, db = i < b.size() ? b[b.size() - 1 - i] : 1;
    if (da != db && da != 1 && db != 1)
      context.fail("shapes " + to_string(a) + " and " + to_string(b) + " cannot be broadcast together");
    shape[shape.size() - 1 - i] = da == 1 ? db : da;
  }
  return shape;
}

int reshape_to(GradContext& context, int value, Shape shape) {
  if (context.type(value).shape == shape) return value;
  return context.add("reshape", {value}, {{"shape", shape}});
}

int reduce_to(GradContext& context, int value, Shape shape) {
  const Shape from = context.type(value).shape;
  if (from == shape) return value;
  const std::size_t extra = from.size() - shape.size();
  Ints axes;
  for (std::size_t i = 0; i < from.size(); ++i)
    if (i < extra || (shape[i - extra] == 1 && from[i] != 1)) axes.push_back(static_cast<std::int64_t>(i));
  if (!axes.empty()) value = context.add("reduce_sum", {value}, {{"axes", axes}, {"keepdims", true}});
  return reshape_to(context, value, shape);
}

int filled(GradContext& context, double value, TensorType type) {
  return context.add("broadcast_to", {context.graph.scalar(value, type.dtype)}, {{"shape", type.shape}});
}

}  // namespace fastconv
