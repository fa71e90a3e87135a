// Elementwise operators of one input, made from kernels/unary.inc: each function `f`, and where it has a derivative
// kernel `f_grad`: dy, s -> dy * f'(s).
#include <limits>

#include "ops/elementwise.hpp"
#include "ops/shapes.hpp"

namespace fastconv {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

const UnaryInfo kTable[] = {
#define FASTCONV_UNARY(name, reads, a, a_default, b, b_default) \
  {Unary::name, #name, #reads[0], {a, b}, {a_default, b_default}},
#define FASTCONV_UNARY_PLAIN(name, a, a_default, b, b_default) \
  {Unary::name, #name, '-', {a, b}, {a_default, b_default}},
#include "kernels/unary.inc"
#undef FASTCONV_UNARY
#undef FASTCONV_UNARY_PLAIN
};

const UnaryInfo& info_of(const std::string& op) {
  const std::string suffix = "_grad";
  if (const UnaryInfo* info = find_unary(op)) return *info;
  return *find_unary(op.substr(0, op.size() - suffix.size()));
}

template <Unary f>
std::vector<TensorType> infer(const InferContext& c) {
  constexpr bool integers =
      f == Unary::relu || f == Unary::clip || f == Unary::neg || f == Unary::abs || f == Unary::sign;
  c.expect_same_dtype(f == Unary::identity ? kAny : integers ? kNumbers : kFloating);
  unary_parameters(unary_info(f), c.attrs());
  return {c.type(0)};
}

template <Unary f>
std::vector<TensorType> infer_grad(const InferContext& c) {
  c.expect_same_dtype();
  c.expect_shape(1, c.shape(0), "the function's input or output");
  unary_parameters(unary_info(f), c.attrs());
  return {c.type(0)};
}

void gradient(GradContext& c) {
  const UnaryInfo& info = info_of(c.node.op->name);
  const bool from_y = gradient_from_output(info, unary_parameters(info, c.node.attrs));
  Attrs attrs = own_attributes(info, c.node.attrs);
  if (!from_y) attrs.set("reads_input", true);
  c.set(0, c.add(std::string(info.name) + "_grad", {c.grad(), from_y ? c.out() : c.in(0)}, attrs));
}

void gradient_plain(GradContext& c) {
  const UnaryInfo& info = info_of(c.node.op->name);
  const auto add = [&](const char* op, std::vector<int> inputs, Attrs attrs = {}) {
    return c.add(op, std::move(inputs), std::move(attrs));
  };
  const auto set = [&](const char* op, int factor) { c.set(0, add(op, {c.grad(), factor})); };
  // alpha * v^2 + beta
  const auto square = [&](int v, double alpha, double beta) {
    return add("scale", {add("square", {v})}, {{"alpha", alpha}, {"beta", beta}});
  };
  const int x = c.in(0);
  switch (info.function) {
    case Unary::sin: return set("mul", add("cos", {x}));
    case Unary::cos: return set("mul", add("neg", {add("sin", {x})}));
    case Unary::tan: return set("mul", square(c.out(), 1, 1));
    case Unary::asin: return set("mul", add("rsqrt", {square(x, -1, 1)}));
    case Unary::acos: return set("mul", add("neg", {add("rsqrt", {square(x, -1, 1)})}));
    case Unary::atan: return set("div", square(x, 1, 1));
    case Unary::sinh: return set("mul", add("cosh", {x}));
    case Unary::cosh: return set("mul", add("sinh", {x}));
    case Unary::asinh: return set("mul", add("rsqrt", {square(x, 1, 1)}));
    case Unary::acosh: return set("mul", add("rsqrt", {square(x, 1, -1)}));
    case Unary::atanh: return set("div", square(x, -1, 1));
    case Unary::floor:
    case Unary::ceil:
    case Unary::round:
    case Unary::sign: return c.set(0, filled(c, 0, c.type(c.grad())));
    case Unary::neg: return c.set(0, c.add("neg", {c.grad()}));
    case Unary::scale: return c.set(0, c.add("scale", {c.grad()}, {{"alpha", c.node.attrs.real("alpha", 1)}}));
    default: return c.set(0, c.grad());
  }
}

OpDef elementwise(const char* name, decltype(OpDef::infer) infer, decltype(OpDef::gradient) gradient,
                  std::vector<int> inplace) {
  OpDef def;
  def.name = name;
  def.infer = std::move(infer);
  def.gradient = std::move(gradient);
  def.inplace = std::move(inplace);
  return def;
}

#define FASTCONV_UNARY(name, reads, a, a_default, b, b_default)                         \
  const RegisterOp name##_op{elementwise(#name, infer<Unary::name>, gradient, {0}), 1}; \
  const RegisterOp name##_grad_op{elementwise(#name "_grad", infer_grad<Unary::name>, nullptr, {0, 1}), 2};
#define FASTCONV_UNARY_PLAIN(name, a, a_default, b, b_default) \
  const RegisterOp name##_op{elementwise(#name, infer<Unary::name>, gradient_plain, {0}), 1};
#include "kernels/unary.inc"
#undef FASTCONV_UNARY
#undef FASTCONV_UNARY_PLAIN

}  // namespace

const UnaryInfo& unary_info(Unary function) { return kTable[static_cast<std::size_t>(function)]; }

const UnaryInfo* find_unary(const std::string& name) {
  for (const UnaryInfo& info : kTable)
    if (name == info.name) return &info;
  return nullptr;
}

Attrs own_attributes(const UnaryInfo& info, const Attrs& attrs) {
  Attrs own;
  for (const char* key : {info.attributes[0], info.attributes[1], "approximate"})
    if (attrs.has(key)) own.set(key, attrs.items().at(key));
  return own;
}

void check_activation(const InferContext& c, const Attrs& attrs) {
  const std::string name = attrs.text("activation", "");
  if (name.empty()) return;
  const UnaryInfo* info = find_unary(name);
  if (!info) c.fail("activation is \"" + name + "\", expected the name of an elementwise operator of one input");
  unary_parameters(*info, attrs);
}

UnaryParameters unary_parameters(const UnaryInfo& info, const Attrs& attrs) {
  UnaryParameters p;
  double* values[] = {&p.a, &p.b};
  for (int i = 0; i < 2; ++i)
    *values[i] = info.attributes[i][0] ? attrs.real(info.attributes[i], info.defaults[i]) : info.defaults[i];
  p.reads_input = attrs.boolean("reads_input", false);
  if ((info.function == Unary::hard_sigmoid || info.function == Unary::celu) && p.a == 0)
    throw Error("alpha is 0, expected another number");
  if (info.function == Unary::gelu) {
    const std::string approximate = attrs.text("approximate", "none");
    if (approximate != "none" && approximate != "tanh")
      throw Error("approximate is \"" + approximate + "\", expected \"none\" or \"tanh\"");
    p.a = approximate == "tanh";
  }
  return p;
}

bool gradient_from_output(const UnaryInfo& info, const UnaryParameters& p) {
  // With a negative slope the output no longer tells the input's sign.
  if (info.function == Unary::leaky_relu) return p.a >= 0;
  return info.reads == 'y';
}

int activation_gradient(GradContext& context, const std::string& activation, const Attrs& attrs, int dy, int y) {
  const UnaryInfo* info = find_unary(activation);
  if (!info || !gradient_from_output(*info, unary_parameters(*info, attrs)))
    throw Error("activation " + activation + " cannot be fused");
  return context.add(activation + "_grad", {dy, y}, own_attributes(*info, attrs));
}

}  // namespace fastconv
