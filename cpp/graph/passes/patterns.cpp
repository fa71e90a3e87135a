// Activations that exporters write as products of simpler functions, in any order of the factors.
#include <algorithm>
#include <cmath>
#include <utility>

#include "graph/passes/passes.hpp"

namespace fastconv::passes {
namespace {

constexpr int kMostNested = 4;  // products in a product

bool close(double a, double b) { return std::abs(a - b) <= 1e-6 * std::abs(b); }

class Matcher {
 public:
  Matcher(Graph& graph, const Outputs& outputs)
      : graph_(graph), uses_(use_counts(graph, outputs)), changed_(changed_variables(graph)) {}

  void run() {
    // The outermost product first: its parts are products too.
    for (std::size_t i = graph_.nodes().size(); i-- > 0;) rewrite(graph_.mutable_nodes()[i]);
  }

 private:
  // The node that computes the value, if it is `op` and nothing else reads it.
  const Node* inner(int value, const char* op) const {
    if (value == kNone || graph_.value(value).node == kNone || uses_[value] != 1) return nullptr;
    const Node& node = graph_.nodes()[static_cast<std::size_t>(graph_.value(value).node)];
    return node.op->name == op ? &node : nullptr;
  }

  // value = constant * the product of the factors.
  struct Product {
    double constant = 1;
    std::vector<int> factors;
  };

  // Takes the product apart; false when `node` is none.
  bool factor(const Node& node, Product& product, int depth = 0) const {
    const std::string& op = node.op->name;
    double c = 0;
    if (op == "mul") {
      expand(node.inputs[0], product, depth);
      expand(node.inputs[1], product, depth);
    } else if (op == "div" && constant_number(graph_, node.inputs[1], c)) {
      expand(node.inputs[0], product, depth);
      product.constant /= c;
    } else if (op == "scale" && node.attrs.real("beta", 0) == 0) {
      expand(node.inputs[0], product, depth);
      product.constant *= node.attrs.real("alpha", 1);
    } else {
      return false;
    }
    return true;
  }

  void expand(int value, Product& product, int depth) const {
    double c = 0;
    if (constant_number(graph_, value, c)) {
      product.constant *= c;
      return;
    }
    if (depth < kMostNested)
      for (const char* op : {"mul", "div", "scale"})
        if (const Node* node = inner(value, op))
          if (factor(*node, product, depth + 1)) return;
    product.factors.push_back(value);
  }

  // value = x * factor + term, when it is so written with constants.
  bool affine(int value, int& x, double& scale, double& shift) const {
    scale = 1, shift = 0;
    if (const Node* node = inner(value, "scale")) {
      x = node->inputs[0], scale = node->attrs.real("alpha", 1), shift = node->attrs.real("beta", 0);
      return true;
    }
    for (const char* op : {"add", "mul"})
      if (const Node* node = inner(value, op))
        for (std::size_t k = 0; k < 2; ++k)
          if (constant_number(graph_, node->inputs[k], op[0] == 'a' ? shift : scale)) {
            x = node->inputs[1 - k];
            return true;
          }
    if (const Node* node = inner(value, "div"))
      if (constant_number(graph_, node->inputs[1], scale)) {
        scale = 1 / scale, x = node->inputs[0];
        return true;
      }
    return false;
  }

  // clip(x + 3, 0, 6)
  bool six_times_hard_sigmoid(int value, int& x) const {
    const Node* clip = inner(value, "clip");
    double scale = 0, shift = 0;
    return clip && clip->attrs.real("min", -1) == 0 && clip->attrs.real("max", -1) == 6 &&
           affine(clip->inputs[0], x, scale, shift) && scale == 1 && shift == 3;
  }

  // 1 + erf(x / sqrt(2))
  bool twice_normal_cdf(int value, int& x) const {
    int y = kNone;
    double scale = 0, shift = 0;
    if (!affine(value, y, scale, shift) || scale != 1 || shift != 1) return false;
    const Node* erf = inner(y, "erf");
    return erf && affine(erf->inputs[0], x, scale, shift) && shift == 0 && close(scale, std::sqrt(0.5));
  }

  void rewrite(Node& node) {
    Product p;
    if (!factor(node, p)) return;
    int x = kNone;
    if (p.factors.size() == 1) {
      if (close(p.constant, 1.0 / 6) && six_times_hard_sigmoid(p.factors[0], x))
        become(node, "hard_sigmoid", x, {{"alpha", 1.0 / 6}, {"beta", 0.5}});
      return;
    }
    if (p.factors.size() != 2) return;
    for (std::size_t k = 0; k < 2; ++k) {
      x = p.factors[k];
      const int gate = p.factors[1 - k];
      int of = kNone;
      if (const Node* sigmoid = inner(gate, "sigmoid"); sigmoid && p.constant == 1 && sigmoid->inputs[0] == x)
        return become(node, "silu", x, {});
      if (const Node* hard = inner(gate, "hard_sigmoid"); hard && p.constant == 1 && hard->inputs[0] == x &&
                                                          close(hard->attrs.real("alpha", 1.0 / 6), 1.0 / 6) &&
                                                          close(hard->attrs.real("beta", 0.5), 0.5))
        return become(node, "hard_swish", x, {});
      if (close(p.constant, 1.0 / 6) && six_times_hard_sigmoid(gate, of) && of == x)
        return become(node, "hard_swish", x, {});
      if (close(p.constant, 0.5) && twice_normal_cdf(gate, of) && of == x) return become(node, "gelu", x, {});
    }
  }

  void become(Node& node, const char* op, int x, Attrs attrs) {
    // x is read later than before; a constant of many axes would have made the result's shape another.
    if (changed_[x] || graph_.value(x).type.shape != graph_.value(node.outputs[0]).type.shape) return;
    node.op = &find_op(op);
    node.inputs = {x};
    node.attrs = std::move(attrs);
  }

  Graph& graph_;
  std::vector<int> uses_;
  std::vector<bool> changed_;
};

}  // namespace

void match_activations(Graph& graph, const Outputs& outputs) { Matcher(graph, outputs).run(); }

}  // namespace fastconv::passes
