// Rewrites of a graph before it is planned. Each keeps the values in `outputs` (it may rename them there)
// and every change of a variable. What a gradient reads has more than one reader, so that no pass takes it away.
#pragma once
#include <functional>
#include <vector>

#include "graph/graph.hpp"

namespace fastconv::passes {

using Outputs = std::vector<int>;

void remove_dead_code(Graph& graph, const Outputs& outputs);
void remove_identities(Graph& graph, Outputs& outputs);  // what hands its input on as it is
void merge_transposes(Graph& graph, Outputs& outputs);   // two become one or none; one that moves nothing a reshape
void shrink_pooling_gradients(Graph& graph, const Outputs& outputs);  // of activations and sums, to the pooled maps
void crop_maps(Graph& graph, const Outputs& outputs);                 // rows and columns that nothing reads
void lower_matmul(Graph& graph);                                      // by one matrix: a dense layer
void match_activations(Graph& graph, const Outputs& outputs);         // silu, hard_swish, ... written as their parts
void fold_scales(Graph& graph, const Outputs& outputs);     // batch-norm and constants a channel into the layer before
void fold_padding(Graph& graph, const Outputs& outputs);    // zeros around H and W into pads, and crops of gradients
void fuse_residuals(Graph& graph, const Outputs& outputs);  // an addition into the convolution before it
void fuse_norms(Graph& graph, const Outputs& outputs);      // additions and activations into batch-norm, in training
void fuse_factors(Graph& graph, const Outputs& outputs);    // of channels into the 1x1 convolution after them
void fuse_sums(Graph& graph, const Outputs& outputs);       // a product and an addition, into one step
void fuse_activations(Graph& graph, const Outputs& outputs);  // into layers, batch-norm and such sums
void fuse_expansions(Graph& graph, const Outputs& outputs);   // 1x1 and depthwise convolution whose middle is large
void fuse_means(Graph& graph);                                // global pooling into the convolution before it
void fuse_pooling(Graph& graph,
                  const Outputs& outputs);  // max-pooling side by side into convolutions, and its gradient

// In training, after them. What costs little and is only kept for the gradients is computed again for them (where
// memory is short at its peak); then weights are updated as early as can be.
void recompute_cheap(Graph& graph, const Outputs& outputs);
// Instead: all but the values between a few segments of the forward pass (Chen et al., "Training Deep Nets with
// Sublinear Memory Cost", 2016), which are chosen for the lowest peak of memory.
void recompute_segments(Graph& graph, const Outputs& outputs);
void update_early(Graph& graph, const Outputs& outputs);

// Bytes that each node finds or leaves in memory besides variables, inputs and outputs.
std::vector<std::size_t> live_bytes(const Graph& graph, const Outputs& outputs);

// All of them, in order.
void optimize(Graph& graph, Outputs& outputs);

// After them: nodes that the backend runs as well on channels first lose the transposes around them. `wish` is asked
// with the node and with what could be so.
using LayoutWish = std::function<ChannelsFirst(const Node&, ChannelsFirst offered)>;
void drop_transposes(Graph& graph, const Outputs& outputs, const LayoutWish& wish);

// Values that are the same in every run until a variable is assigned: variables that no node changes, and what is
// computed from them alone.
std::vector<bool> stable_values(const Graph& graph);

// Variables that some node changes.
std::vector<bool> changed_variables(const Graph& graph);

// How often each value is read, plan outputs included.
std::vector<int> use_counts(const Graph& graph, const Outputs& outputs);

bool mutates(const Node& node);

// Conv2d, conv_transpose2d and dense: what a fused activation is an attribute of.
bool is_layer(const Node& node);

// A conv2d of 1x1 with stride 1, no padding and no groups, on any pixels.
bool is_pointwise(const Graph& graph, const Node& node);

// A conv2d of one input and one output channel a group, each with an output of its own.
bool is_depthwise(const Graph& graph, const Node& node);

// The gradient of an activation whose derivative is bounded: where dy is zero, it is.
bool is_bounded_derivative(const Node& node);

// Input k, or kNone where the node has not so many.
int input(const Node& node, std::size_t k);

// No axis of more than one element changes its place among such axes: both orders are one in memory.
bool moves_nothing(const Shape& shape, const Ints& perm);

// Drops the nodes that are marked.
void erase_nodes(Graph& graph, const std::vector<bool>& gone);

// The number in a constant of one element of a floating type; nothing for any other value.
bool constant_number(const Graph& graph, int value, double& number);

}  // namespace fastconv::passes
