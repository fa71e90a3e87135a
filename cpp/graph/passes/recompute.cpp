// Memory for time in training: values that the gradients read are computed again when they do, instead of kept. The
// same operators run on the same inputs, so the results are the same bits; batch normalization leaves its running
// statistics alone the second time, and a random operator draws the same numbers from the same seed.
#include <algorithm>
#include <map>
#include <utility>

#include "graph/passes/passes.hpp"
#include "ops/elementwise.hpp"

namespace fastconv::passes {
namespace {

constexpr double kFlopsForByte = 2500;    // of the whole step, for each byte that is computed again in any case
constexpr std::size_t kSmall = 64 << 10;  // bytes that are not worth it
constexpr int kLimits = 16;               // sizes of segments that are tried

std::size_t at(int id) { return static_cast<std::size_t>(id); }

// Inputs that a node changes, and need not.
bool is_statistic(const Node& node, std::size_t i) {
  return node.op->name == "batch_norm_training" && (i == 3 || i == 4);
}

// What the two ways of recomputing have in common: the first gradient, roots of views, who reads what.
class Recomputer {
 public:
  Recomputer(const Graph& graph, const Outputs& outputs)
      : graph_(graph), stable_(stable_values(graph)), root_(graph.values().size()), fixed_(root_.size(), false) {
    const auto& nodes = graph.nodes();
    while (first_ < nodes.size() && !nodes[first_].backward) ++first_;
    const auto changed = changed_variables(graph);
    std::vector<bool> changed_before(root_.size(), false);
    for (std::size_t n = 0; n < first_; ++n)
      for (int m : nodes[n].op->mutates)
        if (const int in = input(nodes[n], at(m)); in != kNone) changed_before[at(in)] = true;
    for (std::size_t v = 0; v < root_.size(); ++v) root_[v] = static_cast<int>(v);
    for (std::size_t n = 0; n < first_; ++n) {
      const Node& node = nodes[n];
      if (node.op->view && !changed[at(node.inputs[0])]) root_[at(node.outputs[0])] = root_[at(node.inputs[0])];
      const bool again = can_repeat(node, changed_before);
      for (int out : node.outputs)
        if (!again || stable_[at(out)]) fixed_[at(root(out))] = true;
    }
    for (int out : outputs) fixed_[at(root(out))] = true;
    // From the first update on variables have new values.
    std::size_t update = first_;
    while (update < nodes.size() && !mutates(nodes[update])) ++update;
    for (; update < nodes.size(); ++update)
      for (int in : nodes[update].inputs)
        if (in != kNone) fixed_[at(root(in))] = true;
    for (std::size_t v = 0; v < root_.size(); ++v)
      if (const int n = graph.values()[v].node; n == kNone || at(n) >= first_) fixed_[v] = true;
  }

  bool training() const { return first_ < graph_.nodes().size(); }

 protected:
  int root(int value) const { return root_[at(value)]; }
  std::size_t bytes(int value) const { return graph_.value(value).type.bytes(); }
  const Node& source(int value) const { return graph_.nodes()[at(graph_.value(value).node)]; }

  static bool can_repeat(const Node& node, const std::vector<bool>& changed) {
    for (std::size_t i = 0; i < node.inputs.size(); ++i)
      if (node.inputs[i] != kNone && !is_statistic(node, i) && changed[at(node.inputs[i])]) return false;
    return true;
  }

  // The node with fresh outputs, for a second run; of its inputs those in `now` have been computed again.
  static Node repeated(const Node& node, Graph& graph, const std::map<int, int>& now) {
    Node copy = graph.copy_node(node);
    for (std::size_t i = 0; i < copy.inputs.size(); ++i) {
      int& in = copy.inputs[i];
      if (is_statistic(copy, i)) in = kNone;
      if (const auto it = now.find(in); it != now.end()) in = it->second;
    }
    return copy;
  }

