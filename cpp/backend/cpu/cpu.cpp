#include "backend/cpu/cpu.hpp"

#include <map>

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
};

}  // namespace

RegisterCpu::RegisterCpu(const char* op, PlanFunction plan) { functions().emplace(op, plan); }

const Backend& backend() {
  static const Cpu cpu;
  return cpu;
}

}  // namespace fastconv::cpu
