// Sums of products along both factors' rows: what is left of a convolution's pixels where they fill no vector.
#include "kernels/conv_args.hpp"
#include "kernels/isa.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

template <class T, int R, int P>
FASTCONV_NOINLINE void tile(const ConvDotsArgs<T>& a, std::int64_t row) {
  using VT = Vec<T>;
  constexpr int W = VT::width;
  VT acc[R][P];
  FASTCONV_UNROLL for (int r = 0; r < R; ++r) FASTCONV_UNROLL for (int p = 0; p < P; ++p) acc[r][p] = VT::zero();
  const T* w = a.w + row * a.w_row;
  for (std::int64_t i = 0; i < a.n; i += W) {
    const int count = a.n - i < W ? static_cast<int>(a.n - i) : W;
    VT x[P];
    FASTCONV_UNROLL for (int p = 0; p < P; ++p) x[p] =
        count == W ? VT::load(a.x + p * a.x_row + i) : VT::load(a.x + p * a.x_row + i, count);
    FASTCONV_UNROLL for (int r = 0; r < R; ++r) {
      const VT v = count == W ? VT::load(w + r * a.w_row + i) : VT::load(w + r * a.w_row + i, count);
      FASTCONV_UNROLL for (int p = 0; p < P; ++p) acc[r][p] = fma(v, x[p], acc[r][p]);
    }
  }
  FASTCONV_UNROLL for (int r = 0; r < R; ++r) FASTCONV_UNROLL for (int p = 0; p < P; ++p) {
    T s = sum(acc[r][p]);
    if (a.bias) s += a.bias[row + r];
    if (a.clamp) s = s < a.lo ? a.lo : s > a.hi ? a.hi : s;
    a.y[(row + r) * a.y_row + p] = s;
  }
}

template <class T, int P>
void rows(const ConvDotsArgs<T>& a) {
  constexpr int most = (Tile<T>::vectors >= 4 ? 24 : 8) / P, R = most < 6 ? most : 6;
  std::int64_t row = 0;
  for (; row + R <= a.rows; row += R) tile<T, R, P>(a, row);
  for (; row < a.rows; ++row) tile<T, 1, P>(a, row);
}

}  // namespace

template <class T>
void conv_dots(const ConvDotsArgs<T>& a) {
  if (a.pixels == 1) return rows<T, 1>(a);
  if (a.pixels == 2) return rows<T, 2>(a);
  if (a.pixels == 3) return rows<T, 3>(a);
  rows<T, 4>(a);
}

template void conv_dots<float>(const ConvDotsArgs<float>&);
template void conv_dots<double>(const ConvDotsArgs<double>&);

}  // namespace fastconv::FASTCONV_ISA
