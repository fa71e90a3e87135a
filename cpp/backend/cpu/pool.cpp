// Pooling: lists of taps from the windows, then one kernel call an output row.
#include "ops/pool.hpp"

#include <algorithm>
#include <memory>

#include "backend/cpu/pool.hpp"

namespace fastconv::cpu {

TapLists forward_taps(const PoolAxis& axis) {
  TapLists lists;
  for (const PoolWindow& w : axis.windows) {
    lists.first.push_back(static_cast<std::int32_t>(lists.taps.size()));
    for (std::int64_t k = w.first; k < w.last; ++k)
      lists.taps.push_back({static_cast<std::int32_t>(w.start + k * w.step), static_cast<std::int32_t>(k), 1});
    lists.extents.push_back(w.last > w.first ? w.extent : 1);
  }
  lists.first.push_back(static_cast<std::int32_t>(lists.taps.size()));
  return lists;
}

namespace {

// For every row of the input, the rows of the output whose windows hold it.
TapLists backward_taps(const PoolAxis& axis) {
  std::vector<std::vector<PoolTap>> by_input(static_cast<std::size_t>(axis.in));
  for (std::size_t o = 0; o < axis.windows.size(); ++o) {
    const PoolWindow& w = axis.windows[o];
    for (std::int64_t k = w.first; k < w.last; ++k)
      by_input[w.start + k * w.step].push_back(
          {static_cast<std::int32_t>(o), static_cast<std::int32_t>(k), 1 / w.extent});
  }
  TapLists lists;
  for (const auto& taps : by_input) {
    lists.first.push_back(static_cast<std::int32_t>(lists.taps.size()));
    lists.taps.insert(lists.taps.end(), taps.begin(), taps.end());
    lists.extents.push_back(1);
  }
  lists.first.push_back(static_cast<std::int32_t>(lists.taps.size()));
  return lists;
}

bool follows(const TapLists& t, std::int64_t i) {
  if (t.count(i) != t.count(i - 1) || t.extents[i] != t.extents[i - 1]) return false;
  for (std::int32_t a = t.first[i - 1], b = t.first[i]; a < t.first[i]; ++a, ++b)
    if (t.taps[b].source != t.taps[a].source + 1 || t.taps[b].tap != t.taps[a].tap ||
        t.taps[b].weight != t.taps[a].weight)
      return false;
  return true;
}

std::vector<PoolGroup> group_columns(const TapLists& t, bool merge) {
  std::vector<PoolGroup> groups;
  for (std::int64_t i = 0; i < t.size(); ++i) {
    if (merge && i && follows(t, i))
      ++groups.back().columns;
    else
      groups.push_back({static_cast<std::int32_t>(i), 1, t.first[i], t.first[i + 1], t.extents[i]});
  }
  return groups;
}

struct Sweep {
  TapLists rows, columns;
  std::vector<PoolGroup> groups;
  std::int64_t images, in_h, in_w, out_h, out_w, channels;
  std::int64_t window_columns;
  std::int64_t chunk, chunks;  // channels of a piece
  std::int64_t grain;          // pieces handed out together
  bool separable = false;      // rows into scratch first, then columns: fewer reads where windows overlap much
  PoolTap one{0, 0, 1};
  PoolGroup whole_row{};
};

constexpr std::int64_t kGrain = 32768;  // elements read by a piece

// `window_columns` is 0 where no winners are kept or read.
std::shared_ptr<const Sweep> make_sweep(TapLists rows, TapLists columns, const Shape& x, const Shape& y,
                                        std::int64_t window_columns) {
  auto s = std::make_shared<Sweep>();
  s->images = x[0], s->in_h = x[1], s->in_w = x[2], s->channels = x[3];
  s->out_h = y[1], s->out_w = y[2];
  const auto row_taps = static_cast<std::int64_t>(rows.taps.size());
  const auto column_taps = static_cast<std::int64_t>(columns.taps.size());
  const std::int64_t out_rows = s->images * s->out_h;
  std::int64_t reads = row_taps * column_taps;  // of one image and channel
  s->window_columns = window_columns;
  if (!window_columns) {
    const std::int64_t two_passes = row_taps * s->in_w + s->out_h * (s->in_w + column_taps);
    s->separable = two_passes < reads * 4 / 5;
    if (s->separable) reads = two_passes;
  }
  const std::int64_t row_reads = std::max<std::int64_t>(1, reads / std::max<std::int64_t>(1, s->out_h));
  s->chunk = s->channels;
  if (!s->separable && out_rows < 8 && row_reads * s->channels > kGrain)  // few rows: cut the channels too
    s->chunk = std::min(s->channels, round_up(ceil_div(kGrain, row_reads), 64));
  s->chunks = s->channels ? ceil_div(s->channels, s->chunk) : 0;
  s->grain =
      s->chunks == 1 ? std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, row_reads * s->channels)) : 1;
  s->groups = group_columns(columns, s->chunks <= 1);
  s->whole_row = {0, static_cast<std::int32_t>(s->in_w), 0, 1, 1};
  s->rows = std::move(rows);
  s->columns = std::move(columns);
  return s;
}

