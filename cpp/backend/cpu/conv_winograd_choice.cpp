// Which Winograd algorithm runs a convolution, and how its tiles and channels are cut.
#include <algorithm>

#include "backend/cpu/conv_winograd.hpp"

namespace fastconv::cpu {
namespace winograd {
namespace {

constexpr std::int64_t kSharedBytes = 4 << 20;       // of the whole transformed input, to make it once for all pieces
constexpr std::int64_t kMostSharedBytes = 16 << 20;  // where larger blocks save so much of reading the weights
constexpr std::int64_t kSharedTiles = 56;            // of a block then
constexpr std::int64_t kStreamedTiles = 84;          // where each block transforms the weights
constexpr std::int64_t kSharedPieces = 8;            // wanted at least then
constexpr std::int64_t kLeastChannels = 128;         // of a piece's output, where each transforms its input
constexpr std::int64_t kPieces = 16;                 // wanted at least, for the threads there may be
constexpr std::int64_t kLeastInputs = 8;             // channels: a product of fewer is mostly loads and stores
constexpr std::int64_t kUsualSize = 28;              // of maps, where the choice is made for any size
constexpr std::int64_t kGroupColumns = 64;           // output channels whose products are made before their transform
constexpr std::int64_t kImageTiles = 16;             // of an image that is made as a whole

bool windows_cross_tiles(const ConvPass& p, const WinogradSize& size) {
  return p.pool && (size.m % p.pool.h || size.m % p.pool.w);
}

// Cuts the tiles into blocks and their output channels into pieces, for shared input or not.
void cut(Size& s, std::int64_t out_c, std::int64_t tile_bytes, std::int64_t groups, std::int64_t tile_pixels) {
  const std::int64_t product_bytes = s.planes * kGroupColumns * kFloat;
  // A block's input and a group's products stay in L2. Whole register tiles: those of fewer pixels read the weights
  // more often.
  const std::int64_t most =
      s.shared ? std::min(s.streamed ? kStreamedTiles : kSharedTiles, ceil_div(s.tiles * groups, kSharedPieces))
               : std::min(caches().l2 * 3 / 4 / (tile_bytes + product_bytes), ceil_div(s.tiles, kPieces));
  const std::int64_t whole = std::max(most / tile_pixels, std::int64_t{1}) * tile_pixels;
  s.block =
      most >= s.tiles ? s.tiles : std::min(round_up(ceil_div(s.tiles, ceil_div(s.tiles, whole)), tile_pixels), s.tiles);
  s.block = round_up(s.block, s.together);
  s.blocks = ceil_div(s.tiles, s.block);
  const std::int64_t finest = s.shared ? groups : std::max<std::int64_t>(out_c / kLeastChannels, 1);
  s.splits = std::clamp<std::int64_t>(ceil_div(kPieces, s.blocks), 1, std::min(finest, groups));
}

}  // namespace

ConvPass join_phases(const ConvPass& p) {
  if (p.phases.size() != 4) return p;
  // Inputs begin at the same sample for both: that of one tap reads the first one, or the second where it comes last.
  const auto joined = [](const AxisPhase& even, const AxisPhase& odd, std::int64_t out) {
    const bool late = even.taps == 2;
    const AxisPhase &one = late ? odd : even, &two = late ? even : odd;
    AxisPhase a;
    if (one.taps != 1 || two.taps != 2 || even.os != 2 || even.is != 1 || one.k0 != 1 || two.k0 != 2 ||
        two.k_step != -2 || two.tap_step != 1 || one.i0 != two.i0 + late || even.outputs + odd.outputs != out)
      return a;
    a.outputs = out, a.os = 2, a.o0 = late;
    a.i0 = two.i0, a.taps = 3, a.k0 = 2, a.k_step = -1;
    return a;
  };
  const Phase q{joined(p.phases[0].h, p.phases[2].h, p.out_h), joined(p.phases[0].w, p.phases[1].w, p.out_w)};
  if (q.h.taps != 3 || q.w.taps != 3 || q.h.o0 != q.w.o0) return p;
  ConvPass one = p;
  one.phases = {q};
  return one;
}

std::vector<Group> group_blocks(const std::vector<ChannelBlock>& blocks, int width) {
  std::vector<Group> groups;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const ChannelBlock& b = blocks[i];
    const std::int64_t columns = std::int64_t{b.vectors} * width;
    if (groups.empty() || groups.back().columns + columns > kGroupColumns)
      groups.push_back({static_cast<std::int64_t>(i), 0, b.channel, 0, 0, 0, 0});
    Group& g = groups.back();
    ++g.count, g.channels += b.channels, g.columns += columns;
  }
  return groups;
}

Size size_of(const ConvPass& p, const Algorithm& algorithm, bool packed_once, std::int64_t groups,
             std::int64_t tile_pixels) {
  const WinogradSize& size = algorithm.size;
  Size s{};
  s.m = size.outputs(), s.inputs = size.inputs(), s.step = size.step();
  s.planes = std::int64_t{size.alpha()} * size.alpha();
  s.weights = std::int64_t{size.weights()} * size.weights();
  const bool transposed = algorithm.transposed;
  s.tiles_h = ceil_div(transposed ? p.in_h : p.out_h, s.m), s.tiles_w = ceil_div(transposed ? p.in_w : p.out_w, s.m);
  s.tiles = p.n * s.tiles_h * s.tiles_w;
  s.together = transposed || windows_cross_tiles(p, size) ? s.tiles_h * s.tiles_w : 1;
  // Tiles whole KBs apart would fall into the same sets of L1.
  s.v_tile = round_up(p.in_c, kLine);
  if (s.v_tile % 256 == 0) s.v_tile += kLine;
  const std::int64_t tile_bytes = s.planes * s.v_tile * kFloat;
  const double input = static_cast<double>(s.tiles) * static_cast<double>(tile_bytes);
  const std::int64_t weights = num_elements({s.weights, p.in_c, p.out_c}) * kFloat;
  s.streamed = !packed_once && p.w_scale == kNone && weights > caches().l2;
  s.shared = groups > 1 && input <= kSharedBytes;
  cut(s, p.out_c, tile_bytes, groups, tile_pixels);
  if (!s.shared && groups > 1 && input <= kMostSharedBytes && weights > caches().l2 / 2) {
    // Every block reads all weights; the larger ones of a shared input, which each group of channels reads, may be
    // fewer bytes.
    Size t = s;
    t.shared = true;
    cut(t, p.out_c, tile_bytes, groups, tile_pixels);
    const auto real = [](std::int64_t n) { return static_cast<double>(n); };
    if (1.5 * (real(t.blocks * weights) + real(groups + 2) * input) < real(s.blocks * weights)) s = t;
  }
  s.streamed = s.streamed && s.shared;
  s.channels = p.in_c;
  if (s.streamed) {
    const std::int64_t most = std::max(caches().l2 / 2 / (s.weights * kGroupColumns * kFloat), kLine);
    s.channels = std::min(round_up(ceil_div(p.in_c, ceil_div(p.in_c, most)), kLine), p.in_c);
  }
  s.v_plane = odd_lines((s.shared ? s.tiles : s.block) * s.v_tile);
  return s;
}

namespace {

constexpr Algorithm kAlgorithms[] = {
    {{2, 3, 1}, 60, 60, 40},
    {{3, 3, 1}, 130, 100, 70},
    {{4, 3, 1}, 220, 140, 100},
    {{5, 3, 1}, 800, 330, 150},
    {{6, 3, 1}, 750, 450, 200},
    {{2, 5, 1}, 220, 90, 120},
    {{3, 5, 1}, 800, 250, 200},
    {{4, 5, 1}, 750, 350, 250},
    {{2, 3, 2}, 300, 150, 40},
    {{4, 3, 2}, 1000, 400, 100},
    {{3, 3, 1}, 150, 300, 60, true},
    {{4, 3, 1}, 250, 450, 80, true},
    {{5, 3, 1}, 400, 700, 120, true},
    {{2, 3, 2, HalfStride::one_tap_first}, 150, 300, 40},
    {{4, 3, 2, HalfStride::one_tap_first}, 400, 1000, 100},
    {{2, 3, 2, HalfStride::two_taps_first}, 150, 300, 40},
    {{4, 3, 2, HalfStride::two_taps_first}, 400, 1000, 100},
};

bool covers(const PlanContext& c, const Algorithm& a, const ConvPass& p) {
  const WinogradSize& s = a.size;
  const auto fits = [&](std::int64_t h, std::int64_t w) {
    return !c.options().any_size && ceil_div(h, s.m) * ceil_div(w, s.m) <= kImageTiles;
  };
  if (windows_cross_tiles(p, s) && !fits(p.out_h, p.out_w)) return false;
  if (a.transposed && (!fits(p.in_h, p.in_w) || p.bias != kNone || p.residual != kNone || p.clamp || p.activate ||
                       p.pool || p.in_c % kernels<float>().width || p.phases.empty() || p.phases[0].h.k_step != -1))
    return false;
  if (p.groups != 1 || p.phases.size() != 1 || p.fill || p.n * p.in_h * p.in_w * p.in_c == 0) return false;
  const auto regular = [&](const AxisPhase& a, std::int64_t out) {
    const bool late = s.half == HalfStride::two_taps_first;
    return a.taps == s.taps && a.tap_step == 1 && a.is == (s.up() ? 1 : s.stride) && a.os == (s.up() ? 2 : 1) &&
           a.o0 == late && a.outputs == out && out > 0;
  };
  return regular(p.phases[0].h, p.out_h) && regular(p.phases[0].w, p.out_w) && p.out_c > 0;
}

// What an algorithm costs one core, in the time of a multiply-add of one vector element. Threads are not asked for:
// results must not depend on them. Measured for AVX2 and AVX-512 (docs/adr/0005-winograd.md).
class Costs {
 public:
  Costs(const ConvPass& p, bool packed_once) : p_(p), packed_once_(packed_once) {
    if (width_ < 8) memory_ *= 4, l3_ *= 4;  // slower arithmetic, the same memory
  }

