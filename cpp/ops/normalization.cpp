// Batch, layer, group and local response normalization. The channel is the last axis.
#include "ops/elementwise.hpp"
#include "ops/shapes.hpp"

namespace fastconv {
namespace {

std::int64_t channels(const InferContext& c) {
  if (c.shape(0).size() < 2) c.fail("x has shape " + to_string(c.shape(0)) + ", expected rank >= 2");
  return c.shape(0).back();
}

void expect_channels(const InferContext& c, std::size_t i, const char* what) {
  if (c.has(i)) c.expect_shape(i, {c.shape(0).back()}, what);
}

void check_eps(const InferContext& c) {
  const double eps = c.attrs().real("eps", 1e-5);
  if (!(eps >= 0)) c.fail("eps is " + std::to_string(eps) + ", expected >= 0");
}

// x, gamma?, beta?, mean, var -> y
std::vector<TensorType> infer_inference(const InferContext& c) {
  c.expect_same_dtype();
  check_eps(c);
  check_activation(c);
  const Shape per_channel{channels(c)};
  expect_channels(c, 1, "gamma");
  expect_channels(c, 2, "beta");
  c.expect_shape(3, per_channel, "mean");
  c.expect_shape(4, per_channel, "var");
  return {c.type(0)};
}

// x, gamma?, beta?, running_mean?, running_var?, residual? -> y, mean, inv_std, var, with an activation also shift:
// before residual and activation y is x less mean, times gamma times inv_std, plus shift.
std::vector<TensorType> infer_training(const InferContext& c) {
  c.expect_same_dtype();
  check_eps(c);
  check_activation(c);
  const TensorType statistic{{channels(c)}, c.type(0).dtype};
  expect_channels(c, 1, "gamma");
  expect_channels(c, 2, "beta");
  expect_channels(c, 3, "running_mean");
  expect_channels(c, 4, "running_var");
  if (c.has(3) != c.has(4)) c.fail("expected both running_mean and running_var, or neither");
  if (c.has(5)) c.expect_shape(5, c.shape(0), "residual");
  std::vector<TensorType> outputs{c.type(0), statistic, statistic, statistic};
  if (!c.attrs().text("activation", "").empty()) outputs.push_back(statistic);
  return outputs;
}

bool is_clamp(const std::string& activation) { return activation == "relu" || activation == "clip"; }

// Whether its gradient is an operator.
bool differentiable(const std::string& activation) { return find_unary(activation)->reads != '-'; }

void check_backward(const InferContext& c) {
  c.expect_same_dtype();
  const Shape per_channel{channels(c)};
  expect_channels(c, 1, "gamma");
  c.expect_shape(2, per_channel, "mean");
  c.expect_shape(3, per_channel, "inv_std");
  c.expect_shape(4, c.shape(0), "dy");
  check_activation(c);
}

// x, gamma?, mean, inv_std, dy, shift? -> dx, dgamma, dbeta. With an activation, dy is the gradient of its output.
std::vector<TensorType> infer_training_backward(const InferContext& c) {
  check_backward(c);
  const std::string activation = c.attrs().text("activation", "");
  if (!activation.empty() && !differentiable(activation))
    c.fail("activation is \"" + activation + "\", expected one whose gradient is an operator");
  if (c.has(5) == activation.empty()) c.fail("expected both shift and activation, or neither");
  const TensorType statistic{{c.shape(0).back()}, c.type(0).dtype};
  if (c.has(5)) c.expect_shape(5, statistic.shape, "shift");
  return {c.type(0), statistic, statistic};
}

// x, gamma?, mean, inv_std, dy, y -> dresidual, dx, dgamma, dbeta, dy being the gradient of the activation's output y
// and dresidual that of its input.
std::vector<TensorType> infer_residual_backward(const InferContext& c) {
  check_backward(c);
  if (const std::string activation = c.attrs().text("activation", ""); !is_clamp(activation))
    c.fail("activation is \"" + activation + "\", expected \"relu\" or \"clip\"");
  c.expect_shape(5, c.shape(0), "y");
  const TensorType statistic{{c.shape(0).back()}, c.type(0).dtype};
  return {c.type(0), c.type(0), statistic, statistic};
}

// x (N, C, ...), gamma?, dy -> dx, dgamma, dbeta; for single operators on arrays with channels first
std::vector<TensorType> infer_planes_backward(const InferContext& c) {
  c.expect_same_dtype();
  check_eps(c);
  const Shape& x = c.shape(0);
  if (x.size() < 3) c.fail("x has shape " + to_string(x) + ", expected (N, C, ...) of rank 3 or more");
  const TensorType statistic{{x[1]}, c.type(0).dtype};
  if (c.has(1)) c.expect_shape(1, statistic.shape, "gamma");
  c.expect_shape(2, x, "dy");
  return {c.type(0), statistic, statistic};
}

// x, gamma?, mean, var, dy -> dx, dgamma, dbeta, dmean, dvar
std::vector<TensorType> infer_inference_backward(const InferContext& c) {
  c.expect_same_dtype();
  const TensorType statistic{{channels(c)}, c.type(0).dtype};
  expect_channels(c, 1, "gamma");
  c.expect_shape(2, statistic.shape, "mean");
  c.expect_shape(3, statistic.shape, "var");
  c.expect_shape(4, c.shape(0), "dy");
  return {c.type(0), statistic, statistic, statistic, statistic};
}

void check_epsilon(const InferContext& c) {
  const double epsilon = c.attrs().real("epsilon", 1e-5);
  if (!(epsilon >= 0)) c.fail("epsilon is " + std::to_string(epsilon) + ", expected >= 0");
}

// x, gamma?, beta? -> y, mean, inv_std
std::vector<TensorType> infer_layer_norm(const InferContext& c) {
  c.expect_same_dtype();
  check_epsilon(c);
  const Shape& x = c.shape(0);
  const std::size_t axis = normalize_axis(c, c.attrs().integer("axis", -1), x.size());
  const Shape normalized(x.begin() + static_cast<std::ptrdiff_t>(axis), x.end());
  for (std::size_t i = 1; i < 3; ++i)
    if (c.has(i) && (c.shape(i).size() > normalized.size() || broadcast_shape(c, c.shape(i), normalized) != normalized))
      c.fail(std::string(i == 1 ? "gamma" : "beta") + " has shape " + to_string(c.shape(i)) +
             ", expected one that broadcasts to " + to_string(normalized));
  for (std::size_t i = 1; i < 3; ++i)  // a table of where its elements go
    if (c.has(i) && num_elements(c.shape(i)) != num_elements(normalized) && num_elements(normalized) > kMostPlanned)
      c.fail(std::string(i == 1 ? "gamma" : "beta") + " has shape " + to_string(c.shape(i)) + ", expected " +
             to_string(normalized) + ": more than " + std::to_string(kMostPlanned) + " elements are not broadcast");
  TensorType statistic = c.type(0);
  for (std::size_t i = axis; i < x.size(); ++i) statistic.shape[i] = 1;
  return {c.type(0), statistic, statistic};
}

// x(N, ..., C), gamma?, beta? -> y
std::vector<TensorType> infer_group_norm(const InferContext& c) {
  c.expect_same_dtype();
  check_epsilon(c);
  const std::int64_t n = channels(c), groups = c.attrs().integer("groups");
  if (groups < 1 || n % groups)
    c.fail("groups is " + std::to_string(groups) + ", expected a divisor of the " + std::to_string(n) + " channels");
  expect_channels(c, 1, "gamma");
  expect_channels(c, 2, "beta");
  return {c.type(0)};
}

void training_gradient(GradContext& c) {
  for (std::size_t i = 1; i < c.node.outputs.size(); ++i)
    if (c.grad(i) != kNone)
      throw Error("batch_norm_training: gradients through the outputs mean, inv_std and var are not supported");
  const std::string activation = c.node.attrs.text("activation", "");
  std::vector<int> inputs{c.in(0), c.in(1), c.out(1), c.out(2), c.grad()}, grads;
  int residual = c.grad();
  const bool added = c.in(5) != kNone;
  if (activation.empty()) {
    grads = c.add_all("batch_norm_training_backward", inputs);
  } else if (added ? !is_clamp(activation) : !differentiable(activation)) {
    throw Error("batch_norm_training: add the activation as a node of its own to differentiate; the plan fuses it");
  } else {
    Attrs attrs = own_attributes(*find_unary(activation), c.node.attrs);
    attrs.set("activation", activation);
    inputs.push_back(added ? c.out() : c.out(4));
    grads = c.add_all(added ? "batch_norm_residual_backward" : "batch_norm_training_backward", inputs, attrs);
    if (added) {
      residual = grads.front();
      grads.erase(grads.begin());
    }
  }
  for (std::size_t i = 0; i < 3; ++i)
    if (c.needs(i)) c.set(i, grads[i]);
  if (c.needs(5)) c.set(5, residual);
}

void inference_gradient(GradContext& c) {
  if (c.node.attrs.text("activation", "") != "")
    throw Error("batch_norm_inference: add the activation as a node of its own to differentiate; the plan fuses it");
  const auto grads = c.add_all("batch_norm_inference_backward", {c.in(0), c.in(1), c.in(3), c.in(4), c.grad()},
                               {{"eps", c.node.attrs.real("eps", 1e-5)}});
  for (std::size_t i = 0; i < 5; ++i)
    if (c.needs(i)) c.set(i, grads[i]);
}

std::vector<TensorType> infer_local_response(const InferContext& c) {
  c.expect_same_dtype();
  channels(c);
  const std::int64_t size = c.attrs().integer("size");
  if (size < 1) c.fail("size is " + std::to_string(size) + ", expected >= 1");
  return {c.type(0)};
}

std::vector<TensorType> infer_local_response_backward(const InferContext& c) {
  c.expect_shape(1, c.shape(0), "dy");
  return infer_local_response(c);
}

void local_response_gradient(GradContext& c) {
  c.set(0, c.add("local_response_norm_backward", {c.in(0), c.grad()}, c.node.attrs));
}

const RegisterOp inference{{"batch_norm_inference", infer_inference, inference_gradient, {}, {0}, false}, 5};
const RegisterOp training{{"batch_norm_training", infer_training, training_gradient, {3, 4}, {0, 5}, false}, 6};
const RegisterOp training_backward{
    {"batch_norm_training_backward", infer_training_backward, nullptr, {}, {4, 0}, false}, 6};
const RegisterOp residual_backward{
    {"batch_norm_residual_backward", infer_residual_backward, nullptr, {}, {4}, false, 6, {{1, 0}}}, 6};
const RegisterOp planes_backward{{"batch_norm_planes_backward", infer_planes_backward, nullptr, {}, {}, false}, 3};
const RegisterOp inference_backward{
    {"batch_norm_inference_backward", infer_inference_backward, nullptr, {}, {4, 0}, false}, 5};
const RegisterOp local_response{{"local_response_norm", infer_local_response, local_response_gradient, {}, {}, false},
                                1};
const RegisterOp layer_norm{{"layer_norm", infer_layer_norm, nullptr, {}, {0}, false}, 3};
const RegisterOp group_norm{{"group_norm", infer_group_norm, nullptr, {}, {0}, false}, 3};
const RegisterOp local_response_backward{
    {"local_response_norm_backward", infer_local_response_backward, nullptr, {}, {}, false}, 2};

}  // namespace
}  // namespace fastconv
