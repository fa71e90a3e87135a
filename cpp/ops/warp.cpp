// warp: each image of a batch seen through an affine map of pixel positions; and its adjoint.
#include "ops/shapes.hpp"

namespace fastconv {
namespace {

void check(const InferContext& c) {
  c.expect_dtype(0, kFloating);
  c.expect_rank(0, 4, "input");
  const Shape& shape = c.shape(0);
  c.expect_shape(1, {shape[0], 6}, "matrices");
  if (c.type(1).dtype != DType::f64)
    c.fail(std::string("matrices are ") + name_of(c.type(1).dtype) + ", expected float64");
  if (shape[1] < 1 || shape[2] < 1) c.fail("input of shape " + to_string(shape) + " has no pixels");
  const std::int64_t order = c.attrs().integer("order", 1);
  if (order != 0 && order != 1) c.fail("order is " + std::to_string(order) + ", expected 0 or 1");
  const std::string fill = c.attrs().text("fill", "nearest");
  for (const char* known : {"constant", "grid-constant", "nearest", "reflect", "wrap", "grid-wrap"})
    if (fill == known) {
      c.attrs().real("value", 0);
      return;
    }
  c.fail("fill is \"" + fill + "\", expected constant, grid-constant, nearest, reflect, wrap or grid-wrap");
}

std::vector<TensorType> infer(const InferContext& c) {
  check(c);
  TensorType out = c.type(0);
  const Ints size = c.attrs().ints("size", {out.shape[1], out.shape[2]});
  if (size.size() != 2 || size[0] < 1 || size[1] < 1)
    c.fail("size is " + to_string(size) + ", expected [H, W], each at least 1");
  out.shape[1] = size[0];
  out.shape[2] = size[1];
  num_elements(out.shape);
  return {out};
}

void gradient_to(GradContext& c, const char* op) {
  if (c.needs(1)) throw Error("warp '" + c.node.name + "' is not differentiable with respect to its matrices");
  if (!c.needs(0)) return;
  Attrs attrs = c.node.attrs;
  const Shape& s = c.type(c.in(0)).shape;
  attrs.set("size", Ints{s[1], s[2]});
  attrs.set("value", 0.0);  // what comes from outside does not depend on the image
  c.set(0, c.add(op, {c.grad(), c.in(1)}, std::move(attrs)));
}

const RegisterOp warp_op{{"warp", infer, [](GradContext& c) { gradient_to(c, "warp_backward"); }, {}, {}, false}, 2};
const RegisterOp warp_backward_op{
    {"warp_backward", infer, [](GradContext& c) { gradient_to(c, "warp"); }, {}, {}, false}, 2};

}  // namespace
}  // namespace fastconv
