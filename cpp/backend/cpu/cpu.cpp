#include "backend/cpu/cpu.hpp"

#include <map>

#include "backend/cpu/conv.hpp"

namespace fastconv::cpu {
namespace {

struct Function {
  PlanFunction plan;
  unsigned rows;
};

std::map<std::string, Function>& functions() {
  static auto* map = new std::map<std::string, Function>;
  return *map;
}

unsigned rows_of(const Node& node) {
  const auto it = functions().find(node.op->name);
  if (it == functions().end()) return kDense;
  const unsigned read = node.channels_first.input ? kDense : it->second.rows & (kReadsFirst | kReadsAll);
  return read | (node.channels_first.output ? kDense : it->second.rows & kWrites);
}

class Cpu final : public Backend {
 public:
  const char* name() const override { return "cpu"; }
  Step plan(PlanContext& context) const override {
    const auto it = functions().find(context.node().op->name);
    return it == functions().end() ? Step{} : it->second.plan(context);
  }
  ChannelsFirst channels_first(const PlanContext& context, ChannelsFirst offered) const override {
    const std::string& op = context.node().op->name;
    if (op == "conv2d" || op == "conv2d_max_pool") return conv_channels_first(context, offered);
    if (op == "conv_transpose2d" || op == "conv2d_backward_weights") return gradient_channels_first(context, offered);
    // Pooling and batch normalization, whose vectors then run along the planes' rows.
    const Shape& x = context.in_shape(0);
    const bool wide = product(x, 1, x.size() - 1) >= 16;
    const bool fused = !context.attrs().text("activation", "").empty() || context.has(5);  // a residual
    const bool both = offered.input && offered.output && wide && !fused;
    return {both, false, both};
  }
  bool reads_rows(const Node& node, std::size_t input) const override {
    const unsigned rows = rows_of(node);
    return rows & kReadsAll || (rows & kReadsFirst && input == 0);
  }
  bool writes_rows(const Node& node) const override { return rows_of(node) & kWrites; }
};

}  // namespace

RegisterCpu::RegisterCpu(const char* op, PlanFunction plan, unsigned rows) { functions()[op] = {plan, rows}; }

const Backend& backend() {
  static const Cpu cpu;
  return cpu;
}

}  // namespace fastconv::cpu
