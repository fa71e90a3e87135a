// Reverse-mode differentiation: walks the nodes backwards and lets each operator append its gradient's nodes.
#include "graph/graph.hpp"

namespace fastconv {

std::vector<int> Graph::gradients(const std::vector<int>& outputs, const std::vector<int>& seeds,
                                  const std::vector<int>& wrt) {
  if (outputs.size() != seeds.size()) throw Error("gradients: outputs and seeds differ in number");
  for (int id : outputs) check(id);
  for (int id : wrt) check(id);

  const std::size_t forward_nodes = nodes_.size();
  std::vector<bool> needs(values_.size(), false);
  for (int id : wrt) needs[id] = is_floating(values_[id].type.dtype);
  for (const Node& node : nodes_) {
    bool any = false;
    for (int in : node.inputs) any = any || (in != kNone && needs[in]);
    if (any)
      for (int out : node.outputs) needs[out] = is_floating(values_[out].type.dtype);
  }

  std::vector<int> grad(values_.size(), kNone);
  const auto accumulate = [&](int id, int g) {
    grad[id] = grad[id] == kNone ? g : add("add", {grad[id], g}, {}, values_[id].name)[0];
  };
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const TensorType type = values_[outputs[i]].type;
    if (!is_floating(type.dtype))
      throw Error("gradients: output " + std::to_string(i) + " is " + name_of(type.dtype) +
                  ", expected float32 or float64");
    int seed = seeds[i];
    if (seed == kNone) {
      seed = add("broadcast_to", {scalar(1.0, type.dtype)}, {{"shape", type.shape}}, "seed")[0];
    } else if (value(seed).type.shape != type.shape || value(seed).type.dtype != type.dtype) {
      throw Error("gradients: seed " + std::to_string(i) + " has shape " + to_string(value(seed).type.shape) +
                  ", expected " + to_string(type.shape) + " of the output's dtype");
    }
    accumulate(outputs[i], seed);
  }

  for (std::size_t n = forward_nodes; n-- > 0;) {
    const Node node = nodes_[n];
    std::vector<int> grads;
    bool any = false;
    for (int out : node.outputs) {
      grads.push_back(grad[out]);
      any = any || grad[out] != kNone;
    }
    std::vector<bool> wanted;
    bool wants = false;
    for (int in : node.inputs) {
      wanted.push_back(in != kNone && needs[in]);
      wants = wants || wanted.back();
    }
    if (!any || !wants) continue;
    if (!node.op->gradient) throw Error(node.op->name + " '" + node.name + "' is not differentiable");
    GradContext context(*this, node, grads, wanted);
    node.op->gradient(context);
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      const int g = context.result()[i];
      if (g == kNone || !wanted[i]) continue;
      if (values_[g].type.shape != values_[node.inputs[i]].type.shape)
        throw std::logic_error(node.op->name + ": gradient of input " + std::to_string(i) + " has shape " +
                               to_string(values_[g].type.shape));
      accumulate(node.inputs[i], g);
    }
  }

  for (std::size_t n = forward_nodes; n < nodes_.size(); ++n) nodes_[n].backward = true;
  std::vector<int> result;
  for (int id : wrt) result.push_back(grad[id]);
  return result;
}

}  // namespace fastconv
