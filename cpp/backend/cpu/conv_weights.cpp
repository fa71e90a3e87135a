// Weight gradient of the direct convolution: drives the conv_weights kernel. The pixels are cut into a fixed number
// of chunks with partial sums of their own, added in order, so the bits do not depend on the number of threads.
#include <algorithm>

#include "backend/cpu/conv.hpp"

namespace fastconv::cpu {
namespace {

constexpr std::int64_t kPieces = 16;               // wanted at least
constexpr std::int64_t kBlockBytes = 128 << 10;    // of padded input, copied into L2
constexpr std::int64_t kGradientBytes = 20 << 10;  // of output gradient in a kernel call: stays in L1
constexpr std::int64_t kPartialBytes = std::int64_t{32} << 20;

template <class T>
class DirectWeights {
 public:
  DirectWeights(const ConvGeometry& geometry, const Windows& spread)
      : g_(geometry), spread_(spread), table_(kernels<T>()) {
    const std::int64_t width = table_.width;
    in_ = g_.c / g_.groups, out_ = g_.k / g_.groups;
    padded_ = round_up(out_, width);
    flat_ = g_.kh == 1 && g_.kw == 1 && g_.stride_h == 1 && g_.stride_w == 1 && !g_.top && !g_.left && g_.h == g_.oh &&
            g_.w == g_.ow && !spread_;
    if (flat_) {  // one image of one row
      g_.w = g_.ow = g_.n * g_.oh * g_.ow;
      g_.n = g_.oh = g_.h = 1;
    }
    cols_ = (g_.ow - 1) * g_.stride_w + (g_.kw - 1) * g_.dilation_w + 1;
    copy_x_ = g_.top || g_.left || in_rows(g_.oh) - g_.top > g_.h || cols_ - g_.left > g_.w;
    copy_dy_ = spread_ || padded_ != out_;
    merge_ = g_.dilation_w == 1 && g_.groups == 1;

    // A unit of work: `images` whole images or `rows` rows of one or `pixels` pixels of a row.
    const double image_row = static_cast<double>(bytes(cols_ * g_.c));
    rows_ = std::clamp(static_cast<std::int64_t>(kBlockBytes / (image_row * static_cast<double>(g_.stride_h))),
                       std::int64_t{1}, g_.oh);
    if (spread_)  // what is spread stays in L1
      rows_ = std::clamp<std::int64_t>(
          kGradientBytes / bytes(g_.ow * std::min<std::int64_t>(padded_, table_.tile_vectors * width)), 1, rows_);
    row_units_ = ceil_div(g_.oh, rows_);
    images_ =
        row_units_ == 1
            ? std::clamp<std::int64_t>(
                  static_cast<std::int64_t>(kBlockBytes / (image_row * static_cast<double>(in_rows(g_.oh)))), 1, 8)
            : 1;
    if (spread_) images_ = 1;
    pixels_ = flat_ ? std::clamp<std::int64_t>(g_.ow, 1, 512) : g_.ow;
    pixel_units_ = flat_ ? ceil_div(g_.ow, pixels_) : 1;
    units_ = ceil_div(g_.n, images_) * row_units_ * pixel_units_;

    blocks_ = ceil_div(padded_ / width, table_.tile_vectors) * g_.groups;
    const std::int64_t size = g_.groups * g_.kh * g_.kw * in_ * padded_;
    chunks_ = std::clamp<std::int64_t>(ceil_div(kPieces, blocks_), 1, std::max<std::int64_t>(units_, 1));
    chunks_ = std::clamp<std::int64_t>(kPartialBytes / std::max<std::int64_t>(bytes(size), 1), 1, chunks_);
    // Where no input is copied, the rows of the gradient can be cut too.
    splits_ = copy_x_ ? 1 : std::clamp<std::int64_t>(ceil_div(kPieces, blocks_ * chunks_), 1, ceil_div(in_, 24));
    size_ = size;
    direct_ = chunks_ == 1 && padded_ == out_ && g_.groups == 1;
    x_scratch_ = copy_x_ ? num_elements({images_, in_rows(rows_), cols_, g_.c}) : 0;
    dy_scratch_ =
        copy_dy_ ? images_ * rows_ * pixels_ * std::min<std::int64_t>(padded_, table_.tile_vectors * width) : 0;
  }

  Step step(int x, int dy, int dw, const std::shared_ptr<const DirectWeights>& self) const {
    Step s;
    s.algorithm = "direct";
    s.flops = g_.flops();
    s.scratch = static_cast<std::size_t>(bytes(round_up(x_scratch_, 16) + dy_scratch_));
    s.workspace = direct_ ? 0 : static_cast<std::size_t>(bytes(chunks_ * size_));
    s.run = [self, x, dy, dw](const RunContext& r) { self->run(r.data<const T>(x), dy, r.data<T>(dw), r); };
    return s;
  }