  const Graph& graph_;
  std::vector<bool> stable_;
  std::vector<int> root_;    // by value: what it is a view of
  std::vector<bool> fixed_;  // by root: cannot be computed again, or need not
  std::size_t first_ = 0;    // node of the gradients
};

}  // namespace

std::vector<std::size_t> live_bytes(const Graph& graph, const Outputs& outputs) {
  const auto& nodes = graph.nodes();
  const auto stable = stable_values(graph), changed = changed_variables(graph);
  const std::size_t n = graph.values().size();
  std::vector<int> root(n), first(n, kNone), last(n, kNone);
  for (std::size_t v = 0; v < n; ++v) root[v] = static_cast<int>(v);
  std::vector<bool> elsewhere(stable);
  for (std::size_t s = 0; s < nodes.size(); ++s) {
    const Node& node = nodes[s];
    if (node.op->view && !changed[at(node.inputs[0])]) root[at(node.outputs[0])] = root[at(node.inputs[0])];
    for (int in : node.inputs)
      if (in != kNone) last[at(root[at(in)])] = static_cast<int>(s);
    for (int out : node.outputs) {
      int& begin = first[at(root[at(out)])];
      if (begin == kNone) begin = static_cast<int>(s);
      last[at(root[at(out)])] = static_cast<int>(s);
    }
  }
  for (int out : outputs) elsewhere[at(root[at(out)])] = true;
  // What an operator may work in takes the place of its output.
  const auto take_over = [&](std::size_t s, int to, int i) {
    const int in = input(nodes[s], at(i));
    if (in == kNone) return false;
    const int from = root[at(in)];
    if (elsewhere[at(from)] || last[at(from)] != static_cast<int>(s) || first[at(from)] == kNone ||
        graph.value(from).type.bytes() != graph.value(to).type.bytes())
      return false;
    --last[at(from)];
    return true;
  };
  for (std::size_t s = 0; s < nodes.size(); ++s) {
    if (nodes[s].outputs.empty()) continue;
    for (int i : nodes[s].op->inplace)
      if (take_over(s, nodes[s].outputs[0], i)) break;
    for (const auto& [out, i] : nodes[s].op->inplace_others) take_over(s, nodes[s].outputs[at(out)], i);
  }
  std::vector<std::size_t> begins(nodes.size() + 1, 0), ends(begins), live;
  for (std::size_t v = 0; v < n; ++v) {
    if (root[v] != static_cast<int>(v) || first[v] == kNone || elsewhere[v]) continue;
    begins[at(first[v])] += graph.values()[v].type.bytes();
    ends[at(std::max(first[v], last[v])) + 1] += graph.values()[v].type.bytes();
  }
  std::size_t now = 0;
  for (std::size_t s = 0; s < nodes.size(); ++s) live.push_back(now += begins[s] - ends[s]);
  return live;
}

namespace {

std::size_t peak_updated(Graph graph, const Outputs& outputs) {
  update_early(graph, outputs);
  const auto live = live_bytes(graph, outputs);
  return live.empty() ? 0 : *std::max_element(live.begin(), live.end());
}

class Segments : Recomputer {
 public:
  Segments(const Graph& graph, const Outputs& outputs) : Recomputer(graph, outputs), outputs_(outputs) {
    if (!training()) return;
    const std::size_t values = root_.size();
    std::vector<int> last(values, kNone);  // node of the forward pass that reads a root
    kept_.assign(values, false);
    for (std::size_t n = 0; n < graph.nodes().size(); ++n)
      for (int in : graph.nodes()[n].inputs) {
        if (in == kNone) continue;
        if (n < first_)
          last[at(root(in))] = static_cast<int>(n);
        else if (!fixed_[at(root(in))])
          kept_[at(root(in))] = true;
      }
    // Bytes that cutting before a node keeps, and that the nodes before it give the gradients.
    crossing_.assign(first_ + 1, 0);
    given_.assign(first_ + 1, 0);
    for (std::size_t v = 0; v < values; ++v) {
      if (fixed_[v] || root_[v] != static_cast<int>(v)) continue;
      const std::size_t n = at(graph.values()[v].node), size = graph.values()[v].type.bytes();
      for (std::size_t cut = n + 1; last[v] != kNone && cut <= at(last[v]); ++cut) crossing_[cut] += size;
      if (kept_[v]) given_[n + 1] += size;
    }
    for (std::size_t n = 0; n < first_; ++n) given_[n + 1] += given_[n];
  }

  // The graph with the lowest peak of those with segments of different sizes; the one with the least to compute of
  // those that are about as low.
  Graph best() {
    std::vector<std::pair<std::size_t, std::vector<std::size_t>>> tried;
    if (training()) {
      double limit = static_cast<double>(given_[first_]);
      for (int i = 0; i < kLimits; ++i) {
        limit *= 0.7;
        auto cuts = choose(static_cast<std::size_t>(limit));
        if (!tried.empty() && tried.back().second == cuts) continue;
        tried.emplace_back(peak_updated(rewritten(cuts), outputs_), std::move(cuts));
      }
    }
    std::size_t lowest = peak_updated(graph_, outputs_);
    for (const auto& tries : tried) lowest = std::min(lowest, tries.first);
    for (const auto& [bytes, cuts] : tried)
      if (bytes <= lowest + lowest / 50) return rewritten(cuts);
    return graph_;
  }

