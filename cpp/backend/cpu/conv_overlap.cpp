// Convolution of stride 1 or transposed convolution to few output channels (gradients to images, last layers of
// decoders): a vector holds the sums that one input column contributes to all columns of its output's run, which then
// overlap (docs/adr/0014-input-gradients.md).
#include <algorithm>
#include <memory>
#include <utility>

#include "backend/cpu/conv.hpp"

namespace fastconv::cpu {
namespace {

constexpr double kAdd = 12;                            // products that adding a vector of a column's sums costs
constexpr std::int64_t kLeastInputs = 8;               // of conv2d: fewer may lie channels first, with the same results
constexpr std::int64_t kWork = std::int64_t{1} << 16;  // products of a piece, about
constexpr std::int64_t kPieces = 16;                   // wanted at least, for the threads there may be
constexpr std::int64_t kRows = 32;                     // of output at most, which share the products of an input row

double real(std::int64_t n) { return static_cast<double>(n); }

// What column p of the input adds to: columns p * step + first to p * step + last of the output, each by kernel
// columns.
struct Runs {
  struct Column {
    std::int64_t to, kernel;
  };
  std::vector<Column> columns;
  std::int64_t first = 0, last = 0, step = 1;
  std::vector<AxisPhase> rows;  // as phases have them
  std::int64_t taps = 0;        // of all these

  explicit Runs(const ConvPass& p) : step(p.phases[0].w.os) {
    for (const Phase& q : p.phases) {
      if (q.w.o0 == p.phases[0].w.o0) rows.push_back(q.h);
      if (q.h.o0 != p.phases[0].h.o0) continue;
      for (std::int64_t j = 0; j < q.w.taps; ++j)
        columns.push_back({q.w.o0 - (q.w.i0 + j * q.w.tap_step) * step, q.w.k0 + j * q.w.k_step});
    }
    const auto [least, most] = std::minmax_element(columns.begin(), columns.end(),
                                                   [](const Column& a, const Column& b) { return a.to < b.to; });
    first = least->to, last = most->to;
    for (const AxisPhase& h : rows) taps += h.taps;
  }

  std::int64_t elements(const ConvPass& p) const { return (last - first + 1) * p.out_c; }  // of a column's run

  // In products of a vector: a row of the output after the other, each input row once for each tap; and all rows that
  // an input row adds to beside each other.
  double apart(const ConvPass& p, int width, bool any_size) const {
    double n = 0;
    for (const AxisPhase& h : rows)
      n += (any_size ? 1 : real(h.outputs) * real(p.in_w)) * (real(h.taps * p.in_c) + kAdd);
    return n * real(ceil_div(elements(p), width));
  }
  double together(const ConvPass& p, int width, bool any_size) const {
    return (any_size ? 1 : real(p.in_h) * real(p.in_w)) *
           (real(p.in_c * ceil_div(taps * elements(p), width)) + real(taps * ceil_div(elements(p), width)) * kAdd);
  }
  // Whether that is better.
  bool shared(const ConvPass& p, int width, int tile_vectors, bool any_size) const {
    return rows[0].is == 1 && ceil_div(taps * elements(p), width) <= tile_vectors &&
           together(p, width, any_size) < apart(p, width, any_size);
  }
};

template <class T>
class Overlap {
 public:
  Overlap(const ConvPass& pass, const Runs& runs, bool shared, bool strict)
      : p_(pass),
        shared_(shared),
        strict_(strict),
        runs_(runs),
        run_(runs.elements(pass)),
        columns_(round_up(shared ? runs.taps * run_ : run_, kernels<T>().width)),
        left_(std::max<std::int64_t>(-runs.first, 0)),
        skip_(std::max<std::int64_t>(runs.first, 0)) {
    line_ = std::max((pass.in_w - 1) * runs.step + runs.last - runs.first + 1 + skip_, left_ + pass.out_w) * pass.out_c;
    if (shared) {
      const std::int64_t wanted = ceil_div(kPieces, pass.n), least = 4 * runs.rows[0].os;
      rows_ = std::min({std::max(ceil_div(pass.out_h, wanted), least), kRows, pass.out_h});
    } else {
      const std::int64_t row = std::max<std::int64_t>(pass.in_w * runs.taps * pass.in_c * columns_, 1);
      rows_ = std::clamp<std::int64_t>(ceil_div(kWork, row), 1, pass.out_h);
    }
    blocks_ = ceil_div(pass.out_h, rows_);
  }

  std::size_t packed_bytes() const {
    return static_cast<std::size_t>(num_elements({shared_ ? 1 : runs_.taps, p_.in_c, columns_})) * sizeof(T);
  }
  std::size_t scratch_bytes() const {
    std::int64_t spread = 0;
    for (std::int64_t first = 0; p_.spread && first < p_.out_h; first += rows_) {
      const auto [begin, end] = rows_read(first, std::min(first + rows_, p_.out_h));
      spread = std::max(spread, (end - begin) * row());
    }
    return static_cast<std::size_t>(p_.in_w * columns_ + lines() + spread) * sizeof(T);
  }
  std::string pack_key() const {
    std::string key = "overlap " + join({static_cast<std::int64_t>(sizeof(T)), shared_, columns_, p_.in_c, p_.out_c});
    for (const Runs::Column& c : runs_.columns) key += join({c.to - runs_.first, c.kernel});
    return key + weights_key(p_);
  }

