// Operators that move elements: copies of blocks, padding. They move bits, whatever the element type.
#include <algorithm>
#include <cstring>

#include "backend/cpu/cpu.hpp"
#include "backend/cpu/pad.hpp"

namespace fastconv::cpu {
namespace {

constexpr std::size_t kGrain = 128 << 10;  // bytes a piece copies

// rows of `bytes`, each at its side's stride.
void copy_rows(std::byte* to, std::size_t to_stride, const std::byte* from, std::size_t from_stride, std::int64_t rows,
               std::size_t bytes) {
  if (bytes == 0 || rows == 0) return;
  if (bytes == to_stride && bytes == from_stride) {
    bytes *= static_cast<std::size_t>(rows);
    rows = 1;
  }
  if (rows == 1) {
    parallel_range(static_cast<std::int64_t>(bytes), kGrain, [&](std::int64_t begin, std::int64_t end, int) {
      std::memcpy(to + begin, from + begin, static_cast<std::size_t>(end - begin));
    });
    return;
  }
  const auto grain = static_cast<std::int64_t>(std::max<std::size_t>(1, kGrain / bytes));
  parallel_range(rows, grain, [&](std::int64_t begin, std::int64_t end, int) {
    std::byte* t = to + static_cast<std::size_t>(begin) * to_stride;
    const std::byte* f = from + static_cast<std::size_t>(begin) * from_stride;
    for (std::int64_t r = begin; r < end; ++r, t += to_stride, f += from_stride) std::memcpy(t, f, bytes);
  });
}

std::size_t normal_axis(const Attrs& attrs, std::size_t rank) {
  const std::int64_t axis = attrs.integer("axis");
  return static_cast<std::size_t>(axis < 0 ? axis + static_cast<std::int64_t>(rank) : axis);
}

// For when the planner cannot let the output share the input's memory.
Step plan_view(PlanContext& context) {
  const int in = context.in(0), out = context.out();
  const std::size_t bytes = context.out_type().bytes();
  Step step;
  step.algorithm = "copy";
  step.run = [=](const RunContext& run) {
    copy_rows(run.data<std::byte>(out), bytes, run.data<std::byte>(in), bytes, 1, bytes);
  };
  return step;
}
const RegisterCpu reshape_step{"reshape", plan_view};
const RegisterCpu flatten_step{"flatten", plan_view};

Step plan_concat(PlanContext& context) {
  struct Part {
    int value;
    std::size_t bytes, offset;
    std::size_t row;  // bytes from one run of it to the next
  };
  const Shape& shape = context.out_shape();
  const std::size_t axis = normal_axis(context.attrs(), shape.size()), element = size_of(context.dtype());
  const auto inner = static_cast<std::size_t>(product(shape, axis + 1, shape.size())) * element;
  const std::int64_t outer = product(shape, 0, axis);
  const int out = context.out();
  // Rows that lie apart have the last axis for theirs.
  const auto distance = [&](int value, std::size_t length) {
    return axis + 1 == shape.size() ? static_cast<std::size_t>(context.row(value)) * element : length;
  };
  const std::size_t length = static_cast<std::size_t>(shape[axis]) * inner, row = distance(out, length);
  std::vector<Part> parts;
  std::size_t offset = 0;
  for (std::size_t i = 0; i < context.inputs(); ++i) {
    const std::size_t bytes = static_cast<std::size_t>(context.in_shape(i)[axis]) * inner;
    if (bytes && !context.in_place(i)) parts.push_back({context.in(i), bytes, offset, distance(context.in(i), bytes)});
    offset += bytes;
  }
  Step step;
  step.algorithm = parts.empty() && length ? "in place" : "copy";
  step.run = [=](const RunContext& run) {
    std::byte* to = run.data<std::byte>(out);
    if (length >= kGrain || parts.size() == 1) {
      for (const Part& p : parts) copy_rows(to + p.offset, row, run.data<std::byte>(p.value), p.row, outer, p.bytes);
      return;
    }
    // Short rows: all parts of a row in turn, so that the output is written in order.
    const auto grain = static_cast<std::int64_t>(std::max<std::size_t>(1, kGrain / std::max<std::size_t>(length, 1)));
    parallel_range(length && !parts.empty() ? outer : 0, grain, [&](std::int64_t begin, std::int64_t end, int) {
      for (auto r = static_cast<std::size_t>(begin); r < static_cast<std::size_t>(end); ++r)
        for (const Part& p : parts)
          std::memcpy(to + r * row + p.offset, run.data<std::byte>(p.value) + r * p.row, p.bytes);
    });
  };
  return step;
}
const RegisterCpu concat_step{"concat", plan_concat, kReadsAll | kWrites};

Step plan_slice(PlanContext& context) {
  const Shape &from = context.in_shape(0), &to = context.out_shape();
  const std::size_t axis = normal_axis(context.attrs(), from.size());
  const std::int64_t n = from[axis], given = context.attrs().integer("start", 0);
  const std::int64_t start = std::min(std::max<std::int64_t>(given < 0 ? given + n : given, 0), n);
  const auto inner = static_cast<std::size_t>(product(from, axis + 1, from.size())) * size_of(context.dtype());
  const std::int64_t outer = product(from, 0, axis);
  const std::size_t from_row = static_cast<std::size_t>(n) * inner, bytes = static_cast<std::size_t>(to[axis]) * inner;
  const std::size_t offset = static_cast<std::size_t>(start) * inner;
  const int in = context.in(0), out = context.out();
  Step step;
  step.algorithm = "copy";
  step.run = [=](const RunContext& run) {
    copy_rows(run.data<std::byte>(out), bytes, run.data<std::byte>(in) + offset, from_row, outer, bytes);
  };
  return step;
}
const RegisterCpu slice_step{"slice", plan_slice};

// The padding of a tensor as rows along its innermost padded axis.
struct Padding {
  struct Segment {
    std::int64_t to, from, count;  // in elements of the row; from -1: the constant
  };
  struct Axis {
    std::int64_t size, before, n, stride;  // of the output, the padding, the input; of the input, in elements
  };
  PadMode mode;
  std::vector<Axis> outer;
  std::vector<Segment> segments;
  std::int64_t rows = 1, row = 1;

