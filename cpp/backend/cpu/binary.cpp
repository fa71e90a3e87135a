// Elementwise operators of two inputs with broadcasting, broadcast_to and dropout.
#include <algorithm>

#include "backend/cpu/cpu.hpp"
#include "ops/elementwise.hpp"

namespace fastconv::cpu {
namespace {

constexpr std::int64_t kGrain = 32768;
constexpr std::int64_t kShortRow = 128;  // shorter vectors are repeated up to this before they meet long rows

// One run of dimensions that both operands cross in the same way.
struct Axis {
  std::int64_t size;
  std::int64_t a, b;  // strides, 0 where broadcast
};

// Drops dimensions of 1 and merges neighbours that are broadcast alike: almost all cases become one or two axes.
std::vector<Axis> merged_axes(const Shape& out, const Shape& a, const Shape& b) {
  std::vector<Axis> axes;  // innermost first while building
  std::int64_t a_size = 1, b_size = 1;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::int64_t n = out[out.size() - 1 - i];
    const std::int64_t na = i < a.size() ? a[a.size() - 1 - i] : 1, nb = i < b.size() ? b[b.size() - 1 - i] : 1;
    if (n == 1) continue;
    const Axis axis{n, na == 1 ? 0 : a_size, nb == 1 ? 0 : b_size};
    a_size *= na;
    b_size *= nb;
    if (!axes.empty() && (axes.back().a == 0) == (axis.a == 0) && (axes.back().b == 0) == (axis.b == 0))
      axes.back().size *= n;
    else
      axes.push_back(axis);
  }
  while (axes.size() < 2) axes.push_back({1, 0, 0});
  std::reverse(axes.begin(), axes.end());
  return axes;
}

struct Broadcast {
  std::vector<Axis> axes;  // at least two
  std::int64_t outer = 1;  // product of all but the last two
  std::int64_t row_block, column_block, row_blocks, column_blocks;
  int repeat = 0;  // 1 or 2: operand a or b is a short vector met by every row; 0: neither

  Broadcast(const Shape& out, const Shape& a, const Shape& b) : axes(merged_axes(out, a, b)) {
    for (std::size_t i = 0; i + 2 < axes.size(); ++i) outer *= axes[i].size;
    const Axis &rows = axes[axes.size() - 2], &row = axes.back();
    column_block = std::min(row.size, kGrain);
    row_block = std::min(rows.size, std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, column_block)));
    if (row.size < kShortRow / 2 && row.a && row.b && rows.size * row.size >= 8 * kShortRow) {
      if (!rows.b && rows.a == row.size) repeat = 2;
      if (!rows.a && rows.b == row.size) repeat = 1;
    }
    row_blocks = row_block ? ceil_div(rows.size, row_block) : 0;
    column_blocks = column_block ? ceil_div(row.size, column_block) : 0;
  }

  template <class T>
  void run(Binary function, const T* a, const T* b, T* y) const {
    const Axis &rows = axes[axes.size() - 2], &row = axes.back();
    const std::int64_t units = outer * row_blocks * column_blocks;
    parallel_range(units, std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, row_block * column_block)),
                   [&](std::int64_t begin, std::int64_t end, int) {
                     for (std::int64_t u = begin; u < end; ++u) {
                       const std::int64_t column = u % column_blocks * column_block;
                       const std::int64_t first = u / column_blocks % row_blocks * row_block;
                       std::int64_t o = u / column_blocks / row_blocks, a_at = 0, b_at = 0;
                       const std::int64_t y_at = (o * rows.size + first) * row.size + column;
                       for (std::size_t i = axes.size() - 2; i-- > 0; o /= axes[i].size) {
                         a_at += o % axes[i].size * axes[i].a;
                         b_at += o % axes[i].size * axes[i].b;
                       }
                       BinaryArgs<T> args;
                       args.function = function;
                       args.a = a + a_at + first * rows.a + column * (row.a ? 1 : 0);
                       args.b = b + b_at + first * rows.b + column * (row.b ? 1 : 0);
                       args.y = y + y_at;
                       args.rows = std::min(row_block, rows.size - first);
                       args.n = std::min(column_block, row.size - column);
                       args.a_row = rows.a;
                       args.b_row = rows.b;
                       args.y_row = row.size;
                       args.a_step = row.a ? 1 : 0;
                       args.b_step = row.b ? 1 : 0;
                       if (repeat)
                         run_repeated(args);
                       else
                         kernels<T>().binary(args);
                     }
                   });
  }

  // Rows of a few channels would be all tails: the vector is written several times side by side, and as many rows
  // become one.
  template <class T>
  void run_repeated(BinaryArgs<T> args) const {
    T buffer[2 * kShortRow];
    const std::int64_t n = args.n, times = ceil_div(kShortRow, n);
    const T*& vector = repeat == 1 ? args.a : args.b;
    const T*& matrix = repeat == 1 ? args.b : args.a;
    for (std::int64_t i = 0; i < times; ++i) std::copy(vector, vector + n, buffer + i * n);
    const std::int64_t total = args.rows;
    vector = buffer;
    args.rows = total / times;
    args.n = args.y_row = n * times;
    (repeat == 1 ? args.b_row : args.a_row) = args.n;
    kernels<T>().binary(args);
    const std::int64_t done = args.rows * times;
    if (done == total) return;
    matrix += done * n;
    args.y += done * n;
    args.rows = 1;
    args.n = (total - done) * n;
    kernels<T>().binary(args);
  }
};

