// A plan: a graph made ready to run. Algorithms are chosen, weights packed, memory assigned. Immutable but for the
// prepared values, which follow the versions of their variables; many threads may run one plan at once.
#pragma once
#include <memory>
#include <shared_mutex>
#include <string>
#include <vector>

#include "backend/backend.hpp"
#include "graph/graph.hpp"

namespace fastconv {

struct StepReport {
  std::string op, name, algorithm;
  Shape shape;
  double seconds, flops;
};

struct MemoryReport {
  std::size_t arena;     // activations, gradients and workspaces of one run
  std::size_t scratch;   // for each thread
  std::size_t prepared;  // packed weights and folded constants
};

class Plan {
 public:
  Plan(const Graph& graph, std::vector<int> outputs, const Backend& backend);
  ~Plan();
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  // Feeds in the order of the graph's inputs, outputs in the order asked for; dense memory of the given types.
  void run(const std::vector<const void*>& feeds, const std::vector<void*>& outputs);
  std::vector<StepReport> profile(const std::vector<const void*>& feeds, const std::vector<void*>& outputs);

  const std::vector<TensorType>& input_types() const { return input_types_; }
  const std::vector<std::string>& input_names() const { return input_names_; }
  const std::vector<TensorType>& output_types() const { return output_types_; }
  MemoryReport memory() const { return {arena_bytes_, scratch_bytes_, prepared_bytes_}; }

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
    bool stable;
    std::size_t offset = 0;  // in the arena when not stable
    Buffer buffer;           // when stable
  };
  // Where a value lies: at an offset of the arena, or where its root says.
  enum class Place : std::uint8_t { none, arena, feed, output, variable, prepared };
  struct Location {
    Place place = Place::none;
    std::size_t offset = 0;  // arena offset, or index of the feed, output, variable or prepared buffer
  };

  void execute(const std::vector<const void*>& feeds, const std::vector<void*>& outputs, std::vector<double>* seconds);
  void prepare();
  void run_step(PlannedStep& step, RunContext& context, std::byte* arena);
  void locate(std::vector<void*>& values, const std::vector<const void*>* feeds, const std::vector<void*>* outputs,
              std::byte* arena) const;
  void assign_memory(const Graph& graph, const std::vector<int>& outputs, const std::vector<std::size_t>& run_nodes);

  std::vector<PlannedStep> prepare_steps_, steps_;
  std::vector<Pack> packs_;
  std::vector<Location> locations_;  // by value
  std::vector<VariablePtr> variables_;
  std::vector<VariablePtr> stable_variables_;
  std::vector<VariablePtr> mutated_;
  std::vector<Buffer> prepared_;
  struct Copy {
    int value;
    std::size_t output;
    std::size_t bytes;
  };
  std::vector<Copy> copies_;
  std::vector<TensorType> input_types_, output_types_;
  std::vector<std::string> input_names_;
  std::size_t arena_bytes_ = 0, scratch_bytes_ = 0, prepared_bytes_ = 0, pool_bytes_ = 0;
  std::shared_mutex mutex_;
  std::uint64_t prepared_version_ = 0;
};

// Offsets for buffers that live over [first, last] steps such that none overlap while both live: larger ones first,
// each at the lowest gap that fits.
struct Lifetime {
  std::size_t bytes;
  int first, last;
  std::size_t offset = 0;
};
std::size_t assign_offsets(std::vector<Lifetime>& buffers);

}  // namespace fastconv
