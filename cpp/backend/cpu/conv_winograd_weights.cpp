// Weight gradient by Winograd's algorithm: the gradient is a convolution too, whose kernel is the output's gradient.
// Its tiles of d x d, F(taps, d), share the input's transform with F(d, taps) of the forward pass; the products are
// summed over all tiles before the transform back, so that one is cheap.
#include <algorithm>

#include "backend/cpu/conv.hpp"

namespace fastconv::cpu {
namespace {

constexpr std::int64_t kFloat = sizeof(float);
constexpr std::int64_t kLine = 16;                // floats
constexpr std::int64_t kBlock = 64;               // input and output channels of a piece
constexpr std::int64_t kSumBytes = 600 << 10;     // of their sums
constexpr std::int64_t kTileBytes = 600 << 10;    // of transformed tiles at once: in L2 beside their sums
constexpr std::int64_t kMostTiles = 64;           // a plane of them is in L1
constexpr std::int64_t kPieces = 16;              // wanted at least
constexpr std::int64_t kPartialBytes = 32 << 20;  // of partial gradients
constexpr std::int64_t kLeastInputs = 8;          // channels

// F(taps, d) for tiles of d x d, and what transforms cost, in multiply-adds of one vector element: of a tile and input
// channel, of a tile and output channel, of a pair of channels.
struct Algorithm {
  int d, taps, stride;
  double in, out, weights;

  WinogradSize size() const { return {taps, d, stride}; }
  WinogradSize forward() const { return {d, taps, stride}; }
};

constexpr Algorithm kAlgorithms[] = {
    {2, 3, 1, 60, 60, 60},    {3, 3, 1, 130, 100, 90},   {4, 3, 1, 220, 150, 120}, {5, 3, 1, 800, 400, 200},
    {6, 3, 1, 750, 300, 300}, {2, 5, 1, 220, 60, 200},   {3, 5, 1, 800, 200, 300}, {4, 5, 1, 750, 200, 400},
    {2, 3, 2, 300, 150, 60},  {4, 3, 2, 1900, 760, 120},
};

// How the work is cut.
struct Cut {
  std::int64_t tiles_h, tiles_w, tiles;   // tiles: of the whole batch
  std::int64_t in, in_blocks;             // channels of a block, and how many blocks
  std::int64_t out, columns, out_blocks;  // columns: in whole vectors
  std::int64_t chunks;                    // of tiles, with partial gradients of their own
  std::int64_t at_once;                   // tiles that are transformed before their products
};

Cut cut(const ConvGeometry& g, const WinogradSize& size, std::int64_t width) {
  Cut c{};
  const std::int64_t d = size.taps, planes = std::int64_t{size.alpha()} * size.alpha();
  c.tiles_h = ceil_div(g.oh, d), c.tiles_w = ceil_div(g.ow, d), c.tiles = g.n * c.tiles_h * c.tiles_w;
  c.in_blocks = ceil_div(g.c, kBlock), c.in = ceil_div(g.c, c.in_blocks);
  // Where there are few sums twice as many outputs: the input is transformed less often.
  const std::int64_t sums = std::int64_t{size.weights()} * size.weights();
  c.out = sums * c.in * 2 * kBlock * kFloat <= kSumBytes ? 2 * kBlock : kBlock;
  c.out_blocks = ceil_div(g.k, c.out), c.columns = std::min(c.out, round_up(g.k, width));
  const std::int64_t wanted = ceil_div(kPieces, c.in_blocks * c.out_blocks);
  const std::int64_t most = kPartialBytes / std::max<std::int64_t>(g.kh * g.kw * g.c * g.k * kFloat, 1);
  c.chunks = std::clamp<std::int64_t>(std::min(wanted, most), 1, std::max(c.tiles / kMostTiles, std::int64_t{1}));
  c.at_once = std::clamp<std::int64_t>(kTileBytes / (planes * (c.in + c.columns) * kFloat), 16, kMostTiles);
  return c;
}

class WinogradWeights {
 public:
  WinogradWeights(const ConvGeometry& geometry, const WinogradSize& size, const Windows& spread)
      : g_(geometry), spread_(spread), size_(size), table_(kernels<float>()), c_(cut(g_, size, table_.width)) {
    planes_ = std::int64_t{size.alpha()} * size.alpha();
    v_tile_ = round_up(c_.in, kLine);
    v_plane_ = odd_lines(c_.at_once * v_tile_);
    s_plane_ = odd_lines(c_.at_once * c_.columns);
    u_plane_ = odd_lines(c_.in * c_.columns);
    sums_ = std::int64_t{size.weights()} * size.weights();
    shared_ = size.stride == 1 ? 1 : size.taps;
    patch_ = planes_ * std::max(v_tile_, c_.columns);
    for (const bool rows : {false, true})
      for (const bool columns : {false, true})
        for (std::int64_t i = 0; i < c_.at_once; ++i)
          for (std::int64_t r = 0; r < (rows ? shared_ : 1); ++r)
            for (std::int64_t c = 0; c < (columns ? shared_ : 1); ++c) {
              const std::int64_t plane = r * size.alpha() + c;
              lists_[rows][columns].push_back({plane * v_plane_ + i * v_tile_, plane * s_plane_ + i * c_.columns});
            }
  }

