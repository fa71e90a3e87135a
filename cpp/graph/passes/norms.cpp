// Passes that give batch normalization in training what follows it to do (an addition, an activation), and its
// gradient the activation's: the elements are then read and written as often as for batch normalization alone.
#include <utility>

#include "graph/passes/passes.hpp"
#include "ops/elementwise.hpp"

namespace fastconv::passes {
namespace {

class Norms {
 public:
  Norms(Graph& graph, const Outputs& outputs)
      : graph_(graph),
        uses_(use_counts(graph, outputs)),
        changed_(changed_variables(graph)),
        stable_(stable_values(graph)),
        readers_(uses_.size()),
        gone_(graph.nodes().size(), false) {
    for (std::size_t i = 0; i < gone_.size(); ++i)
      for (int in : graph.nodes()[i].inputs)
        if (in != kNone) readers_[at(in)].push_back(i);
  }

  void run() {
    const std::size_t n = gone_.size();
    for (std::size_t i = 0; i < n; ++i)
      if (is(i, "batch_norm_training")) fuse_forward(i);
    for (std::size_t i = 0; i < n; ++i)
      if (!gone_[i]) fuse_backward(i);
    erase_nodes(graph_, gone_);
  }

 private:
  static std::size_t at(int value) { return static_cast<std::size_t>(value); }
  Node& node(std::size_t i) { return graph_.mutable_nodes()[i]; }
  bool is(std::size_t i, const char* op) { return node(i).op->name == op; }
  bool alike(int a, int b) const {
    const TensorType &x = graph_.value(a).type, &y = graph_.value(b).type;
    return x.shape == y.shape && x.dtype == y.dtype;
  }

  // The one node that reads the value.
  Node* only_reader(int value) {
    return uses_[at(value)] == 1 && !readers_[at(value)].empty() ? &node(readers_[at(value)].front()) : nullptr;
  }

  void give(std::size_t to, const Node& from, std::size_t from_index) {
    node(to).outputs[0] = from.outputs[0];
    graph_.set_source(from.outputs[0], static_cast<int>(to));
    gone_[from_index] = true;
  }

  void fuse_forward(std::size_t i) {
    if (stable_[at(node(i).outputs[0])] || !node(i).attrs.text("activation", "").empty()) return;
    if (input(node(i), 5) == kNone) add_residual(i);
    const int z = node(i).outputs[0];
    const std::size_t next = activation_of(i, z);
    if (next == gone_.size()) return;
    const Node activation = node(next);
    Attrs attrs = node(i).attrs;
    attrs.set("activation", activation.op->name);
    const Attrs own = own_attributes(*find_unary(activation.op->name), activation.attrs);
    for (const auto& [key, value] : own.items()) attrs.set(key, value);
    const int shift = graph_.make_node("batch_norm_training", node(i).inputs, attrs).outputs.back();
    node(i).attrs = std::move(attrs);
    node(i).outputs.push_back(shift);
    graph_.set_source(shift, static_cast<int>(i));
    give(i, activation, next);
  }

  // The activation that alone reads z, or with its own gradient if z can be computed again there.
  std::size_t activation_of(std::size_t forward, int z) {
    const std::size_t none = gone_.size();
    if (uses_[at(z)] != static_cast<int>(readers_[at(z)].size()) || readers_[at(z)].empty()) return none;
    const std::size_t i = readers_[at(z)].front();
    const UnaryInfo* info = find_unary(node(i).op->name);
    if (!info || !alike(node(i).outputs[0], z)) return none;
    if (readers_[at(z)].size() == 1) return i;
    const std::size_t gradient = readers_[at(z)].back();
    const bool own = readers_[at(z)].size() == 2 && node(gradient).op->name == std::string(info->name) + "_grad" &&
                     node(gradient).inputs[1] == z &&
                     own_attributes(*info, node(gradient).attrs) == own_attributes(*info, node(i).attrs);
    return own && input(node(forward), 5) == kNone && masks(forward, gradient) ? i : none;
  }

  // Whether the gradient of an activation after the batch normalization goes to that one's alone, which can then
  // compute it from x.
  bool masks(std::size_t forward, std::size_t gradient) {
    const int g = node(gradient).outputs[0];
    const int backward = backward_of(forward, g);
    return uses_[at(g)] == 1 && backward != kNone && !changed_[at(node(gradient).inputs[0])] &&
           !changes(node(forward).inputs[1], forward, at(backward));
  }

