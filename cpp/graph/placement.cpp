#include "graph/placement.hpp"

#include <algorithm>

namespace fastconv {
namespace {

class Placer {
 public:
  Placer(const Graph& graph, const std::vector<int>& outputs, const std::vector<bool>& stable, const Backend& backend)
      : graph_(graph), stable_(stable), backend_(backend), slots_(graph.values().size()), dense_(slots_.size(), false) {
    p_.root.assign(slots_.size(), kNone);
    p_.offset.assign(slots_.size(), 0);
    p_.in_place.resize(slots_.size());
    for (int out : outputs) dense_[at(out)] = true;
    for (const Node& node : graph.nodes())
      for (std::size_t i = 0; i < node.inputs.size(); ++i)
        if (node.inputs[i] != kNone && !backend.reads_rows(node, i)) dense_[at(node.inputs[i])] = true;
  }

  Placement run() {
    // The last concat of a chain first: those before it are parts of it.
    const auto& nodes = graph_.nodes();
    for (std::size_t n = nodes.size(); n-- > 0;)
      if (covers(nodes[n])) give_slots(nodes[n]);
    std::vector<bool> filled(slots_.size(), false);
    for (const Node& node : nodes)
      if (covers(node)) find_in_place(node, filled);
    return std::move(p_);
  }

 private:
  // A place in the rows of a concat's output.
  struct Slot {
    int root = kNone;
    std::int64_t offset = 0;
  };

  static std::size_t at(int value) { return static_cast<std::size_t>(value); }
  const Shape& shape(int value) const { return graph_.value(value).type.shape; }
  std::int64_t length(int value) const { return shape(value).back(); }

  bool covers(const Node& node) const {
    if (node.op->name != "concat" || stable_[at(node.outputs[0])]) return false;
    const auto rank = static_cast<std::int64_t>(shape(node.outputs[0]).size()), axis = node.attrs.integer("axis");
    return (axis == rank - 1 || axis == -1) && graph_.value(node.outputs[0]).type.size() > 0;
  }

  Slot place_of(int value) const {
    return p_.root[at(value)] == kNone ? Slot{value, 0} : Slot{p_.root[at(value)], p_.offset[at(value)]};
  }

  void place(int value, const Slot& slot) {
    p_.root[at(value)] = slot.root;
    p_.offset[at(value)] = slot.offset;
  }

  bool can_be_written(int value) const {
    if (dense_[at(value)] || graph_.value(value).node == kNone) return false;
    const Node& node = graph_.nodes()[at(graph_.value(value).node)];
    if (node.outputs[0] != value) return false;
    if (node.op->name == "concat") return covers(node);
    // What may work in place writes where it reads.
    for (int i : node.op->inplace)
      if (at(i) < node.inputs.size() && node.inputs[at(i)] != kNone) return false;
    return backend_.writes_rows(node);
  }

  // Whether the inputs' slots lie side by side.
  bool is_part(const Node& node) const {
    Slot next = slots_[at(node.inputs[0])];
    if (next.root == kNone) return false;
    for (int in : node.inputs) {
      const Slot& slot = slots_[at(in)];
      if (slot.root != next.root || slot.offset != next.offset) return false;
      next.offset += length(in);
    }
    return true;
  }

  void give_slots(const Node& node) {
    const int out = node.outputs[0];
    if (p_.root[at(out)] == kNone && !dense_[at(out)] && is_part(node)) place(out, slots_[at(node.inputs[0])]);
    Slot slot = place_of(out);
    for (int in : node.inputs) {
      if (length(in) && slots_[at(in)].root == kNone && graph_.value(in).kind == Value::Kind::computed &&
          !stable_[at(in)]) {
        slots_[at(in)] = slot;
        if (can_be_written(in)) place(in, slot);
      }
      slot.offset += length(in);
    }
  }

  // What cannot be written in place is copied to its slot by the first concat that has it.
  void find_in_place(const Node& node, std::vector<bool>& filled) {
    Slot slot = place_of(node.outputs[0]);
    std::vector<bool>& in_place = p_.in_place[at(node.outputs[0])];
    for (int in : node.inputs) {
      const Slot& mine = slots_[at(in)];
      const bool here = mine.root == slot.root && mine.offset == slot.offset;
      in_place.push_back(here && (p_.root[at(in)] != kNone || filled[at(in)]));
      if (here) filled[at(in)] = true;
      slot.offset += length(in);
    }
  }

  const Graph& graph_;
  const std::vector<bool>& stable_;
  const Backend& backend_;
  std::vector<Slot> slots_;  // by value: the one place in a concat's output that is its own
  std::vector<bool> dense_;  // by value: something reads it as one run of memory
  Placement p_;
};

}  // namespace

Placement place_concats(const Graph& graph, const std::vector<int>& outputs, const std::vector<bool>& stable,
                        const Backend& backend) {
  return Placer(graph, outputs, stable, backend).run();
}

}  // namespace fastconv