  std::size_t scratch_bytes() const {
    return static_cast<std::size_t>(planes_ * (v_plane_ + s_plane_) + sums_ * u_plane_ + patch_) * sizeof(float);
  }
  std::size_t workspace_bytes() const {
    return c_.chunks == 1 ? 0 : static_cast<std::size_t>(c_.chunks * elements()) * sizeof(float);
  }

  void run(int x, int dy, int dw_value, const RunContext& context) const {
    float* dw = context.data<float>(dw_value);
    float* partial = c_.chunks == 1 ? dw : reinterpret_cast<float*>(context.workspace());
    parallel_for(c_.chunks * c_.in_blocks * c_.out_blocks, [&](std::int64_t piece, int thread) {
      const std::int64_t out = piece % c_.out_blocks, in = piece / c_.out_blocks % c_.in_blocks;
      const std::int64_t chunk = piece / c_.out_blocks / c_.in_blocks;
      run_piece(chunk, in * c_.in, out * c_.out, context.data<const float>(x),
                spread_map<float>(context, spread_, g_.oh, g_.ow, g_.k, dy), partial + chunk * elements(),
                reinterpret_cast<float*>(context.scratch(thread)));
    });
    if (c_.chunks > 1) add_chunks(partial, c_.chunks, elements(), dw);
  }

 private:
  std::int64_t elements() const { return g_.kh * g_.kw * g_.c * g_.k; }

  void run_piece(std::int64_t chunk, std::int64_t in, std::int64_t out, const float* x, const SpreadMap<float>& dy,
                 float* dw, float* scratch) const {
    float *v = scratch, *s = v + planes_ * v_plane_, *u = s + planes_ * s_plane_, *patch = u + sums_ * u_plane_;
    const std::int64_t inputs = std::min(c_.in, g_.c - in), outputs = std::min(c_.out, g_.k - out);
    const std::int64_t begin = c_.tiles * chunk / c_.chunks, end = c_.tiles * (chunk + 1) / c_.chunks;
    for (std::int64_t first = begin; first < end; first += c_.at_once) {
      const std::int64_t n = std::min(c_.at_once, end - first);
      for (std::int64_t i = 0; i < n; ++i) {
        transform_input(first + i, in, inputs, x, v + i * v_tile_, patch);
        transform_gradient(first + i, out, outputs, dy, s + i * c_.columns, patch);
      }
      multiply(n, inputs, v, s, first > begin, u);
    }
    WinogradOutputArgs<float> a{};
    a.size = size_;
    a.s_plane = u_plane_;
    a.channels = outputs;
    a.y_row = g_.kw * g_.c * g_.k, a.y_pixel = g_.c * g_.k;
    a.rows = a.columns = size_.m;
    for (std::int64_t i = 0; i < inputs; ++i) {
      a.s = u + i * c_.columns;
      a.y = dw + (in + i) * g_.k + out;
      table_.winograd_output(a);
    }
  }

  struct Tile {
    std::int64_t image, row, col;  // of its first output
  };
  Tile tile(std::int64_t i) const {
    const std::int64_t in_image = c_.tiles_h * c_.tiles_w, at = i % in_image;
    return {i / in_image, at / c_.tiles_w * size_.taps, at % c_.tiles_w * size_.taps};
  }

  void transform_input(std::int64_t number, std::int64_t channel, std::int64_t channels, const float* x, float* v,
                       float* patch) const {
    const Tile t = tile(number);
    const std::int64_t row = t.row * size_.stride - g_.top, col = t.col * size_.stride - g_.left;
    const std::int64_t alpha = size_.alpha(), step = std::int64_t{size_.taps} * size_.stride;
    const float* image = x + t.image * g_.h * g_.w * g_.c + channel;
    WinogradInputArgs<float> a{};
    a.size = {size_.taps, size_.m, size_.stride};
    a.channels = channels;
    if (row >= 0 && col >= 0 && row + alpha <= g_.h && col + alpha <= g_.w) {
      a.x = image + (row * g_.w + col) * g_.c;
      a.x_row = g_.w * g_.c, a.x_pixel = g_.c;
      if (col + step + alpha <= g_.w) a.next = a.x + step * g_.c;
    } else {
      copy_padded(image, g_.h, g_.w, g_.c, row, alpha, col, alpha, 1, patch, channels, v_tile_);
      a.x = patch;
      a.x_row = alpha * v_tile_, a.x_pixel = v_tile_;
    }
    a.v = v, a.v_plane = v_plane_;
    table_.winograd_input(a);
  }

