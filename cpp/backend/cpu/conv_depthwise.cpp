// Depthwise convolution: one input channel a group, forward and backward, with a channel multiplier.
#include <algorithm>

#include "backend/cpu/conv.hpp"

namespace fastconv::cpu {
namespace {

constexpr std::int64_t kBlockBytes = 128 << 10;
constexpr std::int64_t kPieces = 16;

// Rows of output for a block: its input fits into L2 and a small batch still gives enough pieces.
std::int64_t rows_of_block(std::int64_t rows, double row_bytes, std::int64_t images) {
  std::int64_t n = std::clamp(static_cast<std::int64_t>(kBlockBytes / std::max(row_bytes, 1.0)), std::int64_t{1}, rows);
  const std::int64_t wanted = ceil_div(kPieces, std::max<std::int64_t>(images, 1));
  return std::min(n, std::max<std::int64_t>(ceil_div(rows, wanted), std::min<std::int64_t>(rows, 4)));
}

std::int64_t reach(const AxisPhase& a, std::int64_t outputs) {
  return (outputs - 1) * a.is + (a.taps - 1) * a.tap_step + 1;
}

// How a phase is cut: rows first, since they are long, then channels in whole cache lines.
struct Cut {
  std::int64_t rows, row_blocks, channels, channel_blocks;
};

Cut cut_phase(const Phase& q, std::int64_t images, std::int64_t channels, std::size_t element) {
  constexpr double kPieceFlops = 1e5;  // a microsecond
  constexpr std::int64_t kRows = 7;    // fewer pay for their halo
  const double flops = 2.0 * static_cast<double>(num_elements({q.h.outputs, q.w.outputs, channels})) *
                       static_cast<double>(q.h.taps * q.w.taps);
  const auto wanted = std::clamp(static_cast<std::int64_t>(flops / kPieceFlops), std::int64_t{1},
                                 ceil_div(kPieces, std::max<std::int64_t>(images, 1)));
  Cut c;
  c.rows = std::clamp(ceil_div(q.h.outputs, wanted), std::min(kRows, q.h.outputs), q.h.outputs);
  c.row_blocks = ceil_div(q.h.outputs, c.rows);
  const auto line = static_cast<std::int64_t>(64 / element);
  c.channels = round_up(ceil_div(channels, ceil_div(wanted, c.row_blocks)), line);
  c.channel_blocks = ceil_div(channels, c.channels);
  return c;
}

}  // namespace

template <class T>
PackRequest depthwise_weights(const ConvPass& p) {
  std::int64_t packed = 0;
  for (const Phase& q : p.phases) packed += q.h.taps * q.w.taps * p.out_c;
  return {p.w, static_cast<std::size_t>(packed) * sizeof(T),
          [=](const void* from, const void*, void* to) {
            const T* w = static_cast<const T*>(from);
            T* out = static_cast<T*>(to);
            for (const Phase& q : p.phases)
              for (std::int64_t i = 0; i < q.h.taps; ++i)
                for (std::int64_t j = 0; j < q.w.taps; ++j, out += p.out_c)
                  std::copy_n(w + (q.h.k0 + i * q.h.k_step) * p.w_kh + (q.w.k0 + j * q.w.k_step) * p.w_kw, p.out_c,
                              out);
          },
          "depthwise " + join({static_cast<std::int64_t>(sizeof(T)), p.out_c}) + weights_key(p)};
}

template <class T>
Step plan_depthwise(PlanContext& c, const ConvPass& p) {
  const bool forward = p.w_out == 1;
  // The transpose with a multiplier sums channels: the grouped direct algorithm does that.
  if (p.groups == 1 || p.in_c != p.groups || (!forward && p.out_c != p.groups)) return {};
  const std::int64_t repeat = p.out_c / p.in_c, channels = p.out_c;
  const KernelTable<T>& table = kernels<T>();

  // Weights as [tap][channel] in the phase's order of taps.
  std::vector<std::int64_t> offset(p.phases.size(), 0), pieces(p.phases.size());
  std::vector<Cut> cuts;
  std::int64_t packed = 0, scratch = 0;
  for (std::size_t i = 0; i < p.phases.size(); ++i) {
    const Phase& q = p.phases[i];
    offset[i] = packed;
    packed += q.h.taps * q.w.taps * channels;
    Cut cut = cut_phase(q, p.n, channels, sizeof(T));
    if (repeat > 1) {  // the input's channels are copied as often as they are used
      const std::int64_t cols = reach(q.w, q.w.outputs);
      cut.channels = channels, cut.channel_blocks = 1;
      cut.rows = rows_of_block(q.h.outputs,
                               static_cast<double>(cols * channels) * static_cast<double>(q.h.is) * sizeof(T), p.n);
      cut.row_blocks = ceil_div(q.h.outputs, cut.rows);
      scratch = std::max(scratch, num_elements({reach(q.h, cut.rows), cols, channels}));
    }
    cuts.push_back(cut);
    pieces[i] = p.n * cut.row_blocks * cut.channel_blocks;
  }
  const int slot = c.pack(depthwise_weights<T>(p));
  Step step;
  step.algorithm = "depthwise";
  step.flops = p.flops;
  step.scratch = static_cast<std::size_t>(scratch) * sizeof(T);
  if (p.mean != kNone) {
    step.scratch += static_cast<std::size_t>(cuts[0].rows * cuts[0].channels) * sizeof(T);
    step.workspace = static_cast<std::size_t>(p.n * cuts[0].row_blocks * channels) * sizeof(T);
  }
  step.run = [=, &table](const RunContext& r) {
    const T* x = r.data<const T>(p.x);
    T *y = r.data<T>(p.y), *sums = p.mean == kNone ? nullptr : reinterpret_cast<T*>(r.workspace());
    const T* bias = p.bias == kNone ? nullptr : r.data<const T>(p.bias);
    const T* residual = p.residual == kNone ? nullptr : r.data<const T>(p.residual);
    if (p.fill) fill_with_bias(p, bias, y);
    for_each_piece(pieces, [&](std::size_t i, std::int64_t piece, int thread) {
      const AxisPhase &h = p.phases[i].h, &w = p.phases[i].w;
      const Cut& cut = cuts[i];
      const std::int64_t channel = piece % cut.channel_blocks * cut.channels;
      piece /= cut.channel_blocks;
      const std::int64_t image = piece / cut.row_blocks, first = piece % cut.row_blocks * cut.rows;
      DepthwiseArgs<T> a = depthwise_args<T>(p, p.phases[i]);
      a.x = x + image * p.in_h * p.in_w * p.in_c + channel;
      a.rows = std::min(cut.rows, h.outputs - first);
      a.row += first * h.is;
      if (repeat > 1) {
        T* to = reinterpret_cast<T*>(r.scratch(thread));
        const std::int64_t rows = reach(h, a.rows), cols = reach(w, w.outputs);
        copy_padded(a.x, p.in_h, p.in_w, p.in_c, a.row, rows, a.col, cols, repeat, to);
        a.x = to, a.x_row = cols * channels, a.x_pixel = channels;
        a.in_h = rows, a.in_w = cols, a.row = a.col = 0;
      }
      a.w = r.packed<T>(slot) + offset[i] + channel;
      a.channels = std::min(cut.channels, channels - channel);
      if (bias) a.bias = bias + channel;
      a.y = y + ((image * p.out_h + h.o0 + first * h.os) * p.out_w + w.o0) * p.y_pixel + channel;
      if (residual) a.residual = residual + (a.y - y);
      table.depthwise(a);
      T* parts = reinterpret_cast<T*>(r.scratch(thread));
      finish_rows(p, a, parts, sums ? sums + piece * channels + channel : nullptr);
    });
    if (sums) combine_sums(p, sums, cuts[0].row_blocks, r.data<T>(p.mean));
  };
  return step;
}

template <class T>
Step plan_depthwise_weights(const ConvGeometry& g, int x, int dy, int dw) {
  if (g.groups == 1 || g.c != g.groups) return {};
  const KernelTable<T>& table = kernels<T>();
  const std::int64_t channels = g.k, repeat = g.k / g.c, taps = g.kh * g.kw;
  // A fixed number of partial sums, added in order: the same bits at any number of threads.
  const std::int64_t chunks = std::clamp<std::int64_t>(g.n, 1, kPieces);
  const std::int64_t cols = (g.ow - 1) * g.stride_w + (g.kw - 1) * g.dilation_w + 1;
  const auto block_rows = [g](std::int64_t n) { return (n - 1) * g.stride_h + (g.kh - 1) * g.dilation_h + 1; };
  const std::int64_t rows =
      rows_of_block(g.oh, static_cast<double>(cols * channels) * static_cast<double>(g.stride_h) * sizeof(T), kPieces);
  const bool copy = repeat > 1 || g.top || g.left || block_rows(g.oh) - g.top > g.h || cols - g.left > g.w;

  Step step;
  step.algorithm = "depthwise";
  step.flops = g.flops();
  step.scratch = copy ? static_cast<std::size_t>(num_elements({block_rows(rows), cols, channels})) * sizeof(T) : 0;
  step.workspace = static_cast<std::size_t>(chunks * taps * channels) * sizeof(T);
  step.run = [=, &table](const RunContext& r) {
    T* partial = reinterpret_cast<T*>(r.workspace());
    const T* xs = r.data<const T>(x);
    const T* dys = r.data<const T>(dy);
    parallel_for(chunks, [&](std::int64_t chunk, int thread) {
      DepthwiseWeightsArgs<T> a{};
      a.taps_h = g.kh, a.taps_w = g.kw;
      a.x_pixel = g.stride_w * channels;
      a.x_tap_w = g.dilation_w * channels;
      a.dy_row = g.ow * channels, a.dy_pixel = channels;
      a.pixels = g.ow, a.channels = channels;
      a.dw = partial + chunk * taps * channels, a.dw_tap = channels;
      std::fill_n(a.dw, taps * channels, T(0));
      for (std::int64_t n = g.n * chunk / chunks; n < g.n * (chunk + 1) / chunks; ++n) {
        const T* plane = xs + n * g.h * g.w * g.c;
        for (std::int64_t first = 0; first < g.oh; first += rows) {
          a.rows = std::min(rows, g.oh - first);
          std::int64_t in_row = g.w * g.c;
          a.x = plane + (first * g.stride_h - g.top) * in_row - g.left * g.c;
          if (copy) {
            T* to = reinterpret_cast<T*>(r.scratch(thread));
            copy_padded(plane, g.h, g.w, g.c, first * g.stride_h - g.top, block_rows(a.rows), -g.left, cols, repeat,
                        to);
            a.x = to;
            in_row = cols * channels;
          }
          a.x_row = g.stride_h * in_row;
          a.x_tap_h = g.dilation_h * in_row;
          a.dy = dys + (n * g.oh + first) * a.dy_row;
          table.depthwise_weights(a);
        }
      }
    });
    T* out = r.data<T>(dw);
    for (std::int64_t i = 0; i < taps * channels; ++i) {
      T s = partial[i];
      for (std::int64_t k = 1; k < chunks; ++k) s += partial[k * taps * channels + i];
      out[i] = s;
    }
  };
  return step;
}

template PackRequest depthwise_weights<float>(const ConvPass&);
template PackRequest depthwise_weights<double>(const ConvPass&);
template Step plan_depthwise<float>(PlanContext&, const ConvPass&);
template Step plan_depthwise<double>(PlanContext&, const ConvPass&);
template Step plan_depthwise_weights<float>(const ConvGeometry&, int, int, int);
template Step plan_depthwise_weights<double>(const ConvGeometry&, int, int, int);

}  // namespace fastconv::cpu
