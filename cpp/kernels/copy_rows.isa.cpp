// Short rows of a matrix, copied densely for a product: calls for each would cost more than the copy.
#include "kernels/isa.hpp"
#include "kernels/shape_args.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

template <class T, int N>
void whole_vectors(const CopyRowsArgs<T>& a) {
  using V = Vec<T>;
  for (std::int64_t r = 0; r < a.rows; ++r) {
    V v[N];
    FASTCONV_UNROLL for (int i = 0; i < N; ++i) v[i] = V::load(a.x + r * a.x_row + i * V::width);
    FASTCONV_UNROLL for (int i = 0; i < N; ++i) v[i].store(a.y + r * a.y_row + i * V::width);
  }
}

}  // namespace

template <class T>
void copy_rows(const CopyRowsArgs<T>& a) {
  constexpr int W = Vec<T>::width;
  if (a.columns == 4 * W) return whole_vectors<T, 4>(a);
  if (a.columns == 2 * W) return whole_vectors<T, 2>(a);
  for (std::int64_t r = 0; r < a.rows; ++r) {
    const T* x = a.x + r * a.x_row;
    T* y = a.y + r * a.y_row;
    for (std::int64_t c = 0; c < a.columns; c += W)
      (a.columns - c < W ? Vec<T>::load(x + c, static_cast<int>(a.columns - c)) : Vec<T>::load(x + c)).store(y + c);
  }
}

template void copy_rows<float>(const CopyRowsArgs<float>&);
template void copy_rows<double>(const CopyRowsArgs<double>&);

}  // namespace fastconv::FASTCONV_ISA
