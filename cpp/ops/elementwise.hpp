// The elementwise functions by name, for passes, gradients of fused activations, and backends.
#pragma once
#include <string>

#include "graph/graph.hpp"
#include "kernels/elementwise_args.hpp"

namespace fastconv {

struct UnaryInfo {
  Unary function;
  const char* name;
  char reads;  // what the derivative needs: 'x', 'y', or '-' for neither
  const char* attributes[2];
  double defaults[2];
};

const UnaryInfo& unary_info(Unary function);
const UnaryInfo* find_unary(const std::string& name);  // null when there is none
// Throws Error for attributes without meaning.
UnaryParameters unary_parameters(const UnaryInfo& info, const Attrs& attrs);
// Refuses an attribute "activation" that names no function of one input, and attributes that it cannot take.
void check_activation(const InferContext& context, const Attrs& attrs);
inline void check_activation(const InferContext& context) { check_activation(context, context.attrs()); }
// Those of `attrs` that the function knows.
Attrs own_attributes(const UnaryInfo& info, const Attrs& attrs);
// Whether the derivative can be had from the output, so that the function may be fused into what makes its input.
bool gradient_from_output(const UnaryInfo& info, const UnaryParameters& parameters);
// The gradient dy * f'(...) for an activation fused into a node: f's name and attributes, and its output.
int activation_gradient(GradContext& context, const std::string& activation, const Attrs& attrs, int dy, int y);

const char* name_of(Binary function);

}  // namespace fastconv
