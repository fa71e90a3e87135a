// A plan: a graph made ready to run. Algorithms are chosen, weights packed, memory assigned. Immutable but for the
// prepared values, which follow the versions of their variables; many threads may run one plan at once.
#pragma once
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.hpp"
#include "core/fork.hpp"
#include "graph/graph.hpp"
#include "graph/preparation.hpp"

namespace fastconv {

struct StepReport {
  std::string op, name, algorithm;
  Shape shape;
  double seconds, flops;
  std::int64_t pieces;  // that its threads could share
};

// A step for which several algorithms would do; see Step::problem.
struct Choice {
  std::size_t step;
  std::string problem, algorithm;
  std::vector<std::string> candidates;
};

struct MemoryReport {
  std::size_t arena;     // activations, gradients and workspaces of one run
  std::size_t live;      // the most of it that is in use at once: no arena could be smaller
  std::size_t scratch;   // for each thread
  std::size_t prepared;  // packed weights and folded constants that runs read, also those shared with other plans
};

class Plan {
 public:
  // Plans with the same store share what they prepare from the same variables.
  Plan(const Graph& graph, std::vector<int> outputs, const Backend& backend, std::shared_ptr<PackStore> store = nullptr,
       const PlanOptions& options = {});
  ~Plan();
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  // Feeds in the order of the graph's inputs, outputs in the order asked for; dense memory of the given types.
  void run(const std::vector<const void*>& feeds, const std::vector<void*>& outputs);
  std::vector<StepReport> profile(const std::vector<const void*>& feeds, const std::vector<void*>& outputs);

  std::vector<Choice> choices() const;
  const std::vector<TensorType>& input_types() const { return input_types_; }
  const std::vector<std::string>& input_names() const { return input_names_; }
  const std::vector<TensorType>& output_types() const { return output_types_; }
  MemoryReport memory() const { return {arena_bytes_, live_bytes_, scratch_bytes_, preparation_->kept_bytes()}; }

 private:
  struct PlannedStep {
    Step step;
    std::vector<int> packs;  // run before the step, in every run
    std::size_t workspace_offset = 0;
    std::string op, name;
    Shape shape;
  };
  struct Pack {
    PackRequest request;
    int item = kNone;        // of the preparation when stable
    std::size_t offset = 0;  // in the arena when not
  };
  // Where a value lies: at an offset of the arena, or where its root says.
  enum class Place : std::uint8_t { none, arena, feed, output, variable, prepared };
  struct Location {
    Place place = Place::none;
    std::size_t offset = 0;  // arena offset, or index of the feed, output, variable or prepared item
    std::size_t shift = 0;   // bytes from there
  };

  struct Measured {
    double seconds;
    std::int64_t pieces;
  };
  void execute(const std::vector<const void*>& feeds, const std::vector<void*>& outputs,
               std::vector<Measured>* measured);
  void plan_nodes(const Graph& graph, const std::vector<bool>& stable, const Backend& backend,
                  const PlanOptions& options, const Placement& placement, std::vector<std::size_t>& run_nodes);
  void place_stable(const Graph& graph, const std::vector<bool>& stable);
  void run_step(const PlannedStep& step, RunContext& context, std::byte* arena) const;
  std::vector<void*> locate(const std::vector<const void*>& feeds, const std::vector<void*>& outputs, std::byte* arena,
                            const PackStore::Snapshot& prepared) const;
  void assign_memory(const Graph& graph, const std::vector<int>& outputs, const Placement& placement,
                     const std::vector<std::size_t>& run_nodes);

  std::unique_ptr<Preparation> preparation_;
  std::vector<PlannedStep> steps_;
  std::vector<Pack> packs_;
  std::vector<Location> locations_;  // by value
  std::vector<VariablePtr> variables_;
  std::vector<VariablePtr> mutated_;
  struct Copy {
    int value;
    std::size_t output;
    std::size_t bytes;
  };
  std::vector<Copy> copies_;
  std::vector<TensorType> input_types_, output_types_;
  std::vector<std::string> input_names_;
  double seconds_ = 0;  // of the steps, roughly
  std::size_t arena_bytes_ = 0, live_bytes_ = 0, scratch_bytes_ = 0, pool_bytes_ = 0;
  std::atomic<int> runs_{0};  // up to 2
  LongMutex alone_;
};

// Offsets for buffers that live over [first, last] steps such that none overlap while both live: larger ones first,
// each at the lowest gap that fits.
struct Lifetime {
  std::size_t bytes;
  int first, last;
  std::size_t offset = 0;
};
std::size_t assign_offsets(std::vector<Lifetime>& buffers);

// Bytes of the buffers that live at one step, where they are most.
std::size_t most_live(const std::vector<Lifetime>& buffers);

}  // namespace fastconv