  // [row's phase and tap][input channel][column of the run][output channel]; shared: the input channels come first.
  void pack(const T* w, const T* scale, T* to) const {
    std::fill_n(to, packed_bytes() / sizeof(T), T(0));
    std::int64_t tap = 0;
    for (const AxisPhase& h : runs_.rows)
      for (std::int64_t i = 0; i < h.taps; ++i, ++tap)
        for (std::int64_t r = 0; r < p_.in_c; ++r) {
          T* run = to + (shared_ ? r * columns_ + tap * run_ : (tap * p_.in_c + r) * columns_);
          for (const Runs::Column& column : runs_.columns)
            for (std::int64_t c = 0; c < p_.out_c; ++c) {
              const T from = w[(h.k0 + i * h.k_step) * p_.w_kh + column.kernel * p_.w_kw + r * p_.w_in + c * p_.w_out];
              run[(column.to - runs_.first) * p_.out_c + c] = scale ? from * scale[c] : from;
            }
        }
  }

  void run(const RunContext& context, const T* packed) const {
    const T* bias = p_.bias == kNone ? nullptr : context.data<const T>(p_.bias);
    const T* residual = p_.residual == kNone ? nullptr : context.data<const T>(p_.residual);
    const auto gradient = spread_map<T>(context, p_.spread, p_.in_h, p_.in_w, p_.in_c, p_.x);
    T* y = context.data<T>(p_.y);
    parallel_for(p_.n * blocks_, [&](std::int64_t piece, int thread) {
      T* sums = reinterpret_cast<T*>(context.scratch(thread));
      const std::int64_t image = piece / blocks_, first = piece % blocks_ * rows_;
      const std::int64_t end = std::min(first + rows_, p_.out_h);
      // The image, or its rows from `top` on.
      const T* x = gradient.dy + (p_.spread ? 0 : image * p_.in_h * row());
      std::int64_t top = 0;
      if (p_.spread) {
        const auto [begin, bottom] = rows_read(first, end);
        T* rows = sums + p_.in_w * columns_ + lines();
        gradient.copy(image, begin, bottom - begin, 0, p_.in_w, 0, p_.in_c, rows, p_.in_c);
        x = rows, top = begin;
      }
      T* line = sums + p_.in_w * columns_;
      if (shared_) add_rows(first, end, x, top, packed, bias, sums);
      for (std::int64_t r = first; r < end; ++r) {
        const std::int64_t at = (image * p_.out_h + r) * p_.out_w * p_.y_pixel;
        if (!shared_) add_row(r, x, top, packed, bias, sums);
        finish(line + left_ * p_.out_c, residual ? residual + at : nullptr, y + at);
        if (shared_) line += line_;
      }
    });
  }

 private:
  std::int64_t row() const { return p_.in_w * p_.in_c; }

  // Of the input, for some rows of the output.
  std::pair<std::int64_t, std::int64_t> rows_read(std::int64_t first, std::int64_t end) const {
    std::int64_t begin = p_.in_h, bottom = 0;
    for (const AxisPhase& h : runs_.rows) {
      begin = std::min(begin, h.i0 + first / h.os * h.is);
      bottom = std::max(bottom, h.i0 + (end - 1) / h.os * h.is + (h.taps - 1) * h.tap_step + 1);
    }
    begin = std::clamp<std::int64_t>(begin, 0, p_.in_h);
    return {begin, std::clamp<std::int64_t>(bottom, begin, p_.in_h)};
  }

  std::int64_t lines() const { return shared_ ? rows_ * line_ : line_; }

  void start(const T* bias, T* line) const {
    if (!bias) {
      std::fill_n(line, line_, T(0));
      return;
    }
    for (std::int64_t i = 0; i < line_; i += p_.out_c) std::copy_n(bias, std::min(p_.out_c, line_ - i), line + i);
  }

  // Of pixels of one row, `taps` taps below each other, `columns_` sums each.
  void multiply(const T* x, std::int64_t taps, std::int64_t step, const T* packed, T* sums) const {
    const KernelTable<T>& table = kernels<T>();
    ConvRowArgs<T> a{};
    a.x = x, a.x_pixel = p_.in_c, a.x_tap_h = step;
    a.taps_h = taps, a.taps_w = 1, a.run = p_.in_c;
    a.w = packed;
    a.vectors = static_cast<int>(columns_ / table.width), a.channels = static_cast<int>(columns_);
    a.y = sums, a.y_pixel = columns_, a.pixels = p_.in_w;
    if (strict_)
      conv_row_in_blocks(a);
    else
      table.conv_row(a);
  }