  Padding(const Shape& from, const Shape& to, const Ints& pads, PadMode how) : mode(how) {
    const std::size_t rank = from.size();
    std::size_t last = rank;  // one past the innermost padded axis
    while (last > 1 && pads[last - 1] == 0 && pads[last - 1 + rank] == 0) --last;
    const std::int64_t inner = product(from, last, rank);
    if (last == 0) {  // a scalar
      segments.push_back({0, 0, 1});
      return;
    }
    const std::int64_t n = from[last - 1], size = to[last - 1], before = pads[last - 1];
    row = size * inner;
    // What lies inside is one segment; negative pads crop it.
    const std::int64_t first = std::clamp<std::int64_t>(before, 0, size);
    const std::int64_t end = std::clamp<std::int64_t>(before + n, first, size);
    add_around(0, first, before, n, inner);
    if (end > first) add({first * inner, (first - before) * inner, (end - first) * inner});
    add_around(end, size, before, n, inner);
    for (std::size_t a = 0; a + 1 < last; ++a) {
      rows *= to[a];
      outer.push_back({to[a], pads[a], from[a], product(from, a + 1, rank)});
    }
  }

  // Positions [begin, end) before or after the input.
  void add_around(std::int64_t begin, std::int64_t end, std::int64_t before, std::int64_t n, std::int64_t inner) {
    if (mode == PadMode::constant) {
      if (end > begin) add({begin * inner, -1, (end - begin) * inner});
      return;
    }
    for (std::int64_t i = begin; i < end; ++i) add({i * inner, pad_source(i - before, n, mode) * inner, inner});
  }

  void add(const Segment& s) {
    if (!segments.empty() && s.from >= 0) {
      Segment& before = segments.back();
      if (before.from >= 0 && before.from + before.count == s.from) {
        before.count += s.count;
        return;
      }
    }
    segments.push_back(s);
  }

  template <class T>
  void run(const T* x, T* y, T value) const {
    if (row == 0) return;
    const auto bytes = static_cast<std::size_t>(row) * sizeof(T);
    parallel_range(rows, static_cast<std::int64_t>(std::max<std::size_t>(1, kGrain / bytes)),
                   [&](std::int64_t begin, std::int64_t end, int) {
                     for (std::int64_t r = begin; r < end; ++r) pad_row(r, x, y + r * row, value);
                   });
  }

  template <class T>
  void pad_row(std::int64_t r, const T* x, T* y, T value) const {
    for (std::size_t a = outer.size(); a-- > 0;) {
      const std::int64_t source = pad_source(r % outer[a].size - outer[a].before, outer[a].n, mode);
      if (source < 0) {
        std::fill_n(y, row, value);
        return;
      }
      x += source * outer[a].stride;
      r /= outer[a].size;
    }
    for (const Segment& s : segments) {
      if (s.from < 0)
        std::fill_n(y + s.to, s.count, value);
      else if (s.count < 8)
        std::copy_n(x + s.from, s.count, y + s.to);
      else
        std::memcpy(y + s.to, x + s.from, static_cast<std::size_t>(s.count) * sizeof(T));
    }
  }
};

Step plan_pad(PlanContext& context) {
  const int in = context.in(0), out = context.out();
  Step step;
  step.algorithm = "copy";
  if (context.out_type().size() == 0) {
    step.run = [](const RunContext&) {};
    return step;
  }
  const Padding padding(context.in_shape(0), context.out_shape(), context.attrs().ints("pads"),
                        pad_mode(context.attrs().text("mode", "constant")));
  return visit_bits(size_of(context.dtype()), [&](auto bits) {
    using T = decltype(bits);
    visit(context.dtype(), [&](auto t) {
      t = attribute_as<decltype(t)>(context.attrs(), "value", 0);
      std::memcpy(&bits, &t, std::min(sizeof bits, sizeof t));
      return 0;
    });
    step.run = [=](const RunContext& run) { padding.run(run.data<T>(in), run.data<T>(out), bits); };
    return step;
  });
}
const RegisterCpu pad_step{"pad", plan_pad};

}  // namespace
}  // namespace fastconv::cpu
