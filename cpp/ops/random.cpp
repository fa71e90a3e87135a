// Operators that draw random numbers from a seed: dropout and random_uniform.
#include <cmath>

#include "ops/shapes.hpp"

namespace fastconv {
namespace {

void expect_seed(const InferContext& c, std::size_t i) {
  if (c.type(i).dtype != DType::i64 || c.type(i).size() != 1)
    c.fail("seed has shape " + to_string(c.shape(i)) + " and dtype " + name_of(c.type(i).dtype) +
           ", expected one int64");
}

std::vector<TensorType> infer_dropout(const InferContext& c) {
  c.expect_dtype(0, kFloating);
  expect_seed(c, 1);
  const double rate = c.attrs().real("rate", -1);
  if (!(rate >= 0 && rate <= 1)) c.fail("rate is " + std::to_string(rate) + ", expected a number from 0 to 1");
  c.attrs().integer("salt", 0);
  return {c.type(0)};
}

OpDef dropout_def() {
  OpDef def;
  def.name = "dropout";
  def.infer = infer_dropout;
  // The mask is computed again from the same seed, never stored.
  def.gradient = [](GradContext& c) {
    if (c.needs(0)) c.set(0, c.add("dropout", {c.grad(), c.in(1)}, c.node.attrs));
  };
  def.inplace = {0};
  return def;
}
const RegisterOp dropout_op{dropout_def(), 2};

// seed -> y in [low, high)
std::vector<TensorType> infer_uniform(const InferContext& c) {
  expect_seed(c, 0);
  const TensorType y{c.attrs().ints("shape"), dtype_from_name(c.attrs().text("dtype", "float32"))};
  if (!is_floating(y.dtype)) c.fail(std::string("dtype is ") + name_of(y.dtype) + ", expected float32 or float64");
  num_elements(y.shape);
  const double low = c.attrs().real("low", 0), high = c.attrs().real("high", 1);
  if (!(std::isfinite(low) && std::isfinite(high) && low <= high))
    c.fail("low is " + std::to_string(low) + " and high " + std::to_string(high) +
           ", expected finite numbers, low <= high");
  c.attrs().integer("salt", 0);
  return {y};
}
const RegisterOp uniform_op{{"random_uniform", infer_uniform, nullptr, {}, {}, false}, 1};

}  // namespace
}  // namespace fastconv
