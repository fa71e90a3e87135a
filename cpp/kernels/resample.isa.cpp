// Separable linear maps of NHWC images, described by the taps of each output row and column: resize and the
// gradients of resize and of padding. First rows are combined into one, then its pixels.
#include "kernels/isa.hpp"
#include "kernels/shape_args.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

template <class T, int N>
FASTCONV_INLINE void combine(const T* x, std::int64_t step, const TapsView<T>& taps, std::int64_t i, Vec<T> (&acc)[N]) {
  FASTCONV_UNROLL for (int v = 0; v < N; ++v) acc[v] = Vec<T>::zero();
  for (std::int32_t k = taps.start[i]; k < taps.start[i + 1]; ++k) {
    const T* p = x + taps.index[k] * step;
    const Vec<T> weight = Vec<T>::set(taps.weight[k]);
    FASTCONV_UNROLL for (int v = 0; v < N; ++v) acc[v] = fma(weight, Vec<T>::load(p + v * Vec<T>::width), acc[v]);
  }
}

template <class T, int N>
FASTCONV_INLINE void combine_and_store(const T* x, std::int64_t step, const TapsView<T>& taps, std::int64_t i, T* y) {
  Vec<T> acc[N];
  combine<T, N>(x, step, taps, i, acc);
  FASTCONV_UNROLL for (int v = 0; v < N; ++v) acc[v].store(y + v * Vec<T>::width);
}

}  // namespace

template <class T>
void combine_rows(const CombineRowsArgs<T>& a) {
  using V = Vec<T>;
  constexpr int W = V::width;
  std::int64_t i = 0;
  for (; i + 4 * W <= a.n; i += 4 * W) combine_and_store<T, 4>(a.x + i, a.x_row, a.taps, a.row, a.y + i);
  for (; i + W <= a.n; i += W) combine_and_store<T, 1>(a.x + i, a.x_row, a.taps, a.row, a.y + i);
  if (const int rest = static_cast<int>(a.n - i)) {
    V acc = V::zero();
    for (std::int32_t k = a.taps.start[a.row]; k < a.taps.start[a.row + 1]; ++k)
      acc = fma(V::set(a.taps.weight[k]), V::load(a.x + a.taps.index[k] * a.x_row + i, rest), acc);
    acc.store(a.y + i, rest);
  }
}

template <class T>
void combine_pixels(const CombinePixelsArgs<T>& a) {
  constexpr int W = Vec<T>::width;
  const std::int64_t channels = a.channels, end = a.width * channels;
  for (std::int64_t w = 0; w < a.width; ++w) {
    T* y = a.y + w * channels;
    std::int64_t c = 0;
    for (; c + 4 * W <= channels; c += 4 * W) combine_and_store<T, 4>(a.x + c, channels, a.taps, w, y + c);
    for (; c + W <= channels; c += W) combine_and_store<T, 1>(a.x + c, channels, a.taps, w, y + c);
    if (c == channels) continue;
    Vec<T> acc[1];
    combine<T, 1>(a.x + c, channels, a.taps, w, acc);
    // What is written past the pixel is the next pixel's, which comes later.
    if (w * channels + c + W <= end)
      acc[0].store(y + c);
    else
      acc[0].store(y + c, static_cast<int>(channels - c));
  }
}

template void combine_rows<float>(const CombineRowsArgs<float>&);
template void combine_rows<double>(const CombineRowsArgs<double>&);
template void combine_pixels<float>(const CombinePixelsArgs<float>&);
template void combine_pixels<double>(const CombinePixelsArgs<double>&);

}  // namespace fastconv::FASTCONV_ISA
