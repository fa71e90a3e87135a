// The CPU backend: one planning function an operator, registered by name.
#pragma once
#include "backend/backend.hpp"
#include "core/parallel.hpp"
#include "kernels/kernels.hpp"

namespace fastconv::cpu {

const Backend& backend();

using PlanFunction = Step (*)(PlanContext&);

// `static const RegisterCpu relu{"relu", plan_relu};`
struct RegisterCpu {
  RegisterCpu(const char* op, PlanFunction plan);
};

// Calls fn with a value of the element type: float or double.
template <class Fn>
Step by_dtype(DType dtype, Fn&& fn) {
  if (dtype == DType::f32) return fn(float{});
  if (dtype == DType::f64) return fn(double{});
  return {};
}

}  // namespace fastconv::cpu
