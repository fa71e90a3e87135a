// Elementwise operators of two inputs with NumPy's broadcasting, and broadcast_to.
#include "ops/elementwise.hpp"
#include "ops/shapes.hpp"

namespace fastconv {
namespace {

template <DTypeSet set>
std::vector<TensorType> infer(const InferContext& c) {
  c.expect_same_dtype(set);
  return {{broadcast_shape(c, c.shape(0), c.shape(1)), c.type(0).dtype}};
}

// Sets the gradient of input i to `value` summed over what was broadcast.
void set_reduced(GradContext& c, std::size_t i, int value) { c.set(i, reduce_to(c, value, c.type(c.in(i)).shape)); }

void gradient_add(GradContext& c) {
  for (std::size_t i = 0; i < 2; ++i)
    if (c.needs(i)) set_reduced(c, i, c.grad());
}

void gradient_sub(GradContext& c) {
  if (c.needs(0)) set_reduced(c, 0, c.grad());
  if (c.needs(1)) c.set(1, c.add("neg", {reduce_to(c, c.grad(), c.type(c.in(1)).shape)}));
}

void gradient_mul(GradContext& c) {
  for (std::size_t i = 0; i < 2; ++i)
    if (c.needs(i)) set_reduced(c, i, c.add("mul", {c.grad(), c.in(1 - i)}));
}

void gradient_div(GradContext& c) {
  const int share = c.add("div", {c.grad(), c.in(1)});
  if (c.needs(0)) set_reduced(c, 0, share);
  if (c.needs(1)) c.set(1, c.add("neg", {reduce_to(c, c.add("mul", {share, c.out()}), c.type(c.in(1)).shape)}));
}

void gradient_extremum(GradContext& c) {
  const std::string share = c.node.op->name + "_share";
  for (std::size_t i = 0; i < 2; ++i)
    if (c.needs(i)) set_reduced(c, i, c.add("mul", {c.grad(), c.add(share, {c.in(i), c.in(1 - i)})}));
}

void gradient_pow(GradContext& c) {
  if (c.needs(0)) set_reduced(c, 0, c.add("mul", {c.grad(), c.add("pow_base", {c.in(0), c.in(1)})}));
  if (c.needs(1)) set_reduced(c, 1, c.add("mul", {c.grad(), c.add("pow_exponent", {c.in(0), c.in(1)})}));
}

// y = a - trunc(a / b) * b where fmod is set, and floor otherwise.
void gradient_mod(GradContext& c) {
  if (c.needs(0)) set_reduced(c, 0, c.grad());
  if (!c.needs(1)) return;
  const int whole = c.add("div", {c.add("sub", {c.out(), c.in(0)}), c.in(1)});
  set_reduced(c, 1, c.add("mul", {c.grad(), whole}));
}

void gradient_prelu(GradContext& c) {
  if (c.needs(0)) set_reduced(c, 0, c.add("mul", {c.grad(), c.add("prelu_slope", {c.in(0), c.in(1)})}));
  if (c.needs(1)) set_reduced(c, 1, c.add("mul", {c.grad(), c.add("clip", {c.in(0)}, {{"max", 0.0}})}));
}

std::vector<TensorType> infer_mod(const InferContext& c) {
  c.attrs().boolean("fmod", false);
  return infer<kNumbers>(c);
}

OpDef binary(const char* name, void (*gradient)(GradContext&), decltype(OpDef::infer) infer) {
  OpDef def;
  def.name = name;
  def.infer = std::move(infer);
  if (gradient) def.gradient = gradient;
  def.inplace = {0, 1};
  def.max_inputs = 2;
  return def;
}

const RegisterOp add_op{binary("add", gradient_add, infer<kNumbers>)};
const RegisterOp sub_op{binary("sub", gradient_sub, infer<kNumbers>)};
const RegisterOp mul_op{binary("mul", gradient_mul, infer<kNumbers>)};
const RegisterOp div_op{binary("div", gradient_div, infer<kNumbers>)};
const RegisterOp maximum_op{binary("maximum", gradient_extremum, infer<kNumbers>)};
const RegisterOp minimum_op{binary("minimum", gradient_extremum, infer<kNumbers>)};
const RegisterOp pow_op{binary("pow", gradient_pow, infer<kNumbers>)};
const RegisterOp mod_op{binary("mod", gradient_mod, infer_mod)};
const RegisterOp prelu_op{binary("prelu", gradient_prelu, infer<kNumbers>)};
const RegisterOp equal_op{binary("equal", nullptr, infer<kFloating>)};
const RegisterOp maximum_share_op{binary("maximum_share", nullptr, infer<kFloating>)};
const RegisterOp minimum_share_op{binary("minimum_share", nullptr, infer<kFloating>)};
const RegisterOp pow_base_op{binary("pow_base", nullptr, infer<kFloating>)};
const RegisterOp pow_exponent_op{binary("pow_exponent", nullptr, infer<kFloating>)};
const RegisterOp prelu_slope_op{binary("prelu_slope", nullptr, infer<kFloating>)};

// y = activation(a * b + c). Plans make it of its parts.
std::vector<TensorType> infer_mul_add(const InferContext& c) {
  c.expect_same_dtype();
  check_activation(c);
  return {{broadcast_shape(c, broadcast_shape(c, c.shape(0), c.shape(1)), c.shape(2)), c.type(0).dtype}};
}
const RegisterOp mul_add_op{{"mul_add", infer_mul_add, {}, {}, {0, 1, 2}, false}, 3};

std::vector<TensorType> infer_broadcast_to(const InferContext& c) {
  const Shape& target = c.attrs().ints("shape");
  num_elements(target);
  if (broadcast_shape(c, c.shape(0), target) != target)
    c.fail("shape " + to_string(c.shape(0)) + " cannot be broadcast to " + to_string(target));
  return {{target, c.type(0).dtype}};
}

OpDef broadcast_to_def() {
  OpDef def;
  def.name = "broadcast_to";
  def.infer = infer_broadcast_to;
  def.gradient = [](GradContext& c) { set_reduced(c, 0, c.grad()); };
  return def;
}
const RegisterOp broadcast_to_op{broadcast_to_def(), 1};

}  // namespace

const char* name_of(Binary function) {
  static const char* const names[] = {
#define FASTCONV_BINARY(name) #name,
#include "kernels/binary.inc"
#undef FASTCONV_BINARY
  };
  return names[static_cast<std::size_t>(function)];
}

}  // namespace fastconv
