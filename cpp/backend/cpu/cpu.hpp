// The CPU backend: one planning function an operator, registered by name.
#pragma once
#include "backend/backend.hpp"
#include "core/numbers.hpp"
#include "core/parallel.hpp"
#include "kernels/kernels.hpp"

namespace fastconv::cpu {

const Backend& backend();

using PlanFunction = Step (*)(PlanContext&);

// Which of an operator's tensors may have rows further apart than they are long (PlanContext::row).
enum Rows : unsigned { kDense = 0, kReadsFirst = 1, kReadsAll = 2, kWrites = 4 };

// `static const RegisterCpu relu{"relu", plan_relu};`
struct RegisterCpu {
  RegisterCpu(const char* op, PlanFunction plan, unsigned rows = kDense);
};

// Calls fn with a value of the element type: float or double.
template <class Fn>
Step by_dtype(DType dtype, Fn&& fn) {
  if (dtype == DType::f32) return fn(float{});
  if (dtype == DType::f64) return fn(double{});
  return {};
}

// A numeric attribute as the element type's nearest value; 64-bit integers keep all their digits.
template <class T>
T attribute_as(const Attrs& attrs, const std::string& key, double fallback) {
  const auto it = attrs.items().find(key);
  if (it != attrs.items().end())
    if (const auto* i = std::get_if<std::int64_t>(&it->second)) return saturate<T>(*i);
  return saturate<T>(attrs.real(key, fallback));
}

}  // namespace fastconv::cpu
