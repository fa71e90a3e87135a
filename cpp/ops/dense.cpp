// Dense layers: y = x w + bias over the last axis.
#include <algorithm>

#include "ops/elementwise.hpp"
#include "ops/shapes.hpp"

namespace fastconv {
namespace {

std::vector<TensorType> infer_dense(const InferContext& c) {
  c.expect_same_dtype();
  c.expect_rank(1, 2, "weight");
  Shape x = c.shape(0);
  const Shape& w = c.shape(1);
  const bool transposed = c.attrs().boolean("transpose_w", false);
  const std::int64_t in = transposed ? w[1] : w[0], out = transposed ? w[0] : w[1];
  if (x.empty() || x.back() != in)
    c.fail("input has shape " + to_string(x) + ", expected " + std::to_string(in) + " features in the last axis");
  if (in < 1 || out < 1) c.fail("weight has shape " + to_string(w) + ", expected positive dimensions");
  if (out > kMostChannels)
    c.fail("weight has shape " + to_string(w) + ", expected at most " + std::to_string(kMostChannels) + " columns");
  if (c.has(2)) c.expect_shape(2, {out}, "bias");
  check_activation(c);
  x.back() = out;
  return {{x, c.type(0).dtype}};
}

std::vector<TensorType> infer_backward_weights(const InferContext& c) {
  c.expect_same_dtype();
  const Shape &x = c.shape(0), &dy = c.shape(1);
  if (x.empty() || x.size() != dy.size() || !std::equal(x.begin(), x.end() - 1, dy.begin()))
    c.fail("input " + to_string(x) + " and output gradient " + to_string(dy) + " differ before the last axis");
  return {{{x.back(), dy.back()}, c.type(0).dtype}};
}

void grad_dense(GradContext& c) {
  if (c.node.attrs.text("activation", "") != "")
    throw Error("dense: add the activation as a node of its own to differentiate; the plan fuses it");
  const bool transposed = c.node.attrs.boolean("transpose_w", false);
  if (c.needs(0)) c.set(0, c.add("dense", {c.grad(), c.in(1)}, {{"transpose_w", !transposed}}));
  if (c.needs(1))
    c.set(1, transposed ? c.add("dense_backward_weights", {c.grad(), c.in(0)})
                        : c.add("dense_backward_weights", {c.in(0), c.grad()}));
  if (c.needs(2)) {
    Ints axes;
    for (std::size_t i = 0; i + 1 < c.type(c.grad()).shape.size(); ++i) axes.push_back(static_cast<std::int64_t>(i));
    c.set(2, axes.empty() ? c.grad() : c.add("reduce_sum", {c.grad()}, {{"axes", axes}, {"keepdims", false}}));
  }
}

void grad_backward_weights(GradContext& c) {
  if (c.needs(0)) c.set(0, c.add("dense", {c.in(1), c.grad()}, {{"transpose_w", true}}));
  if (c.needs(1)) c.set(1, c.add("dense", {c.in(0), c.grad()}));
}

const RegisterOp dense{{"dense", infer_dense, grad_dense, {}, {}, false}, 3};
const RegisterOp backward_weights{
    {"dense_backward_weights", infer_backward_weights, grad_backward_weights, {}, {}, false}, 2};

}  // namespace
}  // namespace fastconv
