// Softmax and the losses that contain one.
#include "graph/graph.hpp"

namespace fastconv {
namespace {

// x -> y
std::vector<TensorType> infer_softmax(const InferContext& c) {
  c.expect_same_dtype();
  const auto rank = static_cast<std::int64_t>(c.shape(0).size());
  const std::int64_t axis = c.attrs().integer("axis", -1);
  if (axis < -rank || axis >= rank)
    c.fail("axis " + std::to_string(axis) + " is out of range for shape " + to_string(c.shape(0)));
  return {c.type(0)};
}

// y, dy -> dx
std::vector<TensorType> infer_softmax_backward(const InferContext& c) {
  c.expect_shape(1, c.shape(0), "dy");
  return infer_softmax(c);
}

void softmax_gradient(GradContext& c) { c.set(0, c.add("softmax_backward", {c.out(), c.grad()}, c.node.attrs)); }

void log_softmax_gradient(GradContext& c) {
  c.set(0, c.add("log_softmax_backward", {c.out(), c.grad()}, c.node.attrs));
}

Shape without_last(const InferContext& c) {
  Shape shape = c.shape(0);
  if (shape.empty()) c.fail("logits have rank 0, expected [..., classes]");
  if (shape.back() == 0) c.fail("logits have shape " + to_string(shape) + ", expected at least one class");
  shape.pop_back();
  return shape;
}

// logits, target -> loss
std::vector<TensorType> check_softmax_loss(const InferContext& c, std::size_t expected) {
  const TensorType& logits = c.type(0);
  if (c.inputs() != expected)
    c.fail("got " + std::to_string(c.inputs()) + " inputs, expected " + std::to_string(expected));
  if (!is_floating(logits.dtype))
    c.fail(std::string("logits are ") + name_of(logits.dtype) + ", expected float32 or float64");
  const Shape rows = without_last(c);
  if (c.type(1).dtype == DType::i64)
    c.expect_shape(1, rows, "target (class indices)");
  else if (c.type(1).dtype != logits.dtype)
    c.fail(std::string("target is ") + name_of(c.type(1).dtype) + ", expected int64 class indices or " +
           name_of(logits.dtype) + " probabilities");
  else
    c.expect_shape(1, logits.shape, "target (probabilities)");
  const double smoothing = c.attrs().real("label_smoothing", 0);
  if (!(smoothing >= 0 && smoothing <= 1))
    c.fail("label_smoothing is " + std::to_string(smoothing) + ", expected 0 to 1");
  return {{rows, logits.dtype}};
}

std::vector<TensorType> infer_softmax_loss(const InferContext& c) { return check_softmax_loss(c, 2); }

// logits, target, dloss -> dlogits
std::vector<TensorType> infer_softmax_loss_backward(const InferContext& c) {
  c.expect_shape(2, check_softmax_loss(c, 3)[0].shape, "dloss");
  if (c.type(2).dtype != c.type(0).dtype) c.fail("dloss and logits have different dtypes");
  return {c.type(0)};
}

void softmax_loss_gradient(GradContext& c) {
  if (c.needs(0)) c.set(0, c.add("softmax_cross_entropy_backward", {c.in(0), c.in(1), c.grad()}, c.node.attrs));
  if (!c.needs(1)) return;
  // Of probabilities: -(1 - smoothing) * log_softmax(logits) * dloss.
  Shape shape = c.type(c.grad()).shape;
  shape.push_back(1);
  const double keep = 1 - c.node.attrs.real("label_smoothing", 0);
  const int logs = c.add("scale", {c.add("log_softmax", {c.in(0)})}, {{"alpha", -keep}});
  c.set(1, c.add("mul", {logs, c.add("reshape", {c.grad()}, {{"shape", shape}})}));
}

// logits, target -> loss
std::vector<TensorType> infer_sigmoid_loss(const InferContext& c) {
  c.expect_same_dtype();
  c.expect_shape(1, c.shape(0), "target");
  return {c.type(0)};
}

// logits, target, dloss -> dlogits
std::vector<TensorType> infer_sigmoid_loss_backward(const InferContext& c) {
  c.expect_shape(2, c.shape(0), "dloss");
  return infer_sigmoid_loss(c);
}

void sigmoid_loss_gradient(GradContext& c) {
  if (c.needs(0)) c.set(0, c.add("sigmoid_cross_entropy_backward", {c.in(0), c.in(1), c.grad()}));
  if (c.needs(1)) c.set(1, c.add("neg", {c.add("mul", {c.in(0), c.grad()})}));
}

const RegisterOp softmax{{"softmax", infer_softmax, softmax_gradient, {}, {}, false}, 1};
const RegisterOp log_softmax{{"log_softmax", infer_softmax, log_softmax_gradient, {}, {}, false}, 1};
const RegisterOp softmax_backward{{"softmax_backward", infer_softmax_backward, nullptr, {}, {}, false}, 2};
const RegisterOp log_softmax_backward{{"log_softmax_backward", infer_softmax_backward, nullptr, {}, {}, false}, 2};
const RegisterOp softmax_loss{{"softmax_cross_entropy", infer_softmax_loss, softmax_loss_gradient, {}, {}, false}, 2};
const RegisterOp softmax_loss_backward{
    {"softmax_cross_entropy_backward", infer_softmax_loss_backward, nullptr, {}, {}, false}, 3};
const RegisterOp sigmoid_loss{{"sigmoid_cross_entropy", infer_sigmoid_loss, sigmoid_loss_gradient, {}, {0}, false}, 2};
const RegisterOp sigmoid_loss_backward{
    {"sigmoid_cross_entropy_backward", infer_sigmoid_loss_backward, nullptr, {}, {0, 2}, false}, 3};

}  // namespace
}  // namespace fastconv
