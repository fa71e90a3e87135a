// Transposes between channels first and channels last, where the layer between them needs none.
#include <algorithm>
#include <utility>

#include "graph/passes/passes.hpp"

namespace fastconv::passes {
namespace {

const Ints kImage{0, 2, 3, 1}, kSequence{0, 2, 1}, kWeights{2, 3, 1, 0};  // to channels last

Ints inverse(const Ints& perm) {
  Ints inverted(perm.size());
  for (std::size_t i = 0; i < perm.size(); ++i)
    inverted[static_cast<std::size_t>(perm[i])] = static_cast<std::int64_t>(i);
  return inverted;
}

Shape permuted(const Shape& shape, const Ints& perm) {
  Shape to;
  for (auto p : perm) to.push_back(shape[static_cast<std::size_t>(p)]);
  return to;
}

bool is_transpose(const Node& node, const Ints& perm) {
  return node.op->name == "transpose" && node.attrs.ints("perm") == perm;
}

bool is_conv(const Node& node) { return node.op->name == "conv2d" || node.op->name == "conv2d_max_pool"; }

bool is_gradient(const Node& node) {
  return node.op->name == "conv_transpose2d" || node.op->name == "conv2d_backward_weights";
}

const Ints* image_perm(const Graph& graph, const Node& node) {
  const std::string& op = node.op->name;
  const std::size_t rank = node.inputs.empty() ? 0 : graph.value(node.inputs[0]).type.shape.size();
  const bool pool =
      op == "max_pool2d" || op == "avg_pool2d" || op == "adaptive_max_pool2d" || op == "adaptive_avg_pool2d";
  const bool norm = op == "batch_norm_inference" || op == "batch_norm_training";
  if (rank == 4 && (is_conv(node) || pool || norm)) return &kImage;
  return rank == 3 && norm ? &kSequence : nullptr;
}

class Layouts {
 public:
  Layouts(Graph& graph, const Outputs& outputs)
      : graph_(graph),
        uses_(use_counts(graph, outputs)),
        changed_(changed_variables(graph)),
        reader_(uses_.size(), -1) {
    for (std::size_t i = 0; i < graph.nodes().size(); ++i)
      for (int in : graph.nodes()[i].inputs)
        if (in != kNone) reader_[static_cast<std::size_t>(in)] = static_cast<int>(i);
    for (int out : outputs) reader_[static_cast<std::size_t>(out)] = -1;
  }

  void run(const LayoutWish& wish) {
    const std::vector<bool> stable = stable_values(graph_);
    const std::vector<Node> before = graph_.nodes();
    gone_.assign(before.size(), false);
    for (std::size_t i = 0; i < before.size(); ++i) {
      if (gone_[i]) continue;
      Node node = before[i];
      const Ints* perm = image_perm(graph_, node);
      if (is_gradient(node) && !stable[static_cast<std::size_t>(node.outputs[0])]) {
        change_gradient(node, stable, wish);
      } else if (perm && !stable[static_cast<std::size_t>(node.outputs[0])]) {
        change(node, *perm, stable, wish);
      } else {
        nodes_.push_back(std::move(node));
      }
    }
    graph_.replace_nodes(std::move(nodes_));
  }

 private:
  // The node that a value comes from, if that is a transpose which can be left out.
  bool from_transpose(int value, const Ints& perm) const {
    const int source = graph_.value(value).node;
    if (source == kNone || gone_[static_cast<std::size_t>(source)]) return false;
    const Node& node = graph_.nodes()[static_cast<std::size_t>(source)];
    return is_transpose(node, perm) && !changed_[static_cast<std::size_t>(node.inputs[0])];
  }
  int to_transpose(int value, const Ints& perm) const {
    const int reader = reader_[static_cast<std::size_t>(value)];
    if (uses_[static_cast<std::size_t>(value)] != 1 || reader < 0) return -1;
    return is_transpose(graph_.nodes()[static_cast<std::size_t>(reader)], inverse(perm)) ? reader : -1;
  }
  bool plain(int value, const Ints& perm) const { return moves_nothing(graph_.value(value).type.shape, inverse(perm)); }

  // What a value is before the transpose to channels last.
  int before(int value, const Ints& perm) {
    if (from_transpose(value, perm))
      return graph_.nodes()[static_cast<std::size_t>(graph_.value(value).node)].inputs[0];
    nodes_.push_back(view(value, perm));
    return nodes_.back().outputs[0];
  }
  Node view(int value, const Ints& perm) {
    return graph_.make_node("reshape", {value}, {{"shape", permuted(graph_.value(value).type.shape, inverse(perm))}});
  }

