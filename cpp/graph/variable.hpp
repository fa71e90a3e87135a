// A parameter, a state or a constant: memory that outlives the runs of a plan and is shared by plans.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "core/memory.hpp"
#include "core/tensor.hpp"

namespace fastconv {

class Variable {
 public:
  Variable(TensorType type, std::string name)
      : type_(std::move(type)), name_(std::move(name)), buffer_((num_elements(type_.shape), type_.bytes())) {}

  const TensorType& type() const { return type_; }
  const std::string& name() const { return name_; }
  void* data() const { return buffer_.data(); }

  // Grows with every change of the contents; what was computed from them (packed weights) checks it.
  std::uint64_t version() const { return version_.load(std::memory_order_acquire); }
  void touch() { version_.fetch_add(1, std::memory_order_acq_rel); }

 private:
  TensorType type_;
  std::string name_;
  Buffer buffer_;
  std::atomic<std::uint64_t> version_{1};
};

using VariablePtr = std::shared_ptr<Variable>;

}  // namespace fastconv
