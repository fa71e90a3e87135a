// Separable linear maps of NHWC images, described by the taps of each output row and column: resize and the
// gradients of resize and of padding.
#include "kernels/isa.hpp"
#include "kernels/shape_args.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

template <class T, int N>
FASTCONV_INLINE void pixel(const ResampleRowArgs<T>& a, std::int64_t w, std::int64_t c, int tail) {
  using V = Vec<T>;
  constexpr int W = V::width;
  V acc[N];
  FASTCONV_UNROLL for (int v = 0; v < N; ++v) acc[v] = V::zero();
  for (std::int32_t i = a.h.start[a.row]; i < a.h.start[a.row + 1]; ++i) {
    const T* x = a.x + a.h.index[i] * a.x_row + c;
    for (std::int32_t j = a.w.start[w]; j < a.w.start[w + 1]; ++j) {
      const T* p = x + a.w.index[j] * a.channels;
      const V weight = V::set(a.h.weight[i] * a.w.weight[j]);
      FASTCONV_UNROLL for (int v = 0; v < N; ++v)
        acc[v] = fma(weight, tail == W ? V::load(p + v * W) : V::load(p + v * W, tail), acc[v]);
    }
  }
  T* y = a.y + w * a.channels + c;
  if (tail == W) {
    FASTCONV_UNROLL for (int v = 0; v < N; ++v) acc[v].store(y + v * W);
  } else {
    acc[0].store(y, tail);
  }
}

}  // namespace

template <class T>
void resample_row(const ResampleRowArgs<T>& a) {
  constexpr int W = Vec<T>::width;
  for (std::int64_t w = 0; w < a.width; ++w) {
    std::int64_t c = 0;
    for (; c + 4 * W <= a.channels; c += 4 * W) pixel<T, 4>(a, w, c, W);
    for (; c + W <= a.channels; c += W) pixel<T, 1>(a, w, c, W);
    if (c < a.channels) pixel<T, 1>(a, w, c, static_cast<int>(a.channels - c));
  }
}

template void resample_row<float>(const ResampleRowArgs<float>&);
template void resample_row<double>(const ResampleRowArgs<double>&);

}  // namespace fastconv::FASTCONV_ISA
