#include "graph/passes/passes.hpp"

#include <algorithm>
#include <utility>

#include "ops/conv.hpp"

namespace fastconv::passes {

bool mutates(const Node& node) {
  return std::any_of(node.op->mutates.begin(), node.op->mutates.end(),
                     [&](int m) { return m < static_cast<int>(node.inputs.size()) && node.inputs[m] != kNone; });
}

bool is_layer(const Node& node) {
  const std::string& op = node.op->name;
  return op == "conv2d" || op == "conv_transpose2d" || op == "dense";
}

bool is_pointwise(const Graph& graph, const Node& node) {
  if (node.op->name != "conv2d" || node.attrs.has("algorithm")) return false;
  const ConvGeometry g = conv_geometry(node.attrs, graph.value(node.inputs[0]).type.shape,
                                       graph.value(node.inputs[1]).type.shape, graph.value(node.outputs[0]).type.shape);
  return g.groups == 1 && g.kh == 1 && g.kw == 1 && g.stride_h == 1 && g.stride_w == 1 && g.oh == g.h && g.ow == g.w &&
         g.top == 0 && g.left == 0 && g.n > 0;
}

bool is_depthwise(const Graph& graph, const Node& node) {
  if (node.op->name != "conv2d" || node.attrs.has("algorithm")) return false;
  const Shape &x = graph.value(node.inputs[0]).type.shape, &y = graph.value(node.outputs[0]).type.shape;
  return node.attrs.integer("groups", 1) == x[3] && y[3] == x[3] && x[3] > 1;
}

bool is_bounded_derivative(const Node& node) {
  const std::string& op = node.op->name;
  return op == "relu_grad" || op == "leaky_relu_grad" || op == "clip_grad" || op == "tanh_grad" ||
         op == "sigmoid_grad" || op == "hard_sigmoid_grad" || op == "selu_grad";
}

int input(const Node& node, std::size_t k) { return k < node.inputs.size() ? node.inputs[k] : kNone; }

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

void erase_nodes(Graph& graph, const std::vector<bool>& gone) {
  std::vector<Node> kept;
  for (std::size_t i = 0; i < graph.nodes().size(); ++i)
    if (!gone[i]) kept.push_back(std::move(graph.mutable_nodes()[i]));
  graph.replace_nodes(std::move(kept));
}

bool constant_number(const Graph& graph, int value, double& number) {
  if (value == kNone) return false;
  const Value& v = graph.value(value);
  if (!v.constant || v.type.size() != 1) return false;
  if (v.type.dtype == DType::f32)
    number = static_cast<double>(*static_cast<const float*>(v.variable->data()));
  else if (v.type.dtype == DType::f64)
    number = *static_cast<const double*>(v.variable->data());
  else
    return false;
  return true;
}

void remove_dead_code(Graph& graph, const Outputs& outputs) {
  std::vector<bool> live(graph.values().size(), false);
  for (int out : outputs) live[out] = true;
  std::vector<bool> gone(graph.nodes().size(), false);
  for (std::size_t i = gone.size(); i-- > 0;) {
    const Node& node = graph.nodes()[i];
    gone[i] = !mutates(node) && std::none_of(node.outputs.begin(), node.outputs.end(), [&](int o) { return live[o]; });
    if (gone[i]) continue;
    for (int in : node.inputs)
      if (in != kNone) live[in] = true;
  }
  erase_nodes(graph, gone);
}

void optimize(Graph& graph, Outputs& outputs) {
  remove_dead_code(graph, outputs);
  remove_identities(graph, outputs);
  merge_transposes(graph, outputs);
  fold_padding(graph, outputs);
  shrink_pooling_gradients(graph, outputs);
  lower_matmul(graph);
  remove_dead_code(graph, outputs);
  match_activations(graph, outputs);
  remove_dead_code(graph, outputs);
  fold_scales(graph, outputs);
  remove_dead_code(graph, outputs);
  crop_maps(graph, outputs);
  fuse_residuals(graph, outputs);
  fuse_norms(graph, outputs);
  fuse_factors(graph, outputs);
  fuse_sums(graph, outputs);
  fuse_activations(graph, outputs);
  fuse_pooling(graph, outputs);
  fuse_expansions(graph, outputs);
  fuse_means(graph);
}

}  // namespace fastconv::passes