  void add_residual(std::size_t i) {
    const int z = node(i).outputs[0];
    const Node* sum = only_reader(z);
    if (!sum || sum->op->name != "add" || !alike(sum->outputs[0], z)) return;
    const int residual = sum->inputs[sum->inputs[0] == z ? 1 : 0];
    if (!alike(residual, z) || changed_[at(residual)]) return;       // it is read earlier than before
    if (graph_.value(residual).node >= static_cast<int>(i)) return;  // inputs and variables are at kNone
    node(i).inputs.resize(6, kNone);
    node(i).inputs[5] = residual;
    give(i, Node(*sum), readers_[at(z)].front());
  }

  // Whether the value is a variable that a node in [begin, end) changes.
  bool changes(int value, std::size_t begin, std::size_t end) {
    if (value == kNone || !changed_[at(value)]) return false;
    for (std::size_t i = begin; i < end; ++i)
      for (int m : node(i).op->mutates)
        if (input(node(i), at(m)) == value) return true;
    return false;
  }

  // The gradient of the batch normalization at `forward` that takes g.
  int backward_of(std::size_t forward, int g) {
    for (std::size_t i : readers_[at(g)]) {
      const Node &b = node(i), &f = node(forward);
      if (b.op->name != "batch_norm_training_backward" || input(b, 5) != kNone || b.inputs[4] != g) continue;
      if (b.inputs[0] == f.inputs[0] && b.inputs[1] == f.inputs[1] && b.inputs[2] == f.outputs[1] &&
          b.inputs[3] == f.outputs[2])
        return static_cast<int>(i);
    }
    return kNone;
  }

  void fuse_backward(std::size_t i) {
    const Node gradient = node(i);
    const std::string suffix = "_grad", &op = gradient.op->name;
    if (op.size() < suffix.size() || op.substr(op.size() - suffix.size()) != suffix) return;
    const int dy = gradient.inputs[0], y = gradient.inputs[1], g = gradient.outputs[0];
    const int forward = graph_.value(y).node;  // also of what was y's input and is no more
    if (forward == kNone || changed_[at(dy)]) return;
    const Node& norm = node(at(forward));
    const std::string activation = norm.attrs.text("activation", "");
    if (norm.op->name != "batch_norm_training" || activation + suffix != op) return;
    if (gradient.attrs.boolean("reads_input", false) == (norm.outputs[0] == y)) return;
    const UnaryInfo& info = *find_unary(activation);
    Attrs attrs = own_attributes(info, norm.attrs);
    if (!(attrs == own_attributes(info, gradient.attrs))) return;
    attrs.set("activation", activation);
    const int backward = backward_of(at(forward), g);
    if (backward == kNone || changes(norm.inputs[1], at(forward), at(backward))) return;
    Node fused = node(at(backward));
    std::vector<int> inputs = fused.inputs;
    inputs.resize(6, kNone);
    inputs[4] = dy;
    if (uses_[at(g)] == 1 && input(norm, 5) == kNone) {
      inputs[5] = norm.outputs[4];
      fused.inputs = std::move(inputs);
      fused.attrs = std::move(attrs);
      node(at(backward)) = std::move(fused);
      gone_[i] = true;
      return;
    }
    if (activation != "relu" && activation != "clip") return;
    // Others read g too: in its place, before them.
    inputs[5] = y;
    Node both = graph_.make_node("batch_norm_residual_backward", std::move(inputs), std::move(attrs), fused.name);
    both.outputs = {g, fused.outputs[0], fused.outputs[1], fused.outputs[2]};
    for (int out : both.outputs) graph_.set_source(out, static_cast<int>(i));
    node(i) = std::move(both);
    gone_[at(backward)] = true;
  }

  Graph& graph_;
  std::vector<int> uses_;
  std::vector<bool> changed_, stable_;
  std::vector<std::vector<std::size_t>> readers_;  // by value
  std::vector<bool> gone_;
};

}  // namespace

void fuse_norms(Graph& graph, const Outputs& outputs) { Norms(graph, outputs).run(); }

}  // namespace fastconv::passes
