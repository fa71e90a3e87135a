// Convolution, its transpose and its weight gradient: together closed under differentiation.
#include "ops/conv.hpp"

#include "ops/elementwise.hpp"
#include "ops/shapes.hpp"

namespace fastconv {
namespace {

constexpr std::int64_t kLimit = std::int64_t{1} << 31;

const Ints& pair(const InferContext& c, const char* key, std::size_t length, std::int64_t least) {
  const Ints& v = c.attrs().ints(key);
  if (v.size() != length)
    c.fail(std::string(key) + " has " + std::to_string(v.size()) + " numbers, expected " + std::to_string(length));
  for (auto x : v)
    if (x < least || x >= kLimit)
      c.fail(std::string(key) + " is " + to_string(v) + ", expected numbers from " + std::to_string(least));
  return v;
}

// Natural output size along one axis; fails when the kernel does not fit.
std::int64_t conv_size(const InferContext& c, std::int64_t in, std::int64_t kernel, std::int64_t stride,
                       std::int64_t before, std::int64_t after, std::int64_t dilation) {
  const std::int64_t reach = dilation * (kernel - 1) + 1, padded = in + before + after;
  if (padded < reach)
    c.fail("the kernel covers " + std::to_string(reach) + " elements, more than the padded input's " +
           std::to_string(padded));
  return (padded - reach) / stride + 1;
}

struct Spatial {
  Ints strides, pads, dilations;
  std::int64_t groups;
};

Spatial spatial(const InferContext& c) {
  Spatial s{pair(c, "strides", 2, 1), pair(c, "pads", 4, 0), pair(c, "dilations", 2, 1),
            c.attrs().integer("groups", 1)};
  if (s.groups < 1) c.fail("groups is " + std::to_string(s.groups) + ", expected at least 1");
  return s;
}

void check_weight(const InferContext& c, const Shape& w, std::int64_t groups, bool transposed) {
  for (auto d : w)
    if (d < 1 || d >= kLimit) c.fail("weight has shape " + to_string(w) + ", expected dimensions from 1");
  if (w[3] % groups)
    c.fail("weight's last dimension " + std::to_string(w[3]) + " is not divisible by groups " + std::to_string(groups));
  if ((transposed ? w[2] * groups : w[3]) > kMostChannels)
    c.fail("weight of shape " + to_string(w) + " has more than " + std::to_string(kMostChannels) + " output channels");
}

void check_bias(const InferContext& c, std::size_t i, std::int64_t channels) {
  if (c.has(i)) c.expect_shape(i, {channels}, "bias");
}

// A wish for how it is computed, heard where that is possible.
void check_algorithm(const InferContext& c) {
  const std::string wish = c.attrs().text("algorithm", "");
  if (wish.empty() || wish == "direct" || wish == "strassen" || wish == "winners") return;
  std::string names;
  for (const char* known : {"F(2,3)", "F(3,3)", "F(4,3)", "F(5,3)", "F(6,3)", "F(2,5)", "F(3,5)", "F(4,5)", "F(2,3)/2",
                            "F(4,3)/2", "F(3,3)T", "F(4,3)T", "F(5,3)T"}) {
    if (wish == std::string("winograd ") + known) return;
    names += (names.empty() ? "" : ", ") + std::string(known);
  }
  c.fail("algorithm is \"" + wish + "\", expected \"direct\", \"strassen\", \"winners\" or \"winograd \" and one of " +
         names);
}

std::vector<TensorType> infer_conv2d(const InferContext& c) {
  c.expect_same_dtype();
  c.expect_rank(0, 4, "input");
  c.expect_rank(1, 4, "weight");
  const Shape &x = c.shape(0), &w = c.shape(1);
  const Spatial s = spatial(c);
  check_weight(c, w, s.groups, false);
  if (w[2] * s.groups != x[3])
    c.fail("input " + to_string(x) + " has " + std::to_string(x[3]) + " channels, expected weight's " +
           std::to_string(w[2]) + " x groups " + std::to_string(s.groups));
  check_bias(c, 2, w[3]);
  std::int64_t oh = conv_size(c, x[1], w[0], s.strides[0], s.pads[0], s.pads[2], s.dilations[0]);
  std::int64_t ow = conv_size(c, x[2], w[1], s.strides[1], s.pads[1], s.pads[3], s.dilations[1]);
  if (c.attrs().has("output_size")) {  // fewer rows and columns than there could be
    const Ints& size = pair(c, "output_size", 2, 1);
    if (size[0] > oh || size[1] > ow) c.fail("output_size " + to_string(size) + " is more than " + to_string({oh, ow}));
    oh = size[0], ow = size[1];
  }
  const Shape y{x[0], oh, ow, w[3]};
  if (c.has(3)) c.expect_shape(3, y, "residual");
  if (c.has(4)) {
    c.expect_shape(4, {x[0], 1, 1, x[3]}, "factor");
    if (w[0] != 1 || w[1] != 1 || s.groups != 1 || oh != x[1] || ow != x[2] || s.pads != Ints{0, 0, 0, 0})
      c.fail("a factor is for 1x1 kernels with stride 1, without padding and groups");
  }
  check_activation(c);
  check_algorithm(c);
  return {{y, c.type(0).dtype}};
}

// A 1x1 convolution with its activation, and the depthwise convolution that alone reads it. Plans make it of two nodes.
std::vector<TensorType> infer_conv2d_depthwise(const InferContext& c) {
  c.expect_same_dtype();
  c.expect_rank(0, 4, "input");
  c.expect_rank(1, 4, "first weight");
  c.expect_rank(3, 4, "second weight");
  const Shape &x = c.shape(0), &first = c.shape(1), &w = c.shape(3);
  const Spatial s = spatial(c);
  check_weight(c, first, 1, false);
  check_weight(c, w, s.groups, false);
  const std::int64_t channels = first[3];
  c.expect_shape(1, {1, 1, x[3], channels}, "first weight");
  check_bias(c, 2, channels);
  if (s.groups != channels || w[2] != 1 || w[3] != channels)
    c.fail("second weight has shape " + to_string(w) + " and groups " + std::to_string(s.groups) +
           ", expected those of a depthwise convolution of " + std::to_string(channels) + " channels");
  check_bias(c, 4, channels);
  const std::int64_t oh = conv_size(c, x[1], w[0], s.strides[0], s.pads[0], s.pads[2], s.dilations[0]);
  const std::int64_t ow = conv_size(c, x[2], w[1], s.strides[1], s.pads[1], s.pads[3], s.dilations[1]);
  check_activation(c);
  check_activation(c, expansion_attrs(c.attrs()));
  return {{{x[0], oh, ow, channels}, c.type(0).dtype}};
}

std::vector<TensorType> infer_conv_transpose2d(const InferContext& c) {
  c.expect_same_dtype();
  c.expect_rank(0, 4, "input");
  c.expect_rank(1, 4, "weight");
  const Shape &x = c.shape(0), &w = c.shape(1);
  const Spatial s = spatial(c);
  check_weight(c, w, s.groups, true);
  if (w[3] != x[3])
    c.fail("input " + to_string(x) + " has " + std::to_string(x[3]) + " channels, expected the weight's " +
           std::to_string(w[3]));
  check_bias(c, 2, w[2] * s.groups);
  const Ints& size = pair(c, "output_size", 2, 1);
  for (int i = 0; i < 2; ++i) {
    const std::int64_t natural = conv_size(c, size[i], w[i], s.strides[i], s.pads[i], s.pads[i + 2], s.dilations[i]);
    if (natural < x[1 + i]) c.fail("output_size " + to_string(size) + " is too small for input " + to_string(x));
  }
  const Shape y{x[0], size[0], size[1], w[2] * s.groups};
  if (c.has(3)) c.expect_shape(3, y, "residual");
  check_activation(c);
  check_algorithm(c);
  return {{y, c.type(0).dtype}};
}

std::vector<TensorType> infer_backward_weights(const InferContext& c) {
  c.expect_same_dtype();
  c.expect_rank(0, 4, "input");
  c.expect_rank(1, 4, "output gradient");
  const Shape &x = c.shape(0), &dy = c.shape(1);
  const Spatial s = spatial(c);
  const Ints& kernel = pair(c, "kernel", 2, 1);
  if (x[0] != dy[0]) c.fail("input " + to_string(x) + " and output gradient " + to_string(dy) + " differ in batch");
  if (x[3] % s.groups || dy[3] % s.groups)
    c.fail("channels " + std::to_string(x[3]) + " and " + std::to_string(dy[3]) + " are not divisible by groups " +
           std::to_string(s.groups));
  for (int i = 0; i < 2; ++i)
    if (conv_size(c, x[1 + i], kernel[i], s.strides[i], s.pads[i], s.pads[i + 2], s.dilations[i]) < dy[1 + i])
      c.fail("output gradient " + to_string(dy) + " is larger than the convolution's output");
  return {{{kernel[0], kernel[1], x[3] / s.groups, dy[3]}, c.type(0).dtype}};
}

Attrs geometry_attrs(const Attrs& from) {
  Attrs a;
  for (const char* key : {"strides", "pads", "dilations"}) a.set(key, from.ints(key));
  a.set("groups", from.integer("groups", 1));
  return a;
}

Attrs with(Attrs a, const char* key, Ints value) {
  a.set(key, std::move(value));
  return a;
}

void refuse_fused(const GradContext& c) {
  if (c.node.attrs.text("activation", "") != "")
    throw Error(c.node.op->name + ": add the activation as a node of its own to differentiate; the plan fuses it");
  if (c.in(4) != kNone)
    throw Error(c.node.op->name + ": multiply by the factor in a node of its own to differentiate; the plan fuses it");
}

int channel_sum(GradContext& c, int dy) {
  return c.add("reduce_sum", {dy}, {{"axes", Ints{0, 1, 2}}, {"keepdims", false}});
}

void grad_conv2d(GradContext& c) {
  refuse_fused(c);
  const Attrs a = geometry_attrs(c.node.attrs);
  const Shape x = c.type(c.in(0)).shape, w = c.type(c.in(1)).shape;
  if (c.needs(0)) c.set(0, c.add("conv_transpose2d", {c.grad(), c.in(1)}, with(a, "output_size", {x[1], x[2]})));
  if (c.needs(1)) c.set(1, c.add("conv2d_backward_weights", {c.in(0), c.grad()}, with(a, "kernel", {w[0], w[1]})));
  if (c.needs(2)) c.set(2, channel_sum(c, c.grad()));
  if (c.needs(3)) c.set(3, c.grad());
}

void grad_conv_transpose2d(GradContext& c) {
  refuse_fused(c);
  const Attrs a = geometry_attrs(c.node.attrs);
  const Shape x = c.type(c.in(0)).shape, w = c.type(c.in(1)).shape;
  if (c.needs(0)) c.set(0, c.add("conv2d", {c.grad(), c.in(1)}, with(a, "output_size", {x[1], x[2]})));
  if (c.needs(1)) c.set(1, c.add("conv2d_backward_weights", {c.grad(), c.in(0)}, with(a, "kernel", {w[0], w[1]})));
  if (c.needs(2)) c.set(2, channel_sum(c, c.grad()));
  if (c.needs(3)) c.set(3, c.grad());
}

void grad_backward_weights(GradContext& c) {
  const Attrs a = geometry_attrs(c.node.attrs);
  const Shape x = c.type(c.in(0)).shape, dy = c.type(c.in(1)).shape;
  if (c.needs(0)) c.set(0, c.add("conv_transpose2d", {c.in(1), c.grad()}, with(a, "output_size", {x[1], x[2]})));
  if (c.needs(1)) c.set(1, c.add("conv2d", {c.in(0), c.grad()}, with(a, "output_size", {dy[1], dy[2]})));
}

const RegisterOp conv2d{{"conv2d", infer_conv2d, grad_conv2d, {}, {3}, false}, 5};
const RegisterOp conv2d_depthwise{{"conv2d_depthwise", infer_conv2d_depthwise, {}, {}, {}, false}, 5};
const RegisterOp conv_transpose2d{{"conv_transpose2d", infer_conv_transpose2d, grad_conv_transpose2d, {}, {3}, false},
                                  4};
const RegisterOp backward_weights{
    {"conv2d_backward_weights", infer_backward_weights, grad_backward_weights, {}, {}, false}, 2};

}  // namespace

Attrs expansion_attrs(const Attrs& attrs) {
  const std::string prefix = "expand_";
  Attrs own;
  for (const auto& [key, value] : attrs.items())
    if (key.compare(0, prefix.size(), prefix) == 0) own.set(key.substr(prefix.size()), value);
  return own;
}

ConvGeometry conv_geometry(const Attrs& attrs, const Shape& x, const Shape& w, const Shape& y) {
  ConvGeometry g;
  g.n = x[0], g.h = x[1], g.w = x[2], g.c = x[3];
  g.kh = w[0], g.kw = w[1];
  g.oh = y[1], g.ow = y[2], g.k = y[3];
  g.groups = attrs.integer("groups", 1);
  const Ints &strides = attrs.ints("strides"), &pads = attrs.ints("pads"), &dilations = attrs.ints("dilations");
  g.stride_h = strides[0], g.stride_w = strides[1];
  g.dilation_h = dilations[0], g.dilation_w = dilations[1];
  g.top = pads[0], g.left = pads[1], g.bottom = pads[2], g.right = pads[3];
  return g;
}

}  // namespace fastconv
