// Folds what multiplies and shifts channels (batch normalization, products and sums with constants) into the weights
// and bias of the layer before it, or into a batch normalization before it.
#include <algorithm>
#include <utility>

#include "graph/passes/passes.hpp"

namespace fastconv::passes {
namespace {

// y = (x - centre) * scale + shift a channel; kNone for 0, 1 and 0.
struct Affine {
  int centre = kNone, scale = kNone, shift = kNone;
};

class Folder {
 public:
  Folder(Graph& graph, const Outputs& outputs)
      : graph_(graph),
        uses_(use_counts(graph, outputs)),
        stable_(stable_values(graph)),
        changed_(changed_variables(graph)) {}

  void run() {
    const std::vector<Node> nodes = graph_.nodes();
    at_.resize(graph_.values().size(), kNone);
    for (const Node& node : nodes) {
      if (fold(node)) continue;
      place(node);
    }
    result_.erase(
        std::remove_if(result_.begin(), result_.end(), [](const Node& n) { return n.outputs.empty() && !mutates(n); }),
        result_.end());
    graph_.replace_nodes(std::move(result_));
  }

 private:
  void place(Node node) {
    at_.resize(graph_.values().size(), kNone);
    for (int out : node.outputs) at_[static_cast<std::size_t>(out)] = static_cast<int>(result_.size());
    result_.push_back(std::move(node));
  }

  // A node in front of the fold. All of them depend on stable values alone.
  int add(const char* op, std::vector<int> inputs, Attrs attrs = {}) {
    Node node = graph_.make_node(op, std::move(inputs), std::move(attrs), name_);
    const int out = node.outputs[0];
    place(std::move(node));
    return out;
  }
  int number(double x) { return graph_.scalar(x, dtype_); }
  const Shape& shape(int value) const { return graph_.value(value).type.shape; }

  bool is_stable(int value) const {
    // Values made here are.
    return value == kNone || static_cast<std::size_t>(value) >= stable_.size() ||
           stable_[static_cast<std::size_t>(value)];
  }

  // A stable value with one element, or one a channel.
  bool is_vector(int value, std::int64_t channels) const {
    if (!is_stable(value)) return false;
    const std::int64_t size = graph_.value(value).type.size();
    return size == 1 || (size == channels && shape(value).back() == channels);
  }

  int vector(int value, std::int64_t channels) {
    const std::int64_t size = graph_.value(value).type.size();
    if (shape(value) != Shape{size}) value = add("reshape", {value}, {{"shape", Shape{size}}});
    return size == channels ? value : add("broadcast_to", {value}, {{"shape", Shape{channels}}});
  }

  // The input that the node scales, or kNone.
  int scaled_input(const Node& node) const {
    const std::string& op = node.op->name;
    if (op == "scale" || op == "neg") return node.inputs[0];
    if (op == "batch_norm_inference")
      return node.attrs.text("activation", "") == "" &&
                     std::all_of(node.inputs.begin() + 1, node.inputs.end(), [&](int in) { return is_stable(in); })
                 ? node.inputs[0]
                 : kNone;
    if (op != "mul" && op != "add" && op != "sub" && op != "div") return kNone;
    const Shape& y = shape(node.outputs[0]);
    if (y.empty()) return kNone;
    for (std::size_t k = 0; k < (op == "div" ? 1u : 2u); ++k)
      if (!is_stable(node.inputs[k]) && shape(node.inputs[k]) == y && is_vector(node.inputs[1 - k], y.back()))
        return node.inputs[k];
    return kNone;
  }

  // The layer that computes the value, if it can take a scale; null otherwise.
  Node* target(int value) {
    if (value == kNone || uses_[static_cast<std::size_t>(value)] != 1) return nullptr;
    const int at = at_[static_cast<std::size_t>(value)];
    if (at == kNone) return nullptr;
    Node& node = result_[static_cast<std::size_t>(at)];
    const bool norm = node.op->name == "batch_norm_inference";
    if (!(norm || is_layer(node)) || node.attrs.text("activation", "") != "") return nullptr;
    if (!norm && node.inputs.size() > 3 && node.inputs[3] != kNone) return nullptr;
    if (!is_stable(node.inputs[1]) || (node.inputs.size() > 2 && !is_stable(node.inputs[2]))) return nullptr;
    // It moves to the place of what is folded into it, past changes of what it reads.
    if (std::any_of(node.inputs.begin(), node.inputs.end(), [&](int in) {
          return in != kNone && static_cast<std::size_t>(in) < changed_.size() &&
                 changed_[static_cast<std::size_t>(in)];
        }))
      return nullptr;
    return &node;
  }