 private:
  static std::int64_t bytes(std::int64_t n) { return n * static_cast<std::int64_t>(sizeof(T)); }
  std::int64_t in_rows(std::int64_t rows) const { return (rows - 1) * g_.stride_h + (g_.kh - 1) * g_.dilation_h + 1; }

  void run(const T* x, int gradient, T* dw, const RunContext& r) const {
    const auto dy = spread_map<T>(r, spread_, g_.oh, g_.ow, g_.k, gradient);
    T* partial = direct_ ? dw : reinterpret_cast<T*>(r.workspace());
    parallel_for(chunks_ * blocks_ * splits_, [&](std::int64_t piece, int thread) {
      const std::int64_t split = piece % splits_, block = piece / splits_ % blocks_, chunk = piece / splits_ / blocks_;
      run_piece(chunk, block, split, x, dy, partial + chunk * size_, reinterpret_cast<T*>(r.scratch(thread)));
    });
    if (direct_) return;
    // partial: [chunk][group][kh][kw][in][padded out] -> dw [kh][kw][in][group][out]
    const std::int64_t rows = g_.kh * g_.kw * in_;
    parallel_range(rows, std::max<std::int64_t>(1, 16384 / (g_.k * chunks_)), [&](auto begin, auto end, int) {
      for (std::int64_t row = begin; row < end; ++row)
        for (std::int64_t group = 0; group < g_.groups; ++group) {
          const T* from = partial + (group * rows + row) * padded_;
          T* to = dw + row * g_.k + group * out_;
          std::copy_n(from, out_, to);
          for (std::int64_t chunk = 1; chunk < chunks_; ++chunk) {
            const T* f = from + chunk * size_;
            for (std::int64_t o = 0; o < out_; ++o) to[o] += f[o];
          }
        }
    });
  }

  void run_piece(std::int64_t chunk, std::int64_t block, std::int64_t split, const T* x, const SpreadMap<T>& dy, T* dw,
                 T* scratch) const {
    const std::int64_t width = table_.width, per_group = blocks_ / g_.groups;
    const std::int64_t group = block / per_group, first_vector = block % per_group * table_.tile_vectors;
    std::int64_t vectors = std::min<std::int64_t>(table_.tile_vectors, padded_ / width - first_vector);
    const std::int64_t channel = first_vector * width;  // inside the group
    dw += group * g_.kh * g_.kw * in_ * padded_ + channel;

    ConvWeightsArgs<T> a{};
    a.dw_row = padded_;
    a.x_pixel = g_.stride_w * g_.c;
    const std::int64_t full_run = merge_ ? g_.kw * in_ : in_;
    const std::int64_t from = full_run * split / splits_, to = full_run * (split + 1) / splits_;
    a.run = to - from;
    const std::int64_t taps_w = merge_ ? 1 : g_.kw;
    for (std::int64_t i = 0; i < g_.kh * taps_w; ++i)
      for (std::int64_t row = from; row < to; ++row)
        std::fill_n(dw + (i * full_run + row) * padded_, vectors * width, T(0));

    T* dy_scratch = scratch + round_up(x_scratch_, 16);
    for (std::int64_t unit = units_ * chunk / chunks_; unit < units_ * (chunk + 1) / chunks_; ++unit) {
      const std::int64_t p0 = unit % pixel_units_ * pixels_;
      const std::int64_t row0 = unit / pixel_units_ % row_units_ * rows_;
      const std::int64_t n0 = unit / pixel_units_ / row_units_ * images_;
      const std::int64_t images = std::min(images_, g_.n - n0), rows = std::min(rows_, g_.oh - row0);
      const std::int64_t pixels = std::min(pixels_, g_.ow - p0);

      std::int64_t in_row = g_.w * g_.c;
      const T* xs = x + n0 * g_.h * in_row + (row0 * g_.stride_h - g_.top) * in_row + (p0 - g_.left) * g_.c;
      a.x_image = g_.h * in_row;
      if (copy_x_) {
        const std::int64_t block_rows = in_rows(rows);
        in_row = cols_ * g_.c;
        a.x_image = block_rows * in_row;
        for (std::int64_t n = 0; n < images; ++n)
          copy_padded(x + (n0 + n) * g_.h * g_.w * g_.c, g_.h, g_.w, g_.c, row0 * g_.stride_h - g_.top, block_rows,
                      -g_.left, cols_, 1, scratch + n * a.x_image);
        xs = scratch;
      }
      a.x_row = g_.stride_h * in_row;
      const T* dys = spread_ ? dy_scratch : dy.dy + ((n0 * g_.oh + row0) * g_.ow + p0) * g_.k + group * out_ + channel;
      a.dy_pixel = g_.k, a.dy_row = g_.ow * g_.k, a.dy_image = g_.oh * a.dy_row;
      if (copy_dy_) {
        const std::int64_t channels = std::min(out_ - channel, vectors * width);
        if (spread_)
          dy.copy(n0, row0, rows, p0, pixels, channel, channels, dy_scratch, vectors * width);
        else
          copy_gradient(dys, images, rows, pixels, channels, vectors * width, dy_scratch);
        dys = dy_scratch;
        a.dy_pixel = vectors * width, a.dy_row = pixels * a.dy_pixel, a.dy_image = rows * a.dy_row;
      }
      run_unit(a, xs + group * in_ + from, dys, images, row0, rows, pixels, vectors, in_row, taps_w,
               dw + from * padded_);
    }
  }

