// A 1x1 convolution and the depthwise convolution that alone reads it become one node: what lies between them is large
// and then never in memory.
#include <algorithm>

#include "graph/passes/passes.hpp"

namespace fastconv::passes {
namespace {

// Bytes of an image between the two from which on it pays (docs/adr/0006-depthwise.md).
constexpr std::size_t kLarge = 128 << 10;

bool plain(const Node& node) {
  return !node.attrs.has("output_size") && input(node, 3) == kNone && input(node, 4) == kNone;
}

}  // namespace

void fuse_expansions(Graph& graph, const Outputs& outputs) {
  const auto uses = use_counts(graph, outputs);
  const auto changed = changed_variables(graph);
  const auto stable = stable_values(graph);
  std::vector<bool> gone(graph.nodes().size(), false);
  for (std::size_t i = 0; i < gone.size(); ++i) {
    Node& second = graph.mutable_nodes()[i];
    if (!plain(second) || !is_depthwise(graph, second)) continue;
    const int middle = second.inputs[0], at = graph.value(middle).node;
    if (at == kNone || uses[middle] != 1 || stable[middle]) continue;
    const Node& first = graph.nodes()[static_cast<std::size_t>(at)];
    const TensorType& type = graph.value(middle).type;
    if (!plain(first) || !is_pointwise(graph, first) || type.bytes() / static_cast<std::size_t>(type.shape[0]) < kLarge)
      continue;
    // They are read later than before.
    if (std::any_of(first.inputs.begin(), first.inputs.end(), [&](int in) { return in != kNone && changed[in]; }))
      continue;
    second.inputs = {first.inputs[0], first.inputs[1], input(first, 2), second.inputs[1], input(second, 2)};
    second.op = &find_op("conv2d_depthwise");
    for (const auto& [key, value] : first.attrs.items())
      if (key != "strides" && key != "pads" && key != "dilations" && key != "groups")
        second.attrs.set("expand_" + key, value);
    gone[static_cast<std::size_t>(at)] = true;
  }
  erase_nodes(graph, gone);
}

}  // namespace fastconv::passes
