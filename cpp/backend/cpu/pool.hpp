// What the algorithms of pooling share.
#pragma once
#include <vector>

#include "backend/cpu/cpu.hpp"
#include "ops/pool.hpp"

namespace fastconv::cpu {

// For every row (or column) of the output, the rows of the source that it reads.
struct TapLists {
  std::vector<std::int32_t> first;  // one more than there are lists
  std::vector<PoolTap> taps;
  std::vector<double> extents;
  std::int64_t size() const { return static_cast<std::int64_t>(extents.size()); }
  std::int64_t count(std::int64_t i) const { return first[i + 1] - first[i]; }
};

TapLists forward_taps(const PoolAxis& axis);

// Maximum or average of NCHW.
template <class T>
Step plan_pool_planes(PlanContext& c, PoolKind kind);

}  // namespace fastconv::cpu
