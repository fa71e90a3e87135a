// Rewrites of a graph before it is planned. Each keeps the values in `outputs` (it may rename them there) and
// every change of a variable.
#pragma once
#include <vector>

#include "graph/graph.hpp"

namespace fastconv::passes {

using Outputs = std::vector<int>;

void remove_dead_code(Graph& graph, const Outputs& outputs);
void cancel_transposes(Graph& graph, Outputs& outputs);      // a transpose of a transpose that undoes it
void fold_batch_norm(Graph& graph, const Outputs& outputs);  // inference: into the convolution before it
void fuse_activation(Graph& graph, const Outputs& outputs);  // relu and clip into convolution and dense

// All of them, in order.
void optimize(Graph& graph, Outputs& outputs);

// Values that are the same in every run until a variable is assigned: variables that no node changes, and what is
// computed from them alone.
std::vector<bool> stable_values(const Graph& graph);

// Variables that some node changes.
std::vector<bool> changed_variables(const Graph& graph);

// How often each value is read, plan outputs included.
std::vector<int> use_counts(const Graph& graph, const Outputs& outputs);

bool mutates(const Node& node);

}  // namespace fastconv::passes