template <class T>
using PoolKernel = void (*)(const PoolArgs<T>&);

// Calls the kernel for every row of y. What `args` already holds (flags, winners) is kept; winners lie like y when
// `keep`, else like x. `after(row, T* y)` sees each finished row.
template <class T, class After>
void sweep(const RunContext& run, const Sweep& s, PoolKernel<T> kernel, const T* x, T* y, PoolArgs<T> proto, bool keep,
           After after) {
  const std::int64_t in_row = s.in_w * s.channels, out_row = s.out_w * s.channels;
  proto.row_step = in_row;
  proto.pixel = s.channels;
  proto.window_columns = static_cast<std::int32_t>(s.window_columns);
  parallel_range(s.images * s.out_h * s.chunks, s.grain, [&](std::int64_t begin, std::int64_t end, int thread) {
    for (std::int64_t piece = begin; piece < end; ++piece) {
      const std::int64_t row = piece / s.chunks, c = piece % s.chunks * s.chunk;
      const std::int64_t image = row / s.out_h, h = row % s.out_h;
      const std::int64_t from = image * s.in_h * in_row + c, to = row * out_row + c;
      PoolArgs<T> a = proto;
      a.x = x + from;
      a.y = y + to;
      if (a.winners) a.winners += keep ? to : from;
      if (a.wide_winners) a.wide_winners += keep ? to : from;
      a.rows = s.rows.taps.data() + s.rows.first[h];
      a.row_count = s.rows.count(h);
      a.divisor = s.rows.extents[h];
      a.channels = std::min(s.chunk, s.channels - c);
      if (s.separable) {
        PoolArgs<T> rows = a;
        rows.y = reinterpret_cast<T*>(run.scratch(thread));
        rows.groups = &s.whole_row;
        rows.group_count = 1;
        rows.taps = &s.one;
        kernel(rows);
        a.x = rows.y;
        a.rows = &s.one;
        a.row_count = 1;
        a.divisor = 1;
      }
      a.groups = s.groups.data();
      a.group_count = static_cast<std::int64_t>(s.groups.size());
      a.taps = s.columns.taps.data();
      kernel(a);
      after(row, y + to);
    }
  });
}

template <class T>
std::size_t scratch_bytes(const Sweep& s) {
  return s.separable ? static_cast<std::size_t>(s.in_w * s.channels) * sizeof(T) : 0;
}

constexpr auto nothing = [](std::int64_t, auto*) {};

PoolGeometry geometry(PoolKind kind, const PlanContext& c, const Shape& input) {
  return pool_geometry(kind, c.attrs(), input[1], input[2]);
}

std::shared_ptr<const Sweep> forward_sweep(const PoolGeometry& g, const PlanContext& c, bool winners = false) {
  return make_sweep(forward_taps(g.h), forward_taps(g.w), c.in_shape(0), c.out_shape(), winners ? g.w.taps : 0);
}

std::shared_ptr<const Sweep> backward_sweep(const PoolGeometry& g, const Shape& dy, const Shape& dx,
                                            bool winners = false) {
  return make_sweep(backward_taps(g.h), backward_taps(g.w), dy, dx, winners ? g.w.taps : 0);
}

template <class T>
void set_winners(PoolArgs<T>& args, void* winners, std::int64_t taps) {
  if (taps <= kByteTaps)
    args.winners = static_cast<std::uint8_t*>(winners);
  else
    args.wide_winners = static_cast<T*>(winners);
}

