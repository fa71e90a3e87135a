// How a reduction is cut into passes and pieces, for floating-point numbers (kernels) and integers (plain loops).
#pragma once
#include <algorithm>
#include <limits>
#include <type_traits>
#include <vector>

#include "backend/cpu/cpu.hpp"

namespace fastconv::cpu {

constexpr std::int64_t kReduceGrain = 32768;   // elements read by a piece
constexpr std::int64_t kReduceColumns = 4096;  // columns of a piece: their results fit the first-level cache

// Over [outer, reduced, inner].
struct ReducePass {
  std::int64_t outer, reduced, inner;
  std::int64_t chunk;  // rows reduced together; the result is [outer, chunks(), inner]
  std::int64_t chunks() const { return ceil_div(reduced, chunk); }
  std::int64_t results() const { return outer * chunks() * inner; }
};

// From the innermost reduced axes outwards, so that each pass shrinks the data. The shape holds no 0.
std::vector<ReducePass> reduction_passes(const Shape& shape, const std::vector<bool>& flags);

// Calls rows(x, y, count, n) for contiguous rows that become one element each, and columns(x, y, rows, n, stride).
template <class Rows, class Columns, class From, class T>
void run_pass(const ReducePass& p, const From* x, T* y, Rows&& reduce_rows, Columns&& reduce_columns) {
  const std::int64_t chunk = p.chunk, chunks = p.chunks();
  const std::int64_t blocks = ceil_div(p.inner, kReduceColumns);
  const std::int64_t work = std::max<std::int64_t>(1, chunk * std::min(p.inner, kReduceColumns));
  parallel_range(p.outer * chunks * blocks, std::max<std::int64_t>(1, kReduceGrain / work),
                 [&](std::int64_t begin, std::int64_t end, int) {
                   if (p.inner == 1 && chunks == 1)
                     return reduce_rows(x + begin * p.reduced, y + begin, end - begin, p.reduced);
                   for (std::int64_t u = begin; u < end; ++u) {
                     const std::int64_t c = u % blocks * kReduceColumns;
                     const std::int64_t r = u / blocks % chunks * chunk, o = u / blocks / chunks;
                     const std::int64_t rows = std::min(chunk, p.reduced - r);
                     const From* from = x + (o * p.reduced + r) * p.inner + c;
                     T* to = y + (u / blocks) * p.inner + c;
                     if (p.inner == 1)
                       reduce_rows(from, to, 1, rows);
                     else
                       reduce_columns(from, to, rows, std::min(kReduceColumns, p.inner - c), p.inner);
                   }
                 });
}

// What nothing reduces to.
template <class T>
T reduction_of_nothing(Reduce op, bool mean) {
  if constexpr (std::is_same_v<T, Bool>) {
    return op != Reduce::max;
  } else {
    using Limits = std::numeric_limits<T>;
    switch (op) {
      case Reduce::sum: return mean ? Limits::quiet_NaN() : T(0);  // an integer's NaN is 0
      case Reduce::prod: return T(1);
      case Reduce::max: return Limits::has_infinity ? -Limits::infinity() : Limits::lowest();
      case Reduce::min: return Limits::has_infinity ? Limits::infinity() : Limits::max();
    }
    return T(0);
  }
}

// Of integers and truth values.
Step plan_integer_reduce(PlanContext& context, Reduce op, bool mean);

}  // namespace fastconv::cpu
