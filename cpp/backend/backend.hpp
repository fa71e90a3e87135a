// The one interface between the planner and what executes a graph.
#pragma once
#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "graph/graph.hpp"

namespace fastconv {

// One run of one plan: where every value lies.
class RunContext {
 public:
  template <class T>
  T* data(int value) const {
    return static_cast<T*>(values_[value]);
  }
  template <class T>
  const T* packed(int slot) const {
    return static_cast<const T*>(packed_[slot]);
  }
  // Private to a thread of the running step, of the size the step asked for. Contents are arbitrary.
  std::byte* scratch(int thread) const { return scratch_ + static_cast<std::size_t>(thread) * scratch_stride_; }
  // Shared by the threads of the running step.
  std::byte* workspace() const { return workspace_; }

 private:
  friend class Plan;
  friend class Preparation;
  void** values_ = nullptr;
  void** packed_ = nullptr;
  std::byte* scratch_ = nullptr;
  std::size_t scratch_stride_ = 0;
  std::byte* workspace_ = nullptr;
};

// What the planner got for a node. Immutable after planning: many threads may run one step at once.
struct Step {
  std::function<void(const RunContext&)> run;
  std::string algorithm;
  // Where several algorithms would do: what they were chosen by (the same for equal problems), and their names.
  std::string problem;
  std::vector<std::string> candidates;
  double flops = 0;           // multiply and add counted as two
  double bytes = 0;           // of the node's inputs and outputs
  std::size_t scratch = 0;    // bytes for each thread
  std::size_t workspace = 0;  // bytes for the step

  // A rough time on one core. It only decides what is too small for a second thread.
  double seconds() const { return std::max(flops / 50e9, bytes / 20e9); }
  void execute(const RunContext& context) const;  // runs it, small ones in one thread
};

// Rearranges a value (weights) for a step: once when the value only depends on variables that the plan does not
// change, in every run otherwise. The step must read the value through its packs only.
struct PackRequest {
  int value;
  std::size_t bytes;
  std::function<void(const void* from, const void* scale, void* to)> pack;
  // All that the packed bytes depend on but the values, so that plans can share them; empty: they do not.
  std::string key = {};
  int scale = kNone;  // another value that packing reads
};

// What is asked of a plan and its algorithms.
struct PlanOptions {
  bool strict = false;     // none with more error than direct summation
  bool any_size = false;   // the same at every map size and batch, so that the plans of many shapes share their packs
  bool recompute = false;  // activations for the gradients, rather than keep them
  std::map<std::string, std::string> algorithms = {};  // by problem, instead of the cost model's choice
};

// Values that lie in the rows (runs along the last axis) of another value, a concat's output.
struct Placement {
  std::vector<int> root;                    // by value: which; kNone: it has memory of its own
  std::vector<std::int64_t> offset;         // by value: elements into the root's rows
  std::vector<std::vector<bool>> in_place;  // by concat's output: for each input whether it lies there already
};

// What a backend sees of the node that it plans.
class PlanContext {
 public:
  PlanContext(const Graph& graph, const Node& node, const std::vector<bool>& stable, const PlanOptions& options,
              std::vector<PackRequest>& packs, const Placement* placement = nullptr)
      : graph_(graph), node_(node), stable_(stable), options_(options), packs_(packs), placement_(placement) {}
  // The same for a trial, whose packs are not wanted.
  PlanContext with(std::vector<PackRequest>& packs) const {
    return PlanContext(graph_, node_, stable_, options_, packs, placement_);
  }
  const Node& node() const { return node_; }
  const Attrs& attrs() const { return node_.attrs; }
  bool has(std::size_t i) const { return i < node_.inputs.size() && node_.inputs[i] != kNone; }
  int in(std::size_t i) const { return has(i) ? node_.inputs[i] : kNone; }
  int out(std::size_t i = 0) const { return node_.outputs[i]; }
  std::size_t inputs() const { return node_.inputs.size(); }
  std::size_t outputs() const { return node_.outputs.size(); }
  const TensorType& in_type(std::size_t i) const { return graph_.value(node_.inputs[i]).type; }
  const TensorType& out_type(std::size_t i = 0) const { return graph_.value(node_.outputs[i]).type; }
  const Shape& in_shape(std::size_t i) const { return in_type(i).shape; }
  const Shape& out_shape(std::size_t i = 0) const { return out_type(i).shape; }
  DType dtype() const { return out_type(0).dtype; }
  VariablePtr variable(std::size_t i) const { return graph_.value(node_.inputs[i]).variable; }
  // Whether the value only depends on variables that the plan does not change, so that it is packed once.
  bool stable(int value) const { return stable_[value]; }
  // Elements from one row of the value (a run along its last axis) to the next: the row's length, or more where
  // Backend::reads_rows or writes_rows has said so.
  std::int64_t row(int value) const {
    const int root = placement_ ? placement_->root[static_cast<std::size_t>(value)] : kNone;
    return graph_.value(root == kNone ? value : root).type.shape.back();
  }
  // Whether input i of a concat lies in its output already.
  bool in_place(std::size_t i) const {
    if (!placement_) return false;
    const std::vector<bool>& inputs = placement_->in_place[static_cast<std::size_t>(out())];
    return i < inputs.size() && inputs[i];
  }
  // Only algorithms with the error of direct summation are wanted.
  const PlanOptions& options() const { return options_; }
  // Returns the slot for RunContext::packed.
  int pack(PackRequest request) {
    packs_.push_back(std::move(request));
    return static_cast<int>(packs_.size()) - 1;
  }

 private:
  const Graph& graph_;
  const Node& node_;
  const std::vector<bool>& stable_;
  const PlanOptions& options_;
  std::vector<PackRequest>& packs_;
  const Placement* placement_;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual const char* name() const = 0;
  // A step without `run` answers "unsupported".
  virtual Step plan(PlanContext& context) const = 0;
  // Which tensors of a node, all of them channels last as it is, it would rather have channels first: `offered` says
  // of which a transpose would go. Only for nodes that are not stable.
  virtual ChannelsFirst channels_first(const PlanContext&, ChannelsFirst) const { return {}; }
  // Whether the node's step asks PlanContext::row how an input lies, or its output.
  virtual bool reads_rows(const Node&, std::size_t) const { return false; }
  virtual bool writes_rows(const Node&) const { return false; }
};

}  // namespace fastconv