Step plan_max(PlanContext& c) {
  return by_dtype(c.dtype(), [&](auto zero) {
    using T = decltype(zero);
    if (c.node().channels_first.input) return plan_pool_planes<T>(c, PoolKind::max);
    const auto s = forward_sweep(geometry(PoolKind::max, c, c.in_shape(0)), c);
    Step step;
    step.algorithm = s->separable ? "separable" : "direct";
    step.scratch = scratch_bytes<T>(*s);
    step.run = [s, x = c.in(0), y = c.out()](const RunContext& run) {
      sweep<T>(run, *s, kernels<T>().pool_max, run.data<T>(x), run.data<T>(y), {}, true, nothing);
    };
    return step;
  });
}

Step plan_max_winners(PlanContext& c) {
  return by_dtype(c.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const PoolGeometry g = geometry(PoolKind::max, c, c.in_shape(0));
    if (sizeof(T) == 4 && g.taps() > (1 << 24)) throw Error("max_pool2d: window too large for a gradient in float32");
    const auto s = forward_sweep(g, c, true);
    Step step;
    step.algorithm = "direct";
    step.run = [s, taps = g.taps(), x = c.in(0), y = c.out(), w = c.out(1)](const RunContext& run) {
      PoolArgs<T> args{};
      set_winners(args, run.data<void>(w), taps);
      sweep<T>(run, *s, kernels<T>().pool_max, run.data<T>(x), run.data<T>(y), args, true, nothing);
    };
    return step;
  });
}

Step plan_max_indices(PlanContext& c) {
  return by_dtype(c.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const auto g = std::make_shared<const PoolGeometry>(geometry(PoolKind::max, c, c.in_shape(0)));
    if (sizeof(T) == 4 && g->taps() > (1 << 24)) throw Error("max_pool2d_with_indices: window too large for float32");
    const auto s = forward_sweep(*g, c, true);
    Step step;
    step.algorithm = "direct";
    step.workspace = static_cast<std::size_t>(c.out_type().size()) * sizeof(T);
    step.run = [s, g, x = c.in(0), y = c.out(), indices = c.out(1)](const RunContext& run) {
      PoolArgs<T> args{};
      T* winners = reinterpret_cast<T*>(run.workspace());
      args.wide_winners = winners;
      const T* out = run.data<T>(y);
      const auto to_indices = [&](std::int64_t row, const T* finished) {
        const PoolWindow& h = g->h.windows[row % s->out_h];
        const T* winner = winners + (finished - out);
        std::int64_t* index = run.data<std::int64_t>(indices) + (finished - out);
        const std::int64_t channels = std::min(s->chunk, s->channels - (finished - out) % s->channels);
        for (std::int64_t o = 0; o < s->out_w; ++o, winner += s->channels, index += s->channels) {
          const PoolWindow& w = g->w.windows[o];
          const bool empty = h.first == h.last || w.first == w.last;
          const std::int64_t none = (h.start + h.first * h.step) * s->in_w + w.start + w.first * w.step;
          for (std::int64_t i = 0; i < channels; ++i) {
            const auto tap = static_cast<std::int32_t>(winner[i]);
            const auto columns = static_cast<std::int32_t>(s->window_columns);
            index[i] = empty ? none : (h.start + tap / columns * h.step) * s->in_w + w.start + tap % columns * w.step;
          }
        }
      };
      sweep<T>(run, *s, kernels<T>().pool_max, run.data<T>(x), run.data<T>(y), args, true, to_indices);
    };
    return step;
  });
}

Step plan_max_backward(PlanContext& c) {
  return by_dtype(c.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const PoolGeometry g = geometry(PoolKind::max, c, c.out_shape());
    const auto s = backward_sweep(g, c.in_shape(0), c.out_shape(), true);
    Step step;
    step.algorithm = "gather";
    step.run = [s, taps = g.taps(), dy = c.in(0), w = c.in(1), dx = c.out()](const RunContext& run) {
      PoolArgs<T> args{};
      set_winners(args, run.data<void>(w), taps);
      sweep<T>(run, *s, kernels<T>().pool_max_backward, run.data<T>(dy), run.data<T>(dx), args, false, nothing);
    };
    return step;
  });
}

Step plan_average(PlanContext& c) {
  return by_dtype(c.dtype(), [&](auto zero) {
    using T = decltype(zero);
    if (c.node().channels_first.input) return plan_pool_planes<T>(c, PoolKind::average);
    const auto s = forward_sweep(geometry(PoolKind::average, c, c.in_shape(0)), c);
    Step step;
    step.algorithm = s->separable ? "separable" : "direct";
    step.scratch = scratch_bytes<T>(*s);
    step.run = [s, x = c.in(0), y = c.out()](const RunContext& run) {
      sweep<T>(run, *s, kernels<T>().pool_sum, run.data<T>(x), run.data<T>(y), {}, true, nothing);
    };
    return step;
  });
}

