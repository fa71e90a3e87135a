// Convolution and max-pooling of its output by windows side by side as one node, and the gradients of such a
// convolution from the pooled one's: the map between is nowhere. Plans make these nodes of several.
#include "ops/conv.hpp"
#include "ops/pool.hpp"

namespace fastconv {
namespace {

// The window, and how many of them a map of `size` has.
Shape pooled(const InferContext& c, const Shape& map) {
  const Ints& window = c.attrs().ints("window");
  if (window.size() != 2 || window[0] < 1 || window[1] < 1 || window[0] > kByteTaps || window[1] > kByteTaps ||
      window[0] * window[1] > kByteTaps)
    c.fail("window is " + to_string(window) + ", expected two positive numbers of product at most " +
           std::to_string(kByteTaps));
  if (c.attrs().integer("groups", 1) != 1)
    c.fail("groups is " + std::to_string(c.attrs().integer("groups", 1)) + ", expected 1");
  if (map[1] < window[0] || map[2] < window[1])
    c.fail("window " + to_string(window) + " is larger than the map of " + to_string({map[1], map[2]}));
  return {map[0], map[1] / window[0], map[2] / window[1], map[3]};
}

std::vector<TensorType> infer_forward(const InferContext& c) {
  TensorType y = find_op("conv2d").infer(c)[0];
  y.shape = pooled(c, y.shape);
  if (!c.attrs().boolean("winners", false)) return {y};
  return {y, pool_winners_type(y, 1)};
}

// dy and winners, which inputs `at` and at + 1 or 2 are, belong to the convolution's output of size "map".
Shape map_of(const InferContext& c, std::size_t dy, std::size_t winners) {
  c.expect_rank(dy, 4, "output gradient");
  const Ints& map = c.attrs().ints("map");
  if (map.size() != 2) c.fail("map is " + to_string(map) + ", expected two numbers");
  const Shape whole{c.shape(dy)[0], map[0], map[1], c.shape(dy)[3]};
  c.expect_shape(dy, pooled(c, whole), "output gradient");
  c.expect_shape(winners, pool_winners_type(c.type(dy), 1).shape, "winners");
  if (c.type(winners).dtype != DType::i64)
    c.fail("winners is " + std::string(name_of(c.type(winners).dtype)) + ", expected int64");
  return whole;
}

// The types of the operator's outputs that reads the whole map instead of input k and the winners after all others.
std::vector<TensorType> infer_as(const char* op, const InferContext& c, std::size_t k) {
  c.expect_rank(0, 4, "input");
  c.expect_rank(1, 4, "second input");
  if (c.inputs() != 3) c.fail("has " + std::to_string(c.inputs()) + " inputs, expected 3");
  const Shape map = map_of(c, k, 2);
  Graph graph;
  std::vector<int> inputs;
  for (std::size_t i = 0; i < 2; ++i) inputs.push_back(graph.input("", {i == k ? map : c.shape(i), c.type(i).dtype}));
  return {graph.value(graph.add(op, inputs, c.attrs())[0]).type};
}

std::vector<TensorType> infer_input(const InferContext& c) { return infer_as("conv_transpose2d", c, 0); }
std::vector<TensorType> infer_weights(const InferContext& c) { return infer_as("conv2d_backward_weights", c, 1); }

const RegisterOp forward{{"conv2d_max_pool", infer_forward, {}, {}, {}, false}, 3};
const RegisterOp input{{"conv2d_max_pool_backward_input", infer_input, {}, {}, {}, false}, 3};
const RegisterOp weights{{"conv2d_max_pool_backward_weights", infer_weights, {}, {}, {}, false}, 3};

}  // namespace
}  // namespace fastconv