 private:
  // Where to cut so that no segment gives the gradients more than the limit, and what is kept between them is least.
  std::vector<std::size_t> choose(std::size_t limit) const {
    std::vector<std::size_t> cost(first_, 0), from(first_, 0);
    const auto cheapest = [&](std::size_t end) {
      std::size_t best = end - 1;
      for (std::size_t begin = end - 1; begin-- > 0 && given_[end] - given_[begin] <= limit;)
        if (cost[begin] < cost[best]) best = begin;
      return best;
    };
    for (std::size_t cut = 1; cut < first_; ++cut) {
      from[cut] = cheapest(cut);
      cost[cut] = cost[from[cut]] + crossing_[cut];
    }
    std::vector<std::size_t> cuts;
    for (std::size_t cut = first_ ? cheapest(first_) : 0; cut > 0; cut = from[cut]) cuts.insert(cuts.begin(), cut);
    return cuts;
  }

  Graph rewritten(const std::vector<std::size_t>& cuts) const {
    Graph graph = graph_;
    std::vector<std::size_t> segment(first_);
    for (std::size_t n = 0; n < first_; ++n)
      segment[n] = at(static_cast<int>(std::upper_bound(cuts.begin(), cuts.end(), n) - cuts.begin()));
    const auto of = [&](int value) { return segment[at(graph_.value(value).node)]; };
    std::vector<bool> stays = fixed_;
    for (std::size_t n = 0; n < first_; ++n)
      for (int in : graph_.nodes()[n].inputs)
        if (in != kNone && !fixed_[at(root(in))] && of(root(in)) != segment[n]) stays[at(root(in))] = true;
    for (std::size_t v = 0; v < stays.size(); ++v)
      if (!fixed_[at(root_[v])] && of(root_[v]) == cuts.size()) stays[at(root_[v])] = true;  // read at once

    // What the gradients ask a segment for, and what that takes.
    std::vector<bool> again(stays.size(), false);
    const auto ask = [&](const Node& node) {
      for (std::size_t i = 0; i < node.inputs.size(); ++i)
        if (const int in = node.inputs[i]; in != kNone && !is_statistic(node, i) && !stays[at(root(in))])
          again[at(in)] = true;
    };
    for (std::size_t n = graph_.nodes().size(); n-- > 0;) {
      const Node& node = graph_.nodes()[n];
      if (n >= first_ || std::any_of(node.outputs.begin(), node.outputs.end(), [&](int o) { return again[at(o)]; }))
        ask(node);
    }
    std::vector<bool> done(cuts.size() + 1, false);
    std::map<int, int> now;
    std::vector<Node> nodes;
    for (std::size_t n = 0; n < graph_.nodes().size(); ++n) {
      Node node = graph_.nodes()[n];
      for (int& in : node.inputs) {
        if (n < first_ || in == kNone || !again[at(in)]) continue;
        if (const std::size_t s = of(in); !done[s]) {
          done[s] = true;
          repeat(s, segment, again, graph, now, nodes);
        }
        in = now.at(in);
      }
      nodes.push_back(std::move(node));
    }
    graph.replace_nodes(std::move(nodes));
    return graph;
  }

  void repeat(std::size_t s, const std::vector<std::size_t>& segment, const std::vector<bool>& again, Graph& graph,
              std::map<int, int>& now, std::vector<Node>& nodes) const {
    for (std::size_t n = 0; n < first_; ++n) {
      const Node& node = graph_.nodes()[n];
      if (segment[n] != s ||
          std::none_of(node.outputs.begin(), node.outputs.end(), [&](int o) { return again[at(o)]; }))
        continue;
      Node copy = repeated(node, graph, now);
      for (std::size_t i = 0; i < node.outputs.size(); ++i) now[node.outputs[i]] = copy.outputs[i];
      nodes.push_back(std::move(copy));
    }
  }

  const Outputs& outputs_;
  std::vector<bool> kept_;  // by root: for the gradients
  std::vector<std::size_t> crossing_, given_;
};

// Activations after batch normalization: one or two passes over what the gradients read anyway.
class Cheap : Recomputer {
 public:
  Cheap(const Graph& graph, const Outputs& outputs) : Recomputer(graph, outputs) {}

