// Gradients around max-pooling, where fewer elements say the same: what a window's winner is, its maximum is too, and
// each element of the gradient goes to one winner.
#include <algorithm>

#include "graph/passes/passes.hpp"

namespace fastconv::passes {
namespace {

const Node* source(const Graph& graph, int value, const char* op) {
  const int at = value == kNone ? kNone : graph.value(value).node;
  if (at == kNone) return nullptr;
  const Node& node = graph.nodes()[static_cast<std::size_t>(at)];
  return node.op->name == op ? &node : nullptr;
}

}  // namespace

void shrink_pooling_gradients(Graph& graph, const Outputs& outputs) {
  const auto uses = use_counts(graph, outputs);
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    const Node& gradient = graph.nodes()[i];
    if (gradient.op->name != "relu_grad" || gradient.attrs.boolean("reads_input", false)) continue;
    const int spread = gradient.inputs[0], y = gradient.inputs[1];
    const Node* backward = source(graph, spread, "max_pool2d_backward");
    if (!backward || uses[spread] != 1) continue;
    const Node* pool = source(graph, backward->inputs[1], "max_pool2d_with_winners");
    if (!pool || pool->inputs[0] != y) continue;
    Node small = graph.make_node("relu_grad", {backward->inputs[0], pool->outputs[0]}, gradient.attrs, gradient.name);
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
