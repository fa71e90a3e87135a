#include "backend/cpu/strided_copy.hpp"

#include <algorithm>
#include <cstring>

namespace fastconv::cpu {
namespace {

constexpr std::int64_t kGrain = 128 << 10;  // bytes a piece copies

template <class T>
void copy_elements(const std::byte* from, std::byte* to, std::int64_t n, std::int64_t stride) {
  for (std::int64_t i = 0; i < n; ++i) {
    T value;
    std::memcpy(&value, from + i * stride, sizeof value);
    std::memcpy(to + i * static_cast<std::int64_t>(sizeof value), &value, sizeof value);
  }
}

std::vector<std::int64_t> byte_strides(const TensorType& type) {
  std::vector<std::int64_t> stride(type.shape.size(), static_cast<std::int64_t>(size_of(type.dtype)));
  for (std::size_t i = stride.size(); i-- > 1;) stride[i - 1] = stride[i] * type.shape[i];
  return stride;
}

Step copy_step(PlanContext& context, const std::vector<StridedCopy::Axis>& axes, std::int64_t begin) {
  const int in = context.in(0), out = context.out();
  Step step;
  step.algorithm = "copy";
  if (context.out_type().size() == 0) {
    step.run = [](const RunContext&) {};
    return step;
  }
  const StridedCopy copy(axes, begin, size_of(context.dtype()));
  step.run = [=](const RunContext& run) { copy.run(run.data<std::byte>(in), run.data<std::byte>(out)); };
  return step;
}

Step plan_strided_slice(PlanContext& context) {
  const Ints &begin = context.attrs().ints("begin"), &step = context.attrs().ints("step");
  const Shape& size = context.out_shape();
  const auto stride = byte_strides(context.in_type(0));
  std::vector<StridedCopy::Axis> axes;
  std::int64_t first = 0;
  if (context.out_type().size())
    for (std::size_t i = 0; i < size.size(); ++i) {
      axes.push_back({size[i], size[i] > 1 ? step[i] * stride[i] : 0});
      first += begin[i] * stride[i];
    }
  return copy_step(context, axes, first);
}

Step plan_tile(PlanContext& context) {
  const Ints& repeats = context.attrs().ints("repeats");
  const auto stride = byte_strides(context.in_type(0));
  std::vector<StridedCopy::Axis> axes;
  for (std::size_t i = 0; i < repeats.size(); ++i) {
    axes.push_back({repeats[i], 0});
    axes.push_back({context.in_shape(0)[i], stride[i]});
  }
  return copy_step(context, axes, 0);
}

const RegisterCpu strided_slice_step{"strided_slice", plan_strided_slice};
const RegisterCpu tile_step{"tile", plan_tile};

}  // namespace

StridedCopy::StridedCopy(const std::vector<Axis>& axes, std::int64_t begin, std::size_t element_bytes)
    : begin_(begin), block_(static_cast<std::int64_t>(element_bytes)) {
  std::vector<Axis> merged;
  for (const Axis& axis : axes) {
    if (axis.size == 1) continue;
    if (!merged.empty() && merged.back().stride == axis.stride * axis.size)
      merged.back() = {merged.back().size * axis.size, axis.stride};
    else
      merged.push_back(axis);
  }
  if (!merged.empty() && merged.back().stride == block_) {
    block_ *= merged.back().size;
    merged.pop_back();
  }
  if (!merged.empty()) {
    last_ = merged.back();
    merged.pop_back();
  }
  outer_ = std::move(merged);
  for (const Axis& axis : outer_) rows_ *= axis.size;
}

// n blocks (or of one block the first `bytes`) along the last axis.
void StridedCopy::copy_rows(const std::byte* from, std::byte* to, std::int64_t n, std::int64_t bytes) const {
  switch (bytes) {
    case 1: return copy_elements<std::uint8_t>(from, to, n, last_.stride);
    case 2: return copy_elements<std::uint16_t>(from, to, n, last_.stride);
    case 4: return copy_elements<std::uint32_t>(from, to, n, last_.stride);
    case 8: return copy_elements<std::uint64_t>(from, to, n, last_.stride);
    default:
      for (std::int64_t i = 0; i < n; ++i, from += last_.stride, to += bytes)
        std::memcpy(to, from, static_cast<std::size_t>(bytes));
  }
}

void StridedCopy::run(const std::byte* x, std::byte* y) const {
  // A unit is a part of one row: some blocks, or a part of one block where that is long.
  const std::int64_t width = block_ <= kGrain ? std::min(last_.size, kGrain / block_) : 1;
  const std::int64_t bytes = std::min(block_, kGrain);
  const std::int64_t parts = ceil_div(last_.size, width), cuts = ceil_div(block_, bytes);
  const std::int64_t grain = std::max<std::int64_t>(1, kGrain / (width * bytes));
  parallel_range(rows_ * parts * cuts, grain, [&](std::int64_t begin, std::int64_t end, int) {
    std::int64_t row = begin / (parts * cuts), part = begin / cuts % parts, cut = begin % cuts;
    std::vector<std::int64_t> index(outer_.size());
    const std::byte* from = x + begin_;
    for (std::size_t i = outer_.size(), r = static_cast<std::size_t>(row); i-- > 0;) {
      index[i] = static_cast<std::int64_t>(r % static_cast<std::size_t>(outer_[i].size));
      r /= static_cast<std::size_t>(outer_[i].size);
      from += index[i] * outer_[i].stride;
    }
    for (std::int64_t u = begin; u < end; ++u) {
      const std::int64_t first = part * width, at = cut * bytes;
      copy_rows(from + first * last_.stride + at, y + (row * last_.size + first) * block_ + at,
                std::min(width, last_.size - first), std::min(bytes, block_ - at));
      if (++cut < cuts) continue;
      cut = 0;
      if (++part < parts) continue;
      part = 0;
      ++row;
      for (std::size_t i = outer_.size(); i-- > 0;) {
        from += outer_[i].stride;
        if (++index[i] < outer_[i].size) break;
        from -= index[i] * outer_[i].stride;
        index[i] = 0;
      }
    }
  });
}

Step plan_broadcast_copy(PlanContext& context) {
  const Shape &from = context.in_shape(0), &to = context.out_shape();
  const auto stride = byte_strides(context.in_type(0));
  std::vector<StridedCopy::Axis> axes;
  for (std::size_t i = 0; i < to.size(); ++i) {
    const std::size_t missing = to.size() - from.size();
    axes.push_back({to[i], i < missing || from[i - missing] == 1 ? 0 : stride[i - missing]});
  }
  return copy_step(context, axes, 0);
}

}  // namespace fastconv::cpu
