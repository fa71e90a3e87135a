#include "backend/cpu/cpu.hpp"

#include <map>

#include "backend/cpu/conv.hpp"

namespace fastconv::cpu {
namespace {

std::map<std::string, PlanFunction>& functions() {
  static auto* map = new std::map<std::string, PlanFunction>;
  return *map;
}

class Cpu final : public Backend {
 public:
  const char* name() const override { return "cpu"; }
  Step plan(PlanContext& context) const override {
    const auto it = functions().find(context.node().op->name);
    return it == functions().end() ? Step{} : it->second(context);
  }
  ChannelsFirst channels_first(const PlanContext& context, ChannelsFirst offered) const override {
    if (context.node().op->name == "conv2d") return conv_channels_first(context, offered);
    // Pooling and batch normalization, whose vectors then run along the planes' rows.
    const Shape& x = context.in_shape(0);
    const bool wide = product(x, 1, x.size() - 1) >= 16;
    const bool both = offered.input && offered.output && wide;
    return {both, false, both};
  }
};

}  // namespace

RegisterCpu::RegisterCpu(const char* op, PlanFunction plan) { functions().emplace(op, plan); }

const Backend& backend() {
  static const Cpu cpu;
  return cpu;
}

}  // namespace fastconv::cpu
