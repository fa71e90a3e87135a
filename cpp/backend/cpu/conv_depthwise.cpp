// Depthwise convolution: one input channel a group, forward and backward, with a channel multiplier.
#include <algorithm>

#include "backend/cpu/conv.hpp"

namespace fastconv::cpu {
namespace {

constexpr std::int64_t kBlockBytes = 128 << 10;
constexpr std::int64_t kPieces = 16;
constexpr std::int64_t kStreamed = 1 << 20;  // bytes of an output that the second-level cache would not keep
constexpr std::int64_t kPhaseRows = 2;       // of output, whose phases follow one another

// Rows of output for a block: its input fits into L2 and a small batch still gives enough pieces.
std::int64_t rows_of_block(std::int64_t rows, double row_bytes, std::int64_t images) {
  std::int64_t n = std::clamp(static_cast<std::int64_t>(kBlockBytes / std::max(row_bytes, 1.0)), std::int64_t{1}, rows);
  const std::int64_t wanted = ceil_div(kPieces, std::max<std::int64_t>(images, 1));
  return std::min(n, std::max<std::int64_t>(ceil_div(rows, wanted), std::min<std::int64_t>(rows, 4)));
}

std::int64_t reach(const AxisPhase& a, std::int64_t outputs) {
  return (outputs - 1) * a.is + (a.taps - 1) * a.tap_step + 1;
}

// How the output is cut: rows first, since they are long, then channels in whole cache lines.
struct Cut {
  std::int64_t rows, row_blocks, channels, channel_blocks;
};

Cut cut_output(const ConvPass& p, std::size_t element) {
  constexpr double kPieceFlops = 1e5;  // a microsecond
  constexpr std::int64_t kRows = 7;    // fewer pay for their halo
  double flops = 0;                    // of an image
  for (const Phase& q : p.phases)
    flops += 2.0 * static_cast<double>(num_elements({q.h.outputs, q.w.outputs, p.out_c})) *
             static_cast<double>(q.h.taps * q.w.taps);
  const auto wanted = std::clamp(static_cast<std::int64_t>(flops / kPieceFlops), std::int64_t{1},
                                 ceil_div(kPieces, std::max<std::int64_t>(p.n, 1)));
  Cut c;
  c.rows = std::clamp(ceil_div(p.out_h, wanted), std::min(kRows, p.out_h), p.out_h);
  c.row_blocks = ceil_div(p.out_h, c.rows);
  const auto line = static_cast<std::int64_t>(64 / element);
  c.channels = round_up(ceil_div(p.out_c, ceil_div(wanted, c.row_blocks)), line);
  c.channel_blocks = ceil_div(p.out_c, c.channels);
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

namespace {

// With stride 2 and 3 or 5 columns of taps: all phases at once. Its weights are read where they lie.
template <class T>
Step plan_depthwise_transposed(const ConvPass& p) {
  const Phase& q = p.phases[0];
  if (p.phases.size() != 4 || p.fill || q.h.os != 2 || q.w.os != 2 || q.h.tap_step != 1 || q.w.tap_step != 1) return {};
  DepthwiseTransposedArgs<T> args{};
  args.taps_h = q.h.taps + p.phases[2].h.taps, args.taps_w = q.w.taps + p.phases[1].w.taps;
  if (args.taps_w != 3 && args.taps_w != 5) return {};
  args.x_row = p.in_w * p.in_c, args.x_pixel = p.in_c;
  args.in_h = p.in_h, args.in_w = p.in_w;
  args.top = 2 * q.h.i0 + q.h.k0 - q.h.o0, args.left = 2 * q.w.i0 + q.w.k0 - q.w.o0;
  args.w_tap = p.w_kw;
  args.y_row = p.out_w * p.y_pixel, args.y_pixel = p.y_pixel;
  args.pixels = p.out_w;
  args.clamp = p.clamp, args.lo = static_cast<T>(p.lo), args.hi = static_cast<T>(p.hi);
  const std::int64_t size = p.n * p.out_h * p.out_w * p.out_c;
  args.stream = !p.activate && size * static_cast<std::int64_t>(sizeof(T)) > kStreamed;
  const KernelTable<T>& table = kernels<T>();
  const Cut cut = cut_output(p, sizeof(T));
  Step step;
  step.algorithm = "depthwise";
  step.flops = p.flops;
  step.run = [=, &table](const RunContext& r) {
    const T *x = r.data<const T>(p.x), *w = r.data<const T>(p.w);
    const T* bias = p.bias == kNone ? nullptr : r.data<const T>(p.bias);
    const T* residual = p.residual == kNone ? nullptr : r.data<const T>(p.residual);
    T* y = r.data<T>(p.y);
    parallel_for(p.n * cut.row_blocks * cut.channel_blocks, [&](std::int64_t piece, int) {
      const std::int64_t channel = piece % cut.channel_blocks * cut.channels;
      piece /= cut.channel_blocks;
      const std::int64_t image = piece / cut.row_blocks;
      DepthwiseTransposedArgs<T> a = args;
      a.first = piece % cut.row_blocks * cut.rows;
      a.rows = std::min(cut.rows, p.out_h - a.first);
      a.channels = std::min(cut.channels, p.out_c - channel);
      a.x = x + image * p.in_h * p.in_w * p.in_c + channel;
      a.w = w + channel;
      if (bias) a.bias = bias + channel;
      a.y = y + (image * p.out_h + a.first) * a.y_row + channel;
      if (residual) a.residual = residual + (a.y - y);
      table.depthwise_transposed(a);
      activate(p, a.y, a.rows * a.pixels, a.y_pixel, a.channels);
    });
  };
  return step;
}

}  // namespace

template <class T>
Step plan_depthwise(PlanContext& c, const ConvPass& p) {
  const bool forward = p.w_out == 1;
  // The transpose with a multiplier sums channels: the grouped direct algorithm does that.
  if (p.groups == 1 || p.in_c != p.groups || (!forward && p.out_c != p.groups)) return {};
  if (!forward && !p.phases.empty())
    if (Step step = plan_depthwise_transposed<T>(p); step.run) return step;
  const std::int64_t repeat = p.out_c / p.in_c, channels = p.out_c;
  const KernelTable<T>& table = kernels<T>();

  // Weights as [tap][channel] in the phases' order of taps.
  std::vector<std::int64_t> offset(p.phases.size(), 0);
  std::int64_t packed = 0, scratch = 0;
  for (std::size_t i = 0; i < p.phases.size(); ++i) {
    offset[i] = packed;
    packed += p.phases[i].h.taps * p.phases[i].w.taps * channels;
  }
  Cut cut = cut_output(p, sizeof(T));
  if (repeat > 1 && p.out_h > 0) {  // the input's channels are copied as often as they are used
    const Phase& q = p.phases[0];
    const std::int64_t cols = reach(q.w, q.w.outputs);
    cut.channels = channels, cut.channel_blocks = 1;
    cut.rows =
        rows_of_block(q.h.outputs, static_cast<double>(cols * channels) * static_cast<double>(q.h.is) * sizeof(T), p.n);
    cut.row_blocks = ceil_div(q.h.outputs, cut.rows);
    scratch = num_elements({reach(q.h, cut.rows), cols, channels});
  }
  // The phases of some rows follow one another while these are in the cache.
  const std::int64_t together = p.phases.size() == 1 ? cut.rows : kPhaseRows;
  const int slot = c.pack(depthwise_weights<T>(p));
  Step step;
  step.algorithm = "depthwise";
  step.flops = p.flops;
  step.scratch = static_cast<std::size_t>(scratch) * sizeof(T);
  if (p.mean != kNone) {
    step.scratch += static_cast<std::size_t>(cut.rows * cut.channels) * sizeof(T);
    step.workspace = static_cast<std::size_t>(p.n * cut.row_blocks * channels) * sizeof(T);
  }
  step.run = [=, &table](const RunContext& r) {
    const T* x = r.data<const T>(p.x);
    T *y = r.data<T>(p.y), *sums = p.mean == kNone ? nullptr : reinterpret_cast<T*>(r.workspace());
    const T* bias = p.bias == kNone ? nullptr : r.data<const T>(p.bias);
    const T* residual = p.residual == kNone ? nullptr : r.data<const T>(p.residual);
    if (p.fill) fill_untouched(p, bias, residual, y);
    // Rows [first, last) of y that belong to phase i, of an image, from a channel on.
    const auto run_rows = [&](std::size_t i, std::int64_t image, std::int64_t first, std::int64_t last,
                              std::int64_t channel, T* part_sums, int thread) {
      const AxisPhase &h = p.phases[i].h, &w = p.phases[i].w;
      const auto rows_before = [&h](std::int64_t row) {
        return row > h.o0 ? std::min(ceil_div(row - h.o0, h.os), h.outputs) : 0;
      };
      DepthwiseArgs<T> a = depthwise_args<T>(p, p.phases[i]);
      const std::int64_t begin = rows_before(first);
      a.rows = rows_before(last) - begin;
      if (a.rows == 0) return;
      a.x = x + image * p.in_h * p.in_w * p.in_c + channel;
      a.row += begin * h.is;
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
      a.y = y + ((image * p.out_h + h.o0 + begin * h.os) * p.out_w + w.o0) * p.y_pixel + channel;
      if (residual) a.residual = residual + (a.y - y);
      table.depthwise(a);
      finish_rows(p, a, reinterpret_cast<T*>(r.scratch(thread)), part_sums);
    };
    parallel_for(p.n * cut.row_blocks * cut.channel_blocks, [&](std::int64_t piece, int thread) {
      const std::int64_t channel = piece % cut.channel_blocks * cut.channels;
      piece /= cut.channel_blocks;
      const std::int64_t image = piece / cut.row_blocks, block = piece % cut.row_blocks * cut.rows;
      const std::int64_t end = std::min(block + cut.rows, p.out_h);
      T* part_sums = sums ? sums + piece * channels + channel : nullptr;
      for (std::int64_t first = block; first < end; first += together)
        for (std::size_t i = 0; i < p.phases.size(); ++i)
          run_rows(i, image, first, std::min(first + together, end), channel, part_sums, thread);
    });
    if (sums) combine_sums(p, sums, cut.row_blocks, r.data<T>(p.mean));
  };
  return step;
}

template <class T>
Step plan_depthwise_weights(const ConvGeometry& g, int x, int dy, int dw) {
  if (g.groups == 1 || g.c != g.groups) return {};
  const KernelTable<T>& table = kernels<T>();
  const std::int64_t channels = g.k, repeat = g.k / g.c, taps = g.kh * g.kw;
  // A fixed number of partial sums, added in order: the same bits at any number of threads. Channels may be cut.
  // Few images are cut into rows before that: all channels of a row lie side by side.
  constexpr std::int64_t kLeastRows = 7;
  const std::int64_t groups = std::clamp<std::int64_t>(g.n, 1, kPieces);
  const std::int64_t slices = std::clamp<std::int64_t>(g.oh / kLeastRows, 1, ceil_div(kPieces, groups)),
                     chunks = groups * slices;
  const std::int64_t line = 64 / static_cast<std::int64_t>(sizeof(T));
  const std::int64_t part = repeat > 1 ? channels : round_up(ceil_div(channels, ceil_div(kPieces, chunks)), line),
                     parts = ceil_div(channels, part);
  // Only a channel multiplier copies the input.
  const std::int64_t cols = (g.ow - 1) * g.stride_w + (g.kw - 1) * g.dilation_w + 1;
  const auto block_rows = [g](std::int64_t n) { return (n - 1) * g.stride_h + (g.kh - 1) * g.dilation_h + 1; };
  const double row_bytes = static_cast<double>(cols * channels) * static_cast<double>(g.stride_h) * sizeof(T);
  const std::int64_t rows = repeat > 1 ? rows_of_block(g.oh, row_bytes, kPieces) : g.oh;

  Step step;
  step.algorithm = "depthwise";
  step.flops = g.flops();
  step.scratch =
      repeat > 1 ? static_cast<std::size_t>(num_elements({block_rows(rows), cols, channels})) * sizeof(T) : 0;
  step.workspace = static_cast<std::size_t>(chunks * taps * channels) * sizeof(T);
  step.run = [=, &table](const RunContext& r) {
    T* partial = reinterpret_cast<T*>(r.workspace());
    const T* xs = r.data<const T>(x);
    const T* dys = r.data<const T>(dy);
    parallel_for(chunks * parts, [&](std::int64_t piece, int thread) {
      const std::int64_t chunk = piece / parts, channel = piece % parts * part;
      DepthwiseWeightsArgs<T> a{};
      a.stride_h = g.stride_h, a.stride_w = g.stride_w;
      a.step_h = g.dilation_h, a.step_w = g.dilation_w;
      a.taps_h = g.kh, a.taps_w = g.kw;
      a.dy_row = g.ow * channels, a.dy_pixel = channels;
      a.pixels = g.ow, a.channels = std::min(part, channels - channel);
      a.dw = partial + chunk * taps * channels + channel, a.dw_tap = channels;
      for (std::int64_t t = 0; t < taps; ++t) std::fill_n(a.dw + t * channels, a.channels, T(0));
      const std::int64_t group = chunk / slices, slice = chunk % slices;
      const std::int64_t begin = g.oh * slice / slices, end = g.oh * (slice + 1) / slices;
      for (std::int64_t n = g.n * group / groups; n < g.n * (group + 1) / groups; ++n) {
        const T* image = xs + n * g.h * g.w * g.c;
        for (std::int64_t first = begin; first < end; first += rows) {
          a.rows = std::min(rows, end - first);
          a.row = first * g.stride_h - g.top, a.col = -g.left;
          if (repeat > 1) {
            T* to = reinterpret_cast<T*>(r.scratch(thread));
            a.in_h = block_rows(a.rows), a.in_w = cols;
            copy_padded(image, g.h, g.w, g.c, a.row, a.in_h, a.col, cols, repeat, to);
            a.x = to, a.x_row = cols * channels, a.x_pixel = channels;
            a.row = a.col = 0;
          } else {
            a.x = image + channel, a.x_row = g.w * g.c, a.x_pixel = g.c;
            a.in_h = g.h, a.in_w = g.w;
          }
          a.dy = dys + (n * g.oh + first) * a.dy_row + channel;
          table.depthwise_weights(a);
        }
      }
    });
    add_chunks(partial, chunks, taps * channels, r.data<T>(dw));
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
