// Max-pooling. Gradients around it, where fewer elements say the same: what a window's winner is, its maximum is too,
// and each element of the gradient goes to one winner. And convolutions beside it, which leave out the map between.
#include <algorithm>

#include "graph/passes/passes.hpp"
#include "ops/pool.hpp"

namespace fastconv::passes {
namespace {

const Node* source(const Graph& graph, int value, const char* op) {
  const int at = value == kNone ? kNone : graph.value(value).node;
  if (at == kNone) return nullptr;
  const Node& node = graph.nodes()[static_cast<std::size_t>(at)];
  return node.op->name == op ? &node : nullptr;
}

// Bytes, without winners: what is in L1 anyway is pooled faster by a pass of its own (LeNet-5 on one image: 13 and 17
// us).
constexpr std::size_t kLeastMap = 128 << 10;

// Windows that lie side by side and inside the map, with winners of a byte.
bool side_by_side(const Node& node) {
  if (node.attrs.has("output_size") || node.attrs.boolean("ceil_mode", false)) return false;
  const Ints& kernel = node.attrs.ints("kernel");
  const auto is = [&](const char* key, const Ints& wanted) { return node.attrs.ints(key, wanted) == wanted; };
  return is("strides", kernel) && is("pads", {0, 0, 0, 0}) && is("dilations", {1, 1}) &&
         kernel[0] * kernel[1] <= kByteTaps;
}

// Of one group and more than one tap, and nothing beside x, w and a bias. Those of one tap have no time to win.
bool fits_pooling(const Graph& graph, const Node& conv, const Shape& kernel) {
  for (std::size_t k = conv.op->name == "conv2d" ? 3 : 2; k < conv.inputs.size(); ++k)
    if (conv.inputs[k] != kNone) return false;
  return conv.outputs.size() == 1 && conv.attrs.integer("groups", 1) == 1 && kernel[0] * kernel[1] > 1 &&
         graph.value(conv.inputs[0]).type.size() > 0 && !conv.attrs.has("algorithm");
}

void fuse_forward(Graph& graph, const std::vector<int>& uses, std::vector<bool>& gone) {
  const std::vector<bool> stable = stable_values(graph);
  for (std::size_t i = 0; i < gone.size(); ++i) {
    const Node& pool = graph.nodes()[i];
    const bool winners = pool.op->name == "max_pool2d_with_winners";
    if ((!winners && pool.op->name != "max_pool2d") || !side_by_side(pool)) continue;
    const int map = pool.inputs[0];
    const TensorType& type = graph.value(map).type;
    if (!winners && static_cast<std::size_t>(type.size()) * size_of(type.dtype) < kLeastMap) continue;
    const Node* conv = source(graph, map, "conv2d");
    if (!conv || uses[map] != 1 || stable[map]) continue;
    if (!fits_pooling(graph, *conv, graph.value(conv->inputs[1]).type.shape)) continue;
    const int at = graph.value(map).node;
    Node fused = *conv;
    fused.op = &find_op("conv2d_max_pool");
    fused.attrs.set("window", pool.attrs.ints("kernel"));
    fused.attrs.set("winners", winners);
    fused.outputs = pool.outputs;
    for (int out : fused.outputs) graph.set_source(out, at);
    gone[i] = true;
    graph.mutable_nodes()[static_cast<std::size_t>(at)] = std::move(fused);
  }
}

// The gradients of a convolution, which read the pooled one instead of what pooling's makes of it.
void fuse_backward(Graph& graph, const std::vector<int>& uses, std::vector<bool>& gone) {
  for (std::size_t i = 0; i < gone.size(); ++i) {
    const Node pool = graph.nodes()[i];
    if (pool.op->name != "max_pool2d_backward" || !side_by_side(pool)) continue;
    const int map = pool.outputs[0];
    std::vector<Node*> readers;
    for (Node& node : graph.mutable_nodes()) {
      const bool to_input = node.op->name == "conv_transpose2d",
                 to_weights = node.op->name == "conv2d_backward_weights";
      if (!to_input && !to_weights) continue;
      if (node.inputs[to_input ? 0 : 1] != map || node.inputs[to_input ? 1 : 0] == map) continue;
      const Shape kernel = to_input ? graph.value(node.inputs[1]).type.shape : node.attrs.ints("kernel");
      if (fits_pooling(graph, node, kernel) && graph.value(map).type.size() > 0) readers.push_back(&node);
    }
    if (static_cast<int>(readers.size()) != uses[map]) continue;
    for (Node* node : readers) {
      const bool to_input = node->op->name == "conv_transpose2d";
      node->op = &find_op(to_input ? "conv2d_max_pool_backward_input" : "conv2d_max_pool_backward_weights");
      node->inputs[to_input ? 0 : 1] = pool.inputs[0];
      node->inputs.resize(2);
      node->inputs.push_back(pool.inputs[1]);
      node->attrs.set("window", pool.attrs.ints("kernel"));
      node->attrs.set("map", pool.attrs.ints("input_size"));
    }
    gone[i] = true;
  }
}

}  // namespace

void fuse_pooling(Graph& graph, const Outputs& outputs) {
  const std::vector<int> uses = use_counts(graph, outputs);
  std::vector<bool> gone(graph.nodes().size(), false);
  fuse_forward(graph, uses, gone);
  fuse_backward(graph, uses, gone);
  erase_nodes(graph, gone);
}

void shrink_pooling_gradients(Graph& graph, const Outputs& outputs) {
  const auto uses = use_counts(graph, outputs);
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    const Node& gradient = graph.nodes()[i];
    if (!is_bounded_derivative(gradient) || gradient.attrs.boolean("reads_input", false)) continue;
    const int spread = gradient.inputs[0], y = gradient.inputs[1];
    const Node* backward = source(graph, spread, "max_pool2d_backward");
    if (!backward || uses[spread] != 1) continue;
    const Node* pool = source(graph, backward->inputs[1], "max_pool2d_with_winners");
    if (!pool || pool->inputs[0] != y) continue;
    Node small =
        graph.make_node(gradient.op->name, {backward->inputs[0], pool->outputs[0]}, gradient.attrs, gradient.name);
    Node large = *backward;
    large.inputs[0] = small.outputs[0];
    large.outputs = gradient.outputs;
    const int before = graph.value(spread).node;
    graph.set_source(small.outputs[0], before);
    graph.mutable_nodes()[static_cast<std::size_t>(before)] = std::move(small);
    graph.mutable_nodes()[i] = std::move(large);
  }
  for (Node& sum : graph.mutable_nodes()) {
    if (sum.op->name != "reduce_sum" || sum.attrs.ints("axes", {}) != Ints{0, 1, 2}) continue;
    if (const Node* backward = source(graph, sum.inputs[0], "max_pool2d_backward")) sum.inputs[0] = backward->inputs[0];
  }
}

}  // namespace fastconv::passes
