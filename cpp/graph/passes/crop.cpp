// Rows and columns at the end of maps that nothing reads: pooling drops them, and what leads to them alone. Their
// gradients are zeros, which nothing needs to read either.
#include <algorithm>
#include <array>

#include "graph/passes/passes.hpp"
#include "ops/elementwise.hpp"

namespace fastconv::passes {
namespace {

// Of one axis of a convolution or of regular pooling.
struct Axis {
  std::int64_t stride, reach, before, after;

  // Outputs that so many inputs have, and inputs that so many outputs read.
  std::int64_t outputs(std::int64_t in) const { return (in + before + after - reach) / stride + 1; }
  std::int64_t inputs(std::int64_t out) const { return (out - 1) * stride + reach - before; }
};

Axis axis_of(const Attrs& attrs, std::int64_t kernel, std::size_t i) {
  const Ints pads = attrs.ints("pads", {0, 0, 0, 0}), dilations = attrs.ints("dilations", {1, 1});
  const std::int64_t stride = attrs.has("strides") ? attrs.ints("strides")[i] : attrs.ints("kernel")[i];
  return {stride, dilations[i] * (kernel - 1) + 1, pads[i], pads[i + 2]};
}

class Crop {
 public:
  Crop(Graph& graph, const Outputs& outputs) : graph_(graph), sizes_(graph.values().size()), live_(sizes_.size()) {
    for (std::size_t v = 0; v < sizes_.size(); ++v) {
      live_[v] = full(static_cast<int>(v));
      if (graph.value(static_cast<int>(v)).kind != Value::Kind::computed) sizes_[v] = live_[v];
    }
    for (int out : outputs) keep(out);
  }

  void run() {
    for (const Node& node : graph_.nodes()) find_zeros(node);
    do {
      changed_ = false;
      for (std::size_t i = graph_.nodes().size(); i-- > 0;) demand(graph_.nodes()[i]);
    } while (changed_);
    rewrite();
  }

 private:
  using Size = std::array<std::int64_t, 2>;  // rows and columns

  Size full(int value) const {
    const Shape& shape = graph_.value(value).type.shape;
    return shape.size() == 4 ? Size{shape[1], shape[2]} : Size{0, 0};
  }
  Size& size(int value) { return sizes_[static_cast<std::size_t>(value)]; }
  Size& live(int value) { return live_[static_cast<std::size_t>(value)]; }
  // At least so many rows and columns are needed.
  void need(int value, const Size& least) {
    for (std::size_t i = 0; i < 2; ++i) {
      const std::int64_t n = std::min(least[i], full(value)[i]);
      if (n > size(value)[i]) size(value)[i] = n, changed_ = true;
    }
  }
  void keep(int value) {
    if (value != kNone) need(value, full(value));
  }
  void same(int a, int b) { need(a, size(b)), need(b, size(a)); }
  template <class Fn>
  void need_by(int value, Fn&& of_axis) {
    need(value, {of_axis(std::size_t{0}), of_axis(std::size_t{1})});
  }

  Axis axis(const Node& node, std::size_t i) const {
    const std::string& op = node.op->name;
    const bool weights = op == "conv2d" || op == "conv_transpose2d";
    return axis_of(node.attrs, weights ? graph_.value(node.inputs[1]).type.shape[i] : node.attrs.ints("kernel")[i], i);
  }

  static bool is_pool(const Node& node) {
    const std::string& op = node.op->name;
    return op == "max_pool2d" || op == "max_pool2d_with_winners" || op == "max_pool2d_backward";
  }
  // Pooling whose windows all lie inside, so that fewer rows give fewer windows and all else stays.
  static bool is_regular(const Node& node) {
    const Ints pads = node.attrs.ints("pads", {0, 0, 0, 0});
    return is_pool(node) && !node.attrs.has("output_size") && !node.attrs.boolean("ceil_mode", false) &&
           std::all_of(pads.begin(), pads.end(), [](std::int64_t p) { return p == 0; });
  }
  // Whose winners a gradient of pooling reads; null where that is no such pooling.
  const Node* forward_of(const Node& backward) const {
    const int at = graph_.value(backward.inputs[1]).node;
    if (at == kNone) return nullptr;
    const Node& node = graph_.nodes()[static_cast<std::size_t>(at)];
    const bool same = is_regular(node) && node.op->name == "max_pool2d_with_winners" &&
                      full(node.inputs[0]) == full(backward.outputs[0]) &&
                      full(node.outputs[0]) == full(backward.inputs[0]);
    return same ? &node : nullptr;
  }
  bool is_convolution(const Node& node) const {
    const std::string& op = node.op->name;
    if (op != "conv2d" && op != "conv_transpose2d" && op != "conv2d_backward_weights") return false;
    for (std::size_t k = op == "conv2d" ? 3 : 2; k < node.inputs.size(); ++k)
      if (node.inputs[k] != kNone) return false;
    return graph_.value(node.outputs[0]).type.size() > 0 && graph_.value(node.inputs[0]).type.size() > 0;
  }
  static bool is_function(const Node& node) { return find_unary(node.op->name) && node.inputs.size() == 1; }
  static bool sums_maps(const Node& node) {
    return node.op->name == "reduce_sum" && node.attrs.ints("axes", {}) == Ints{0, 1, 2};
  }