  void run(Graph& graph) {
    if (!training()) return;
    const std::size_t n = graph_.nodes().size(), values = root_.size();
    std::vector<std::size_t> first(values, n), last(values, 0);  // among the gradients, by root
    double flops = 0;
    for (std::size_t s = 0; s < n; ++s) {
      const Node& node = graph_.nodes()[s];
      flops += flops_of(node);
      for (int in : node.inputs) {
        if (in == kNone) continue;
        last[at(root(in))] = s;
        if (s >= first_) first[at(root(in))] = std::min(first[at(root(in))], s);
      }
    }
    std::vector<std::pair<std::size_t, int>> found;
    for (std::size_t s = 0; s < first_; ++s) {
      const Node& node = graph_.nodes()[s];
      const int y = node.outputs.empty() ? kNone : node.outputs[0];
      if (y == kNone || fixed_[at(root(y))] || first[at(y)] == n || bytes(y) < kSmall) continue;
      const Node* norm = norm_of(y);
      if (norm && std::all_of(norm->inputs.begin(), norm->inputs.end(), [&](int in) {
            return in == kNone || bytes(in) < kSmall || last[at(root(in))] >= first[at(y)];
          }))
        found.emplace_back(bytes(y), y);
    }
    std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    std::map<std::size_t, std::vector<int>> at_node;
    double left = flops / kFlopsForByte;
    std::vector<bool> dropped(values, false), read(values, false);
    for (const auto& [size, y] : found) {
      const auto& inputs = norm_of(y)->inputs;
      if (left < static_cast<double>(size) || read[at(root(y))] ||
          std::any_of(inputs.begin(), inputs.end(), [&](int in) { return in != kNone && dropped[at(root(in))]; }))
        continue;
      left -= static_cast<double>(size);
      dropped[at(root(y))] = true;
      for (int in : inputs)
        if (in != kNone) read[at(root(in))] = true;
      at_node[first[at(y)]].push_back(y);
    }
    if (!at_node.empty()) rewrite(graph, at_node);
  }

 private:
  // The batch normalization that y is the output of, or the activation of.
  const Node* norm_of(int y) const {
    const Node* node = &source(y);
    if (find_unary(node->op->name)) {
      if (fixed_[at(root(node->inputs[0]))] || node->inputs.size() != 1) return nullptr;
      node = &source(node->inputs[0]);
    }
    return node->op->name == "batch_norm_training" ? node : nullptr;
  }

  // Of what takes most of the time.
  double flops_of(const Node& node) const {
    const std::string& op = node.op->name;
    const auto size = [&](int value) { return static_cast<double>(graph_.value(value).type.size()); };
    const auto pixels = [&](int value) {
      return size(value) / static_cast<double>(std::max<std::int64_t>(1, graph_.value(value).type.shape.back()));
    };
    // Pixels of the map that is pooled.
    const Ints window = node.attrs.ints("window", {1, 1});
    const auto whole = static_cast<double>(window[0] * window[1]);
    if (op == "conv2d" || op == "conv2d_max_pool" || op == "dense")
      return 2 * whole * pixels(node.outputs[0]) * size(node.inputs[1]);
    if (op == "conv_transpose2d" || op == "conv2d_max_pool_backward_input")
      return 2 * whole * pixels(node.inputs[0]) * size(node.inputs[1]);
    if (op == "conv2d_backward_weights" || op == "conv2d_max_pool_backward_weights" || op == "dense_backward_weights")
      return 2 * whole * pixels(node.inputs[1]) * size(node.outputs[0]);
    return 0;
  }

  void rewrite(Graph& graph, const std::map<std::size_t, std::vector<int>>& at_node) const {
    std::map<int, int> now;
    std::vector<Node> nodes;
    for (std::size_t s = 0; s < graph_.nodes().size(); ++s) {
      if (const auto it = at_node.find(s); it != at_node.end())
        for (int y : it->second) now[y] = repeat(y, graph, nodes);
      Node node = graph_.nodes()[s];
      for (int& in : node.inputs)
        if (const auto it = now.find(in); it != now.end()) in = it->second;
      nodes.push_back(std::move(node));
    }
    graph.replace_nodes(std::move(nodes));
  }

  int repeat(int y, Graph& graph, std::vector<Node>& nodes) const {
    std::map<int, int> now;
    const Node& node = source(y);
    if (node.op->name != "batch_norm_training") now[node.inputs[0]] = repeat(node.inputs[0], graph, nodes);
    Node copy = repeated(node, graph, now);
    const int out = copy.outputs[0];
    nodes.push_back(std::move(copy));
    return out;
  }
};

}  // namespace

void recompute_segments(Graph& graph, const Outputs& outputs) {
  const Graph source = graph;
  recompute_cheap(graph, outputs);
  Graph other = Segments(source, outputs).best();
  if (peak_updated(other, outputs) < peak_updated(graph, outputs)) graph = std::move(other);
}

void recompute_cheap(Graph& graph, const Outputs& outputs) {
  const Graph source = graph;
  Cheap(source, outputs).run(graph);
}

}  // namespace fastconv::passes
