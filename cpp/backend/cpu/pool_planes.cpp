// Pooling of NCHW: each plane by itself.
#include <algorithm>
#include <memory>

#include "backend/cpu/pool.hpp"

namespace fastconv::cpu {
namespace {

constexpr std::int64_t kGrain = 32768;  // elements read by a piece
constexpr std::int64_t kPieces = 16;    // wanted at least, for the threads there may be

template <class T>
struct Planes {
  PoolPlanesArgs<T> args{};
  TapLists rows, columns;
  std::vector<T> row_extents, column_extents;
  std::int64_t planes = 0, out_h = 0;
  std::int64_t block = 1, blocks = 1;  // output rows of a piece
  std::int64_t grain = 1;              // pieces handed out together
};

std::int64_t stride_of(const PoolAxis& axis) {
  return axis.out() > 1 ? axis.windows[1].start - axis.windows[0].start : 1;
}

bool regular(const PoolAxis& axis) {
  const std::int64_t stride = stride_of(axis);
  if (stride != 1 && stride != 2) return false;
  const auto& w = axis.windows;
  std::int64_t most = 0;
  for (std::size_t o = 0; o < w.size(); ++o) {
    if (w[o].start != w[0].start + static_cast<std::int64_t>(o) * stride || w[o].step != w[0].step) return false;
    // Taps that all windows are read with: those outside of the row meet what does not count.
    most = std::max(most, w[o].last);
  }
  const std::int64_t reach = (axis.out() - 1) * stride + (axis.taps - 1) * w[0].step;
  return w[0].start <= 0 && most <= axis.taps && axis.taps <= 64 && reach <= 4 * axis.in + 1024;
}

// Adaptive windows of different sizes are not regular: `last` says where each ends.
bool same_taps(const PoolAxis& axis) {
  for (const PoolWindow& w : axis.windows)
    if (w.first == 0 && w.last < axis.taps && w.start + w.last * w.step < axis.in) return false;
  return true;
}

template <class T>
std::shared_ptr<const Planes<T>> make_planes(const PoolGeometry& g, const Shape& x, const Shape& y, bool maximum) {
  auto p = std::make_shared<Planes<T>>();
  p->rows = forward_taps(g.h), p->columns = forward_taps(g.w);
  p->row_extents.assign(p->rows.extents.begin(), p->rows.extents.end());
  p->column_extents.assign(p->columns.extents.begin(), p->columns.extents.end());
  p->planes = x[0] * x[1], p->out_h = y[2];
  PoolPlanesArgs<T>& a = p->args;
  a.maximum = maximum;
  a.x_plane = x[2] * x[3], a.y_plane = y[2] * y[3];
  a.in_w = x[3], a.out_w = y[3];
  a.rows = p->rows.taps.data();
  a.column_extents = p->column_extents.data();
  std::int64_t reach = x[3];
  if (regular(g.w) && same_taps(g.w)) {
    a.stride = stride_of(g.w), a.step = g.w.windows[0].step, a.taps = g.w.taps;
    a.left = -g.w.windows[0].start;
    reach = std::max(a.left + x[3], (y[3] - 1) * a.stride + (a.taps - 1) * a.step + 1);
  } else {
    a.column_first = p->columns.first.data();
    a.columns = p->columns.taps.data();
  }
  a.line = round_up(reach + 1, 2) + 4 * kernels<T>().width;
  const std::int64_t reads =
      static_cast<std::int64_t>(p->rows.taps.size()) * x[3] + y[2] * static_cast<std::int64_t>(p->columns.taps.size());
  // Few planes are cut into rows.
  p->blocks =
      std::clamp<std::int64_t>(std::min(ceil_div(kPieces, std::max<std::int64_t>(p->planes, 1)), reads / kGrain), 1,
                               std::max<std::int64_t>(y[2], 1));
  p->block = ceil_div(y[2], p->blocks);
  p->blocks = ceil_div(y[2], std::max<std::int64_t>(p->block, 1));
  p->grain = std::max<std::int64_t>(1, kGrain * p->blocks / std::max<std::int64_t>(reads, 1));
  return p;
}

// The one window of each plane is all of it.
bool global(const PoolGeometry& g) {
  const auto whole = [](const PoolAxis& axis) {
    const PoolWindow& w = axis.windows[0];
    return axis.out() == 1 && w.last - w.first == axis.in && (axis.in == 1 || w.step == 1);
  };
  return whole(g.h) && whole(g.w);
}

template <class T>
Step plan_global(PlanContext& c, const PoolGeometry& g, bool maximum) {
  const Shape& x = c.in_shape(0);
  const std::int64_t planes = x[0] * x[1], n = x[2] * x[3];
  const double extent = g.h.windows[0].extent * g.w.windows[0].extent;
  Step step;
  step.algorithm = "planes, whole";
  step.run = [=, in = c.in(0), out = c.out()](const RunContext& run) {
    parallel_range(planes, std::max<std::int64_t>(1, kGrain / n), [&](std::int64_t begin, std::int64_t end, int) {
      kernels<T>().reduce_rows({maximum ? Reduce::max : Reduce::sum, run.data<T>(in) + begin * n,
                                run.data<T>(out) + begin, end - begin, n, n,
                                maximum ? T(1) : static_cast<T>(1 / extent)});
    });
  };
  return step;
}

}  // namespace

template <class T>
Step plan_pool_planes(PlanContext& c, PoolKind kind) {
  const Shape& x = c.in_shape(0);
  const PoolGeometry g = pool_geometry(kind, c.attrs(), x[2], x[3]);
  const bool maximum = kind == PoolKind::max;
  if (g.h.out() && g.w.out() && global(g)) return plan_global<T>(c, g, maximum);
  const auto p = make_planes<T>(g, x, c.out_shape(), maximum);
  Step step;
  step.algorithm = "planes";
  step.scratch = static_cast<std::size_t>(2 * p->args.line) * sizeof(T);
  step.run = [p, in = c.in(0), out = c.out()](const RunContext& run) {
    parallel_range(p->planes * p->blocks, p->grain, [&](std::int64_t begin, std::int64_t end, int thread) {
      PoolPlanesArgs<T> a = p->args;
      a.buffer = reinterpret_cast<T*>(run.scratch(thread));
      for (std::int64_t piece = begin; piece < end; piece += a.planes) {
        const std::int64_t plane = piece / p->blocks, row = piece % p->blocks * p->block;
        a.x = run.data<T>(in) + plane * a.x_plane;
        a.y = run.data<T>(out) + plane * a.y_plane + row * a.out_w;
        a.out_h = std::min(p->block, p->out_h - row);
        a.row_first = p->rows.first.data() + row;
        a.row_extents = p->row_extents.data() + row;
        a.planes = p->blocks == 1 ? end - piece : 1;
        kernels<T>().pool_planes(a);
      }
    });
  };
  return step;
}

namespace {

// Maxima are found again, as nothing was kept of a forward pass.
Step plan_max_planes_backward(PlanContext& c) {
  return by_dtype(c.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const Shape &x = c.in_shape(0), &dy = c.in_shape(1);
    const PoolGeometry g = pool_geometry(PoolKind::max, c.attrs(), x[2], x[3]);
    MaxPlanesBackwardArgs<T> args{};
    args.window = g.h.taps;
    args.in_h = x[2], args.in_w = x[3], args.out_h = dy[2], args.out_w = dy[3];
    args.top = -g.h.windows[0].start, args.left = -g.w.windows[0].start;
    args.line = round_up(std::max(ceil_div(x[3], 2), dy[3]) + 1 + 2 * kernels<T>().width, 64 / sizeof(T));
    const std::int64_t planes = x[0] * x[1], plane = x[2] * x[3], dy_plane = dy[2] * dy[3];
    // Few planes are cut into rows.
    const std::int64_t wanted = ceil_div(kPieces, std::max<std::int64_t>(planes, 1));
    const std::int64_t block = ceil_div(dy[2], std::clamp<std::int64_t>(std::min(wanted, plane / kGrain), 1, dy[2]));
    const std::int64_t blocks = ceil_div(dy[2], block);
    const std::int64_t grain = blocks > 1 ? 1 : std::max<std::int64_t>(1, kGrain / plane);
    Step step;
    step.algorithm = "planes";
    step.scratch = args.window == 2 ? 0 : static_cast<std::size_t>(16 * args.line) * sizeof(T);
    step.run = [=, x_id = c.in(0), dy_id = c.in(1), dx_id = c.out()](const RunContext& run) {
      parallel_range(planes * blocks, grain, [&](std::int64_t begin, std::int64_t end, int thread) {
        MaxPlanesBackwardArgs<T> a = args;
        a.buffer = reinterpret_cast<T*>(run.scratch(thread));
        const std::int64_t first = begin / blocks;  // with more than one block a piece is one of them
        a.planes = blocks > 1 ? 1 : end - begin;
        a.row_begin = begin % blocks * block, a.row_end = std::min(a.out_h, a.row_begin + block);
        a.x = run.data<T>(x_id) + first * plane;
        a.dy = run.data<T>(dy_id) + first * dy_plane;
        a.dx = run.data<T>(dx_id) + first * plane;
        kernels<T>().max_planes_backward(a);
      });
    };
    return step;
  });
}
const RegisterCpu max_planes_backward{"max_pool2d_planes_backward", plan_max_planes_backward};

}  // namespace

template Step plan_pool_planes<float>(PlanContext&, PoolKind);
template Step plan_pool_planes<double>(PlanContext&, PoolKind);

}  // namespace fastconv::cpu
