#include "graph/passes/passes.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace fastconv::passes {

bool mutates(const Node& node) {
  return std::any_of(node.op->mutates.begin(), node.op->mutates.end(),
                     [&](int m) { return m < static_cast<int>(node.inputs.size()) && node.inputs[m] != kNone; });
}

std::vector<int> use_counts(const Graph& graph, const Outputs& outputs) {
  std::vector<int> uses(graph.values().size(), 0);
  for (const Node& node : graph.nodes())
    for (int in : node.inputs)
      if (in != kNone) ++uses[in];
  for (int out : outputs) ++uses[out];
  return uses;
}

std::vector<bool> changed_variables(const Graph& graph) {
  std::vector<bool> changed(graph.values().size(), false);
  for (const Node& node : graph.nodes())
    for (int m : node.op->mutates)
      if (m < static_cast<int>(node.inputs.size()) && node.inputs[m] != kNone) changed[node.inputs[m]] = true;
  return changed;
}

std::vector<bool> stable_values(const Graph& graph) {
  std::vector<bool> stable(graph.values().size(), false);
  for (std::size_t i = 0; i < stable.size(); ++i) stable[i] = graph.values()[i].kind == Value::Kind::variable;
  for (const Node& node : graph.nodes())
    for (int m : node.op->mutates)
      if (m < static_cast<int>(node.inputs.size()) && node.inputs[m] != kNone) stable[node.inputs[m]] = false;
  for (const Node& node : graph.nodes()) {
    const bool all = !mutates(node) && std::all_of(node.inputs.begin(), node.inputs.end(),
                                                   [&](int in) { return in == kNone || stable[in]; });
    for (int out : node.outputs) stable[out] = all;
  }
  return stable;
}

void remove_dead_code(Graph& graph, const Outputs& outputs) {
  std::vector<bool> live(graph.values().size(), false);
  for (int out : outputs) live[out] = true;
  std::vector<Node> kept;
  const auto& nodes = graph.nodes();
  for (std::size_t i = nodes.size(); i-- > 0;) {
    const Node& node = nodes[i];
    if (!mutates(node) && std::none_of(node.outputs.begin(), node.outputs.end(), [&](int o) { return live[o]; }))
      continue;
    for (int in : node.inputs)
      if (in != kNone) live[in] = true;
    kept.push_back(node);
  }
  std::reverse(kept.begin(), kept.end());
  graph.replace_nodes(std::move(kept));
}

void cancel_transposes(Graph& graph, Outputs& outputs) {
  const std::vector<bool> changed = changed_variables(graph);
  std::vector<int> same(graph.values().size());
  for (std::size_t i = 0; i < same.size(); ++i) same[i] = static_cast<int>(i);
  for (Node& node : graph.mutable_nodes()) {
    for (int& in : node.inputs)
      if (in != kNone) in = same[in];
    if (node.op->name != "transpose") continue;
    const int source = graph.value(node.inputs[0]).node;
    if (source == kNone || graph.nodes()[source].op->name != "transpose") continue;
    const Ints& first = graph.nodes()[source].attrs.ints("perm");
    const Ints& second = node.attrs.ints("perm");
    bool undone = !changed[graph.nodes()[source].inputs[0]];  // read before the change
    for (std::size_t i = 0; i < second.size(); ++i)
      undone = undone && first[static_cast<std::size_t>(second[i])] == static_cast<std::int64_t>(i);
    if (undone) same[node.outputs[0]] = graph.nodes()[source].inputs[0];
  }
  for (int& out : outputs) out = same[out];
}