template <Binary f>
Step plan_binary(PlanContext& context) {
  const int a = context.in(0), b = f == Binary::first ? a : context.in(1), out = context.out();
  const Shape& b_shape = context.in_shape(f == Binary::first ? 0 : 1);
  const Broadcast broadcast(context.out_shape(), context.in_shape(0), b_shape);
  return by_dtype(context.dtype(), [&](auto t) {
    using T = decltype(t);
    Step step;
    step.algorithm = "elementwise";
    step.flops = f == Binary::first ? 0 : static_cast<double>(context.out_type().size());
    if (context.out_type().size() == 0)
      step.run = [](const RunContext&) {};
    else
      step.run = [=](const RunContext& run) { broadcast.run(f, run.data<T>(a), run.data<T>(b), run.data<T>(out)); };
    return step;
  });
}

#define FASTCONV_BINARY(name) \
  const RegisterCpu name##_step{Binary::name == Binary::first ? "broadcast_to" : #name, plan_binary<Binary::name>};
#include "kernels/binary.inc"
#undef FASTCONV_BINARY

std::uint64_t mix64(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

Step plan_dropout(PlanContext& context) {
  const int in = context.in(0), seed = context.in(1), out = context.out();
  const std::int64_t n = context.out_type().size();
  const double rate = context.attrs().real("rate", 0);
  const auto salt = static_cast<std::uint64_t>(context.attrs().integer("salt", 0));
  const auto threshold = static_cast<std::uint32_t>(std::min(rate * 4294967296.0, 4294967295.0));
  return by_dtype(context.dtype(), [&](auto t) {
    using T = decltype(t);
    Step step;
    step.algorithm = "counter-based";
    step.run = [=](const RunContext& run) {
      const std::uint64_t key =
          mix64(static_cast<std::uint64_t>(*run.data<std::int64_t>(seed)) ^ mix64(salt + 0x9e3779b97f4a7c15u));
      const T* x = run.data<T>(in);
      T* y = run.data<T>(out);
      const T scale = rate < 1 ? static_cast<T>(1 / (1 - rate)) : T(0);
      parallel_range(n, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
        // The element's index: its low half is the counter, its high half (the same in a piece) enters the key.
        const std::uint64_t k = mix64(key + (static_cast<std::uint64_t>(begin) >> 32));
        DropoutArgs<T> args{x + begin, y + begin, end - begin, static_cast<std::uint32_t>(begin), {}, threshold, scale};
        args.key[0] = static_cast<std::uint32_t>(k);
        args.key[1] = static_cast<std::uint32_t>(k >> 32);
        kernels<T>().dropout(args);
      });
    };
    return step;
  });
}
const RegisterCpu dropout_step{"dropout", plan_dropout};

}  // namespace
}  // namespace fastconv::cpu
