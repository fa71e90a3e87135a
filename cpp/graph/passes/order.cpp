// The order of the nodes where it decides how much memory lives at once: a weight is updated as soon as its gradient is
// there and nothing reads the old weight any more, so that the gradients of all weights do not lie side by side.
#include <algorithm>
#include <deque>

#include "graph/passes/passes.hpp"

namespace fastconv::passes {
namespace {

class Scheduler {
 public:
  Scheduler(Graph& graph, const Outputs& outputs)
      : graph_(graph),
        before_(graph.nodes().size()),
        after_(before_.size()),
        sink_(before_.size(), kNone),
        done_(before_.size(), false) {
    find_dependencies();
    std::vector<bool> kept(graph.values().size(), false);
    for (int out : outputs) kept[static_cast<std::size_t>(out)] = true;
    for (std::size_t n = before_.size(); n-- > 0;) find_sink(n, kept);
  }

  void run() {
    waiting_.assign(before_.size(), 0);
    members_.resize(before_.size());
    for (std::size_t n = 0; n < before_.size(); ++n)
      if (sink_[n] != kNone) members_[static_cast<std::size_t>(sink_[n])].push_back(n);
    for (std::size_t s = 0; s < members_.size(); ++s)
      for (std::size_t n : members_[s])
        for (std::size_t b : before_[n]) waiting_[s] += sink_[b] != static_cast<int>(s);
    for (std::size_t s = 0; s < members_.size(); ++s)
      if (!members_[s].empty() && waiting_[s] == 0) ready_.push_back(s);
    place_ready();
    for (std::size_t n = 0; n < before_.size(); ++n)
      if (sink_[n] == kNone) place(n);
    for (std::size_t n = 0; n < before_.size(); ++n) place(n);
    std::vector<Node> nodes;
    for (std::size_t n : order_) nodes.push_back(std::move(graph_.mutable_nodes()[n]));
    graph_.replace_nodes(std::move(nodes));
  }

 private:
  // A node comes after those that compute what it reads; changes of a variable keep their place among its readers.
  void find_dependencies() {
    std::vector<std::size_t> changed(graph_.values().size(), before_.size());
    std::vector<std::vector<std::size_t>> readers(graph_.values().size());
    for (std::size_t n = 0; n < before_.size(); ++n) {
      const Node& node = graph_.nodes()[n];
      for (std::size_t i = 0; i < node.inputs.size(); ++i) {
        if (node.inputs[i] == kNone) continue;
        const auto in = static_cast<std::size_t>(node.inputs[i]);
        if (const int source = graph_.value(node.inputs[i]).node; source != kNone)
          depend(n, static_cast<std::size_t>(source));
        if (changed[in] < before_.size()) depend(n, changed[in]);
        if (std::count(node.op->mutates.begin(), node.op->mutates.end(), static_cast<int>(i))) {
          for (std::size_t r : readers[in]) depend(n, r);
          readers[in].clear();
          changed[in] = n;
        } else {
          readers[in].push_back(n);
        }
      }
    }
  }

  void depend(std::size_t node, std::size_t on) {
    if (node == on) return;
    before_[node].push_back(on);
    after_[on].push_back(node);
  }

  // A node without outputs is a sink, and so is with it what is computed for it alone.
  void find_sink(std::size_t n, const std::vector<bool>& kept) {
    const Node& node = graph_.nodes()[n];
    if (node.outputs.empty()) {
      sink_[n] = static_cast<int>(n);
      return;
    }
    if (mutates(node) || after_[n].empty()) return;
    for (int out : node.outputs)
      if (kept[static_cast<std::size_t>(out)]) return;
    const int sink = sink_[after_[n].front()];
    if (std::all_of(after_[n].begin(), after_[n].end(), [&](std::size_t a) { return sink_[a] == sink; }))
      sink_[n] = sink;
  }

  void place(std::size_t n) {
    std::vector<std::size_t> stack{n};
    while (!stack.empty()) {
      const std::size_t top = stack.back();
      const auto missing =
          std::find_if(before_[top].begin(), before_[top].end(), [&](std::size_t b) { return !done_[b]; });
      if (!done_[top] && missing != before_[top].end()) {
        stack.push_back(*missing);
        continue;
      }
      stack.pop_back();
      if (!done_[top]) append(top);
    }
    place_ready();
  }

  void append(std::size_t n) {
    done_[n] = true;
    order_.push_back(n);
    for (std::size_t a : after_[n]) {
      const int s = sink_[a];
      if (s == kNone || s == sink_[n]) continue;
      if (--waiting_[static_cast<std::size_t>(s)] == 0) ready_.push_back(static_cast<std::size_t>(s));
    }
  }

  void place_ready() {
    while (!ready_.empty()) {
      const std::size_t sink = ready_.front();
      ready_.pop_front();
      for (std::size_t m : members_[sink])
        if (!done_[m]) append(m);
    }
  }

  Graph& graph_;
  std::vector<std::vector<std::size_t>> before_, after_;  // by node
  std::vector<int> sink_;                                 // by node: the update that it is for
  std::vector<std::vector<std::size_t>> members_;         // by sink
  std::vector<int> waiting_;                              // by sink: for how many others
  std::deque<std::size_t> ready_;                         // sinks that wait for none any more
  std::vector<bool> done_;
  std::vector<std::size_t> order_;
};

}  // namespace

void update_early(Graph& graph, const Outputs& outputs) {
  const auto& nodes = graph.nodes();
  if (std::any_of(nodes.begin(), nodes.end(), [](const Node& node) { return node.outputs.empty(); }))
    Scheduler(graph, outputs).run();
}

}  // namespace fastconv::passes
