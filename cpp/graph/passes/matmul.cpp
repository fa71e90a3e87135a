// A product with one matrix is a dense layer, whose bias and activation can then be fused.
#include "graph/passes/passes.hpp"

namespace fastconv::passes {

void lower_matmul(Graph& graph) {
  for (Node& node : graph.mutable_nodes()) {
    if (node.op->name != "matmul") continue;
    const TensorType &a = graph.value(node.inputs[0]).type, &b = graph.value(node.inputs[1]).type;
    if ((a.dtype != DType::f32 && a.dtype != DType::f64) || a.shape.empty() || b.shape.size() != 2) continue;
    if (b.shape[0] < 1 || b.shape[1] < 1) continue;
    node.op = &find_op("dense");
    node.attrs = {};
  }
}

}  // namespace fastconv::passes