  void run_unit(ConvWeightsArgs<T>& a, const T* x, const T* dy, std::int64_t images, std::int64_t row0,
                std::int64_t rows, std::int64_t pixels, std::int64_t vectors, std::int64_t in_row, std::int64_t taps_w,
                T* dw) const {
    const std::int64_t width = table_.width, full_run = merge_ ? g_.kw * in_ : in_;
    // The gradient's block of a kernel call stays in L1 while every tile of the weights reads it.
    const std::int64_t l1_pixels = std::max<std::int64_t>(kGradientBytes / bytes(vectors * width), 1);
    const std::int64_t sub_pixels =
        rows * images == 1 ? std::min(pixels, std::max<std::int64_t>(l1_pixels, 32)) : pixels;
    const std::int64_t sub_rows = std::clamp<std::int64_t>(l1_pixels / pixels, 1, rows);
    const std::int64_t sub_images = std::clamp<std::int64_t>(l1_pixels / (rows * pixels), 1, images);
    for (std::int64_t n = 0; n < images; n += sub_images)
      for (std::int64_t row = 0; row < rows; row += sub_rows)
        for (std::int64_t p = 0; p < pixels; p += sub_pixels) {
          a.images = std::min(sub_images, images - n);
          a.pixels = std::min(sub_pixels, pixels - p);
          const T* xs = x + n * a.x_image + row * a.x_row + p * a.x_pixel;
          for (std::int64_t v = 0; v < vectors;) {
            int take = table_.tile_vectors;
            while (take > vectors - v) take /= 2;
            a.vectors = take;
            const T* dys = dy + n * a.dy_image + row * a.dy_row + p * a.dy_pixel + v * width;
            for (std::int64_t i = 0; i < g_.kh; ++i) {
              // Rows of zeros around the input add nothing.
              const std::int64_t top = i * g_.dilation_h - g_.top + (row0 + row) * g_.stride_h;
              const std::int64_t all = std::min(sub_rows, rows - row);
              const std::int64_t begin = top < 0 ? std::min(all, ceil_div(-top, g_.stride_h)) : 0;
              const std::int64_t end = top < g_.h ? std::min(all, ceil_div(g_.h - top, g_.stride_h)) : 0;
              a.rows = end - begin;
              if (a.rows <= 0) continue;
              a.dy = dys + begin * a.dy_row;
              for (std::int64_t j = 0; j < taps_w; ++j) {
                a.x = xs + begin * a.x_row + i * g_.dilation_h * in_row + j * g_.dilation_w * g_.c;
                a.dw = dw + (i * taps_w + j) * full_run * padded_ + v * width;
                table_.conv_weights(a);
              }
            }
            v += take;
          }
        }
  }

  static void copy_block(const T* from, std::int64_t n, std::int64_t to_n, T* to) {
    std::copy_n(from, n, to);
    std::fill(to + n, to + to_n, T(0));
  }

  void copy_gradient(const T* dy, std::int64_t images, std::int64_t rows, std::int64_t pixels, std::int64_t channels,
                     std::int64_t to_channels, T* to) const {
    for (std::int64_t n = 0; n < images; ++n)
      for (std::int64_t row = 0; row < rows; ++row)
        for (std::int64_t p = 0; p < pixels; ++p, to += to_channels)
          copy_block(dy + ((n * g_.oh + row) * g_.ow + p) * g_.k, channels, to_channels, to);
  }

  ConvGeometry g_;
  Windows spread_;
  const KernelTable<T>& table_;
  std::int64_t in_, out_, padded_;  // channels of a group
  std::int64_t cols_, rows_, images_, pixels_;
  std::int64_t row_units_, pixel_units_, units_;
  std::int64_t blocks_, chunks_, splits_, size_;
  std::int64_t x_scratch_, dy_scratch_;
  bool flat_, copy_x_, copy_dy_, merge_, direct_;
};

}  // namespace

template <class T>
Step plan_direct_weights(const ConvGeometry& g, int x, int dy, int dw, const Windows& spread) {
  const auto weights = std::make_shared<const DirectWeights<T>>(g, spread);
  return weights->step(x, dy, dw, weights);
}

template Step plan_direct_weights<float>(const ConvGeometry&, int, int, int, const Windows&);
template Step plan_direct_weights<double>(const ConvGeometry&, int, int, int, const Windows&);

}  // namespace fastconv::cpu
