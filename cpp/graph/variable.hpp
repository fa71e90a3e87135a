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
      : type_(std::move(type)),
        name_(std::move(name)),
        buffer_(static_cast<std::size_t>(num_elements(type_.shape)) * size_of(type_.dtype)),
        data_(buffer_.data()) {}
  // On somebody else's memory, which `owner` keeps: it is only read. `mapped`: its pages are those of a file.
  Variable(TensorType type, std::string name, const void* data, std::shared_ptr<void> owner, bool mapped = false)
      : type_(std::move(type)),
        name_(std::move(name)),
        owner_(std::move(owner)),
        data_(const_cast<void*>(data)),
        read_only_(true),
        mapped_(mapped) {}

  const TensorType& type() const { return type_; }
  const std::string& name() const { return name_; }
  void* data() const { return data_; }
  // No other variable of this process ever has the same.
  std::uint64_t id() const { return id_; }
  // Weights that were packed are not read again: pages of a file need not stay in memory, and come back when read.
  void release_pages() const {
    if (mapped_) fastconv::release_pages(data_, type_.bytes());
  }
  // Assigning and changing it are refused, so its version stays.
  bool read_only() const { return read_only_; }
  void make_read_only() { read_only_ = true; }

  // Grows with every change of the contents; what was computed from them (packed weights) checks it.
  std::uint64_t version() const { return version_.load(std::memory_order_acquire); }
  void touch() { version_.fetch_add(1, std::memory_order_acq_rel); }

 private:
  static std::uint64_t next_id() {
    static std::atomic<std::uint64_t> last{0};
    return ++last;
  }

  TensorType type_;
  std::string name_;
  Buffer buffer_;
  std::shared_ptr<void> owner_;
  void* data_;
  bool read_only_ = false, mapped_ = false;
  std::uint64_t id_ = next_id();
  std::atomic<std::uint64_t> version_{1};
};

using VariablePtr = std::shared_ptr<Variable>;

}  // namespace fastconv
