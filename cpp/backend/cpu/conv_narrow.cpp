// Convolution of one input channel to few output channels (the first layer of networks on grey images): blocks of
// input rows are copied with zeros around them, and vectors of pixels run over them.
#include <algorithm>
#include <memory>

#include "backend/cpu/conv.hpp"

namespace fastconv::cpu {
namespace {

constexpr std::int64_t kChannels = 8;
constexpr std::int64_t kWork = std::int64_t{1} << 16;  // products of a piece, about

template <class T>
struct Narrow {
  explicit Narrow(const ConvPass& pass)
      : p(pass), h(pass.phases[0].h), w(pass.phases[0].w), columns(round_up(pass.out_c, 2)) {
    const std::int64_t width = kernels<T>().width;
    in_cols = round_up(w.outputs, width) + (w.taps - 1) * w.tap_step;
    const std::int64_t row_work = std::max<std::int64_t>(w.outputs * h.taps * w.taps * columns, 1);
    block = std::clamp<std::int64_t>(ceil_div(kWork, row_work), 1, h.outputs);
    if (p.pool) block = round_up(block, p.pool.h);
    if (p.pool.w == 2) plane = round_up(w.outputs, 2 * width);
    blocks = ceil_div(h.outputs, block);
    in_rows = std::min((block - 1) * h.is + (h.taps - 1) * h.tap_step + 1, p.in_h);
  }

  void pack(const T* from, T* to) const {
    for (std::int64_t i = 0; i < h.taps; ++i)
      for (std::int64_t j = 0; j < w.taps; ++j, to += columns) {
        const T* f = from + (h.k0 + i * h.k_step) * p.w_kh + (w.k0 + j * w.k_step) * p.w_kw;
        for (std::int64_t c = 0; c < columns; ++c) to[c] = c < p.out_c ? f[c * p.w_out] : T(0);
      }
  }

  void run(const RunContext& context, const T* packed) const {
    const T* bias = p.bias == kNone ? nullptr : context.data<const T>(p.bias);
    const T* x = context.data<const T>(p.x);
    T* y = context.data<T>(p.y);
    parallel_for(p.n * blocks, [&](std::int64_t piece, int thread) {
      const std::int64_t image = piece / blocks, first = piece % blocks * block;
      const std::int64_t rows = std::min(block, h.outputs - first);
      const std::int64_t begin = h.i0 + first * h.is;
      const std::int64_t end = begin + (rows - 1) * h.is + (h.taps - 1) * h.tap_step + 1;
      const std::int64_t in_first = std::clamp<std::int64_t>(begin, 0, p.in_h);
      T* scratch = reinterpret_cast<T*>(context.scratch(thread));
      copy_padded(x + image * p.in_h * p.in_w, p.in_h, p.in_w, 1, in_first,
                  std::clamp<std::int64_t>(end, in_first, p.in_h) - in_first, w.i0, in_cols, 1, scratch);
      ConvNarrowArgs<T> a{};
      a.x_tap_h = h.tap_step * in_cols, a.x_tap_w = w.tap_step;
      a.taps_w = w.taps;
      a.channels = static_cast<int>(p.out_c);
      a.bias = bias;
      a.pixels = w.outputs, a.y_plane = plane;
      a.clamp = p.clamp, a.lo = static_cast<T>(p.lo), a.hi = static_cast<T>(p.hi);
      const std::int64_t row = (plane ? plane : p.out_w) * p.out_c, window = p.pool ? p.pool.h : 1;
      T* to = p.pool ? scratch + round_up(in_rows * in_cols, 16) : y + (image * p.out_h + first) * row;
      for (std::int64_t r = 0; r < rows; ++r) {
        // Only the taps whose input row exists.
        const std::int64_t top = begin + r * h.is;
        const std::int64_t skipped = top < 0 ? std::min(ceil_div(-top, h.tap_step), h.taps) : 0;
        const std::int64_t below = top < p.in_h ? ceil_div(p.in_h - top, h.tap_step) : 0;
        a.taps_h = std::max<std::int64_t>(std::min(below, h.taps) - skipped, 0);
        a.x = a.taps_h ? scratch + (top + skipped * h.tap_step - in_first) * in_cols : scratch;
        a.w = packed + skipped * w.taps * columns;
        a.y = to + (p.pool ? r % window : r) * row;
        kernels<T>().conv_narrow(a);
        if (!p.pool || (r + 1) % window) continue;
        const auto map = pooled_map<T>(context, p.pool, p.out_h, p.out_w, p.out_c, p.y);
        if (plane) {
          activate(p, to, window * p.out_c, plane, p.out_w);
          map.write_planes(image, (first + r) / window, p.out_c, to, plane);
        } else {
          activate(p, to, window, row, row);
          map.write(image, (first + r) / window, 1, 0, p.out_w / p.pool.w, 0, p.out_c, to, row, p.out_c);
        }
      }
      if (!p.pool) activate(p, to, rows, row, row);
    });
  }

  // The rows of a window follow those of the input.
  std::int64_t scratch() const {
    return round_up(num_elements({in_rows, in_cols}), 16) +
           (p.pool ? p.pool.h * (plane ? plane : p.out_w) * p.out_c : 0);
  }

  ConvPass p;
  AxisPhase h, w;
  std::int64_t columns;    // of the packed weights
  std::int64_t plane = 0;  // a row's columns, where rows are pooled as planes: windows of two columns
  std::int64_t in_cols, in_rows, block, blocks;
};

}  // namespace

template <class T>
Step plan_narrow(PlanContext& c, const ConvPass& pass) {
  if (pass.groups != 1 || pass.in_c != 1 || pass.out_c > kChannels || pass.phases.size() != 1 || pass.fill ||
      pass.residual != kNone || pass.spread || pass.y_pixel != pass.out_c || !c.attrs().text("algorithm", "").empty())
    return {};
  const AxisPhase &h = pass.phases[0].h, &w = pass.phases[0].w;
  if (h.os != 1 || w.os != 1 || w.is != 1 || h.outputs == 0 || w.outputs == 0 || h.taps * w.taps < 2 || pass.n == 0 ||
      pass.in_h * pass.in_w == 0)
    return {};
  // Against a vector of channels for each pixel. The same choice for all sizes where they share their weights.
  const std::int64_t width = kernels<T>().width, columns = round_up(pass.out_c, 2);
  const bool pays = c.options().any_size ? columns < width : ceil_div(w.outputs, width) * columns < w.outputs;
  if (!pays) return {};
  const auto narrow = std::make_shared<const Narrow<T>>(pass);
  const int slot =
      c.pack({pass.w, static_cast<std::size_t>(num_elements({h.taps, w.taps, narrow->columns})) * sizeof(T),
              [narrow](const void* from, const void*, void* to) {
                narrow->pack(static_cast<const T*>(from), static_cast<T*>(to));
              },
              "narrow " + join({static_cast<std::int64_t>(sizeof(T)), pass.out_c}) + weights_key(pass)});
  Step step;
  step.algorithm = "narrow";
  step.flops = pass.flops;
  step.scratch = static_cast<std::size_t>(narrow->scratch()) * sizeof(T);
  step.run = [narrow, slot](const RunContext& r) { narrow->run(r, r.packed<T>(slot)); };
  return step;
}

template Step plan_narrow<float>(PlanContext&, const ConvPass&);
template Step plan_narrow<double>(PlanContext&, const ConvPass&);

}  // namespace fastconv::cpu
