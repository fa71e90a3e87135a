// resize of NHWC images, and its adjoint.
#include "ops/shapes.hpp"

namespace fastconv {
namespace {

std::vector<TensorType> infer(const InferContext& c) {
  c.expect_same_dtype();
  c.expect_rank(0, 4, "input");
  const Ints& size = c.attrs().ints("size");
  const std::string mode = c.attrs().text("mode", "nearest");
  if (mode != "nearest" && mode != "bilinear") c.fail("mode is \"" + mode + "\", expected nearest or bilinear");
  if (size.size() != 2 || size[0] < 1 || size[1] < 1)
    c.fail("size is " + to_string(size) + ", expected [H, W], each at least 1");
  TensorType out = c.type(0);
  if (out.shape[1] < 1 || out.shape[2] < 1) c.fail("input of shape " + to_string(out.shape) + " has no pixels");
  for (auto n : {size[0], size[1], out.shape[1], out.shape[2]})
    if (n > kMostPlanned / 4)
      c.fail("input of shape " + to_string(out.shape) + " and size " + to_string(size) + ": expected at most " +
             std::to_string(kMostPlanned / 4) + " rows and columns");
  out.shape[1] = size[0];
  out.shape[2] = size[1];
  return {out};
}

void gradient_to(GradContext& c, const char* op) {
  const Shape& s = c.type(c.in(0)).shape;
  c.set(0, c.add(op, {c.grad()}, {{"size", Ints{s[1], s[2]}}, {"mode", c.node.attrs.text("mode", "nearest")}}));
}

const RegisterOp resize_op{{"resize", infer, [](GradContext& c) { gradient_to(c, "resize_backward"); }, {}, {}, false},
                           1};
const RegisterOp resize_backward_op{
    {"resize_backward", infer, [](GradContext& c) { gradient_to(c, "resize"); }, {}, {}, false}, 1};

}  // namespace
}  // namespace fastconv
