// Passes that give a convolution, dense layer or batch normalization what follows it to do: additions and activations.
#include <algorithm>
#include <utility>

#include "graph/passes/passes.hpp"
#include "ops/elementwise.hpp"

namespace fastconv::passes {

void fuse_residuals(Graph& graph, const Outputs& outputs) {
  const auto uses = use_counts(graph, outputs);
  const auto changed = changed_variables(graph);
  const auto stable = stable_values(graph);
  std::vector<bool> gone(graph.nodes().size(), false);
  for (std::size_t i = 0; i < gone.size(); ++i) {
    const Node& sum = graph.nodes()[i];
    if (sum.op->name != "add") continue;
    const int out = sum.outputs[0];
    // Of two convolutions the later one: the other's result is there before it.
    int conv = kNone, residual = kNone;
    for (std::size_t k = 0; k < 2; ++k) {
      const int mine = sum.inputs[k], other = sum.inputs[1 - k];
      const int at = graph.value(mine).node;
      if (at == kNone || uses[mine] != 1 || at < conv || mine == other) continue;
      if (stable[mine] && !stable[other]) continue;  // it would have to run every time
      const Node& node = graph.nodes()[at];
      if (node.op->name != "conv2d" || node.attrs.text("activation", "") != "") continue;
      if (node.inputs.size() > 3 && node.inputs[3] != kNone) continue;
      if (graph.value(other).type.shape != graph.value(out).type.shape || changed[other]) continue;
      if (graph.value(mine).type.shape != graph.value(out).type.shape) continue;
      if (graph.value(other).node >= at) continue;  // inputs and variables are at kNone
      conv = at;
      residual = other;
    }
    if (conv == kNone) continue;
    Node& node = graph.mutable_nodes()[static_cast<std::size_t>(conv)];
    node.inputs.resize(4, kNone);
    node.inputs[3] = residual;
    node.outputs[0] = out;
    gone[i] = true;
    graph.set_source(out, conv);
  }
  erase_nodes(graph, gone);
}

void fuse_activations(Graph& graph, const Outputs& outputs) {
  const auto uses = use_counts(graph, outputs);
  std::vector<bool> gone(graph.nodes().size(), false);
  for (std::size_t i = 0; i < gone.size(); ++i) {
    const Node& act = graph.nodes()[i];
    const UnaryInfo* info = find_unary(act.op->name);
    if (!info || act.inputs.size() != 1) continue;
    const int in = act.inputs[0], out = act.outputs[0], source = graph.value(in).node;
    if (source == kNone || uses[in] != 1 || graph.value(in).type.dtype != graph.value(out).type.dtype) continue;
    Node& layer = graph.mutable_nodes()[static_cast<std::size_t>(source)];
    if (!(is_layer(layer) || layer.op->name == "batch_norm_inference") || layer.attrs.text("activation", "") != "")
      continue;
    layer.attrs.set("activation", act.op->name);
    // The layer may have some without meaning to it.
    for (const char* key : {info->attributes[0], info->attributes[1], "approximate", "reads_input"})
      layer.attrs.erase(key);
    const Attrs own = own_attributes(*info, act.attrs);
    for (const auto& [key, value] : own.items()) layer.attrs.set(key, value);
    layer.outputs[0] = out;
    gone[i] = true;
    graph.set_source(out, source);
  }
  erase_nodes(graph, gone);
}

}  // namespace fastconv::passes
