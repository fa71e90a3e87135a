// Zeros around height and width become the pads of what reads them: convolutions, their weight gradients, max-pooling
// of what is nowhere negative; and an input gradient is not computed where it would be cropped.
#include <algorithm>

#include "graph/passes/passes.hpp"

namespace fastconv::passes {
namespace {

constexpr std::int64_t kMost = std::int64_t{1} << 30;

// Zeros (negative: a crop) before and after height and width alone, as "pads" of convolutions has them.
bool spatial_zeros(const Node& node, Ints& pads) {
  if (node.op->name != "pad" || node.attrs.text("mode", "constant") != "constant" || node.attrs.real("value", 0) != 0)
    return false;
  const Ints& p = node.attrs.ints("pads");  // N, H, W, C before, then after
  if (p.size() != 8 || p[0] || p[3] || p[4] || p[7]) return false;
  pads = {p[1], p[2], p[5], p[6]};
  return std::all_of(pads.begin(), pads.end(), [](std::int64_t n) { return n < kMost && n > -kMost; });
}

bool sum(const Ints& a, const Ints& b, int sign, Ints& to) {
  to = a;
  for (std::size_t i = 0; i < 4; ++i) {
    to[i] += sign * b[i];
    if (to[i] < 0 || to[i] >= kMost) return false;
  }
  return true;
}

bool is_pooling(const Node& node) {
  const std::string& op = node.op->name;
  return (op == "max_pool2d" || op == "max_pool2d_with_winners") && !node.attrs.has("output_size");
}

// A zero loses against each of a window's other elements, or is equal to it.
bool nowhere_negative(const Graph& graph, int value) {
  const int at = graph.value(value).node;
  if (at == kNone) return false;
  const Node& node = graph.nodes()[static_cast<std::size_t>(at)];
  return node.op->name == "relu" || node.op->name == "sigmoid" ||
         (node.op->name == "clip" && node.attrs.real("min", -1) >= 0);
}

// What pooling refuses (ops/pool.cpp).
bool pool_takes(const Node& node, const Ints& pads) {
  const Ints& kernel = node.attrs.ints("kernel");
  for (std::size_t i = 0; i < 2; ++i) {
    const std::int64_t most = pads[i] == pads[i + 2] ? kernel[i] / 2 : kernel[i] - 1;
    if (pads[i] > most || pads[i + 2] > most) return false;
  }
  // A dilated window may have no element of the input.
  return !node.attrs.boolean("ceil_mode", false) &&
         (!node.attrs.has("dilations") || node.attrs.ints("dilations") == Ints{1, 1});
}

Ints pool_pads(const Node& node) { return node.attrs.has("pads") ? node.attrs.ints("pads") : Ints{0, 0, 0, 0}; }

bool reads_image(const Node& node) {
  return node.op->name == "conv2d" || node.op->name == "conv2d_backward_weights" || is_pooling(node);
}

// The nodes that read each value: indices, one for each input that does.
std::vector<std::vector<int>> readers_of(const Graph& graph) {
  std::vector<std::vector<int>> readers(graph.values().size());
  for (std::size_t i = 0; i < graph.nodes().size(); ++i)
    for (int in : graph.nodes()[i].inputs)
      if (in != kNone) readers[static_cast<std::size_t>(in)].push_back(static_cast<int>(i));
  return readers;
}

class Padding {
 public:
  Padding(Graph& graph, const Outputs& outputs)
      : graph_(graph),
        uses_(use_counts(graph, outputs)),
        changed_(changed_variables(graph)),
        readers_(readers_of(graph)),
        gone_(graph.nodes().size(), false) {}

  void run() {
    for (std::size_t i = 0; i < gone_.size(); ++i) fold_into_readers(i);
    for (std::size_t i = 0; i < gone_.size(); ++i) crop_gradient(i);
    erase_nodes(graph_, gone_);
  }

 private:
  Node& node(int i) { return graph_.mutable_nodes()[static_cast<std::size_t>(i)]; }

  // The gradient of max-pooling that reads the pooling's winners, cropped: all three change or none. The index of the
  // crop or -1.
  int cropped_gradient(const Node& backward, const Ints& more) {
    const int dx = backward.outputs[0];
    if (uses_[dx] != 1 || readers_[dx].size() != 1) return -1;
    Ints crop;
    if (!spatial_zeros(node(readers_[dx][0]), crop)) return -1;
    for (std::size_t i = 0; i < 4; ++i)
      if (crop[i] != -more[i]) return -1;
    return readers_[dx][0];
  }

