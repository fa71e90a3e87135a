// Passes over operators that only hand elements on: identities and transposes.
#include <algorithm>
#include <numeric>
#include <utility>

#include "graph/passes/passes.hpp"

namespace fastconv::passes {
namespace {

bool hands_on(const Graph& graph, const Node& node) {
  if (node.outputs.size() != 1 || node.inputs.empty() || node.inputs[0] == kNone) return false;
  const TensorType &from = graph.value(node.inputs[0]).type, &to = graph.value(node.outputs[0]).type;
  if (from.shape != to.shape || from.dtype != to.dtype) return false;
  const std::string& op = node.op->name;
  if (op == "identity" || op == "cast" || op == "reshape" || op == "flatten" || op == "broadcast_to") return true;
  if (op == "concat") return node.inputs.size() == 1;
  if (op == "slice") return true;  // of the input's shape: all of it
  if (op == "pad") {
    const Ints& pads = node.attrs.ints("pads");
    return std::all_of(pads.begin(), pads.end(), [](std::int64_t p) { return p == 0; });
  }
  if (op == "transpose") {
    const Ints& perm = node.attrs.ints("perm");
    for (std::size_t i = 0; i < perm.size(); ++i)
      if (perm[i] != static_cast<std::int64_t>(i)) return false;
    return true;
  }
  return false;
}

std::vector<int> same_ids(const Graph& graph) {
  std::vector<int> same(graph.values().size());
  std::iota(same.begin(), same.end(), 0);
  return same;
}

}  // namespace

bool moves_nothing(const Shape& shape, const Ints& perm) {
  std::int64_t last = -1;
  for (auto p : perm) {
    if (shape[static_cast<std::size_t>(p)] == 1) continue;
    if (p < last) return false;
    last = p;
  }
  return true;
}

void remove_identities(Graph& graph, Outputs& outputs) {
  const std::vector<bool> changed = changed_variables(graph);
  std::vector<int> same = same_ids(graph);
  std::vector<bool> gone(graph.nodes().size(), false);
  for (std::size_t i = 0; i < gone.size(); ++i) {
    Node& node = graph.mutable_nodes()[i];
    for (int& in : node.inputs)
      if (in != kNone) in = same[in];
    // What copies a variable that the plan changes keeps the value from before.
    gone[i] = hands_on(graph, node) && !changed[node.inputs[0]];
    if (gone[i]) same[node.outputs[0]] = node.inputs[0];
  }
  for (int& out : outputs) out = same[out];
  erase_nodes(graph, gone);
}

void merge_transposes(Graph& graph, Outputs& outputs) {
  const std::vector<bool> changed = changed_variables(graph);
  std::vector<int> same = same_ids(graph);
  for (Node& node : graph.mutable_nodes()) {
    for (int& in : node.inputs)
      if (in != kNone) in = same[in];
    if (node.op->name != "transpose") continue;
    const int source = graph.value(node.inputs[0]).node;
    if (source != kNone && graph.nodes()[source].op->name == "transpose" &&
        !changed[graph.nodes()[source].inputs[0]]) {  // it would be read after the change
      const Ints& first = graph.nodes()[source].attrs.ints("perm");
      Ints perm = node.attrs.ints("perm");
      for (auto& p : perm) p = first[static_cast<std::size_t>(p)];
      node.attrs.set("perm", perm);
      node.inputs[0] = graph.nodes()[source].inputs[0];
      if (std::is_sorted(perm.begin(), perm.end())) {
        same[node.outputs[0]] = node.inputs[0];
        continue;
      }
    }
  }
  // Reshapes only then: a pair that cancels should not become two of them.
  for (Node& node : graph.mutable_nodes()) {
    for (int& in : node.inputs)
      if (in != kNone) in = same[in];
    if (node.op->name == "transpose" &&
        moves_nothing(graph.value(node.inputs[0]).type.shape, node.attrs.ints("perm"))) {
      node.op = &find_op("reshape");
      node.attrs = {{"shape", graph.value(node.outputs[0]).type.shape}};
    }
    if (!node.op->view || graph.value(node.inputs[0]).node == kNone) continue;
    const Node& source = graph.nodes()[static_cast<std::size_t>(graph.value(node.inputs[0]).node)];
    if (!source.op->view || changed[source.inputs[0]]) continue;
    const Shape to = graph.value(node.outputs[0]).type.shape;
    node.inputs[0] = source.inputs[0];
    node.op = &find_op("reshape");
    node.attrs = {{"shape", to}};
    if (graph.value(node.inputs[0]).type.shape == to) same[node.outputs[0]] = node.inputs[0];
  }
  for (int& out : outputs) out = same[out];
}

}  // namespace fastconv::passes
