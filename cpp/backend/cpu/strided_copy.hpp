// Copies of what lies at constant distances: slices with steps, tiles, broadcasts. They move bits.
#pragma once
#include <vector>

#include "backend/cpu/cpu.hpp"

namespace fastconv::cpu {

class StridedCopy {
 public:
  struct Axis {
    std::int64_t size, stride;  // bytes between the input's elements: negative backwards, 0 repeats
  };
  // Axes of the output, outermost first; `begin` is the input's offset of the output's first element, in bytes.
  StridedCopy(const std::vector<Axis>& axes, std::int64_t begin, std::size_t element_bytes);
  void run(const std::byte* x, std::byte* y) const;

 private:
  void copy_rows(const std::byte* from, std::byte* to, std::int64_t n, std::int64_t bytes) const;

  std::vector<Axis> outer_;  // all but the last one
  Axis last_{1, 0};
  std::int64_t begin_, block_;  // contiguous bytes at each place
  std::int64_t rows_ = 1;
};

Step plan_broadcast_copy(PlanContext& context);  // broadcast_to

}  // namespace fastconv::cpu
