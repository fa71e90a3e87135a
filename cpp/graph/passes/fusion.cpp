// Passes that give a convolution, dense layer or batch normalization what follows it to do: additions and activations.
#include <algorithm>
#include <utility>

#include "graph/passes/passes.hpp"
#include "ops/elementwise.hpp"
#include "ops/shapes.hpp"

namespace fastconv::passes {
namespace {

constexpr std::size_t kMostScaled = 512 << 10;  // bytes that stay in L2
constexpr std::int64_t kLongRow = 64;  // shorter ones that meet a vector run faster one operator after the other

// Of floating-point numbers over all pixels of each image.
bool is_global_mean(const Graph& graph, const Node& node) {
  const std::string& op = node.op->name;
  if (op == "adaptive_avg_pool2d") return node.attrs.ints("output_size") == Ints{1, 1};
  if (op != "reduce_mean" || !is_floating(graph.value(node.outputs[0]).type.dtype)) return false;
  const std::size_t rank = graph.value(node.inputs[0]).type.shape.size();
  return rank == 4 && axis_flags(node.attrs, rank) == std::vector<bool>{false, true, true, false};
}

}  // namespace

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
      const bool conv2d = node.op->name == "conv2d" || node.op->name == "conv_transpose2d";
      if (!conv2d || node.attrs.text("activation", "") != "") continue;
      if (node.inputs.size() > 3 && node.inputs[3] != kNone) continue;
      if (graph.value(other).type.shape != graph.value(out).type.shape || changed[other]) continue;
      if (graph.value(mine).type.shape != graph.value(out).type.shape) continue;
      if (graph.value(other).node >= at) continue;  // inputs and variables are at kNone
      conv = at;
      residual = other;
    }
    if (conv == kNone) continue;
    Node& node = graph.mutable_nodes()[static_cast<std::size_t>(conv)];
    node.inputs.resize(std::max<std::size_t>(node.inputs.size(), 4), kNone);
    node.inputs[3] = residual;
    node.outputs[0] = out;
    gone[i] = true;
    graph.set_source(out, conv);
  }
  erase_nodes(graph, gone);
}

void fuse_factors(Graph& graph, const Outputs& outputs) {
  const auto uses = use_counts(graph, outputs);
  const auto changed = changed_variables(graph);
  const auto stable = stable_values(graph);
  std::vector<bool> gone(graph.nodes().size(), false);
  const auto shape = [&](int value) { return graph.value(value).type.shape; };
  for (std::size_t i = 0; i < gone.size(); ++i) {
    Node& conv = graph.mutable_nodes()[i];
    if (!is_pointwise(graph, conv) || input(conv, 4) != kNone) continue;
    const int scaled = conv.inputs[0], at = graph.value(scaled).node;
    if (at == kNone || uses[scaled] != 1 || stable[scaled]) continue;
    const Node& product = graph.nodes()[static_cast<std::size_t>(at)];
    if (product.op->name != "mul") continue;
    for (std::size_t k = 0; k < 2; ++k) {
      const int x = product.inputs[k], factor = product.inputs[1 - k];
      if (shape(x) != shape(scaled) || shape(factor) != Shape{shape(x)[0], 1, 1, shape(x)[3]}) continue;
      // Each thread multiplies all of an image, or all weights.
      const std::int64_t times = std::min(shape(x)[1] * shape(x)[2], graph.value(conv.outputs[0]).type.shape[3]);
      if (static_cast<std::size_t>(times * shape(x)[3]) * size_of(graph.value(x).type.dtype) > kMostScaled) continue;
      if (changed[x] || changed[factor]) continue;  // they are read later than before
      conv.inputs.resize(5, kNone);
      conv.inputs[0] = x;
      conv.inputs[4] = factor;
      gone[static_cast<std::size_t>(at)] = true;
      break;
    }
  }
  erase_nodes(graph, gone);
}

void fuse_sums(Graph& graph, const Outputs& outputs) {
  const auto uses = use_counts(graph, outputs);
  const auto changed = changed_variables(graph);
  const auto stable = stable_values(graph);
  std::vector<bool> gone(graph.nodes().size(), false);
  for (std::size_t i = 0; i < gone.size(); ++i) {
    Node& sum = graph.mutable_nodes()[i];
    const TensorType& type = graph.value(sum.outputs.empty() ? 0 : sum.outputs[0]).type;
    if (sum.op->name != "add" || !is_floating(type.dtype)) continue;
    const auto fits = [&](int value) {
      const Shape& shape = graph.value(value).type.shape;
      return shape == type.shape || type.shape.back() >= kLongRow;
    };
    for (std::size_t k = 0; k < 2; ++k) {
      const int product = sum.inputs[k], at = graph.value(product).node;
      if (at == kNone || uses[product] != 1 || stable[product]) continue;
      const Node& mul = graph.nodes()[static_cast<std::size_t>(at)];
      if (mul.op->name != "mul" || graph.value(product).type.shape != type.shape) continue;
      if (!fits(mul.inputs[0]) || !fits(mul.inputs[1]) || !fits(sum.inputs[1 - k])) continue;
      if (changed[mul.inputs[0]] || changed[mul.inputs[1]]) continue;  // they are read later than before
      sum.inputs = {mul.inputs[0], mul.inputs[1], sum.inputs[1 - k]};
      sum.op = &find_op("mul_add");
      gone[static_cast<std::size_t>(at)] = true;
      break;
    }
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
    const std::string& op = layer.op->name;
    if (!(is_layer(layer) || op == "batch_norm_inference" || op == "mul_add") ||
        layer.attrs.text("activation", "") != "")
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

void fuse_means(Graph& graph) {
  const auto stable = stable_values(graph);
  std::vector<bool> gone(graph.nodes().size(), false);
  for (std::size_t i = 0; i < gone.size(); ++i) {
    const Node& mean = graph.nodes()[i];
    if (!is_global_mean(graph, mean)) continue;
    const int y = mean.inputs[0], at = graph.value(y).node;
    if (at == kNone || stable[y] || graph.value(y).type.size() == 0) continue;
    Node& layer = graph.mutable_nodes()[static_cast<std::size_t>(at)];
    if (layer.outputs.size() > 1) continue;
    if (layer.op->name != "conv2d_depthwise" && !is_pointwise(graph, layer) && !is_depthwise(graph, layer)) continue;
    layer.outputs.push_back(mean.outputs[0]);
    graph.set_source(mean.outputs[0], at);
    gone[i] = true;
  }
  erase_nodes(graph, gone);
}

}  // namespace fastconv::passes
