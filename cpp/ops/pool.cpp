#include "ops/pool.hpp"

#include <algorithm>

#include "ops/shapes.hpp"

namespace fastconv {
namespace {

struct AxisAttrs {
  const char* name;
  std::int64_t kernel, stride, begin, end, dilation;
  bool ceil_mode;
};

std::string text(const char* what, std::int64_t value) { return std::string(what) + " " + std::to_string(value); }

// Plans list the windows and their taps.
void check_windows(std::int64_t windows, std::int64_t taps, std::int64_t most, const char* axis) {
  constexpr std::int64_t most_taps = 4 * kMostPlanned;
  if (windows > most || (windows > 0 && taps > most_taps / windows))
    throw Error(text("there are", windows) + text(" windows of", taps) + " elements along " + axis +
                text(": expected at most", most) + text(" and", most_taps) + " elements in all");
}

PoolAxis regular_axis(const AxisAttrs& a, std::int64_t in) {
  const std::string axis = std::string(" along ") + a.name;
  if (a.kernel < 1 || a.stride < 1 || a.dilation < 1)
    throw Error(text("kernel", a.kernel) + text(", stride", a.stride) + text(" and dilation", a.dilation) + axis +
                ": expected all >= 1");
  if (a.begin < 0 || a.end < 0)
    throw Error(text("pads", a.begin) + text(" and", a.end) + axis + ": expected both >= 0");
  constexpr std::int64_t limit = std::int64_t{1} << 31;
  if (a.kernel >= limit / a.dilation || a.stride >= limit || a.begin >= limit || a.end >= limit || in >= limit)
    throw Error("window or input too large" + axis);
  const std::int64_t reach = (a.kernel - 1) * a.dilation + 1;
  // PyTorch's rule, which does not count the dilation; unequal pads, which it lacks, only must not hold a whole window.
  const std::int64_t most = a.begin == a.end ? a.kernel / 2 : reach - 1;
  if (a.begin > most || a.end > most)
    throw Error(text("pads", a.begin) + text(" and", a.end) + axis + text(" for kernel", a.kernel) +
                text(": expected at most", most));
  const std::int64_t padded = in + a.begin + a.end;
  std::int64_t out = 0;
  if (in > 0 && padded + (a.ceil_mode ? a.stride - 1 : 0) >= reach) {
    out = (padded - reach + (a.ceil_mode ? a.stride - 1 : 0)) / a.stride + 1;
    // The last window has to start inside the input or the padding before it.
    if (a.ceil_mode && (out - 1) * a.stride >= in + a.begin) --out;
  }
  if (out < 1)
    throw Error(text("input of size", in) + axis +
                text(" with padding gives no output: the window's extent is", reach));

  check_windows(out, std::min(a.kernel, in), kMostPlanned, a.name);
  PoolAxis axis_windows{in, a.kernel, {}};
  axis_windows.windows.reserve(static_cast<std::size_t>(out));
  for (std::int64_t o = 0; o < out; ++o) {
    PoolWindow w{o * a.stride - a.begin, a.dilation, 0, 0, 0};
    w.first = w.start < 0 ? ceil_div(-w.start, a.dilation) : 0;
    w.last = w.start < in ? std::min(a.kernel, ceil_div(in - w.start, a.dilation)) : 0;
    w.last = std::max(w.last, w.first);
    w.extent = static_cast<double>(w.last - w.first);
    axis_windows.windows.push_back(w);
  }
  return axis_windows;
}

PoolAxis adaptive_axis(const char* name, std::int64_t in, std::int64_t out) {
  if (in < 1) throw Error(std::string("input is empty along ") + name);
  if (out < 0) throw Error(text("output_size", out) + " along " + name + ": expected >= 0");
  check_windows(1, in, 1, name);
  check_windows(out, 1, kMostPlanned / 16, name);
  PoolAxis axis{in, 1, {}};
  axis.windows.reserve(static_cast<std::size_t>(out));
  for (std::int64_t o = 0; o < out; ++o) {
    const std::int64_t begin = o * in / out, count = ceil_div((o + 1) * in, out) - begin;
    axis.windows.push_back({begin, 1, 0, count, static_cast<double>(count)});
    axis.taps = std::max(axis.taps, count);
  }
  return axis;
}

const Ints& list(const Attrs& attrs, const char* key, std::size_t size) {
  const Ints& v = attrs.ints(key);
  if (v.size() != size)
    throw Error("attribute " + std::string(key) + " has " + std::to_string(v.size()) + " elements, expected " +
                std::to_string(size));
  return v;
}

void set_extents(PoolAxis& axis, const AxisAttrs& a) {
  for (PoolWindow& w : axis.windows)
    w.extent = static_cast<double>(std::min(w.start + a.kernel, axis.in + a.end) - w.start);
}

}  // namespace

PoolGeometry pool_geometry(PoolKind kind, const Attrs& attrs, std::int64_t height, std::int64_t width) {
  if (attrs.has("output_size")) {
    const Ints& size = list(attrs, "output_size", 2);
    return {adaptive_axis("height", height, size[0]), adaptive_axis("width", width, size[1])};
  }
  const Ints& kernel = list(attrs, "kernel", 2);
  const Ints strides = attrs.has("strides") ? list(attrs, "strides", 2) : kernel;
  const Ints pads = attrs.has("pads") ? list(attrs, "pads", 4) : Ints{0, 0, 0, 0};
  const bool dilated = kind == PoolKind::max && attrs.has("dilations");
  const Ints dilations = dilated ? list(attrs, "dilations", 2) : Ints{1, 1};
  const bool ceil_mode = attrs.boolean("ceil_mode", false);
  const AxisAttrs h{"height", kernel[0], strides[0], pads[0], pads[2], dilations[0], ceil_mode};
  const AxisAttrs w{"width", kernel[1], strides[1], pads[1], pads[3], dilations[1], ceil_mode};
  PoolGeometry g{regular_axis(h, height), regular_axis(w, width)};
  if (kind == PoolKind::max) return g;

  const std::int64_t divisor = kind == PoolKind::average ? attrs.integer("divisor_override", 0) : 0;
  if (divisor) {
    for (PoolWindow& window : g.h.windows) window.extent = static_cast<double>(divisor);
    for (PoolWindow& window : g.w.windows) window.extent = 1;
  } else if (kind == PoolKind::lp || attrs.boolean("count_include_pad", true)) {
    set_extents(g.h, h);
    set_extents(g.w, w);
  }
  if (kind == PoolKind::lp) {  // (sum of powers / area of the clipped window) * area of the whole one
    for (PoolWindow& window : g.h.windows) window.extent /= static_cast<double>(kernel[0]);
    for (PoolWindow& window : g.w.windows) window.extent /= static_cast<double>(kernel[1]);
  }
  return g;
}

TensorType pool_winners_type(const TensorType& y, std::int64_t taps) {
  const auto n = static_cast<std::int64_t>(num_elements(y.shape));
  const std::int64_t bytes = n * (taps <= kByteTaps ? 1 : static_cast<std::int64_t>(size_of(y.dtype)));
  return {{ceil_div(bytes + 64, 8)}, DType::i64};  // kernels read up to a vector past the end
}

namespace {

template <PoolKind Kind>
TensorType pooled_type(const InferContext& c, std::int64_t* taps = nullptr) {
  c.expect_same_dtype();
  c.expect_rank(0, 4, "x");
  const Shape& x = c.shape(0);
  const PoolGeometry g = pool_geometry(Kind, c.attrs(), x[1], x[2]);
  if (taps) *taps = g.taps();
  return {{x[0], g.h.out(), g.w.out(), x[3]}, c.type(0).dtype};
}

template <PoolKind Kind>
std::vector<TensorType> infer(const InferContext& c) {
  if (Kind == PoolKind::lp) {
    const double p = c.attrs().real("p", 2.0);
    if (p == 0 || p - p != 0) c.fail("p is " + std::to_string(p) + ", expected a finite number other than 0");
  }
  return {pooled_type<Kind>(c)};
}

std::vector<TensorType> infer_indices(const InferContext& c) {
  const TensorType y = pooled_type<PoolKind::max>(c);
  return {y, {y.shape, DType::i64}};
}

std::vector<TensorType> infer_winners(const InferContext& c) {
  std::int64_t taps = 0;
  const TensorType y = pooled_type<PoolKind::max>(c, &taps);
  return {y, pool_winners_type(y, taps)};
}

// dy, [winners] -> dx
template <PoolKind Kind>
std::vector<TensorType> infer_backward(const InferContext& c) {
  c.expect_rank(0, 4, "dy");
  const Ints& size = list(c.attrs(), "input_size", 2);
  const PoolGeometry g = pool_geometry(Kind, c.attrs(), size[0], size[1]);
  const Shape& dy = c.shape(0);
  c.expect_shape(0, {dy[0], g.h.out(), g.w.out(), dy[3]}, "dy");
  if (Kind == PoolKind::max) c.expect_shape(1, pool_winners_type(c.type(0), g.taps()).shape, "winners");
  return {{{dy[0], size[0], size[1], dy[3]}, c.type(0).dtype}};
}

// x, dy -> dx, of channels first; for single operators
std::vector<TensorType> infer_planes_backward(const InferContext& c) {
  c.expect_same_dtype();
  c.expect_rank(0, 4, "x");
  const Shape& x = c.shape(0);
  const PoolGeometry g = pool_geometry(PoolKind::max, c.attrs(), x[2], x[3]);
  const auto fits = [&](const PoolAxis& axis) {
    const PoolWindow& first = axis.windows[0];
    const bool two_apart = axis.out() == 1 || axis.windows[1].start == first.start + 2;
    return two_apart && first.step == 1 && (axis.taps == 2 ? first.start == 0 : axis.taps == 3 && first.start >= -1);
  };
  if (c.attrs().has("output_size") || !fits(g.h) || !fits(g.w) || g.h.taps != g.w.taps)
    c.fail("expected windows of 2 x 2 without padding or of 3 x 3 with at most 1 before, strides of 2, no dilation");
  c.expect_shape(1, {x[0], x[1], g.h.out(), g.w.out()}, "dy");
  return {c.type(0)};
}

std::vector<TensorType> infer_lp_backward(const InferContext& c) {
  c.expect_same_dtype();
  const TensorType y = pooled_type<PoolKind::lp>(c);
  c.expect_shape(1, y.shape, "y");
  c.expect_shape(2, y.shape, "dy");
  return {c.type(0)};
}

Attrs with_input_size(const GradContext& c, int x) {
  Attrs attrs = c.node.attrs;
  const Shape& shape = c.type(x).shape;
  attrs.set("input_size", Ints{shape[1], shape[2]});
  return attrs;
}

void average_gradient(GradContext& c) {
  c.set(0, c.add("avg_pool2d_backward", {c.grad()}, with_input_size(c, c.in(0))));
}

void lp_gradient(GradContext& c) { c.set(0, c.add("lp_pool2d_backward", {c.in(0), c.out(), c.grad()}, c.node.attrs)); }

void winners_gradient(GradContext& c) {
  if (c.grad() != kNone) c.set(0, c.add("max_pool2d_backward", {c.grad(), c.out(1)}, with_input_size(c, c.in(0))));
}

void indices_gradient(GradContext& c) {
  if (c.grad() == kNone) return;
  const int winners = c.add_all("max_pool2d_with_winners", {c.in(0)}, c.node.attrs)[1];
  c.set(0, c.add("max_pool2d_backward", {c.grad(), winners}, with_input_size(c, c.in(0))));
}

// The forward node turns into one that also keeps which tap won: a quarter of y's bytes, instead of x to be read
// again.
void max_gradient(GradContext& c) {
  const int y = c.out();
  const auto at = static_cast<std::size_t>(c.graph.value(y).node);
  Node keeping = c.graph.make_node("max_pool2d_with_winners", c.node.inputs, c.node.attrs, c.node.name);
  keeping.outputs[0] = y;
  const int winners = keeping.outputs[1];
  std::vector<Node> nodes = c.graph.nodes();
  nodes[at] = std::move(keeping);
  c.graph.replace_nodes(std::move(nodes));
  c.set(0, c.add("max_pool2d_backward", {c.grad(), winners}, with_input_size(c, c.in(0))));
}

void average_backward_gradient(GradContext& c) {
  const bool adaptive = c.node.attrs.has("output_size");
  c.set(0, c.add(adaptive ? "adaptive_avg_pool2d" : "avg_pool2d", {c.grad()}, c.node.attrs));
}

const RegisterOp max_pool2d{{"max_pool2d", infer<PoolKind::max>, max_gradient, {}, {}, false}, 1};
const RegisterOp max_indices{{"max_pool2d_with_indices", infer_indices, indices_gradient, {}, {}, false}, 1};
const RegisterOp max_winners{{"max_pool2d_with_winners", infer_winners, winners_gradient, {}, {}, false}, 1};
const RegisterOp max_backward{{"max_pool2d_backward", infer_backward<PoolKind::max>, nullptr, {}, {}, false}, 2};
const RegisterOp planes_backward{{"max_pool2d_planes_backward", infer_planes_backward, nullptr, {}, {}, false}, 2};
const RegisterOp adaptive_max{{"adaptive_max_pool2d", infer<PoolKind::max>, max_gradient, {}, {}, false}, 1};
const RegisterOp adaptive_max_indices{
    {"adaptive_max_pool2d_with_indices", infer_indices, indices_gradient, {}, {}, false}, 1};
const RegisterOp avg_pool2d{{"avg_pool2d", infer<PoolKind::average>, average_gradient, {}, {}, false}, 1};
const RegisterOp adaptive_avg{{"adaptive_avg_pool2d", infer<PoolKind::average>, average_gradient, {}, {}, false}, 1};
const RegisterOp avg_backward{
    {"avg_pool2d_backward", infer_backward<PoolKind::average>, average_backward_gradient, {}, {}, false}, 1};
const RegisterOp lp_pool2d{{"lp_pool2d", infer<PoolKind::lp>, lp_gradient, {}, {}, false}, 1};
const RegisterOp lp_backward{{"lp_pool2d_backward", infer_lp_backward, nullptr, {}, {}, false}, 3};

}  // namespace
}  // namespace fastconv
