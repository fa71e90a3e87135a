// Optimizer steps: change their variables in place, have no outputs. Formulas in kernels/optimizer.isa.cpp.
#include "graph/graph.hpp"

namespace fastconv {
namespace {

// States (from input 2 on) and the gradient look like the parameter; scalars are one element of its dtype.
void check(const InferContext& c, std::size_t states, std::size_t scalars) {
  c.expect_same_dtype();
  if (c.inputs() != 2 + states + scalars)
    c.fail("got " + std::to_string(c.inputs()) + " inputs, expected " + std::to_string(2 + states + scalars));
  c.expect_shape(1, c.shape(0), "gradient");
  for (std::size_t i = 2; i < 2 + states; ++i)
    if (c.has(i)) c.expect_shape(i, c.shape(0), "state");
  for (std::size_t i = 2 + states; i < c.inputs(); ++i)
    if (c.has(i) && c.type(i).size() != 1)
      c.fail("input " + std::to_string(i) + " has shape " + to_string(c.shape(i)) + ", expected ()");
  c.attrs().real("weight_decay", 0);
}

void require(const InferContext& c, std::size_t i, const char* what) {
  if (!c.has(i)) c.fail(std::string(what) + " (input " + std::to_string(i) + ") is missing");
}

std::vector<TensorType> infer_sgd(const InferContext& c) {
  check(c, 1, 1);
  if (c.attrs().real("momentum", 0) != 0) require(c, 2, "velocity");
  require(c, 3, "lr");
  return {};
}

std::vector<TensorType> infer_adam(const InferContext& c) {
  check(c, 3, 2);
  require(c, 2, "m");
  require(c, 3, "v");
  require(c, 5, "lr");
  require(c, 6, "step");
  return {};
}

std::vector<TensorType> infer_rmsprop(const InferContext& c) {
  check(c, 3, 1);
  require(c, 2, "v");
  if (c.attrs().real("momentum", 0) != 0) require(c, 3, "momentum_buf");
  require(c, 5, "lr");
  return {};
}

std::vector<TensorType> infer_adagrad(const InferContext& c) {
  check(c, 1, 1);
  require(c, 2, "accumulator");
  require(c, 3, "lr");
  return {};
}

const RegisterOp sgd_op{{"sgd_update", infer_sgd, nullptr, {0, 2}, {}, false}};
const RegisterOp adam_op{{"adam_update", infer_adam, nullptr, {0, 2, 3, 4}, {}, false}};
const RegisterOp rmsprop_op{{"rmsprop_update", infer_rmsprop, nullptr, {0, 2, 3, 4}, {}, false}};
const RegisterOp adagrad_op{{"adagrad_update", infer_adagrad, nullptr, {0, 2}, {}, false}};

}  // namespace
}  // namespace fastconv