  // Behind live() a gradient is zero.
  void find_zeros(const Node& node) {
    if (node.outputs.empty()) return;
    const std::string& op = node.op->name;
    Size& to = live(node.outputs[0]);
    const auto none = [&](int value) { return live(value)[0] == 0 || live(value)[1] == 0; };
    if (is_bounded_derivative(node)) {
      to = live(node.inputs[0]);
    } else if ((op == "max_pool2d_backward" && is_regular(node)) ||
               (op == "conv_transpose2d" && is_convolution(node))) {
      if (node.attrs.text("activation", "") != "" || none(node.inputs[0])) return;
      for (std::size_t i = 0; i < 2; ++i)
        to[i] = std::clamp<std::int64_t>(axis(node, i).inputs(live(node.inputs[0])[i]), 1, to[i]);
    }
  }

  void demand(const Node& node) {
    const std::string& op = node.op->name;
    const int out = node.outputs.empty() ? kNone : node.outputs[0];
    if (is_function(node)) {
      same(node.inputs[0], out);
    } else if (is_bounded_derivative(node)) {
      same(node.inputs[0], out), same(node.inputs[1], out);
    } else if (sums_maps(node)) {
      need(node.inputs[0], live(node.inputs[0]));
    } else if (op == "conv2d" && is_convolution(node)) {
      need_by(node.inputs[0], [&](std::size_t i) { return axis(node, i).inputs(size(out)[i]); });
    } else if (op == "conv2d_backward_weights" && is_convolution(node)) {
      const int x = node.inputs[0], dy = node.inputs[1];
      need(dy, live(dy));
      need_by(x, [&](std::size_t i) { return axis(node, i).inputs(size(dy)[i]); });
    } else if (op == "conv_transpose2d" && is_convolution(node) && input(node, 2) == kNone &&
               node.attrs.text("activation", "").empty()) {
      const int dy = node.inputs[0];
      need_by(dy, [&](std::size_t i) {  // what has a tap in what is needed, and is not zero
        const Axis a = axis(node, i);
        return std::min(live(dy)[i], (size(out)[i] - 1 + a.before) / a.stride + 1);
      });
      need_by(out, [&](std::size_t i) { return axis(node, i).inputs(size(dy)[i]) - axis(node, i).after; });
    } else if (is_regular(node) && (op != "max_pool2d_backward" || forward_of(node))) {
      const bool backward = op == "max_pool2d_backward";
      const int map = backward ? out : node.inputs[0], pooled = backward ? node.inputs[0] : out;
      need_by(map, [&](std::size_t i) { return axis(node, i).inputs(size(pooled)[i]); });
      need_by(pooled, [&](std::size_t i) {
        return size(map)[i] < axis(node, i).reach ? 1 : axis(node, i).outputs(size(map)[i]);
      });
      if (backward) {  // the same windows as forward, whose winners it reads
        const Node& forward = *forward_of(node);
        same(map, forward.inputs[0]), same(pooled, forward.outputs[0]);
      }
    } else {
      for (int value : node.inputs) keep(value);
      for (int value : node.outputs) keep(value);
    }
  }

  bool cropped(int value) { return value != kNone && size(value) != full(value); }

  void rewrite() {
    std::vector<int> renamed(sizes_.size());
    for (std::size_t v = 0; v < renamed.size(); ++v) renamed[v] = static_cast<int>(v);
    std::vector<Node> nodes = graph_.nodes();
    for (Node& node : nodes) {
      const bool other = std::any_of(node.outputs.begin(), node.outputs.end(), [&](int out) { return cropped(out); });
      const std::vector<int> before = node.outputs;
      for (int& in : node.inputs)
        if (in != kNone) in = renamed[static_cast<std::size_t>(in)];
      if (!other) continue;
      const Size to = size(before[0]);
      const std::string& op = node.op->name;
      if (op == "conv2d" || op == "conv_transpose2d") node.attrs.set("output_size", Ints{to[0], to[1]});
      if (op == "max_pool2d_backward") node.attrs.set("input_size", Ints{to[0], to[1]});
      node = graph_.make_node(op, node.inputs, node.attrs, node.name);
      for (std::size_t k = 0; k < before.size(); ++k) renamed[static_cast<std::size_t>(before[k])] = node.outputs[k];
    }
    graph_.replace_nodes(std::move(nodes));
  }

  Graph& graph_;
  std::vector<Size> sizes_, live_;
  bool changed_ = false;
};

}  // namespace

void crop_maps(Graph& graph, const Outputs& outputs) {
  const bool any = std::any_of(graph.nodes().begin(), graph.nodes().end(), [](const Node& node) {
    return node.op->name == "max_pool2d" || node.op->name == "max_pool2d_with_winners";
  });
  if (any) Crop(graph, outputs).run();
}

}  // namespace fastconv::passes
