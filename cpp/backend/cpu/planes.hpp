// Batch normalization of tensors with channels first (N, C, ...).
#pragma once
#include "backend/cpu/cpu.hpp"

namespace fastconv::cpu {

template <class T>
Step plan_planes_inference(PlanContext& c);
template <class T>
Step plan_planes_training(PlanContext& c);

}  // namespace fastconv::cpu