Step plan_average_backward(PlanContext& c) {
  return by_dtype(c.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const auto s = backward_sweep(geometry(PoolKind::average, c, c.out_shape()), c.in_shape(0), c.out_shape());
    Step step;
    step.algorithm = s->separable ? "separable" : "gather";
    step.scratch = scratch_bytes<T>(*s);
    step.run = [s, dy = c.in(0), dx = c.out()](const RunContext& run) {
      PoolArgs<T> args{};
      args.weighted = true;
      sweep<T>(run, *s, kernels<T>().pool_sum, run.data<T>(dy), run.data<T>(dx), args, true, nothing);
    };
    return step;
  });
}

// y = (sum of x^p)^(1 / p): powers into the workspace, their sums, the root in place.
Step plan_lp(PlanContext& c) {
  return by_dtype(c.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const auto s = forward_sweep(geometry(PoolKind::lp, c, c.in_shape(0)), c);
    const double p = c.attrs().real("p", 2.0);
    const std::int64_t n = c.in_type(0).size(), out = c.out_type().size();
    Step step;
    step.algorithm = "powers";
    step.scratch = scratch_bytes<T>(*s);
    step.workspace = static_cast<std::size_t>(n) * sizeof(T);
    step.run = [s, p, n, out, x = c.in(0), y = c.out()](const RunContext& run) {
      T* powers = reinterpret_cast<T*>(run.workspace());
      parallel_range(n, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
        kernels<T>().power({run.data<T>(x) + begin, nullptr, powers + begin, end - begin, p, false});
      });
      sweep<T>(run, *s, kernels<T>().pool_sum, powers, run.data<T>(y), {}, true, nothing);
      parallel_range(out, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
        T* at = run.data<T>(y) + begin;
        kernels<T>().power({at, nullptr, at, end - begin, 1 / p, false});
      });
    };
    return step;
  });
}

// dx = x^(p - 1) * sum over the windows of dy * y^(1 - p); a window whose sum is zero gives nothing.
Step plan_lp_backward(PlanContext& c) {
  return by_dtype(c.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const auto s = backward_sweep(geometry(PoolKind::lp, c, c.in_shape(0)), c.in_shape(1), c.out_shape());
    const double p = c.attrs().real("p", 2.0);
    const std::int64_t n = c.in_type(1).size(), in = c.in_type(0).size();
    Step step;
    step.algorithm = "powers";
    step.scratch = scratch_bytes<T>(*s);
    step.workspace = static_cast<std::size_t>(n) * sizeof(T);
    step.run = [s, p, n, in, x = c.in(0), y = c.in(1), dy = c.in(2), dx = c.out()](const RunContext& run) {
      T* powers = reinterpret_cast<T*>(run.workspace());
      parallel_range(n, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
        kernels<T>().power({run.data<T>(y) + begin, run.data<T>(dy) + begin, powers + begin, end - begin, 1 - p, true});
      });
      PoolArgs<T> args{};
      args.weighted = true;
      sweep<T>(run, *s, kernels<T>().pool_sum, powers, run.data<T>(dx), args, true, nothing);
      parallel_range(in, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
        T* at = run.data<T>(dx) + begin;
        kernels<T>().power({run.data<T>(x) + begin, at, at, end - begin, p - 1, false});
      });
    };
    return step;
  });
}

const RegisterCpu max_pool2d{"max_pool2d", plan_max};
const RegisterCpu adaptive_max{"adaptive_max_pool2d", plan_max};
const RegisterCpu max_winners{"max_pool2d_with_winners", plan_max_winners};
const RegisterCpu max_indices{"max_pool2d_with_indices", plan_max_indices};
const RegisterCpu adaptive_max_indices{"adaptive_max_pool2d_with_indices", plan_max_indices};
const RegisterCpu max_backward{"max_pool2d_backward", plan_max_backward};
const RegisterCpu avg_pool2d{"avg_pool2d", plan_average};
const RegisterCpu adaptive_avg{"adaptive_avg_pool2d", plan_average};
const RegisterCpu avg_backward{"avg_pool2d_backward", plan_average_backward};
const RegisterCpu lp_pool2d{"lp_pool2d", plan_lp};
const RegisterCpu lp_backward{"lp_pool2d_backward", plan_lp_backward};

}  // namespace
}  // namespace fastconv::cpu
