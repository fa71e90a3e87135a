// Elementwise operators of two inputs with broadcasting, and broadcast_to.
#include <algorithm>

#include "backend/cpu/broadcast.hpp"
#include "backend/cpu/conv.hpp"
#include "backend/cpu/integers.hpp"
#include "backend/cpu/strided_copy.hpp"
#include "ops/elementwise.hpp"

namespace fastconv::cpu {
namespace {

constexpr std::int64_t kGrain = 32768;
constexpr std::int64_t kShortRow = 128;  // shorter vectors are repeated up to this before they meet long rows

// 1 or 2: operand a or b is a short vector met by every row; 0: neither.
int repeated_operand(const Broadcast<2>& broadcast) {
  const auto &rows = broadcast.rows(), &row = broadcast.columns();
  if (row.size >= kShortRow / 2 || !row.stride[0] || !row.stride[1] || rows.size * row.size < 8 * kShortRow) return 0;
  if (!rows.stride[1] && rows.stride[0] == row.size) return 2;
  return !rows.stride[0] && rows.stride[1] == row.size ? 1 : 0;
}

// Rows of a few channels would be all tails: the vector is written several times side by side, and as many rows
// become one.
template <class T>
void run_repeated(BinaryArgs<T> args, int repeat) {
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

template <class T>
void run_binary(const Broadcast<2>& broadcast, int repeat, Binary function, const T* a, const T* b, T* y) {
  broadcast.for_blocks([&](const Broadcast<2>::Block& block) {
    const BinaryArgs<T> args{function,     a + block.at[0], b + block.at[1], y + block.y,   block.rows,   block.n,
                             block.row[0], block.row[1],    block.y_row,     block.step[0], block.step[1]};
    if (repeat)
      run_repeated(args, repeat);
    else
      kernels<T>().binary(args);
  });
}

template <class T>
Step binary_step(PlanContext& context, Binary f, int a, int b, const Shape& b_shape) {
  const int out = context.out();
  const std::int64_t n = context.out_type().size();
  const Broadcast<2> broadcast(context.out_shape(), {context.in_shape(0), b_shape});
  const int repeat = repeated_operand(broadcast);
  Step step;
  step.algorithm = "elementwise";
  step.flops = f == Binary::first ? 0 : static_cast<double>(n);
  step.run = [=](const RunContext& run) {
    if (n) run_binary(broadcast, repeat, f, run.data<T>(a), run.data<T>(b), run.data<T>(out));
  };
  return step;
}

template <Binary f>
Step plan_binary(PlanContext& context) {
  const int a = context.in(0);
  if constexpr (f == Binary::first) {  // broadcast_to moves bits
    const std::size_t bytes = size_of(context.dtype());
    if (bytes == 4) return binary_step<float>(context, f, a, a, context.in_shape(0));
    if (bytes == 8) return binary_step<double>(context, f, a, a, context.in_shape(0));
    return plan_broadcast_copy(context);
  } else {
    Binary function = f;
    if (f == Binary::mod && context.attrs().boolean("fmod", false)) function = Binary::fmod;
    if (!is_floating(context.dtype())) return plan_integer_binary(context, function);
    return by_dtype(context.dtype(), [&](auto t) {
      return binary_step<decltype(t)>(context, function, a, context.in(1), context.in_shape(1));
    });
  }
}

#define FASTCONV_BINARY(name) \
  const RegisterCpu name##_step{Binary::name == Binary::first ? "broadcast_to" : #name, plan_binary<Binary::name>};
#include "kernels/binary.inc"
#undef FASTCONV_BINARY

Step plan_mul_add(PlanContext& c) {
  return by_dtype(c.dtype(), [&](auto t) {
    using T = decltype(t);
    const int a = c.in(0), b = c.in(1), addend = c.in(2), out = c.out();
    const std::int64_t n = c.out_type().size();
    Activation activation;
    set_activation(activation, c.attrs());
    const Broadcast<3> broadcast(c.out_shape(), {c.in_shape(0), c.in_shape(1), c.in_shape(2)});
    Step step;
    step.algorithm = "elementwise";
    step.flops = 2 * static_cast<double>(n);
    step.run = [=](const RunContext& run) {
      if (!n) return;
      const T *pa = run.data<T>(a), *pb = run.data<T>(b), *pc = run.data<T>(addend);
      T* y = run.data<T>(out);
      broadcast.for_blocks([&](const Broadcast<3>::Block& v) {
        kernels<T>().mul_add({pa + v.at[0], pb + v.at[1], pc + v.at[2], y + v.y, v.rows, v.n, v.row[0], v.row[1],
                              v.row[2], v.y_row, v.step[0], v.step[1], v.step[2], activation.clamp,
                              static_cast<T>(activation.lo), static_cast<T>(activation.hi)});
        activate(activation, y + v.y, v.rows, v.y_row, v.n);
      });
    };
    return step;
  });
}
const RegisterCpu mul_add_step{"mul_add", plan_mul_add};

}  // namespace
}  // namespace fastconv::cpu
