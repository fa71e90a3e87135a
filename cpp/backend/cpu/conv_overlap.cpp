// Convolution of stride 1 to few output channels (gradients to images, the last layer of decoders): a vector holds the
// sums that one input column contributes to all columns of its output's run, which then overlap
// (docs/adr/0014-input-gradients.md).
#include <algorithm>
#include <memory>

#include "backend/cpu/conv.hpp"

namespace fastconv::cpu {
namespace {

constexpr double kAdd = 24;                            // products that adding a vector of a column's sums costs
constexpr std::int64_t kWork = std::int64_t{1} << 16;  // products of a piece, about

template <class T>
class Overlap {
 public:
  Overlap(const ConvPass& pass, bool strict)
      : p_(pass),
        strict_(strict),
        h_(pass.phases[0].h),
        w_(pass.phases[0].w),
        run_(w_.taps * pass.out_c),
        columns_(round_up(run_, kernels<T>().width)),
        left_(std::max<std::int64_t>(w_.i0 + w_.taps - 1, 0)),
        skip_(std::max<std::int64_t>(-(w_.i0 + w_.taps - 1), 0)) {
    line_ = std::max(pass.in_w + w_.taps - 1 + skip_, left_ + pass.out_w) * pass.out_c;
    const std::int64_t row = std::max<std::int64_t>(pass.in_w * h_.taps * pass.in_c * columns_, 1);
    rows_ = std::clamp<std::int64_t>(ceil_div(kWork, row), 1, h_.outputs);
    blocks_ = ceil_div(h_.outputs, rows_);
  }

  std::size_t packed_bytes() const {
    return static_cast<std::size_t>(num_elements({h_.taps, p_.in_c, columns_})) * sizeof(T);
  }
  std::size_t scratch_bytes() const {
    const std::int64_t spread = p_.spread ? ((rows_ - 1) * h_.is + (h_.taps - 1) * h_.tap_step + 1) * row() : 0;
    return static_cast<std::size_t>(p_.in_w * columns_ + line_ + spread) * sizeof(T);
  }
  std::string pack_key() const {
    return "overlap " + join({static_cast<std::int64_t>(sizeof(T)), columns_, p_.in_c, p_.out_c}) + weights_key(p_);
  }

  // [tap of a column][input channel][output column of the run][output channel]: the last tap writes the first column.
  void pack(const T* w, T* to) const {
    std::fill_n(to, h_.taps * p_.in_c * columns_, T(0));
    for (std::int64_t i = 0; i < h_.taps; ++i)
      for (std::int64_t r = 0; r < p_.in_c; ++r, to += columns_)
        for (std::int64_t j = 0; j < w_.taps; ++j)
          for (std::int64_t c = 0; c < p_.out_c; ++c)
            to[(w_.taps - 1 - j) * p_.out_c + c] =
                w[(h_.k0 + i * h_.k_step) * p_.w_kh + (w_.k0 + j * w_.k_step) * p_.w_kw + r * p_.w_in + c * p_.w_out];
  }

  void run(const RunContext& context, const T* packed) const {
    const T* bias = p_.bias == kNone ? nullptr : context.data<const T>(p_.bias);
    const T* residual = p_.residual == kNone ? nullptr : context.data<const T>(p_.residual);
    const auto gradient = spread_map<T>(context, p_.spread, p_.in_h, p_.in_w, p_.in_c, p_.x);
    T* y = context.data<T>(p_.y);
    parallel_for(p_.n * blocks_, [&](std::int64_t piece, int thread) {
      T* sums = reinterpret_cast<T*>(context.scratch(thread));
      const std::int64_t image = piece / blocks_, first = piece % blocks_ * rows_;
      const std::int64_t end = std::min(first + rows_, h_.outputs);
      // The image, or its rows from `top` on.
      const T* x = gradient.dy + (p_.spread ? 0 : image * p_.in_h * row());
      const std::int64_t top = p_.spread ? std::clamp<std::int64_t>(h_.i0 + first * h_.is, 0, p_.in_h) : 0;
      if (p_.spread) {
        const std::int64_t bottom = h_.i0 + (end - 1) * h_.is + (h_.taps - 1) * h_.tap_step + 1;
        T* rows = sums + p_.in_w * columns_ + line_;
        gradient.copy(image, top, std::clamp<std::int64_t>(bottom, top, p_.in_h) - top, 0, p_.in_w, 0, p_.in_c, rows,
                      p_.in_c);
        x = rows;
      }
      for (std::int64_t r = first; r < end; ++r) {
        const std::int64_t at = (image * p_.out_h + r) * p_.out_w * p_.y_pixel;
        run_row(r, x, top, packed, sums);
        finish(bias, residual ? residual + at : nullptr, sums + p_.in_w * columns_ + left_ * p_.out_c, y + at);
      }
    });
  }

