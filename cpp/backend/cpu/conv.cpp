// Registers convolution and dense layers: an ordered list of algorithms, the first that covers the problem runs it.
#include "backend/cpu/conv.hpp"

#include <algorithm>
#include <limits>

namespace fastconv::cpu {
namespace {

AxisPhase forward_axis(std::int64_t outputs, std::int64_t kernel, std::int64_t stride, std::int64_t pad,
                       std::int64_t dilation) {
  AxisPhase a;
  a.outputs = outputs;
  a.i0 = -pad, a.is = stride;
  a.taps = kernel, a.tap_step = dilation;
  return a;
}

// y of the transpose at o reads x at (o + pad - k * dilation) / stride where that is whole. For one residue of o the
// kernel elements that hit are k0, k0 + step, ... with step = stride / gcd(stride, dilation).
AxisPhase transposed_axis(std::int64_t residue, std::int64_t outputs, std::int64_t kernel, std::int64_t stride,
                          std::int64_t pad, std::int64_t dilation) {
  AxisPhase a;
  a.o0 = residue, a.os = stride;
  a.outputs = residue < outputs ? (outputs - residue + stride - 1) / stride : 0;
  const std::int64_t gcd = std::gcd(stride, dilation), step = stride / gcd;
  std::int64_t first = -1;
  for (std::int64_t k = 0; k < std::min(kernel, step); ++k)
    if ((residue + pad - k * dilation) % stride == 0) {
      first = k;
      break;
    }
  if (first < 0) return a;  // no tap: zeros and the bias
  a.taps = (kernel - first + step - 1) / step;
  const std::int64_t last = first + (a.taps - 1) * step;
  a.k0 = last, a.k_step = -step;  // backwards, so that the input is read forwards
  a.i0 = (residue + pad - last * dilation) / stride;
  a.tap_step = dilation / gcd;
  return a;
}

// Of a convolution that is one with max-pooling, or its gradient; none for any other.
Windows windows_of(const PlanContext& c, int winners) {
  const std::string prefix = "conv2d_max_pool";
  if (c.node().op->name.compare(0, prefix.size(), prefix) != 0) return {};
  const Ints& window = c.attrs().ints("window");
  return {window[0], window[1], winners};
}

// The shape of the gradient that input i is, or of the map that it has the pooled gradient of.
Shape map_before(const PlanContext& c, std::size_t i) {
  Shape shape = c.in_shape(i);
  if (windows_of(c, kNone)) shape[1] = c.attrs().ints("map")[0], shape[2] = c.attrs().ints("map")[1];
  return shape;
}

// The algorithms to choose from by measurement; none where there is no choice.
std::vector<std::string> candidates(const PlanContext& c, const ConvPass& pass) {
  std::vector<std::string> names = winograd_candidates(c, pass);
  if (strassen_covers(c, pass)) names.push_back("strassen");
  if (!names.empty()) names.insert(names.begin(), "direct");
  return names;
}

template <class... Plans>
Step first_of(Plans... plans) {
  Step step;
  (void)((step = plans(), static_cast<bool>(step.run)) || ...);
  return step;
}

Step plan_pass(PlanContext& c, const ConvPass& pass) {
  return by_dtype(c.dtype(), [&](auto t) {
    using T = decltype(t);
    const auto plan_copied = [&] { return pass.x_first ? plan_direct<T>(c, pass) : Step{}; };
    Step step = first_of([&] { return plan_conv_planes<T>(c, pass); }, plan_copied,
                         [&] { return plan_depthwise<T>(c, pass); }, [&] { return plan_overlap<T>(c, pass); },
                         [&] { return plan_winograd(c, pass); }, [&] { return plan_strassen(c, pass); },
                         [&] { return plan_narrow<T>(c, pass); }, [&] { return plan_direct<T>(c, pass); });
    if (c.stable(pass.w) && c.attrs().text("algorithm", "").empty()) {
      std::vector<std::string> names = candidates(c, pass);
      if (std::count(names.begin(), names.end(), step.algorithm)) {
        step.problem = problem_key(pass, c.options());
        step.candidates = std::move(names);
      }
    }
    return step;
  });
}

Step plan_conv2d(PlanContext& c) { return plan_pass(c, forward_pass(c)); }

// Two passes; the first one's output is no value.
Step plan_conv2d_depthwise(PlanContext& c) {
  const Shape& x = c.in_shape(0);
  ConvGeometry g;
  g.n = x[0], g.h = g.oh = x[1], g.w = g.ow = x[2], g.c = x[3], g.k = c.out_shape()[3], g.kh = g.kw = 1;
  ConvPass expand = forward_pass(g);
  expand.x = c.in(0), expand.w = c.in(1), expand.bias = c.in(2);
  set_activation(expand, expansion_attrs(c.attrs()));
  ConvPass depthwise = forward_pass(conv_geometry(c.attrs(), {g.n, g.h, g.w, g.k}, c.in_shape(3), c.out_shape()));
  depthwise.w = c.in(3), depthwise.bias = c.in(4), depthwise.y = c.out(), depthwise.y_pixel = c.row(c.out());
  if (c.outputs() > 1) depthwise.mean = c.out(1);
  set_activation(depthwise, c.attrs());
  return by_dtype(c.dtype(), [&](auto t) { return plan_expanded_depthwise<decltype(t)>(c, expand, depthwise); });
}

Step plan_conv_transpose2d(PlanContext& c) {
  if (c.node().channels_first.input)
    return by_dtype(c.dtype(), [&](auto t) { return plan_columns_input<decltype(t)>(c); });
  return plan_pass(c, transposed_pass(c));
}
Step plan_dense(PlanContext& c) { return plan_pass(c, dense_pass(c)); }

Step plan_weights(PlanContext& c, const ConvGeometry& g, const Windows& spread = {}) {
  return by_dtype(c.dtype(), [&](auto t) {
    using T = decltype(t);
    if (g.n * g.oh * g.ow == 0 || c.out_type().size() == 0) {
      Step step;
      step.algorithm = "zeros";
      step.run = [n = c.out_type().size(), dw = c.out()](const RunContext& r) { std::fill_n(r.data<T>(dw), n, T(0)); };
      return step;
    }
    const auto plan_depthwise = [&] {
      return spread ? Step{} : plan_depthwise_weights<T>(g, c.in(0), c.in(1), c.out());
    };
    return first_of(
        plan_depthwise, [&] { return plan_winners_weights<T>(c, g, spread); },
        [&] { return plan_winograd_weights(c, g, spread); },
        [&] { return plan_direct_weights<T>(g, c.in(0), c.in(1), c.out(), spread); });
  });
}

Step plan_conv_weights(PlanContext& c) {
  if (c.node().channels_first.input)
    return by_dtype(c.dtype(), [&](auto t) { return plan_columns_weights<decltype(t)>(c); });
  return plan_weights(c, conv_geometry(c.attrs(), c.in_shape(0), c.out_shape(), map_before(c, 1)),
                      windows_of(c, c.in(2)));
}

Step plan_dense_weights(PlanContext& c) {
  const Shape &x = c.in_shape(0), &dy = c.in_shape(1);
  ConvGeometry g;
  g.n = g.h = g.kh = g.kw = g.oh = 1;
  g.w = g.ow = product(x, 0, x.size() - 1);
  g.c = x.back(), g.k = dy.back();
  return plan_weights(c, g);
}

const RegisterCpu conv2d{"conv2d", plan_conv2d, kWrites};
const RegisterCpu conv2d_depthwise{"conv2d_depthwise", plan_conv2d_depthwise, kWrites};
const RegisterCpu conv2d_pool{"conv2d_max_pool", plan_conv2d};
const RegisterCpu conv_transpose2d{"conv_transpose2d", plan_conv_transpose2d, kWrites};
const RegisterCpu pool_input{"conv2d_max_pool_backward_input", plan_conv_transpose2d, kWrites};
const RegisterCpu conv_weights{"conv2d_backward_weights", plan_conv_weights};
const RegisterCpu pool_weights{"conv2d_max_pool_backward_weights", plan_conv_weights};
const RegisterCpu dense{"dense", plan_dense, kWrites};
const RegisterCpu dense_weights{"dense_backward_weights", plan_dense_weights};

}  // namespace

std::string join(std::initializer_list<std::int64_t> numbers) {
  std::string s;
  for (std::int64_t n : numbers) s += std::to_string(n) + ",";
  return s;
}

std::string weights_key(const ConvPass& p) {
  std::string key = join({p.groups, p.w_kh, p.w_kw, p.w_in, p.w_out, p.w_group});
  for (const Phase& q : p.phases) key += join({q.h.taps, q.h.k0, q.h.k_step, q.w.taps, q.w.k0, q.w.k_step});
  return key;
}

std::string problem_key(const ConvPass& p, const PlanOptions& options) {
  std::string key = "conv " + join({p.in_c, p.out_c, p.groups});
  if (!options.any_size) key += join({p.n, p.in_h, p.in_w, p.out_h, p.out_w});
  for (const Phase& q : p.phases)
    for (const AxisPhase& a : {q.h, q.w}) key += " " + join({a.is, a.os, a.taps, a.tap_step, a.i0});
  if (p.pool) key += " pool " + join({p.pool.h, p.pool.w});
  return key;
}

std::string wished_algorithm(const PlanContext& c, const ConvPass& p) {
  const std::string wish = c.attrs().text("algorithm", "");
  const auto& tuned = c.options().algorithms;
  if (!wish.empty() || tuned.empty()) return wish;
  const auto found = tuned.find(problem_key(p, c.options()));
  return found == tuned.end() ? wish : found->second;
}

void set_activation(Activation& a, const Attrs& attrs) {
  constexpr double inf = std::numeric_limits<double>::infinity();
  const std::string activation = attrs.text("activation", "");
  if (activation.empty()) return;
  const UnaryInfo& info = *find_unary(activation);  // inference has seen to that
  a.parameters = unary_parameters(info, attrs);
  a.function = info.function;
  a.clamp = info.function == Unary::relu || info.function == Unary::clip;
  a.activate = !a.clamp;
  a.lo = info.function == Unary::relu ? 0 : a.parameters.a;
  a.hi = info.function == Unary::relu ? inf : a.parameters.b;
}

ConvPass forward_pass(const ConvGeometry& g) {
  const std::int64_t in = g.c / g.groups;
  ConvPass p{};
  p.n = g.n, p.in_h = g.h, p.in_w = g.w, p.in_c = g.c, p.out_h = g.oh, p.out_w = g.ow, p.out_c = g.k;
  p.groups = g.groups;
  p.w_kh = g.kw * in * g.k, p.w_kw = in * g.k, p.w_in = g.k, p.w_out = 1, p.w_group = g.k / g.groups;
  p.phases = {{forward_axis(g.oh, g.kh, g.stride_h, g.top, g.dilation_h),
               forward_axis(g.ow, g.kw, g.stride_w, g.left, g.dilation_w)}};
  p.flops = g.flops();
  p.x = p.w = p.bias = p.y = kNone;
  p.y_pixel = g.k;
  return p;
}

ConvPass forward_pass(const PlanContext& c) {
  const ChannelsFirst first = c.node().channels_first;
  const auto last = [](const Shape& s) { return Shape{s[0], s[2], s[3], s[1]}; };
  const Shape &x = c.in_shape(0), &weight = c.in_shape(1);
  const Windows pool = windows_of(c, c.outputs() > 1 ? c.out(1) : kNone);
  Shape y = c.out_shape();
  if (pool) y[1] *= pool.h, y[2] *= pool.w;  // rows and columns that no window has are not computed
  const Shape w = first.weights ? Shape{weight[2], weight[3], weight[1], weight[0]} : weight;
  ConvPass p = forward_pass(conv_geometry(c.attrs(), first.input ? last(x) : x, w, first.output ? last(y) : y));
  if (first.weights) {
    p.w_kh = w[1], p.w_kw = 1, p.w_in = w[0] * w[1], p.w_out = w[2] * p.w_in;
    p.w_group = w[3] / p.groups * p.w_out;
  }
  p.x = c.in(0), p.w = c.in(1), p.bias = c.in(2), p.residual = c.in(3), p.factor = c.in(4), p.w_scale = c.in(5);
  p.y = c.out(), p.y_pixel = c.row(p.y);
  if (c.outputs() > 1 && !pool) p.mean = c.out(1);
  p.x_first = first.input;
  p.pool = pool;
  set_activation(p, c.attrs());
  return p;
}

ConvPass transposed_pass(PlanContext& c) {
  const Shape& w = c.in_shape(1);
  const ConvGeometry g = conv_geometry(c.attrs(), c.out_shape(), w, map_before(c, 0));
  ConvPass p{};
  p.spread = windows_of(c, c.in(2));
  p.n = g.n, p.in_h = g.oh, p.in_w = g.ow, p.in_c = g.k, p.out_h = g.h, p.out_w = g.w, p.out_c = g.c;
  p.groups = g.groups;
  p.w_kh = w[1] * w[2] * w[3], p.w_kw = w[2] * w[3], p.w_in = 1, p.w_out = w[3], p.w_group = w[3] / g.groups;
  const auto with_taps = [&p](std::int64_t outputs, std::int64_t kernel, std::int64_t stride, std::int64_t pad,
                              std::int64_t dilation) {
    std::vector<AxisPhase> phases;
    for (std::int64_t residue = 0; residue < std::min(stride, outputs); ++residue) {
      const AxisPhase a = transposed_axis(residue, outputs, kernel, stride, pad, dilation);
      if (a.taps > 0)
        phases.push_back(a);
      else
        p.fill = true;
    }
    return phases;
  };
  const auto columns = with_taps(g.w, g.kw, g.stride_w, g.left, g.dilation_w);
  for (const AxisPhase& h : with_taps(g.h, g.kh, g.stride_h, g.top, g.dilation_h))
    for (const AxisPhase& w : columns) p.phases.push_back({h, w});
  p.x = c.in(0), p.w = c.in(1), p.bias = p.spread ? kNone : c.in(2), p.residual = c.in(3);
  p.y = c.out(), p.y_pixel = c.row(p.y);
  p.flops = g.flops();
  set_activation(p, c.attrs());
  return p;
}

ConvPass dense_pass(PlanContext& c) {
  const Shape& x = c.in_shape(0);
  const std::int64_t rows = product(x, 0, x.size() - 1), in = x.back(), out = c.out_shape().back();
  const bool transposed = c.attrs().boolean("transpose_w", false);
  ConvPass p{};
  p.n = p.in_h = p.out_h = 1;
  p.in_w = p.out_w = rows, p.in_c = in, p.out_c = out, p.groups = 1;
  p.w_in = transposed ? 1 : out, p.w_out = transposed ? in : 1;
  p.w_kh = p.w_kw = 1;  // of the only tap
  p.phases = {{forward_axis(1, 1, 1, 0, 1), forward_axis(rows, 1, 1, 0, 1)}};
  p.x = c.in(0), p.w = c.in(1), p.bias = c.in(2), p.y = c.out(), p.y_pixel = c.row(p.y);
  p.flops = 2.0 * static_cast<double>(rows) * static_cast<double>(in) * static_cast<double>(out);
  set_activation(p, c.attrs());
  return p;
}

template <class T>
bool transpose_weights(const ConvPass& p, const Phase& q, const T* w, const T* scale, std::int64_t channels,
                       std::int64_t n, std::int64_t columns, T* to) {
  const std::int64_t taps = q.h.taps * q.w.taps;
  const auto whole = [](const AxisPhase& a) { return a.k0 == 0 && a.k_step == 1; };
  if (p.w_kw != 1 || p.w_kh != q.w.taps || p.w_in != taps || !whole(q.h) || !whole(q.w)) return false;
  if (channels < columns) std::fill_n(to, n * taps * columns, T(0));
  // A vector of channels after the other: weights that come from memory are streams then.
  const std::int64_t width = kernels<T>().width;
  for (std::int64_t c = 0; c < channels; c += width)
    kernels<T>().transpose({w + c * p.w_out, to + c, std::min(width, channels - c), n * taps, p.w_out, columns,
                            scale ? scale + c : nullptr});
  return true;
}

template <class T>
void transpose_tap(const ConvPass& p, const T* w, std::int64_t channels, std::int64_t n, std::int64_t columns,
                   std::int64_t row, T* to) {
  for (std::int64_t r = 0; channels < columns && r < n; ++r)
    std::fill(to + r * row + channels, to + r * row + columns, T(0));
  if (p.w_in == 1) return kernels<T>().transpose({w, to, channels, n, p.w_out, row});
  for (std::int64_t o = 0; o < channels; ++o)
    for (std::int64_t r = 0; r < n; ++r) to[r * row + o] = w[o * p.w_out + r * p.w_in];
}

template void transpose_tap<float>(const ConvPass&, const float*, std::int64_t, std::int64_t, std::int64_t,
                                   std::int64_t, float*);
template void transpose_tap<double>(const ConvPass&, const double*, std::int64_t, std::int64_t, std::int64_t,
                                    std::int64_t, double*);
template bool transpose_weights<float>(const ConvPass&, const Phase&, const float*, const float*, std::int64_t,
                                       std::int64_t, std::int64_t, float*);
template bool transpose_weights<double>(const ConvPass&, const Phase&, const double*, const double*, std::int64_t,
                                        std::int64_t, std::int64_t, double*);

namespace {

template <class T>
void fill_pixels(const ConvPass& p, const T* bias, const T* residual, std::int64_t n, std::int64_t channels, T* y) {
  const auto lo = static_cast<T>(p.lo), hi = static_cast<T>(p.hi);
  for (std::int64_t i = 0; i < n; ++i, y += p.y_pixel) {
    if (bias)
      for (std::int64_t c = 0; c < channels; ++c) y[c] = residual ? bias[c] + residual[c] : bias[c];
    else if (!residual)
      std::fill_n(y, channels, T(0));
    else if (residual != y)
      std::copy_n(residual, channels, y);
    if (p.clamp)
      for (std::int64_t c = 0; c < channels; ++c) y[c] = std::min(std::max(y[c], lo), hi);
    if (residual) residual += p.y_pixel;
  }
}

}  // namespace

template <class T>
void fill_rows(const ConvPass& p, const T* bias, const T* residual, std::int64_t begin, std::int64_t end,
               std::int64_t channels, T* y) {
  // Phases are all pairs of some residues of rows and some of columns.
  const std::int64_t stride_h = p.phases.empty() ? 1 : p.phases[0].h.os;
  const std::int64_t stride_w = p.phases.empty() ? 1 : p.phases[0].w.os;
  std::vector<bool> rows(static_cast<std::size_t>(stride_h)), columns(static_cast<std::size_t>(stride_w));
  for (const Phase& q : p.phases)
    rows[static_cast<std::size_t>(q.h.o0)] = columns[static_cast<std::size_t>(q.w.o0)] = true;
  const auto fill = [&](std::int64_t pixel, std::int64_t n) {
    T* to = y + pixel * p.y_pixel;
    fill_pixels(p, bias, residual ? residual + pixel * p.y_pixel : nullptr, n, channels, to);
    activate(p, to, n, p.y_pixel, channels);
  };
  for (std::int64_t r = begin; r < end; ++r) {
    if (!rows[static_cast<std::size_t>(r % p.out_h % stride_h)]) {
      fill(r * p.out_w, p.out_w);
      continue;
    }
    for (std::int64_t c = 0; c < p.out_w; ++c)
      if (!columns[static_cast<std::size_t>(c % stride_w)]) fill(r * p.out_w + c, 1);
  }
}

template <class T>
void fill_untouched(const ConvPass& p, const T* bias, const T* residual, T* y) {
  parallel_range(p.n * p.out_h, std::max<std::int64_t>(1, 16384 / std::max<std::int64_t>(p.out_w * p.out_c, 1)),
                 [&](auto begin, auto end, int) { fill_rows(p, bias, residual, begin, end, p.out_c, y); });
}

template void fill_rows<float>(const ConvPass&, const float*, const float*, std::int64_t, std::int64_t, std::int64_t,
                               float*);
template void fill_rows<double>(const ConvPass&, const double*, const double*, std::int64_t, std::int64_t, std::int64_t,
                                double*);
template void fill_untouched<float>(const ConvPass&, const float*, const float*, float*);
template void fill_untouched<double>(const ConvPass&, const double*, const double*, double*);

template <class T>
void copy_padded(const T* image, std::int64_t h, std::int64_t w, std::int64_t c, std::int64_t row, std::int64_t rows,
                 std::int64_t col, std::int64_t cols, std::int64_t repeat, T* to, std::int64_t channels,
                 std::int64_t to_pixel) {
  const std::int64_t out_c = channels ? to_pixel : c * repeat;
  const std::int64_t left = std::clamp<std::int64_t>(-col, 0, cols);
  const std::int64_t inside = std::clamp<std::int64_t>(w - std::max<std::int64_t>(col, 0), 0, cols - left);
  for (std::int64_t r = 0; r < rows; ++r, to += cols * out_c) {
    if (row + r < 0 || row + r >= h || inside == 0) {
      std::fill(to, to + cols * out_c, T(0));
      continue;
    }
    const T* from = image + ((row + r) * w + std::max<std::int64_t>(col, 0)) * c;
    T* middle = to + left * out_c;
    std::fill(to, middle, T(0));
    if (channels) {
      for (std::int64_t i = 0; i < inside; ++i) {
        std::copy_n(from + i * c, channels, middle + i * to_pixel);
        std::fill_n(middle + i * to_pixel + channels, to_pixel - channels, T(0));
      }
    } else if (repeat == 1) {
      std::copy(from, from + inside * c, middle);
    } else {
      for (std::int64_t i = 0; i < inside * c; ++i) std::fill(middle + i * repeat, middle + (i + 1) * repeat, from[i]);
    }
    std::fill(middle + inside * out_c, to + cols * out_c, T(0));
  }
}

template <class T>
void copy_planes(const T* image, std::int64_t h, std::int64_t w, std::int64_t c, std::int64_t row, std::int64_t rows,
                 std::int64_t col, std::int64_t cols, T* to) {
  const std::int64_t left = std::clamp<std::int64_t>(-col, 0, cols), first = std::max<std::int64_t>(col, 0);
  const std::int64_t inside = std::clamp<std::int64_t>(w - first, 0, cols - left);
  for (std::int64_t r = row; r < row + rows; ++r, to += cols * c) {
    if (r < 0 || r >= h || inside == 0) {
      std::fill(to, to + cols * c, T(0));
      continue;
    }
    const T* from = image + r * w + first;
    T *middle = to + left * c, *end = middle + inside * c;
    std::fill(to, middle, T(0));
    if (c == 3)
      kernels<T>().interleave({from, h * w, middle, inside});
    else
      kernels<T>().transpose({from, middle, c, inside, h * w, c});
    std::fill(end, to + cols * c, T(0));
  }
}

template void copy_planes<float>(const float*, std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t,
                                 std::int64_t, std::int64_t, float*);
template void copy_planes<double>(const double*, std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t,
                                  std::int64_t, std::int64_t, double*);

template void copy_padded<float>(const float*, std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t,
                                 std::int64_t, std::int64_t, std::int64_t, float*, std::int64_t, std::int64_t);
template void copy_padded<double>(const double*, std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t,
                                  std::int64_t, std::int64_t, std::int64_t, double*, std::int64_t, std::int64_t);

}  // namespace fastconv::cpu
