// Convolution of NCHW by OIHW as they lie, for weights that are new in every run: nothing of them is packed. The roles
// of conv_row are swapped: its pixels are output channels, whose weights lie in the order of the reduction, and its
// vectors run along the output's pixels. For a block of pixels the inputs of all taps are gathered into a panel
// [input channel][kh][kw][pixel] that stays in the cache. A few pixels more than whole vectors, as of 7x7 and 14x14
// maps, have a panel [pixel][input channel][kh][kw] and sums along it.
#include <algorithm>
#include <cstring>

#include "backend/cpu/conv.hpp"

namespace fastconv::cpu {
namespace {

constexpr std::int64_t kMostPlanes = 4;        // that direct convolution copies as pixels
constexpr std::int64_t kPieces = 16;           // wanted at least, for the threads there may be
constexpr std::int64_t kLeastRows = 28;        // output channels of a piece
constexpr std::int64_t kMostPanel = 4 << 20;   // bytes
constexpr std::int64_t kMostWindow = 1 << 18;  // bytes of a channel's input for a block
constexpr std::int64_t kChunk = 16;            // elements copied at once
constexpr std::int64_t kTailBytes = 1 << 17;   // of weights that two kernels read one after the other

struct PixelBlock {
  std::int64_t first, pixels;
  int vectors;
};

// Pixels of one row of the output that belong to a block, and where they begin in it.
struct Segment {
  std::int64_t row, column, pixels, at;
};

template <class T>
class Planes {
 public:
  explicit Planes(const ConvPass& pass)
      : p_(pass),
        table_(kernels<T>()),
        h_(pass.phases[0].h),
        w_(pass.phases[0].w),
        reduction_(pass.in_c * h_.taps * w_.taps),
        pixels_(pass.out_h * pass.out_w),
        columns_(std::int64_t{table_.tile_vectors} * table_.width),
        tail_(tail_pixels(pixels_, table_.width, reduction_, pass.out_c)),
        whole_((pixels_ - tail_) / columns_),
        rest_((pixels_ - tail_) % columns_),
        blocks_(whole_ + (rest_ > 0)) {
    dense_ = h_.taps == 1 && w_.taps == 1 && h_.is == 1 && w_.is == 1 && h_.i0 == 0 && w_.i0 == 0 &&
             p_.in_h == p_.out_h && p_.in_w == p_.out_w;
    panel_ = reduction_ * (columns_ + tail_);
    const std::int64_t units = std::max<std::int64_t>(p_.n * blocks_, 1);
    splits_ = std::clamp<std::int64_t>(ceil_div(kPieces, units), 1, std::max<std::int64_t>(p_.out_c / kLeastRows, 1));
    used_.assign(static_cast<std::size_t>(std::min<std::int64_t>(w_.is, w_.taps * w_.tap_step + 1)), false);
    for (std::int64_t j = 0; j < w_.taps; ++j) used_[static_cast<std::size_t>(j * w_.tap_step % w_.is)] = true;
    const std::int64_t rows = p_.out_w < columns_ ? std::min(p_.out_h, columns_ / p_.out_w + 2) : 1,
                       columns = std::min(p_.out_w, columns_);
    window_ = dense_ ? 0 : window_rows(rows) * line(columns) * static_cast<std::int64_t>(used_.size());
  }

  bool fits() const {
    return panel_ * static_cast<std::int64_t>(sizeof(T)) <= kMostPanel &&
           window_ * static_cast<std::int64_t>(sizeof(T)) <= kMostWindow;
  }
  std::size_t scratch_bytes() const {
    return static_cast<std::size_t>(window_ + tail_ * reduction_ + (splits_ > 1 ? 0 : panel_)) * sizeof(T);
  }
  std::size_t workspace_bytes() const {
    return splits_ > 1 ? static_cast<std::size_t>(p_.n * blocks_ * panel_) * sizeof(T) : 0;
  }
  // Vectors of pixels that are computed.
  std::int64_t vectors() const { return (whole_ * table_.tile_vectors + ceil_div(rest_, table_.width)) * p_.n; }

