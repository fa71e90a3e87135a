// transpose: axes that stay neighbours are merged; what is left is a copy of runs when the last axis stays last, and
// otherwise a batch of matrix transpositions, cut into blocks that fit the caches.
#include <algorithm>
#include <cstring>

#include "backend/cpu/cpu.hpp"

namespace fastconv::cpu {
namespace {

constexpr std::int64_t kGrain = 32768;
constexpr std::int64_t kRows = 256, kColumns = 64;  // of a block: 64 KiB of float32 read and as many written
constexpr std::int64_t kShort = 32;                 // axes with fewer elements are taken together with the next one

struct Axis {
  std::int64_t size, from, to;  // strides in elements
};

// In the output's order.
std::vector<Axis> merged_axes(const Shape& in, const Ints& perm) {
  std::vector<std::int64_t> stride(in.size(), 1);
  for (std::size_t i = in.size(); i-- > 1;) stride[i - 1] = stride[i] * in[i];
  std::vector<Axis> axes;
  for (auto p : perm) {
    const auto i = static_cast<std::size_t>(p);
    if (in[i] == 1) continue;
    if (!axes.empty() && axes.back().from == in[i] * stride[i]) {
      axes.back().size *= in[i];
      axes.back().from = stride[i];
    } else {
      axes.push_back({in[i], stride[i], 0});
    }
  }
  std::int64_t to = 1;
  for (std::size_t i = axes.size(); i-- > 0; to *= axes[i].size) axes[i].to = to;
  return axes;
}

// Offsets of the i-th combination of all but the two axes of a matrix.
struct Batch {
  std::vector<Axis> axes;  // innermost last
  std::int64_t count = 1;
  Batch(const std::vector<Axis>& all, const std::vector<std::size_t>& skip) {
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (std::find(skip.begin(), skip.end(), i) != skip.end()) continue;
      axes.push_back(all[i]);
      count *= all[i].size;
    }
  }
  void offsets(std::int64_t i, std::int64_t& from, std::int64_t& to) const {
    from = to = 0;
    for (std::size_t a = axes.size(); a-- > 0; i /= axes[a].size) {
      from += i % axes[a].size * axes[a].from;
      to += i % axes[a].size * axes[a].to;
    }
  }
};

// Moves bits: floats and doubles stand for any 4 and 8 bytes.
template <class T>
void transpose_block(const TransposeArgs<T>& a) {
  if constexpr (std::is_floating_point_v<T>) {
    kernels<T>().transpose(a);
  } else {
    for (std::int64_t c = 0; c < a.columns; ++c)
      for (std::int64_t r = 0; r < a.rows; ++r) a.y[c * a.y_row + r] = a.x[r * a.x_row + c];
  }
}

// fn(offsets into input and output, first row, rows, first column, columns, thread) for the blocks of all matrices.
template <class Fn>
void for_blocks(const Batch& batch, std::int64_t rows, std::int64_t row_block, std::int64_t columns,
                std::int64_t column_block, Fn fn) {
  const std::int64_t down = ceil_div(rows, row_block), across = ceil_div(columns, column_block);
  const std::int64_t block = std::min(rows, row_block) * std::min(columns, column_block);
  parallel_range(batch.count * down * across, std::max<std::int64_t>(1, kGrain / block),
                 [&](std::int64_t begin, std::int64_t end, int thread) {
                   for (std::int64_t u = begin; u < end; ++u) {
                     const std::int64_t c = u % across * column_block, r = u / across % down * row_block;
                     std::int64_t from, to;
                     batch.offsets(u / across / down, from, to);
                     fn(from, to, r, std::min(row_block, rows - r), c, std::min(column_block, columns - c), thread);
                   }
                 });
}

// Weights (O, I, H, W) to (H, W, I, O): the matrix's columns are the two inner axes, which part again in the output.
template <class T>
Step plan_short_columns(PlanContext& context, const std::vector<Axis>& axes, std::size_t inner, std::size_t next) {
  const Axis rows = axes.back(), columns = axes[inner], outer = axes[next];
  const Batch batch(axes, {axes.size() - 1, inner, next});
  Step step;
  step.algorithm = "blocks, parted";
  step.scratch = static_cast<std::size_t>(kRows * kColumns) * sizeof(T);
  step.run = [=, in = context.in(0), out = context.out()](const RunContext& run) {
    for_blocks(
        batch, rows.size, kRows, columns.size * outer.size, kColumns,
        [&](std::int64_t from, std::int64_t to, std::int64_t r, std::int64_t height, std::int64_t c, std::int64_t width,
            int thread) {
          T* block = reinterpret_cast<T*>(run.scratch(thread));
          transpose_block<T>({run.data<T>(in) + from + r * rows.from + c, block, height, width, rows.from, height});
          for (std::int64_t i = 0; i < width; ++i) {
            const std::int64_t q = c + i, at = q % columns.size * columns.to + q / columns.size * outer.to;
            std::memcpy(run.data<T>(out) + to + at + r, block + i * height,
                        static_cast<std::size_t>(height) * sizeof(T));
          }
        });
  };
  return step;
}

// The way back: the matrix's rows are the output's two inner axes.
template <class T>
Step plan_short_rows(PlanContext& context, const std::vector<Axis>& axes, std::size_t inner) {
  const Axis rows = axes.back(), columns = axes[inner], outer = axes[axes.size() - 2];
  const Batch batch(axes, {axes.size() - 1, axes.size() - 2, inner});
  Step step;
  step.algorithm = "blocks, joined";
  step.scratch = static_cast<std::size_t>(kRows * kColumns) * sizeof(T);
  step.run = [=, in = context.in(0), out = context.out()](const RunContext& run) {
    for_blocks(
        batch, rows.size * outer.size, kRows, columns.size, kColumns,
        [&](std::int64_t from, std::int64_t to, std::int64_t r, std::int64_t height, std::int64_t c, std::int64_t width,
            int thread) {
          T* block = reinterpret_cast<T*>(run.scratch(thread));
          for (std::int64_t i = 0; i < height; ++i) {
            const std::int64_t q = r + i, at = q % rows.size * rows.from + q / rows.size * outer.from;
            std::memcpy(block + i * width, run.data<T>(in) + from + at + c,
                        static_cast<std::size_t>(width) * sizeof(T));
          }
          transpose_block<T>({block, run.data<T>(out) + to + c * columns.to + r, height, width, width, columns.to});
        });
  };
  return step;
}

template <class T>
Step plan_as(PlanContext& context) {
  const int in = context.in(0), out = context.out();
  const std::int64_t size = context.out_type().size();
  const std::vector<Axis> axes = merged_axes(context.in_shape(0), context.attrs().ints("perm"));
  Step step;
  if (size == 0) {
    step.algorithm = "copy";
    step.run = [](const RunContext&) {};
    return step;
  }
  if (axes.size() < 2) {
    step.algorithm = "copy";
    step.run = [=](const RunContext& run) {
      parallel_range(size, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
        std::memcpy(run.data<T>(out) + begin, run.data<T>(in) + begin,
                    static_cast<std::size_t>(end - begin) * sizeof(T));
      });
    };
    return step;
  }
  const std::size_t last = axes.size() - 1;
  if (axes[last].from == 1) {
    const Axis run_axis = axes[last], rows = axes[last - 1];
    const Batch batch(axes, {last, last - 1});
    const std::int64_t grain = std::max<std::int64_t>(1, kGrain / (run_axis.size * rows.size));
    step.algorithm = "runs";
    step.run = [=](const RunContext& run) {
      const std::int64_t row_block = std::min(rows.size, std::max<std::int64_t>(1, kGrain / run_axis.size));
      const std::int64_t blocks = ceil_div(rows.size, row_block);
      parallel_range(batch.count * blocks, grain, [&](std::int64_t begin, std::int64_t end, int) {
        for (std::int64_t u = begin; u < end; ++u) {
          std::int64_t from, to;
          batch.offsets(u / blocks, from, to);
          const std::int64_t first = u % blocks * row_block;
          const T* x = run.data<T>(in) + from + first * rows.from;
          T* y = run.data<T>(out) + to + first * rows.to;
          const std::int64_t n = std::min(row_block, rows.size - first);
          if (run_axis.size < 8) {
            for (std::int64_t r = 0; r < n; ++r)
              for (std::int64_t i = 0; i < run_axis.size; ++i) y[r * rows.to + i] = x[r * rows.from + i];
          } else {
            for (std::int64_t r = 0; r < n; ++r)
              std::memcpy(y + r * rows.to, x + r * rows.from, static_cast<std::size_t>(run_axis.size) * sizeof(T));
          }
        }
      });
    };
    return step;
  }
  // Rows of the matrix lie along the output's last axis, columns along the input's.
  std::size_t inner = 0;
  while (axes[inner].from != 1) ++inner;
  const Axis rows = axes[last], columns = axes[inner];
  if (columns.size < kShort)
    for (std::size_t next = 0; next < last; ++next)
      if (axes[next].from == columns.size) return plan_short_columns<T>(context, axes, inner, next);
  if (rows.size < kShort && inner != last - 1) return plan_short_rows<T>(context, axes, inner);
  const Batch batch(axes, {last, inner});
  step.algorithm = "blocks";
  step.run = [=](const RunContext& run) {
    for_blocks(batch, rows.size, kRows, columns.size, kColumns,
               [&](std::int64_t from, std::int64_t to, std::int64_t r, std::int64_t height, std::int64_t c,
                   std::int64_t width, int) {
                 transpose_block<T>({run.data<T>(in) + from + r * rows.from + c,
                                     run.data<T>(out) + to + c * columns.to + r, height, width, rows.from, columns.to});
               });
  };
  return step;
}

Step plan_transpose(PlanContext& context) {
  switch (size_of(context.dtype())) {
    case 1: return plan_as<std::uint8_t>(context);
    case 2: return plan_as<std::uint16_t>(context);
    case 4: return plan_as<float>(context);
    default: return plan_as<double>(context);
  }
}
const RegisterCpu transpose_step{"transpose", plan_transpose};

}  // namespace
}  // namespace fastconv::cpu
