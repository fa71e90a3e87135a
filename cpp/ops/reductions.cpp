// reduce_sum, reduce_mean, reduce_max, reduce_min, reduce_prod over any axes.
#include "ops/shapes.hpp"

namespace fastconv {
namespace {

// The input's shape with 1 for what was reduced.
Shape kept_shape(const Shape& shape, const std::vector<bool>& flags) {
  Shape kept = shape;
  for (std::size_t i = 0; i < kept.size(); ++i)
    if (flags[i]) kept[i] = 1;
  return kept;
}

std::int64_t reduced_count(const Shape& shape, const std::vector<bool>& flags) {
  std::int64_t n = 1;
  for (std::size_t i = 0; i < shape.size(); ++i)
    if (flags[i]) n *= shape[i];
  return n;
}

template <DTypeSet set>
std::vector<TensorType> infer(const InferContext& c) {
  c.expect_same_dtype(set);
  const Shape& shape = c.shape(0);
  const std::vector<bool> flags = axis_flags(c, shape.size());
  const bool keepdims = c.attrs().boolean("keepdims", false);
  Shape out;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (!flags[i])
      out.push_back(shape[i]);
    else if (keepdims)
      out.push_back(1);
  }
  return {{out, c.type(0).dtype}};
}

void gradient_sum(GradContext& c) {
  const Shape shape = c.type(c.in(0)).shape;
  const auto flags = axis_flags(c.node.attrs, shape.size());
  const int dy = reshape_to(c, c.grad(), kept_shape(shape, flags));
  c.set(0, c.add("broadcast_to", {dy}, {{"shape", shape}}));
}

void gradient_mean(GradContext& c) {
  const Shape shape = c.type(c.in(0)).shape;
  const auto flags = axis_flags(c.node.attrs, shape.size());
  const double count = static_cast<double>(reduced_count(shape, flags));
  int dy = reshape_to(c, c.grad(), kept_shape(shape, flags));
  if (count > 0) dy = c.add("scale", {dy}, {{"alpha", 1 / count}});
  c.set(0, c.add("broadcast_to", {dy}, {{"shape", shape}}));
}

// Elements equal to the extremum share the gradient evenly.
void gradient_extremum(GradContext& c) {
  const Shape shape = c.type(c.in(0)).shape;
  const auto flags = axis_flags(c.node.attrs, shape.size());
  const Shape kept = kept_shape(shape, flags);
  Ints axes;
  for (std::size_t i = 0; i < flags.size(); ++i)
    if (flags[i]) axes.push_back(static_cast<std::int64_t>(i));
  const int equal = c.add("equal", {c.in(0), reshape_to(c, c.out(), kept)});
  const int ties = c.add("reduce_sum", {equal}, {{"axes", axes}, {"keepdims", true}});
  c.set(0, c.add("mul", {equal, c.add("div", {reshape_to(c, c.grad(), kept), ties})}));
}

const RegisterOp sum_op{{"reduce_sum", infer<kNumbers>, gradient_sum, {}, {}, false}, 1};
const RegisterOp mean_op{{"reduce_mean", infer<kNumbers>, gradient_mean, {}, {}, false}, 1};
const RegisterOp max_op{{"reduce_max", infer<kAny>, gradient_extremum, {}, {}, false}, 1};
const RegisterOp min_op{{"reduce_min", infer<kAny>, gradient_extremum, {}, {}, false}, 1};
const RegisterOp prod_op{{"reduce_prod", infer<kNumbers>, nullptr, {}, {}, false}, 1};

}  // namespace
}  // namespace fastconv