  void run(const RunContext& context) const {
    const T *x = context.data<const T>(p_.x), *w = context.data<const T>(p_.w);
    const T* bias = p_.bias == kNone ? nullptr : context.data<const T>(p_.bias);
    T *y = context.data<T>(p_.y), *panels = reinterpret_cast<T*>(context.workspace());
    if (splits_ == 1) {
      parallel_for(p_.n * blocks_, [&](std::int64_t unit, int thread) {
        T *window = reinterpret_cast<T*>(context.scratch(thread)), *panel = window + window_ + tail_ * reduction_;
        gather(x, unit, 0, p_.in_c, window, panel);
        multiply(unit, 0, p_.out_c, w, bias, panel, y);
      });
      return;
    }
    // The pieces of a block share its panel.
    const std::int64_t parts = std::min(p_.in_c, splits_);
    parallel_for(p_.n * blocks_ * parts, [&](std::int64_t i, int thread) {
      const std::int64_t unit = i / parts, part = i % parts;
      gather(x, unit, p_.in_c * part / parts, p_.in_c * (part + 1) / parts,
             reinterpret_cast<T*>(context.scratch(thread)), panels + unit * panel_);
    });
    parallel_for(p_.n * blocks_ * splits_, [&](std::int64_t i, int) {
      const std::int64_t unit = i / splits_, split = i % splits_;
      multiply(unit, p_.out_c * split / splits_, p_.out_c * (split + 1) / splits_, w, bias, panels + unit * panel_, y);
    });
  }

 private:
  PixelBlock block(std::int64_t i) const {
    if (i < whole_) return {i * columns_, columns_, table_.tile_vectors};
    return {whole_ * columns_, rest_, static_cast<int>(ceil_div(rest_, table_.width))};
  }
  // Too few to be worth a vector; the last block has them.
  static std::int64_t tail_pixels(std::int64_t pixels, std::int64_t width, std::int64_t reduction, std::int64_t rows) {
    const std::int64_t tail = pixels % width;
    return pixels > width && tail * 4 <= width && reduction >= 16 * width && rows >= 4 * width ? tail : 0;
  }
  bool has_tail(std::int64_t unit) const { return tail_ && unit % blocks_ == blocks_ - 1; }
  // Of the input under some rows and columns of the output; columns lie by their remainder modulo the stride.
  std::int64_t window_rows(std::int64_t rows) const { return (rows - 1) * h_.is + (h_.taps - 1) * h_.tap_step + 1; }
  std::int64_t line(std::int64_t columns) const { return columns + (w_.taps - 1) * w_.tap_step / w_.is + 1 + kChunk; }

  // The window is followed by room for a tail.
  void gather(const T* x, std::int64_t unit, std::int64_t from, std::int64_t to, T* window, T* panel) const {
    const PixelBlock b = block(unit % blocks_);
    const std::int64_t columns = std::int64_t{b.vectors} * table_.width, taps = h_.taps * w_.taps;
    const T* image = x + unit / blocks_ * p_.in_c * p_.in_h * p_.in_w;
    gather(image, b, columns, from, to, window, panel);
    if (!has_tail(unit)) return;
    T* turned = window + window_;
    gather(image, {pixels_ - tail_, tail_, 0}, tail_, from, to, window, turned);
    table_.transpose({turned + from * taps * tail_, panel + reduction_ * columns + from * taps, (to - from) * taps,
                      tail_, tail_, reduction_});
  }

  void gather(const T* image, const PixelBlock& b, std::int64_t columns, std::int64_t from, std::int64_t to, T* window,
              T* panel) const {
    const std::int64_t plane = p_.in_h * p_.in_w;
    if (dense_) {
      for (std::int64_t c = from; c < to; ++c) std::copy_n(image + c * plane + b.first, b.pixels, panel + c * columns);
      return;
    }
    Segment segments[64];
    int count = 0;
    for (std::int64_t at = 0; at < b.pixels; ++count) {
      const std::int64_t row = (b.first + at) / p_.out_w, column = (b.first + at) % p_.out_w;
      const std::int64_t n = std::min(p_.out_w - column, b.pixels - at);
      segments[count] = {row, column, n, at};
      at += n;
    }
    // Short rows have one window together, of long ones each its own.
    const int together = p_.out_w < columns_ ? count : 1;
    for (int s = 0; s < count; s += together)
      gather(image, segments + s, segments + s + together, from, to, window, panel, columns);
  }