  Affine affine(const Node& node, int x, std::int64_t channels) {
    Affine a;
    const std::string& op = node.op->name;
    const double alpha = op == "neg" ? -1 : node.attrs.real("alpha", 1), beta = node.attrs.real("beta", 0);
    if (op == "batch_norm_inference") {
      a.centre = node.inputs[3];
      a.scale = add("rsqrt", {add("add", {node.inputs[4], number(node.attrs.real("eps", 1e-5))})});
      if (node.inputs[1] != kNone) a.scale = add("mul", {a.scale, node.inputs[1]});
      a.shift = node.inputs[2];
    } else if (op == "scale" || op == "neg") {
      if (alpha != 1) a.scale = vector(number(alpha), channels);
      if (op == "scale" && beta != 0) a.shift = vector(number(beta), channels);
    } else {
      const bool first = node.inputs[0] == x;
      const int other = vector(node.inputs[first ? 1 : 0], channels);
      if (op == "mul") a.scale = other;
      if (op == "div") a.scale = add("reciprocal", {other});
      if (op == "add") a.shift = other;
      if (op == "sub" && first) a.centre = other;
      if (op == "sub" && !first) a.scale = vector(number(-1), channels), a.shift = other;
    }
    return a;
  }

  // The weights of the layer, each multiplied by its output channel's number.
  int scaled_weights(const Node& layer, int scale, std::int64_t channels) {
    const int w = layer.inputs[1];
    if (layer.op->name == "batch_norm_inference") return w == kNone ? scale : add("mul", {w, scale});
    if (layer.op->name == "dense" && layer.attrs.boolean("transpose_w", false)) {
      scale = add("reshape", {scale}, {{"shape", Shape{channels, 1}}});
    } else if (layer.op->name == "conv_transpose2d") {
      // (kh, kw, channels / groups, in): a group's input channels lie side by side.
      const std::int64_t groups = layer.attrs.integer("groups", 1), in = shape(w)[3], mine = channels / groups;
      scale = add("reshape", {scale}, {{"shape", Shape{groups, mine}}});
      scale = add("transpose", {scale}, {{"perm", Ints{1, 0}}});
      scale = add("reshape", {scale}, {{"shape", Shape{mine, groups, 1}}});
      scale = add("broadcast_to", {scale}, {{"shape", Shape{mine, groups, in / groups}}});
      scale = add("reshape", {scale}, {{"shape", Shape{mine, in}}});
    }
    return add("mul", {w, scale});
  }

  bool fold(const Node& node) {
    const int x = scaled_input(node);
    if (!target(x)) return false;
    name_ = node.name;
    dtype_ = graph_.value(x).type.dtype;
    const std::int64_t channels = shape(x).back();
    const Affine a = affine(node, x, channels);
    // Placing nodes moves the layers.
    Node layer = *target(x);
    int bias = layer.inputs.size() > 2 ? layer.inputs[2] : kNone;
    if (a.centre != kNone) bias = bias == kNone ? add("neg", {a.centre}) : add("sub", {bias, a.centre});
    if (a.scale != kNone) {
      layer.inputs[1] = scaled_weights(layer, a.scale, channels);
      if (bias != kNone) bias = add("mul", {bias, a.scale});
    }
    if (a.shift != kNone) bias = bias == kNone ? a.shift : add("add", {bias, a.shift});
    layer.inputs.resize(std::max<std::size_t>(layer.inputs.size(), 3), kNone);
    layer.inputs[2] = bias;
    layer.outputs = node.outputs;
    result_[static_cast<std::size_t>(at_[static_cast<std::size_t>(x)])].outputs.clear();
    place(std::move(layer));
    return true;
  }

  Graph& graph_;
  std::vector<int> uses_;
  std::vector<bool> stable_, changed_;
  std::vector<Node> result_;
  std::vector<int> at_;  // of a value: where in result_ its node is
  std::string name_;
  DType dtype_ = DType::f32;
};

}  // namespace

void fold_scales(Graph& graph, const Outputs& outputs) { Folder(graph, outputs).run(); }

}  // namespace fastconv::passes