  double direct() const {
    const AxisPhase& h = p_.phases[0].h;
    const double weights = real(h.taps * h.taps) * 4 * pairs();
    double rows = 0;  // that taps read: those outside are skipped
    for (std::int64_t i = 0; i < h.taps; ++i) {
      const std::int64_t end = std::min(h.outputs, ceil_div(std::max<std::int64_t>(0, p_.in_h - h.i0 - i), h.is));
      rows += real(std::max<std::int64_t>(0, end - ceil_div(std::max<std::int64_t>(0, -h.i0 - i), h.is)));
    }
    // Register tiles of too few pixels wait for their sums: 7 pixels, 4 + 3, cost AVX2 as many as 10.
    const std::int64_t tiles = ceil_div(p_.out_w, table_.tile_pixels), least = ceil_div(10, table_.tile_vectors);
    const double columns = real(std::max(p_.out_w, std::min(least, std::int64_t{table_.tile_pixels}) * tiles));
    double products = real(p_.n) * rows * real(h.taps) * columns * pairs();
    if (h.os == 2) products = real(p_.n * p_.in_h * p_.in_w) * 9 * pairs();  // in four phases
    return std::max(products / 0.95, weights / memory_) + (packed_once_ ? 0 : 2 * weights / l3_);
  }

  double winograd(const Algorithm& a) const {
    const auto channels = channel_blocks(p_.out_c, width_, table_.tile_vectors);
    const auto blocks = static_cast<std::int64_t>(channels.size());
    const Size s = size_of(p_, a, packed_once_, static_cast<std::int64_t>(group_blocks(channels, width_).size()),
                           table_.tile_pixels);
    const double call = 100;
    const double planes = real(s.planes), tiles = real(s.tiles), bytes = real(s.weights) * 4 * pairs();
    const double inputs = s.shared ? 1 : real(s.splits);
    const double transforms =
        tiles * (a.in * inputs * real(round_up(p_.in_c, width_)) + a.out * real(round_up(p_.out_c, width_)));
    const double products = planes * tiles * pairs() / 0.95 + planes * real(s.blocks * blocks * width_) * call;
    const double repeated = bytes <= real(caches().l2) / 2 ? 0 : bytes <= real(caches().l3) / 2 ? l3_ : memory_;
    double traffic = bytes / memory_;
    if (repeated > 0) traffic += real(s.blocks - 1) * bytes / repeated;
    double packing = packed_once_ ? 0 : a.weights * pairs() + 2 * bytes / (repeated > 0 ? repeated : l3_);
    if (s.streamed) packing = a.weights * pairs() * real(s.blocks), traffic = 0;
    const double held = packed_once_ ? price_ * (bytes - real(a.size.taps * a.size.taps) * 4 * pairs())
                                     : 0;  // more memory than direct's
    // Three pairs of points have several times the error.
    return (transforms + std::max(products, traffic) + packing + held) * (a.size.alpha() >= 7 ? 1.1 : 1);
  }