  void gather(const T* image, const Segment* first, const Segment* last, std::int64_t from, std::int64_t to, T* window,
              T* panel, std::int64_t columns) const {
    const std::int64_t rows = window_rows(last[-1].row - first->row + 1);
    const std::int64_t column0 = last - first == 1 ? first->column : 0;
    const std::int64_t length = line(last - first == 1 ? first->pixels : p_.out_w);
    const auto remainders = static_cast<std::int64_t>(used_.size()), window_row = remainders * length;
    std::fill_n(window, rows * window_row, T(0));
    const std::int64_t top = first->row * h_.is + h_.i0, left = column0 * w_.is + w_.i0;
    const std::int64_t begin = std::clamp<std::int64_t>(-top, 0, rows);
    const std::int64_t end = std::clamp<std::int64_t>(p_.in_h - top, begin, rows);
    for (std::int64_t c = from; c < to; ++c) {
      const T* plane = image + c * p_.in_h * p_.in_w;
      for (std::int64_t r = begin; r < end; ++r)
        for (std::int64_t m = 0; m < remainders; ++m)
          if (used_[static_cast<std::size_t>(m)])
            copy_row(plane + (top + r) * p_.in_w, left + m, length - kChunk, window + r * window_row + m * length);
      T* out = panel + c * h_.taps * w_.taps * columns;
      for (std::int64_t i = 0; i < h_.taps; ++i)
        for (std::int64_t j = 0; j < w_.taps; ++j, out += columns) {
          const std::int64_t shift = j * w_.tap_step;
          const T* source = window + i * h_.tap_step * window_row + shift % w_.is * length + shift / w_.is;
          for (const Segment* g = first; g != last; ++g)
            copy_run(source + (g->row - first->row) * h_.is * window_row + g->column - column0, g->pixels, out + g->at,
                     columns - g->at);
        }
    }
  }

  // Columns first, first + stride, ... of a row, those inside.
  void copy_row(const T* row, std::int64_t first, std::int64_t n, T* to) const {
    const std::int64_t begin = first < 0 ? std::min(n, ceil_div(-first, w_.is)) : 0;
    const std::int64_t end = first < p_.in_w ? std::clamp(ceil_div(p_.in_w - first, w_.is), begin, n) : begin;
    if (w_.is == 1) {
      std::copy(row + first + begin, row + first + end, to + begin);
    } else if (w_.is == 2) {
      const T* from = row + first;
      for (std::int64_t i = begin; i < end; ++i) to[i] = from[2 * i];
    } else {
      for (std::int64_t i = begin; i < end; ++i) to[i] = row[first + i * w_.is];
    }
  }

  // Whole chunks while they fit into the panel's row: what they write too much is written again after.
  static void copy_run(const T* from, std::int64_t n, T* to, std::int64_t room) {
    std::int64_t i = 0;
    for (; i < n && i + kChunk <= room; i += kChunk) std::memcpy(to + i, from + i, kChunk * sizeof(T));
    if (i < n) std::copy(from + i, from + n, to + i);
  }

  void multiply(std::int64_t unit, std::int64_t from, std::int64_t to, const T* w, const T* bias, const T* panel,
                T* y) const {
    if (from == to) return;
    const PixelBlock b = block(unit % blocks_);
    T* out = y + (unit / blocks_ * p_.out_c + from) * pixels_ + b.first;
    ConvRowArgs<T> a{};
    a.x = w + from * reduction_;
    a.x_pixel = reduction_;
    a.taps_h = a.taps_w = 1;
    a.run = reduction_;
    a.w = panel;
    a.vectors = b.vectors, a.channels = static_cast<int>(b.pixels);
    a.y = out;
    a.y_pixel = pixels_;
    a.pixels = to - from;
    a.clamp = p_.clamp;
    a.lo = static_cast<T>(p_.lo), a.hi = static_cast<T>(p_.hi);
    if (bias) {  // one number a row: added as what lies there already
      for (std::int64_t r = 0; r < to - from; ++r) std::fill_n(out + r * pixels_, b.pixels, bias[from + r]);
      a.residual = out;
    }
    if (!has_tail(unit)) {
      table_.conv_row(a);
      return activate(p_, out, to - from, pixels_, b.pixels);
    }
    ConvDotsArgs<T> d{};
    d.w_row = d.x_row = d.n = reduction_;
    d.x = panel + reduction_ * b.vectors * table_.width;
    d.pixels = static_cast<int>(tail_);
    d.y_row = pixels_;
    d.clamp = p_.clamp, d.lo = a.lo, d.hi = a.hi;
    // Of rows whose weights are still in the cache.
    const std::int64_t fit = kTailBytes / (reduction_ * static_cast<std::int64_t>(sizeof(T)));
    const std::int64_t chunk = std::max(fit / table_.tile_pixels, std::int64_t{1}) * table_.tile_pixels;
    for (std::int64_t r = from; r < to; r += chunk) {
      a.pixels = d.rows = std::min(chunk, to - r);
      table_.conv_row(a);
      d.w = a.x, d.y = a.y + b.pixels;
      d.bias = bias ? bias + r : nullptr;
      table_.conv_dots(d);
      a.x += chunk * reduction_, a.y += chunk * pixels_;
      if (a.residual) a.residual = a.y;
    }
    activate(p_, out, to - from, pixels_, b.pixels + tail_);
  }

