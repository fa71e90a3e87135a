// NumPy's broadcasting as blocks of rows, for any number of operands.
#pragma once
#include <algorithm>
#include <array>
#include <vector>

#include "backend/cpu/cpu.hpp"

namespace fastconv::cpu {

template <std::size_t N>
class Broadcast {
 public:
  using Offsets = std::array<std::int64_t, N>;
  static constexpr std::int64_t kGrain = 32768;  // elements of a piece

  // One run of dimensions that every operand crosses in one way.
  struct Axis {
    std::int64_t size;
    Offsets stride;  // 0 where broadcast
  };
  // Element i of row r is at y + r * y_row + i of the output, and at + r * row + i * step (0 or 1) of the operands.
  struct Block {
    std::int64_t rows, n, y, y_row;
    Offsets at, row, step;
  };

  Broadcast(const Shape& out, const std::array<Shape, N>& in) : axes_(merged_axes(out, in)) {
    for (std::size_t i = 0; i + 2 < axes_.size(); ++i) outer_ *= axes_[i].size;
    column_block_ = std::min(columns().size, kGrain);
    row_block_ = std::min(rows().size, std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, column_block_)));
    row_blocks_ = row_block_ ? ceil_div(rows().size, row_block_) : 0;
    column_blocks_ = column_block_ ? ceil_div(columns().size, column_block_) : 0;
  }

  const Axis& rows() const { return axes_[axes_.size() - 2]; }
  const Axis& columns() const { return axes_.back(); }

  // Calls fn(block) in parallel for blocks that make up the output.
  template <class Fn>
  void for_blocks(Fn&& fn) const {
    const std::int64_t units = outer_ * row_blocks_ * column_blocks_;
    parallel_range(units, std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, row_block_ * column_block_)),
                   [&](std::int64_t begin, std::int64_t end, int) {
                     for (std::int64_t u = begin; u < end; ++u) fn(block(u));
                   });
  }

 private:
  // Drops dimensions of 1 and merges neighbours that are broadcast alike: almost all cases become one or two axes.
  static std::vector<Axis> merged_axes(const Shape& out, const std::array<Shape, N>& in) {
    std::vector<Axis> axes;  // innermost first while building
    Offsets size;
    size.fill(1);
    for (std::size_t i = 0; i < out.size(); ++i) {
      Axis axis{out[out.size() - 1 - i], {}};
      if (axis.size == 1) continue;
      bool alike = !axes.empty();
      for (std::size_t k = 0; k < N; ++k) {
        const std::int64_t n = i < in[k].size() ? in[k][in[k].size() - 1 - i] : 1;
        axis.stride[k] = n == 1 ? 0 : size[k];
        size[k] *= n;
        alike = alike && (axes.back().stride[k] == 0) == (n == 1);
      }
      if (alike)
        axes.back().size *= axis.size;
      else
        axes.push_back(axis);
    }
    while (axes.size() < 2) axes.push_back({1, {}});
    std::reverse(axes.begin(), axes.end());
    return axes;
  }

  Block block(std::int64_t u) const {
    const std::int64_t column = u % column_blocks_ * column_block_;
    const std::int64_t first = u / column_blocks_ % row_blocks_ * row_block_;
    std::int64_t o = u / column_blocks_ / row_blocks_;
    Block b{};
    b.rows = std::min(row_block_, rows().size - first);
    b.n = std::min(column_block_, columns().size - column);
    b.y = (o * rows().size + first) * columns().size + column;
    b.y_row = columns().size;
    b.row = rows().stride;
    for (std::size_t k = 0; k < N; ++k) {
      b.step[k] = columns().stride[k] ? 1 : 0;
      b.at[k] = first * b.row[k] + column * b.step[k];
    }
    for (std::size_t i = axes_.size() - 2; i-- > 0; o /= axes_[i].size)
      for (std::size_t k = 0; k < N; ++k) b.at[k] += o % axes_[i].size * axes_[i].stride[k];
    return b;
  }

  std::vector<Axis> axes_;  // at least two
  std::int64_t outer_ = 1;  // product of all but the last two
  std::int64_t row_block_, column_block_, row_blocks_, column_blocks_;
};

// y = fn(a, b), element by element, in plain loops that compilers vectorise.
template <class A, class B, class Y, class Fn>
void broadcast_map(const Broadcast<2>& broadcast, const A* a, const B* b, Y* y, Fn fn) {
  broadcast.for_blocks([&](const Broadcast<2>::Block& block) {
    const std::int64_t n = block.n;
    const Fn f = fn;  // of its own: nothing that is written can change it
    for (std::int64_t r = 0; r < block.rows; ++r) {
      const A* p = a + block.at[0] + r * block.row[0];
      const B* q = b + block.at[1] + r * block.row[1];
      Y* to = y + block.y + r * block.y_row;
      if (block.step[0] && block.step[1]) {
        for (std::int64_t i = 0; i < n; ++i) to[i] = f(p[i], q[i]);
      } else if (block.step[0]) {
        const B v = *q;
        for (std::int64_t i = 0; i < n; ++i) to[i] = f(p[i], v);
      } else if (block.step[1]) {
        const A v = *p;
        for (std::int64_t i = 0; i < n; ++i) to[i] = f(v, q[i]);
      } else {
        std::fill_n(to, n, f(*p, *q));
      }
    }
  });
}

// y = fn(x) for n elements.
template <class X, class Y, class Fn>
void parallel_map(std::int64_t n, const X* x, Y* y, Fn fn) {
  parallel_range(n, Broadcast<1>::kGrain, [&](std::int64_t begin, std::int64_t end, int) {
    const Fn f = fn;
    for (std::int64_t i = begin; i < end; ++i) y[i] = f(x[i]);
  });
}

}  // namespace fastconv::cpu