  void add(const T* sums, T* line) const {
    kernels<T>().overlap_add({sums, columns_, p_.in_w, run_, runs_.step * p_.out_c, line + skip_ * p_.out_c});
  }

  // Rows [first, end) of the output, after the sums of an input row's columns. x has the input from row `top` on.
  void add_rows(std::int64_t first, std::int64_t end, const T* x, std::int64_t top, const T* packed, const T* bias,
                T* sums) const {
    T* lines = sums + p_.in_w * columns_;
    for (std::int64_t r = first; r < end; ++r) start(bias, lines + (r - first) * line_);
    const auto [begin, bottom] = rows_read(first, end);
    for (std::int64_t in = begin; in < bottom; ++in) {
      multiply(x + (in - top) * row(), 1, 0, packed, sums);
      const T* run = sums;
      for (const AxisPhase& h : runs_.rows)
        for (std::int64_t t = 0; t < h.taps; ++t, run += run_) {
          const std::int64_t i = in - h.i0 - t * h.tap_step, r = h.o0 + i * h.os;
          if (i >= 0 && r >= first && r < end) add(run, lines + (r - first) * line_);
        }
    }
  }

  // One row of the output, after the sums of all columns.
  void add_row(std::int64_t r, const T* x, std::int64_t first, const T* packed, const T* bias, T* sums) const {
    T* line = sums + p_.in_w * columns_;
    start(bias, line);
    for (const AxisPhase& h : runs_.rows) {
      const std::int64_t top = h.i0 + r / h.os * h.is;
      std::int64_t begin = 0, end = r % h.os == h.o0 ? h.taps : 0;
      while (begin < end && top + begin * h.tap_step < 0) ++begin;
      while (end > begin && top + (end - 1) * h.tap_step >= p_.in_h) --end;
      if (begin < end) {
        multiply(x + (top + begin * h.tap_step - first) * row(), end - begin, h.tap_step * row(),
                 packed + begin * p_.in_c * columns_, sums);
        add(sums, line);
      }
      packed += h.taps * p_.in_c * columns_;
    }
  }

  // y = the clamped sum of a row and the residual.
  void finish(T* row, const T* residual, T* y) const {
    const std::int64_t n = p_.out_w * p_.out_c;
    const KernelTable<T>& table = kernels<T>();
    if (residual) table.binary({Binary::add, row, residual, row, 1, n, n, n, n, 1, 1});
    if (p_.clamp) table.unary({Unary::clip, {p_.lo, p_.hi}, row, row, n});
    if (p_.y_pixel == p_.out_c)
      std::copy_n(row, n, y);
    else
      for (std::int64_t i = 0; i < p_.out_w; ++i) std::copy_n(row + i * p_.out_c, p_.out_c, y + i * p_.y_pixel);
    activate(p_, y, p_.out_w, p_.y_pixel, p_.out_c);
  }

  ConvPass p_;
  bool shared_, strict_;
  Runs runs_;
  std::int64_t run_, columns_;  // elements that a column adds to a row, and those padded to whole vectors
  std::int64_t left_,
      skip_;  // columns of the sums before the output's first; before the sums' first, if they begin later
  std::int64_t line_, rows_, blocks_;
};

}  // namespace

template <class T>
Step plan_overlap(PlanContext& c, const ConvPass& p) {
  if (p.groups != 1 || p.phases.empty() || p.factor != kNone || p.mean != kNone || p.x_first || p.pool ||
      (p.in_c < kLeastInputs && c.node().op->name == "conv2d") || !c.attrs().text("algorithm", "").empty() ||
      p.n * p.out_h * p.out_w * p.in_h * p.in_w * p.in_c == 0)
    return {};
  for (const Phase& q : p.phases)
    if (q.w.is != 1 || q.h.taps * q.w.taps == 0 || q.h.outputs * q.w.outputs == 0) return {};
  const Runs runs(p);
  const KernelTable<T>& table = kernels<T>();
  // Against a vector of channels for each tap.
  const bool any_size = c.options().any_size;
  double direct = 0;
  for (const Phase& q : p.phases)
    direct += (any_size ? 1 : real(q.h.outputs) * real(q.w.outputs)) * real(q.h.taps * q.w.taps * p.in_c) *
              real(ceil_div(p.out_c, table.width));
  const bool shared = runs.shared(p, table.width, table.tile_vectors, any_size);
  const double mine = shared ? runs.together(p, table.width, any_size) : runs.apart(p, table.width, any_size);
  if (ceil_div(runs.elements(p), table.width) > table.tile_vectors || mine * 1.2 > direct) return {};
  const auto overlap = std::make_shared<const Overlap<T>>(p, runs, shared, c.options().strict);
  const int slot =
      c.pack({p.w, overlap->packed_bytes(),
              [overlap](const void* from, const void* scale, void* to) {
                overlap->pack(static_cast<const T*>(from), static_cast<const T*>(scale), static_cast<T*>(to));
              },
              overlap->pack_key(), p.w_scale});
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