  ConvPass p_;
  const KernelTable<T>& table_;
  AxisPhase h_, w_;
  std::int64_t reduction_, pixels_, columns_;
  std::int64_t tail_, whole_, rest_;  // pixels beside vectors, whole blocks, pixels of another block
  std::int64_t blocks_, panel_ = 0, splits_ = 1, window_ = 0;
  bool dense_ = false;      // 1x1 over all pixels
  std::vector<bool> used_;  // remainders of columns modulo the stride
};

double real(std::int64_t n) { return static_cast<double>(n); }

// Against transposes, packing and channels in vectors: in multiply-adds of a vector for each weight.
template <class T>
bool pays(const ConvPass& p, const Planes<T>& planes) {
  const double weights = real(p.in_c) * real(p.phases[0].h.taps * p.phases[0].w.taps) * real(p.out_c);
  const int width = kernels<T>().width;
  const double pixels = real(p.n * p.out_h * p.out_w);
  const double first = real(planes.vectors()) * (1 + 4 / real(p.out_c));
  const double lanes = real(round_up(p.out_c, width)) / real(p.out_c);
  const double moved = real(p.n * p.in_h * p.in_w * p.in_c) + pixels * real(p.out_c);
  const double last = pixels / width * lanes + 16.0 / width + 0.5 * moved / weights;
  return first < last;
}

template <class T>
bool prefers(const PlanContext& c, const ConvPass& p) {
  if (p.groups != 1 || p.phases.size() != 1 || p.fill || num_elements({p.in_h, p.in_w}) == 0) return false;
  if (p.phases[0].h.taps < 1 || p.phases[0].w.taps < 1 || p.out_h < 1 || p.out_w < 1 || p.out_c < 1 || p.n < 1)
    return false;
  if (!c.attrs().text("algorithm", "").empty()) return false;
  std::vector<PackRequest> ignored;
  PlanContext trial = c.with(ignored);
  if (plan_winograd(trial, p).run) return false;
  const Planes<T> planes(p);
  return planes.fits() && pays(p, planes);
}

// Direct convolution can turn few planes into pixels while it copies its blocks of rows.
bool copies_planes(const PlanContext& c, const ConvPass& p) {
  if (p.in_c < 2 || p.in_c > kMostPlanes || p.groups != 1 || p.n < 1 || p.in_h * p.in_w < 2) return false;
  std::vector<PackRequest> ignored;
  PlanContext trial = c.with(ignored);
  return !plan_winograd(trial, p).run;
}

}  // namespace

ChannelsFirst conv_channels_first(const PlanContext& c, ChannelsFirst offered) {
  ChannelsFirst chosen;
  chosen.weights = offered.weights && c.attrs().integer("groups", 1) == 1;
  const bool stable = c.stable(c.in(1));
  if (stable) chosen.weights = chosen.weights && c.in_shape(1)[2] > 1;  // plan_narrow knows no scale
  if (!offered.input) return chosen;
  const ConvPass pass = forward_pass(c);
  if (chosen.weights && offered.output && !stable)
    if (c.dtype() == DType::f32 ? prefers<float>(c, pass) : prefers<double>(c, pass)) return offered;
  chosen.input = copies_planes(c, pass);
  return chosen;
}

template <class T>
Step plan_conv_planes(const PlanContext& c, const ConvPass& pass) {
  if (!c.node().channels_first.output) return {};
  const auto planes = std::make_shared<const Planes<T>>(pass);
  Step step;
  step.algorithm = "planes";
  step.flops = pass.flops;
  step.scratch = planes->scratch_bytes();
  step.workspace = planes->workspace_bytes();
  step.run = [planes](const RunContext& r) { planes->run(r); };
  return step;
}

template Step plan_conv_planes<float>(const PlanContext&, const ConvPass&);
template Step plan_conv_planes<double>(const PlanContext&, const ConvPass&);

}  // namespace fastconv::cpu