void fold_batch_norm(Graph& graph, const Outputs& outputs) {
  const auto stable = stable_values(graph);
  const auto changed = changed_variables(graph);
  const auto uses = use_counts(graph, outputs);
  std::vector<Node> nodes = graph.nodes();
  std::vector<Node> result;
  std::vector<std::size_t> at(graph.values().size(), 0);  // where in result a value's node is
  for (Node& node : nodes) {
    const auto foldable = [&] {
      if (node.op->name != "batch_norm_inference") return false;
      const int source = graph.value(node.inputs[0]).node;
      if (source == kNone || uses[node.inputs[0]] != 1) return false;
      const Node& conv = nodes[source];
      if (conv.op->name != "conv2d" && conv.op->name != "dense") return false;
      if (conv.attrs.text("activation", "") != "" || conv.attrs.boolean("transpose_w", false)) return false;
      if (changed[conv.inputs[0]]) return false;  // it moves past the change
      if (!stable[conv.inputs[1]] || (conv.inputs.size() > 2 && conv.inputs[2] != kNone && !stable[conv.inputs[2]]))
        return false;
      return std::all_of(node.inputs.begin() + 1, node.inputs.end(), [&](int in) { return in == kNone || stable[in]; });
    };
    if (!foldable()) {
      for (int out : node.outputs) at[out] = result.size();
      result.push_back(node);
      continue;
    }
    Node conv = result[at[node.inputs[0]]];
    std::vector<Node> before;
    const DType dtype = graph.value(conv.inputs[1]).type.dtype;
    const auto add = [&](const char* op, std::vector<int> inputs, Attrs attrs = {}) {
      before.push_back(graph.make_node(op, std::move(inputs), std::move(attrs), node.name));
      return before.back().outputs[0];
    };
    const int gamma = node.inputs[1], beta = node.inputs[2], mean = node.inputs[3], var = node.inputs[4];
    int scale = add("rsqrt", {add("add", {var, graph.scalar(node.attrs.real("eps", 1e-5), dtype)})});
    if (gamma != kNone) scale = add("mul", {scale, gamma});
    conv.inputs[1] = add("mul", {conv.inputs[1], scale});
    const int old_bias = conv.inputs.size() > 2 ? conv.inputs[2] : kNone;
    int bias = old_bias == kNone ? add("neg", {mean}) : add("sub", {old_bias, mean});
    bias = add("mul", {bias, scale});
    if (beta != kNone) bias = add("add", {bias, beta});
    conv.inputs.resize(3);
    conv.inputs[2] = bias;
    conv.outputs = node.outputs;
    // The convolution moves to the batch-norm's place; its old output has no other reader.
    result[at[node.inputs[0]]].outputs.clear();
    for (Node& n : before) result.push_back(std::move(n));
    at.resize(graph.values().size(), 0);
    for (int out : conv.outputs) at[out] = result.size();
    result.push_back(std::move(conv));
  }
  result.erase(
      std::remove_if(result.begin(), result.end(), [](const Node& n) { return n.outputs.empty() && !mutates(n); }),
      result.end());
  graph.replace_nodes(std::move(result));
}

void fuse_activation(Graph& graph, const Outputs& outputs) {
  const auto uses = use_counts(graph, outputs);
  std::vector<Node> nodes = graph.nodes();
  std::vector<bool> gone(nodes.size(), false);
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const Node& act = nodes[i];
    if (act.op->name != "relu" && act.op->name != "clip") continue;
    const int source = graph.value(act.inputs[0]).node;
    if (source == kNone || uses[act.inputs[0]] != 1) continue;
    Node& conv = nodes[source];
    if (conv.op->name != "conv2d" && conv.op->name != "conv_transpose2d" && conv.op->name != "dense") continue;
    if (conv.attrs.text("activation", "") != "" || conv.outputs[0] != act.inputs[0]) continue;
    conv.attrs.set("activation", act.op->name);
    if (act.op->name == "clip") {
      constexpr double inf = std::numeric_limits<double>::infinity();
      conv.attrs.set("min", act.attrs.real("min", -inf));
      conv.attrs.set("max", act.attrs.real("max", inf));
    }
    conv.outputs[0] = act.outputs[0];
    gone[i] = true;
  }
  std::vector<Node> result;
  for (std::size_t i = 0; i < nodes.size(); ++i)
    if (!gone[i]) result.push_back(std::move(nodes[i]));
  graph.replace_nodes(std::move(result));
}

void optimize(Graph& graph, Outputs& outputs) {
  cancel_transposes(graph, outputs);
  remove_dead_code(graph, outputs);
  fold_batch_norm(graph, outputs);
  fuse_activation(graph, outputs);
}

}  // namespace fastconv::passes