 private:
  static double real(std::int64_t n) { return static_cast<double>(n); }
  double pairs() const { return real(p_.in_c) * real(round_up(p_.out_c, width_)); }

  const ConvPass& p_;
  bool packed_once_;
  const KernelTable<float>& table_ = kernels<float>();
  int width_ = table_.width;
  double memory_ = 0.3, l3_ = 1.3;  // bytes in that time
  // What a byte of packed weights must save: 42 ps. So 256 at 14x14 gets F(2,3), which is a fifth slower than F(4,3)
  // there and takes 2.25 times less: ResNet-50's packs are 26 MB smaller for 1 % of its time.
  double price_ = 2.5;
};

}  // namespace

const Algorithm* choose(const PlanContext& c, const ConvPass& p) {
  if (c.dtype() != DType::f32 || c.options().strict) return nullptr;
  const std::string wish = wished_algorithm(c, p);
  const bool stable = c.stable(p.w);
  ConvPass sized = p;
  if (c.options().any_size && p.phases.size() == 1) {
    AxisPhase& h = sized.phases[0].h;
    sized.n = 1;
    sized.out_h = sized.out_w = h.outputs = kUsualSize;
    sized.in_h = sized.in_w = kUsualSize * h.is / h.os;
    h.i0 = -h.taps / 2;
  }
  const Costs costs(sized, stable);
  const Algorithm* best = nullptr;
  double least = 0;
  for (const Algorithm& a : kAlgorithms) {
    if (!covers(c, a, p)) continue;
    if (!wish.empty()) {
      if (wish == a.name()) return &a;
      continue;
    }
    const double cost = costs.winograd(a);
    if (!best || cost < least) best = &a, least = cost;
  }
  if (!best || p.in_c < kLeastInputs || least * (stable ? 1.15 : 1.2) > costs.direct()) return nullptr;
  return best;
}

}  // namespace winograd

std::string winograd_name(const WinogradSize& s) {
  return "winograd F(" + std::to_string(s.m) + "," + std::to_string(s.taps) + ")" + (s.stride == 2 ? "/2" : "");
}

std::vector<std::string> winograd_candidates(const PlanContext& c, const ConvPass& pass) {
  if (c.dtype() != DType::f32 || c.options().strict) return {};
  const ConvPass p = winograd::join_phases(pass);
  std::vector<std::string> names;
  for (const winograd::Algorithm& a : winograd::kAlgorithms)
    if (winograd::covers(c, a, p)) names.push_back(a.name());
  return names;
}

}  // namespace fastconv::cpu