  void transform_gradient(std::int64_t number, std::int64_t channel, std::int64_t channels, const SpreadMap<float>& dy,
                          float* s, float* patch) const {
    const Tile t = tile(number);
    if (spread_)
      dy.copy(t.image, t.row, size_.taps, t.col, size_.taps, channel, channels, patch, c_.columns);
    else
      copy_padded(dy.dy + t.image * g_.oh * g_.ow * g_.k + channel, g_.oh, g_.ow, g_.k, t.row, size_.taps, t.col,
                  std::int64_t{size_.taps}, 1, patch, channels, c_.columns);
    table_.winograd_weights({size_, patch, 1, c_.columns, s, s_plane_});
  }

  void multiply(std::int64_t tiles, std::int64_t inputs, const float* v, const float* s, bool add, float* u) const {
    ConvWeightsArgs<float> a{};
    a.run = inputs;
    a.dw_row = c_.columns, a.add = add;
    const std::int64_t vectors = c_.columns / table_.width;
    const int sums = size_.weights(), alpha = size_.alpha();
    for (int i = 0; i < sums; ++i)
      for (int j = 0; j < sums; ++j) {  // the last ones take all that are left of a row or column
        const std::int64_t plane = i * alpha + j, sum = i * sums + j;
        const bool rows = shared_ > 1 && i + 1 == sums, columns = shared_ > 1 && j + 1 == sums;
        a.list = lists_[rows][columns].data();
        a.pixels = tiles * (rows ? shared_ : 1) * (columns ? shared_ : 1);
        a.x = v + plane * v_plane_;
        for (std::int64_t k = 0; k < vectors; k += a.vectors) {
          a.vectors = table_.tile_vectors;
          while (a.vectors > vectors - k) a.vectors /= 2;
          a.dy = s + plane * s_plane_ + k * table_.width;
          a.dw = u + sum * u_plane_ + k * table_.width;
          table_.conv_weights(a);
        }
      }
  }

  ConvGeometry g_;
  Windows spread_;
  WinogradSize size_;
  const KernelTable<float>& table_;
  Cut c_;
  // Where each transformed tile lies in a plane, or in those of a row, a column or both that have one sum.
  std::vector<PixelPair> lists_[2][2];
  std::int64_t planes_, sums_, shared_;
  std::int64_t v_tile_, v_plane_, s_plane_, u_plane_, patch_;
};

bool covers(const Algorithm& a, const ConvGeometry& g) {
  return g.groups == 1 && g.kh == a.taps && g.kw == a.taps && g.stride_h == a.stride && g.stride_w == a.stride &&
         g.dilation_h == 1 && g.dilation_w == 1;
}

double real(std::int64_t n) { return static_cast<double>(n); }

double direct_cost(const ConvGeometry& g, std::int64_t width) {
  return real(g.n * g.oh * g.ow) * real(g.kh * g.kw) * real(g.c) * real(round_up(g.k, width)) / 0.85;
}

double winograd_cost(const Algorithm& a, const ConvGeometry& g, std::int64_t width) {
  const WinogradSize size = a.size();
  const Cut c = cut(g, size, width);
  const double in = real(round_up(g.c, width)), out = real(round_up(g.k, width));
  const double products = real(c.tiles) * real(size.alpha() * size.alpha()) * real(g.c) * out / 0.85;
  const double transforms = real(c.tiles) * (a.in * in * real(c.out_blocks) + a.out * out * real(c.in_blocks));
  const double back = real(c.chunks) * a.weights * real(g.c) * out;
  // Three pairs of points have several times the error.
  return (products + transforms + back) * (size.alpha() >= 7 ? 1.1 : 1);
}

}  // namespace

Step plan_winograd_weights(const PlanContext& c, const ConvGeometry& g, const Windows& spread) {
  if (c.dtype() != DType::f32 || c.options().strict || g.c < kLeastInputs) return {};
  const std::string wish = c.attrs().text("algorithm", "");
  const std::int64_t width = kernels<float>().width;
  const Algorithm* best = nullptr;
  double least = direct_cost(g, width) / 1.2;
  for (const Algorithm& a : kAlgorithms) {
    if (!covers(a, g)) continue;
    // Named as the forward pass of the same tiles.
    if (!wish.empty() && wish != winograd_name(a.forward())) continue;
    const double cost = winograd_cost(a, g, width);
    if (!wish.empty() || cost < least) best = &a, least = cost;
  }
  if (!best) return {};
  const auto winograd = std::make_shared<const WinogradWeights>(g, best->size(), spread);
  Step step;
  step.algorithm = winograd_name(best->forward());
  step.flops = g.flops();
  step.scratch = winograd->scratch_bytes();
  step.workspace = winograd->workspace_bytes();
  step.run = [winograd, x = c.in(0), dy = c.in(1), dw = c.out()](const RunContext& r) { winograd->run(x, dy, dw, r); };
  return step;
}

}  // namespace fastconv::cpu
