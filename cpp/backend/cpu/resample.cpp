// resize, resize_backward and pad_backward: separable linear maps given by the taps of each output position.
#include <algorithm>
#include <cmath>

#include "backend/cpu/cpu.hpp"
#include "backend/cpu/pad.hpp"

namespace fastconv::cpu {
namespace {

constexpr std::int64_t kGrain = 16384;
constexpr std::size_t kOverread = 16;  // elements of the widest vector

// Output position i is the sum of weight * input[index] over its taps.
struct Taps {
  struct Tap {
    std::int64_t index;
    double weight;
  };
  std::vector<std::vector<Tap>> of;
  explicit Taps(std::int64_t outputs) : of(static_cast<std::size_t>(outputs)) {}

  void add(std::int64_t output, std::int64_t input, double weight) {
    if (weight != 0) of[static_cast<std::size_t>(output)].push_back({input, weight});
  }
  Taps transposed(std::int64_t inputs) const {
    Taps t(inputs);
    for (std::size_t i = 0; i < of.size(); ++i)
      for (const Tap& tap : of[i]) t.add(tap.index, static_cast<std::int64_t>(i), tap.weight);
    return t;
  }
};

template <class T>
struct FlatTaps {
  std::vector<std::int32_t> start{0}, index;
  std::vector<T> weight;
  explicit FlatTaps(const Taps& taps) {
    for (const auto& list : taps.of) {
      for (const Taps::Tap& tap : list) {
        index.push_back(static_cast<std::int32_t>(tap.index));
        weight.push_back(static_cast<T>(tap.weight));
      }
      start.push_back(static_cast<std::int32_t>(index.size()));
    }
  }
  TapsView<T> view() const { return {start.data(), index.data(), weight.data()}; }
};

Taps resize_taps(std::int64_t in, std::int64_t out, bool bilinear) {
  Taps taps(out);
  for (std::int64_t i = 0; i < out; ++i) {
    if (!bilinear) {
      taps.add(i, i * in / out, 1);
      continue;
    }
    const double scale = static_cast<double>(in) / static_cast<double>(out);
    const double at = std::max(0.0, (static_cast<double>(i) + 0.5) * scale - 0.5);
    const std::int64_t low = std::min(static_cast<std::int64_t>(at), in - 1), high = std::min(low + 1, in - 1);
    const double weight = at - static_cast<double>(low);
    if (low == high) {
      taps.add(i, low, 1);
    } else {
      taps.add(i, low, 1 - weight);
      taps.add(i, high, weight);
    }
  }
  return taps;
}

struct Images {
  std::int64_t n, in_h, in_w, out_h, out_w, channels;
};

std::size_t count(const Taps& taps) {
  std::size_t n = 0;
  for (const auto& list : taps.of) n += list.size();
  return n;
}

Step resample(PlanContext& context, const Images& s, const Taps& h, const Taps& w, const char* algorithm) {
  const int in = context.in(0), out = context.out();
  const std::int64_t in_row = s.in_w * s.channels, out_row = s.out_w * s.channels;
  return by_dtype(context.dtype(), [&](auto t) {
    using T = decltype(t);
    Step step;
    step.algorithm = algorithm;
    step.flops = 2.0 * static_cast<double>(s.n) *
                 (static_cast<double>(count(h)) * static_cast<double>(in_row) +
                  static_cast<double>(s.out_h * s.channels) * static_cast<double>(count(w)));
    if (context.out_type().size() == 0) {
      step.run = [](const RunContext&) {};
      return step;
    }
    step.scratch = (static_cast<std::size_t>(in_row) + kOverread) * sizeof(T);
    const FlatTaps<T> flat_h(h), flat_w(w);
    // Rows that are one input row are read where they lie, unless reading past the end of the input were possible.
    const bool in_place = s.channels % kernels<T>().width == 0 &&
                          std::all_of(h.of.begin(), h.of.end(), [](const std::vector<Taps::Tap>& list) {
                            return list.size() == 1 && list[0].weight == 1;
                          });
    step.run = [=](const RunContext& run) {
      const T* x = run.data<T>(in);
      T* y = run.data<T>(out);
      const KernelTable<T>& k = kernels<T>();
      parallel_range(s.n * s.out_h, std::max<std::int64_t>(1, kGrain / std::max(in_row, out_row)),
                     [&](std::int64_t begin, std::int64_t end, int thread) {
                       T* row = reinterpret_cast<T*>(run.scratch(thread));
                       for (std::int64_t r = begin; r < end; ++r) {
                         const T* image = x + r / s.out_h * s.in_h * in_row;
                         const std::int64_t i = r % s.out_h;
                         if (!in_place) k.combine_rows({image, row, i, in_row, in_row, flat_h.view()});
                         const T* from = in_place ? image + flat_h.index[static_cast<std::size_t>(i)] * in_row : row;
                         k.combine_pixels({from, y + r * out_row, s.out_w, s.channels, flat_w.view()});
                       }
                     });
    };
    return step;
  });
}

Step plan_resize(PlanContext& context) {
  const Shape &from = context.in_shape(0), &to = context.out_shape();
  const bool bilinear = context.attrs().text("mode", "nearest") == "bilinear";
  return resample(context, {from[0], from[1], from[2], to[1], to[2], from[3]}, resize_taps(from[1], to[1], bilinear),
                  resize_taps(from[2], to[2], bilinear), bilinear ? "bilinear" : "nearest");
}
const RegisterCpu resize_step{"resize", plan_resize};

Step plan_resize_backward(PlanContext& context) {
  const Shape &from = context.in_shape(0), &to = context.out_shape();
  const bool bilinear = context.attrs().text("mode", "nearest") == "bilinear";
  return resample(context, {from[0], from[1], from[2], to[1], to[2], from[3]},
                  resize_taps(to[1], from[1], bilinear).transposed(to[1]),
                  resize_taps(to[2], from[2], bilinear).transposed(to[2]), "gather");
}
const RegisterCpu resize_backward_step{"resize_backward", plan_resize_backward};

// Axes after the padded one are channels; when there are none, the axis itself is a row of one-channel pixels.
Step plan_pad_backward(PlanContext& context) {
  const Shape &from = context.in_shape(0), &to = context.out_shape();
  const std::int64_t given = context.attrs().integer("axis"), begin = context.attrs().integer("begin");
  const std::size_t axis = static_cast<std::size_t>(given < 0 ? given + static_cast<std::int64_t>(from.size()) : given);
  const std::int64_t n = to[axis], padded = from[axis];
  const PadMode mode = pad_mode(context.attrs().text("mode", ""));
  Taps copies(padded);
  for (std::int64_t i = 0; i < padded; ++i) copies.add(i, pad_source(i - begin, n, mode), 1);
  const Taps taps = copies.transposed(n);
  Taps one(1);
  one.add(0, 0, 1);
  const std::int64_t outer = product(from, 0, axis), inner = product(from, axis + 1, from.size());
  if (inner == 1) return resample(context, {outer, 1, padded, 1, n, 1}, one, taps, "gather");
  return resample(context, {outer, padded, 1, n, 1, inner}, taps, one, "gather");
}
const RegisterCpu pad_backward_step{"pad_backward", plan_pad_backward};

// The taps as the kernels take them, read from the inputs of a run. Weights of 0 are left out: what they would
// multiply may be infinite.
template <class T>
TapsView<T> read_taps(const std::int64_t* indices, const T* weights, std::int64_t outputs, std::int64_t taps,
                      std::int64_t n, std::byte* memory) {
  T* weight = reinterpret_cast<T*>(memory);
  auto* start = reinterpret_cast<std::int32_t*>(weight + outputs * taps);
  std::int32_t* index = start + outputs + 1;
  std::int32_t count = 0;
  for (std::int64_t o = 0; o < outputs; ++o) {
    start[o] = count;
    for (std::int64_t t = o * taps; t < (o + 1) * taps; ++t) {
      if (indices[t] < 0 || indices[t] >= n)
        throw Error("resample: index " + std::to_string(indices[t]) + " of element " + std::to_string(o) +
                    " is out of range for an axis of " + std::to_string(n));
      if (weights[t] == 0) continue;
      index[count] = static_cast<std::int32_t>(indices[t]);
      weight[count++] = weights[t];
    }
  }
  start[outputs] = count;
  return {start, index, weight};
}

Step plan_resample(PlanContext& context) {
  const Shape& from = context.in_shape(0);
  const std::int64_t given = context.attrs().integer("axis");
  const std::size_t axis = static_cast<std::size_t>(given < 0 ? given + static_cast<std::int64_t>(from.size()) : given);
  const std::int64_t outer = product(from, 0, axis), n = from[axis], inner = product(from, axis + 1, from.size());
  const std::int64_t outputs = context.in_shape(1)[0], taps = context.in_shape(1)[1];
  return by_dtype(context.dtype(), [&](auto t) {
    using T = decltype(t);
    Step step;
    step.flops = 2.0 * static_cast<double>(outer) * static_cast<double>(outputs * taps) * static_cast<double>(inner);
    // Long runs after the axis are combined as rows; short ones are pixels of one row, which is copied to where
    // reading past its end does no harm.
    const bool rows = inner >= 64, copy = !rows && inner % kernels<T>().width != 0;
    step.algorithm = rows ? "rows" : "pixels";
    step.workspace = static_cast<std::size_t>(outputs * taps) * (sizeof(T) + sizeof(std::int32_t)) +
                     static_cast<std::size_t>(outputs + 1) * sizeof(std::int32_t);
    if (copy) step.scratch = (static_cast<std::size_t>(n * inner) + kOverread) * sizeof(T);
    step.run = [=, x_id = context.in(0), index_id = context.in(1), weight_id = context.in(2),
                y_id = context.out()](const RunContext& run) {
      const TapsView<T> view =
          read_taps<T>(run.data<std::int64_t>(index_id), run.data<T>(weight_id), outputs, taps, n, run.workspace());
      const T* x = run.data<T>(x_id);
      T* y = run.data<T>(y_id);
      if (outer * outputs * inner == 0) return;
      const KernelTable<T>& k = kernels<T>();
      if (rows) {
        parallel_range(
            outer * outputs, std::max<std::int64_t>(1, kGrain / inner), [&](std::int64_t begin, std::int64_t end, int) {
              for (std::int64_t r = begin; r < end; ++r)
                k.combine_rows({x + r / outputs * n * inner, y + r * inner, r % outputs, inner, inner, view});
            });
        return;
      }
      parallel_range(outer, std::max<std::int64_t>(1, kGrain / std::max(n * inner, outputs * inner)),
                     [&](std::int64_t begin, std::int64_t end, int thread) {
                       T* row = reinterpret_cast<T*>(run.scratch(thread));
                       for (std::int64_t r = begin; r < end; ++r) {
                         const T* f = x + r * n * inner;
                         if (copy) f = std::copy_n(f, n * inner, row) - n * inner;
                         k.combine_pixels({f, y + r * outputs * inner, outputs, inner, view});
                       }
                     });
    };
    return step;
  });
}
const RegisterCpu resample_step{"resample", plan_resample};

}  // namespace
}  // namespace fastconv::cpu