  bool pooling_folds(const Node& pool, int from, const Ints& more, std::vector<int>& gradients,
                     std::vector<int>& crops) {
    Ints pads;
    if (!nowhere_negative(graph_, from) || !sum(pool_pads(pool), more, 1, pads) || !pool_takes(pool, pads))
      return false;
    if (pool.outputs.size() < 2) return true;
    const int winners = pool.outputs[1];
    if (uses_[winners] != static_cast<int>(readers_[winners].size())) return false;
    for (int i : readers_[winners]) {
      if (node(i).op->name != "max_pool2d_backward") return false;
      gradients.push_back(i);
      crops.push_back(cropped_gradient(node(i), more));
      if (crops.back() < 0) return false;
    }
    return true;
  }

  // The padded image is only worth having where something needs it anyway.
  void fold_into_readers(std::size_t i) {
    const Node pad = graph_.nodes()[i];
    Ints more, pads;
    if (!spatial_zeros(pad, more) || std::any_of(more.begin(), more.end(), [](auto n) { return n < 0; })) return;
    const int from = pad.inputs[0], padded = pad.outputs[0];
    if (changed_[from] || uses_[padded] != static_cast<int>(readers_[padded].size())) return;
    std::vector<int> gradients, crops;
    for (int r : readers_[padded]) {
      const Node& reader = node(r);
      if (!reads_image(reader) || reader.inputs[0] != padded || input(reader, 4) != kNone) return;
      if (std::count(reader.inputs.begin(), reader.inputs.end(), padded) != 1) return;
      if (is_pooling(reader) ? !pooling_folds(reader, from, more, gradients, crops)
                             : !sum(reader.attrs.ints("pads"), more, 1, pads))
        return;
    }
    for (int r : readers_[padded]) {
      Node& reader = node(r);
      sum(is_pooling(reader) ? pool_pads(reader) : reader.attrs.ints("pads"), more, 1, pads);
      reader.attrs.set("pads", pads);
      reader.inputs[0] = from;
      uses_[from] += 1;
      readers_[from].push_back(r);
    }
    for (std::size_t k = 0; k < gradients.size(); ++k) {
      Node& backward = node(gradients[k]);
      const Shape& shape = graph_.value(from).type.shape;
      sum(pool_pads(backward), more, 1, pads);
      backward.attrs.set("pads", pads);
      backward.attrs.set("input_size", Ints{shape[1], shape[2]});
      take_output(gradients[k], crops[k]);
    }
    uses_[from] -= 1;
    auto& list = readers_[from];
    list.erase(std::find(list.begin(), list.end(), static_cast<int>(i)));
    gone_[i] = true;
  }

  // `from` writes what `crop` did.
  void take_output(int from, int crop) {
    node(from).outputs[0] = node(crop).outputs[0];
    graph_.set_source(node(crop).outputs[0], from);
    gone_[static_cast<std::size_t>(crop)] = true;
  }

  void crop_gradient(std::size_t i) {
    const Node& crop = graph_.nodes()[i];
    Ints less, pads;
    if (gone_[i] || !spatial_zeros(crop, less) || std::any_of(less.begin(), less.end(), [](auto n) { return n > 0; }))
      return;
    const int whole = crop.inputs[0], at = graph_.value(whole).node;
    const Shape& shape = graph_.value(crop.outputs[0]).type.shape;
    if (at == kNone || uses_[whole] != 1 || node(at).op->name != "conv_transpose2d" || input(node(at), 3) != kNone ||
        shape[1] == 0 || shape[2] == 0 || !sum(node(at).attrs.ints("pads"), less, -1, pads))
      return;
    node(at).attrs.set("pads", pads);
    node(at).attrs.set("output_size", Ints{shape[1], shape[2]});
    take_output(at, static_cast<int>(i));
  }

  Graph& graph_;
  std::vector<int> uses_;
  std::vector<bool> changed_;
  std::vector<std::vector<int>> readers_;
  std::vector<bool> gone_;
};

}  // namespace

void fold_padding(Graph& graph, const Outputs& outputs) { Padding(graph, outputs).run(); }

}  // namespace fastconv::passes
