// Elementwise operators on integers: plain loops, which wrap around and never trap.
#pragma once
#include "backend/cpu/cpu.hpp"

namespace fastconv::cpu {

// Without `run` where the function or the dtype is none of integers'.
Step plan_integer_binary(PlanContext& context, Binary function);
Step plan_integer_unary(PlanContext& context, Unary function);  // identity: of any dtype

}  // namespace fastconv::cpu
