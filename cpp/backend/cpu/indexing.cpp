// gather, arg_max and arg_min.
#include "backend/cpu/indexing.hpp"

#include <algorithm>
#include <cstring>

#include "backend/cpu/cpu.hpp"

namespace fastconv::cpu {
namespace {

constexpr std::int64_t kGrain = 128 << 10;  // bytes of a piece
constexpr std::int64_t kColumns = 512;      // columns compared together

std::size_t normal_axis(const Attrs& attrs, std::int64_t fallback, std::size_t rank) {
  const std::int64_t axis = attrs.integer("axis", fallback);
  return static_cast<std::size_t>(axis < 0 ? axis + static_cast<std::int64_t>(rank) : axis);
}

// x[outer][axis][row] -> y[outer][index][row]
struct Gather {
  std::int64_t outer, axis, count, row;  // row in bytes

  void check(const std::int64_t* indices) const {
    std::int64_t low = 0, high = -1;
    for (std::int64_t i = 0; i < count; ++i) {
      low = std::min(low, indices[i]);
      high = std::max(high, indices[i]);
    }
    if (low >= -axis && high < axis) return;
    for (std::int64_t i = 0; i < count; ++i)
      if (indices[i] < -axis || indices[i] >= axis)
        throw Error("gather: index " + std::to_string(indices[i]) + " at position " + std::to_string(i) +
                    " is out of range for an axis of size " + std::to_string(axis));
  }

  void run(const std::byte* x, const std::int64_t* indices, std::byte* y) const {
    check(indices);
    if (row == 0 || count == 0) return;
    parallel_range(outer * count, std::max<std::int64_t>(1, kGrain / row),
                   [&](std::int64_t begin, std::int64_t end, int) {
                     std::byte* to = y + begin * row;
                     for (std::int64_t u = begin; u < end;) {
                       const std::int64_t o = u / count, first = u - o * count;
                       const std::int64_t n = std::min(count - first, end - u);
                       copy(x + o * axis * row, indices + first, n, to);
                       to += n * row;
                       u += n;
                     }
                   });
  }

  void copy(const std::byte* x, const std::int64_t* indices, std::int64_t n, std::byte* to) const {
    if (row == 1 || row == 2 || row == 4 || row == 8)
      return visit_bits(static_cast<std::size_t>(row), [&](auto t) {
        for (std::int64_t i = 0; i < n; ++i) {
          std::memcpy(&t, x + position(indices[i]) * static_cast<std::int64_t>(sizeof t), sizeof t);
          std::memcpy(to + i * static_cast<std::int64_t>(sizeof t), &t, sizeof t);
        }
      });
    for (std::int64_t i = 0; i < n; ++i)
      std::memcpy(to + i * row, x + position(indices[i]) * row, static_cast<std::size_t>(row));
  }

  std::int64_t position(std::int64_t index) const { return index < 0 ? index + axis : index; }
};

Step plan_gather(PlanContext& context) {
  const Shape& shape = context.in_shape(0);
  const std::size_t axis = normal_axis(context.attrs(), 0, shape.size());
  const Gather gather{product(shape, 0, axis), shape[axis], context.in_type(1).size(),
                      product(shape, axis + 1, shape.size()) * static_cast<std::int64_t>(size_of(context.dtype()))};
  const int in = context.in(0), indices = context.in(1), out = context.out();
  Step step;
  step.algorithm = "copy";
  step.run = [=](const RunContext& run) {
    gather.run(run.data<std::byte>(in), run.data<std::int64_t>(indices), run.data<std::byte>(out));
  };
  return step;
}
const RegisterCpu gather_step{"gather", plan_gather};

// Whether b, which comes later, is preferred to a. NaN is to everything.
template <bool max, bool last, class T>
bool preferred(T a, T b) {
  if constexpr (std::is_floating_point_v<T>)
    if (b != b) return last || a == a;
  if constexpr (last) return max ? b >= a : b <= a;
  return max ? b > a : b < a;
}

template <bool max, bool last, class T>
void best_of_row(const T* x, std::int64_t n, std::int64_t* y) {
  T best = x[0];
  std::int64_t at = 0;
  for (std::int64_t i = 1; i < n; ++i)
    if (preferred<max, last>(best, x[i])) best = x[i], at = i;
  *y = at;
}

template <bool max, bool last, class T>
void best_of_columns(const T* x, std::int64_t n, std::int64_t row, std::int64_t columns, std::int64_t* y) {
  T best[kColumns];
  for (std::int64_t c = 0; c < columns; ++c) best[c] = x[c], y[c] = 0;
  for (std::int64_t i = 1; i < n; ++i)
    for (std::int64_t c = 0; c < columns; ++c) {
      const T value = x[i * row + c];
      const bool better = preferred<max, last>(best[c], value);
      best[c] = better ? value : best[c];
      y[c] = better ? i : y[c];
    }
}

template <bool max, bool last>
Step plan_arg_as(PlanContext& context) {
  const Shape& shape = context.in_shape(0);
  const std::size_t axis = normal_axis(context.attrs(), 0, shape.size());
  const std::int64_t outer = product(shape, 0, axis), n = shape[axis], inner = product(shape, axis + 1, shape.size());
  const std::int64_t blocks = ceil_div(inner, kColumns);
  const int in = context.in(0), out = context.out();
  return visit(context.in_type(0).dtype, [&](auto t) {
    using T = decltype(t);
    Step step;
    step.algorithm = inner == 1 ? "rows" : "columns";
    step.flops = static_cast<double>(context.in_type(0).size());
    step.run = [=](const RunContext& run) {
      if (outer * n * inner == 0) return;
      const T* x = run.data<T>(in);
      std::int64_t* y = run.data<std::int64_t>(out);
      const std::int64_t bytes = n * std::min(inner, kColumns) * static_cast<std::int64_t>(sizeof(T));
      parallel_range(outer * blocks, std::max<std::int64_t>(1, kGrain / bytes),
                     [&](std::int64_t begin, std::int64_t end, int) {
                       for (std::int64_t u = begin; u < end; ++u) {
                         const std::int64_t o = u / blocks, c = u % blocks * kColumns;
                         if (inner == 1)
                           best_of_row<max, last>(x + o * n, n, y + o);
                         else
                           best_of_columns<max, last>(x + o * n * inner + c, n, inner, std::min(kColumns, inner - c),
                                                      y + o * inner + c);
                       }
                     });
    };
    return step;
  });
}

template <bool max>
Step plan_arg(PlanContext& context) {
  return context.attrs().boolean("select_last_index", false) ? plan_arg_as<max, true>(context)
                                                             : plan_arg_as<max, false>(context);
}
const RegisterCpu arg_max_step{"arg_max", plan_arg<true>};
const RegisterCpu arg_min_step{"arg_min", plan_arg<false>};

}  // namespace

void gather_rows(const std::byte* x, std::int64_t rows, std::int64_t bytes, const std::int64_t* indices,
                 std::int64_t count, std::byte* y) {
  Gather{1, rows, count, bytes}.run(x, indices, y);
}

}  // namespace fastconv::cpu