 private:
  std::int64_t row() const { return p_.in_w * p_.in_c; }

  // Into `sums`: each column's, and the row's after them. x has the input from row `first` on.
  void run_row(std::int64_t r, const T* x, std::int64_t first, const T* packed, T* sums) const {
    const KernelTable<T>& table = kernels<T>();
    T* line = sums + p_.in_w * columns_;
    std::fill_n(line, line_, T(0));
    const std::int64_t top = h_.i0 + r * h_.is;  // of the first tap
    std::int64_t begin = 0, end = h_.taps;
    while (begin < end && top + begin * h_.tap_step < 0) ++begin;
    while (end > begin && top + (end - 1) * h_.tap_step >= p_.in_h) --end;
    if (begin == end) return;
    ConvRowArgs<T> a{};
    a.x = x + (top + begin * h_.tap_step - first) * row();
    a.x_pixel = p_.in_c, a.x_tap_h = h_.tap_step * row();
    a.taps_h = end - begin, a.taps_w = 1, a.run = p_.in_c;
    a.w = packed + begin * p_.in_c * columns_;
    a.vectors = static_cast<int>(columns_ / table.width), a.channels = static_cast<int>(columns_);
    a.y = sums, a.y_pixel = columns_, a.pixels = p_.in_w;
    if (strict_)
      conv_row_in_blocks(a);
    else
      table.conv_row(a);
    table.overlap_add({sums, columns_, p_.in_w, run_, p_.out_c, line + skip_ * p_.out_c});
  }

  void finish(const T* bias, const T* residual, const T* from, T* y) const {
    const auto lo = static_cast<T>(p_.lo), hi = static_cast<T>(p_.hi);
    for (std::int64_t i = 0; i < p_.out_w; ++i, from += p_.out_c, y += p_.y_pixel)
      for (std::int64_t c = 0; c < p_.out_c; ++c) {
        T s = from[c];
        if (bias) s += bias[c];
        if (residual) s += residual[i * p_.y_pixel + c];
        y[c] = p_.clamp ? std::min(std::max(s, lo), hi) : s;
      }
    y -= p_.out_w * p_.y_pixel;
    activate(p_, y, p_.out_w, p_.y_pixel, p_.out_c);
  }

  ConvPass p_;
  bool strict_;
  AxisPhase h_, w_;
  std::int64_t run_, columns_;  // elements that a column adds to a row, and those padded to whole vectors
  std::int64_t left_,
      skip_;  // columns of the sums before the output's first; before the sums' first, if they begin later
  std::int64_t line_, rows_, blocks_;
};

}  // namespace

template <class T>
Step plan_overlap(PlanContext& c, const ConvPass& p) {
  if (p.groups != 1 || p.phases.size() != 1 || p.fill || p.factor != kNone || p.mean != kNone || p.x_first || p.pool ||
      p.w_scale != kNone || !c.attrs().text("algorithm", "").empty())
    return {};
  const AxisPhase &h = p.phases[0].h, &w = p.phases[0].w;
  const KernelTable<T>& table = kernels<T>();
  if (h.os != 1 || h.o0 != 0 || w.os != 1 || w.o0 != 0 || w.is != 1 || w.tap_step != 1 || w.taps < 2 || h.taps == 0 ||
      h.outputs != p.out_h || w.outputs != p.out_w || p.n * p.out_h * p.out_w * p.in_h * p.in_w * p.in_c == 0)
    return {};
  // Against a vector of channels for each tap, with as many products as the kernel has rows and input channels.
  const auto real = [](std::int64_t n) { return static_cast<double>(n); };
  const std::int64_t direct = w.taps * ceil_div(p.out_c, table.width), mine = ceil_div(w.taps * p.out_c, table.width);
  const double products = real(h.taps * p.in_c), columns = c.options().any_size ? 1 : real(p.in_w) / real(p.out_w);
  if (mine > table.tile_vectors || columns * real(mine) * (products + kAdd) * 1.2 > real(direct) * products) return {};
  const auto overlap = std::make_shared<const Overlap<T>>(p, c.options().strict);
  const int slot = c.pack({p.w, overlap->packed_bytes(),
                           [overlap](const void* from, const void*, void* to) {
                             overlap->pack(static_cast<const T*>(from), static_cast<T*>(to));
                           },
                           overlap->pack_key()});
  Step step;
  step.algorithm = "overlap";
  step.flops = p.flops;
  step.scratch = overlap->scratch_bytes();
  step.run = [overlap, slot](const RunContext& r) { overlap->run(r, r.packed<T>(slot)); };
  return step;
}

template Step plan_overlap<float>(PlanContext&, const ConvPass&);
template Step plan_overlap<double>(PlanContext&, const ConvPass&);

}  // namespace fastconv::cpu
