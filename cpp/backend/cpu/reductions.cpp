// Reductions. Any set of axes becomes passes over [outer, reduced, inner]; long reductions are cut into chunks that
// depend on the shape only, whose results a second pass combines in order: the same bits at any thread count.
#include "backend/cpu/reductions.hpp"

#include <algorithm>

#include "ops/shapes.hpp"

namespace fastconv::cpu {
namespace {

constexpr std::int64_t kFewColumns = 32;  // fewer: rows are folded into longer ones
constexpr std::int64_t kFolded = 256;

template <class T>
struct Reduction {
  Reduce op;

  // Columns of [rows, columns]; few columns are folded: m rows become one, then their m parts are reduced.
  void columns(const T* x, T* y, std::int64_t rows, std::int64_t n, std::int64_t row, T factor) const {
    const KernelTable<T>& k = kernels<T>();
    const std::int64_t m = kFolded / std::max<std::int64_t>(n, 1);
    if (n >= kFewColumns || row != n || rows < 4 * m) return k.reduce_columns({op, x, y, rows, n, row, factor});
    T parts[kFolded + kFewColumns];
    k.reduce_columns({op, x, parts, rows / m, m * n, m * n, T(1)});
    std::int64_t count = m;
    if (const std::int64_t rest = rows % m)
      k.reduce_columns({op, x + (rows - rest) * n, parts + count++ * n, rest, n, n, T(1)});
    k.reduce_columns({op, parts, y, count, n, n, factor});
  }

  void run(const ReducePass& pass, const T* x, T* y, T factor) const {
    run_pass(
        pass, x, y,
        [&](const T* from, T* to, std::int64_t rows, std::int64_t n) {
          kernels<T>().reduce_rows({op, from, to, rows, n, n, factor});
        },
        [&](const T* from, T* to, std::int64_t rows, std::int64_t n, std::int64_t stride) {
          columns(from, to, rows, n, stride, factor);
        });
  }
};

Step plan_reduce(PlanContext& context, Reduce op, bool mean) {
  if (!is_floating(context.dtype())) return plan_integer_reduce(context, op, mean);
  const Shape& shape = context.in_shape(0);
  const std::vector<bool> flags = axis_flags(context.attrs(), shape.size());
  const int in = context.in(0), out = context.out();
  const std::int64_t n = context.out_type().size(), size = context.in_type(0).size();
  std::int64_t count = 1;
  for (std::size_t i = 0; i < shape.size(); ++i)
    if (flags[i]) count *= shape[i];
  return by_dtype(context.dtype(), [&](auto t) {
    using T = decltype(t);
    Step step;
    step.algorithm = "tree";
    step.flops = static_cast<double>(size);
    if (size == 0) {
      step.run = [=](const RunContext& run) { std::fill_n(run.data<T>(out), n, reduction_of_nothing<T>(op, mean)); };
      return step;
    }
    const std::vector<ReducePass> passes = reduction_passes(shape, flags);
    std::vector<std::size_t> offset;  // of a pass's result in the workspace; the last one's is the output
    std::size_t elements = 0;
    for (std::size_t i = 0; i + 1 < passes.size(); ++i) {
      offset.push_back(elements);
      elements += static_cast<std::size_t>(round_up(passes[i].results(), kAlignment / sizeof(T)));
    }
    step.workspace = elements * sizeof(T);
    const Reduction<T> reduction{op};
    const T scale = mean ? static_cast<T>(1.0 / static_cast<double>(count)) : T(1);
    step.run = [=](const RunContext& run) {
      const T* from = run.data<T>(in);
      T* workspace = reinterpret_cast<T*>(run.workspace());
      for (std::size_t i = 0; i < passes.size(); ++i) {
        const bool last = i + 1 == passes.size();
        T* to = last ? run.data<T>(out) : workspace + offset[i];
        reduction.run(passes[i], from, to, last ? scale : T(1));
        from = to;
      }
    };
    return step;
  });
}

const RegisterCpu sum_step{"reduce_sum", [](PlanContext& c) { return plan_reduce(c, Reduce::sum, false); }};
const RegisterCpu mean_step{"reduce_mean", [](PlanContext& c) { return plan_reduce(c, Reduce::sum, true); }};
const RegisterCpu max_step{"reduce_max", [](PlanContext& c) { return plan_reduce(c, Reduce::max, false); }};
const RegisterCpu min_step{"reduce_min", [](PlanContext& c) { return plan_reduce(c, Reduce::min, false); }};
const RegisterCpu prod_step{"reduce_prod", [](PlanContext& c) { return plan_reduce(c, Reduce::prod, false); }};

}  // namespace

std::vector<ReducePass> reduction_passes(const Shape& shape, const std::vector<bool>& flags) {
  struct Group {
    std::int64_t size;
    bool reduced;
  };
  std::vector<Group> groups;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == 1) continue;
    if (!groups.empty() && groups.back().reduced == flags[i])
      groups.back().size *= shape[i];
    else
      groups.push_back({shape[i], flags[i]});
  }
  std::vector<ReducePass> passes;
  std::int64_t inner = 1;
  for (std::size_t g = groups.size(); g-- > 0;) {
    if (!groups[g].reduced) {
      inner *= groups[g].size;
      continue;
    }
    std::int64_t outer = 1;
    for (std::size_t i = 0; i < g; ++i) outer *= groups[i].size;
    passes.push_back({outer, groups[g].size, inner, groups[g].size});
  }
  // A long reduction is cut into chunks, and a second pass combines their results.
  std::vector<ReducePass> cut;
  for (ReducePass p : passes) {
    const std::int64_t blocks = p.outer * ceil_div(p.inner, kReduceColumns);
    const std::int64_t rows = std::max<std::int64_t>(16, kReduceGrain / std::min(p.inner, kReduceColumns));
    if (p.reduced > 2 * rows && (p.inner == 1 || blocks < 32 || p.reduced > 4096)) {
      p.chunk = rows;
      cut.push_back(p);
      p.chunk = p.reduced = p.chunks();
    }
    cut.push_back(p);
  }
  if (cut.empty()) cut.push_back({1, 1, product(shape, 0, shape.size()), 1});  // a copy
  return cut;
}

}  // namespace fastconv::cpu