  // Weights that are folded into: a transposed value times a number for each output channel. The value, or kNone.
  int scaled_transpose(int weights, int& scale) const {
    const int source = graph_.value(weights).node;
    if (source == kNone) return kNone;
    const Node& node = graph_.nodes()[static_cast<std::size_t>(source)];
    if (node.op->name != "mul" || !from_transpose(node.inputs[0], kWeights)) return kNone;
    if (graph_.value(node.inputs[1]).type.shape != Shape{graph_.value(weights).type.shape[3]}) return kNone;
    scale = node.inputs[1];
    return node.inputs[0];
  }

  // An input's or the weights' gradient: all of its tensors change, or none.
  void change_gradient(Node node, const std::vector<bool>& stable, const LayoutWish& wish) {
    const bool of_weights = node.op->name == "conv2d_backward_weights";
    const int reader = to_transpose(node.outputs[0], of_weights ? kWeights : kImage);
    const Ints& second = of_weights ? kImage : kWeights;
    const bool plain = input(node, 2) == kNone && input(node, 3) == kNone &&
                       !stable[static_cast<std::size_t>(node.inputs[0])] &&
                       !stable[static_cast<std::size_t>(node.inputs[1])];
    if (reader >= 0 && plain && from_transpose(node.inputs[0], kImage) && from_transpose(node.inputs[1], second)) {
      node.channels_first = wish(node, {true, true, true});
      if (node.channels_first.input) {
        node.inputs[0] = before(node.inputs[0], kImage), node.inputs[1] = before(node.inputs[1], second);
        node.outputs[0] = graph_.nodes()[static_cast<std::size_t>(reader)].outputs[0];
        gone_[static_cast<std::size_t>(reader)] = true;
      }
    }
    nodes_.push_back(std::move(node));
  }

  void change(Node node, const Ints& perm, const std::vector<bool>& stable, const LayoutWish& wish) {
    const int x = node.inputs[0], y = node.outputs[0], reader = to_transpose(y, perm);
    const bool moved = from_transpose(x, perm);
    // With a residual or pooling y's layout stays, with a factor or means both; images whose transposes cost nothing
    // are left as they are.
    const bool conv = is_conv(node), last = conv && (input(node, 3) != kNone || node.op->name != "conv2d");
    ChannelsFirst offered;
    offered.input = moved || plain(x, perm);
    offered.output = !last && (reader >= 0 || plain(y, perm));
    if ((!moved && reader < 0) || (conv && (input(node, 4) != kNone || node.outputs.size() > 1)))
      offered.input = offered.output = false;
    int weights = kNone, scale = kNone;
    if (conv) {
      weights = node.inputs[1];
      const bool known = stable[static_cast<std::size_t>(weights)];
      if (const int scaled = known ? scaled_transpose(weights, scale) : kNone; scaled != kNone) weights = scaled;
      offered.weights = from_transpose(weights, kWeights) || (!known && plain(weights, kWeights));
    }
    if (offered.input || offered.weights) node.channels_first = wish(node, offered);
    const ChannelsFirst chosen = node.channels_first;
    if (chosen.input) node.inputs[0] = before(x, perm);
    if (chosen.weights) node.inputs[1] = before(weights, kWeights);
    if (chosen.weights && scale != kNone) {
      node.inputs.resize(6, kNone);  // the last is what w is multiplied by; only plans make it
      node.inputs[5] = scale;
    }
    if (!chosen.output) {
      nodes_.push_back(std::move(node));
    } else if (reader >= 0) {
      node.outputs[0] = graph_.nodes()[static_cast<std::size_t>(reader)].outputs[0];
      gone_[static_cast<std::size_t>(reader)] = true;
      nodes_.push_back(std::move(node));
    } else {
      Node back = view(y, perm);
      std::swap(back.inputs[0], back.outputs[0]);
      back.attrs = {{"shape", graph_.value(y).type.shape}};
      node.outputs[0] = back.inputs[0];
      nodes_.push_back(std::move(node));
      nodes_.push_back(std::move(back));
    }
  }

  Graph& graph_;
  std::vector<int> uses_;
  std::vector<bool> changed_;
  std::vector<int> reader_;  // of a value, the last node
  std::vector<bool> gone_;
  std::vector<Node> nodes_;
};

}  // namespace

void drop_transposes(Graph& graph, const Outputs& outputs, const LayoutWish& wish) {
  const bool any = std::any_of(graph.nodes().begin(), graph.nodes().end(),
                               [](const Node& node) { return node.op->name == "transpose"; });
  if (!any) return;
  Layouts(graph, outputs).run(wish);
  remove_dead_code(graph, outputs);
}

}  // namespace fastconv::passes
