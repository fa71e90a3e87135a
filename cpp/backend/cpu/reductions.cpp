// Reductions. Any set of axes becomes passes over [outer, reduced, inner]; long reductions are cut into chunks that
// depend on the shape only, whose results a second pass combines in order: the same bits at any thread count.
#include <algorithm>
#include <limits>

#include "backend/cpu/cpu.hpp"
#include "ops/shapes.hpp"

namespace fastconv::cpu {
namespace {

constexpr std::int64_t kGrain = 32768;    // elements read by a piece
constexpr std::int64_t kColumns = 4096;   // columns of a piece: their results fit the first-level cache
constexpr std::int64_t kFewColumns = 32;  // fewer: rows are folded into longer ones
constexpr std::int64_t kFolded = 256;

struct Pass {
  std::int64_t outer, reduced, inner;
  std::int64_t chunk;  // rows reduced together; the result is [outer, chunks(), inner]
  std::int64_t chunks() const { return ceil_div(reduced, chunk); }
};

// From the innermost reduced axes outwards, so that each pass shrinks the data. The shape holds no 0.
std::vector<Pass> reduction_passes(const Shape& shape, const std::vector<bool>& flags) {
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
  std::vector<Pass> passes;
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
  std::vector<Pass> cut;
  for (Pass p : passes) {
    const std::int64_t blocks = p.outer * ceil_div(p.inner, kColumns);
    const std::int64_t rows = std::max<std::int64_t>(16, kGrain / std::min(p.inner, kColumns));
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

  void run(const Pass& p, const T* x, T* y, T factor) const {
    const std::int64_t chunk = p.chunk, chunks = p.chunks();
    const std::int64_t blocks = ceil_div(p.inner, kColumns);
    const std::int64_t work = std::max<std::int64_t>(1, chunk * std::min(p.inner, kColumns));
    parallel_range(
        p.outer * chunks * blocks, std::max<std::int64_t>(1, kGrain / work),
        [&](std::int64_t begin, std::int64_t end, int) {
          if (p.inner == 1 && chunks == 1) {
            kernels<T>().reduce_rows({op, x + begin * p.reduced, y + begin, end - begin, p.reduced, p.reduced, factor});
            return;
          }
          for (std::int64_t u = begin; u < end; ++u) {
            const std::int64_t c = u % blocks * kColumns, r = u / blocks % chunks * chunk, o = u / blocks / chunks;
            const std::int64_t rows = std::min(chunk, p.reduced - r);
            const T* from = x + (o * p.reduced + r) * p.inner + c;
            T* to = y + (u / blocks) * p.inner + c;
            if (p.inner == 1)
              kernels<T>().reduce_rows({op, from, to, 1, rows, rows, factor});
            else
              columns(from, to, rows, std::min(kColumns, p.inner - c), p.inner, factor);
          }
        });
  }
};

Step plan_reduce(PlanContext& context, Reduce op, bool mean) {
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
      const T value = mean ? std::numeric_limits<T>::quiet_NaN() : T(0);
      step.run = [=](const RunContext& run) { std::fill_n(run.data<T>(out), n, value); };
      return step;
    }
    const std::vector<Pass> passes = reduction_passes(shape, flags);
    std::vector<std::size_t> offset;  // of a pass's result in the workspace; the last one's is the output
    std::size_t elements = 0;
    for (std::size_t i = 0; i + 1 < passes.size(); ++i) {
      offset.push_back(elements);
      const Pass& p = passes[i];
      elements += static_cast<std::size_t>(round_up(p.outer * p.chunks() * p.inner, kAlignment / sizeof(T)));
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

}  // namespace
}  // namespace fastconv::cpu
