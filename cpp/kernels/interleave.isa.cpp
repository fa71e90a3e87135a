// Three planes to pixels of three channels: a convolution's copy of an image that lies channels first.
#include "kernels/isa.hpp"
#include "kernels/shape_args.hpp"

namespace fastconv::FASTCONV_ISA {

template <class T>
void interleave(const InterleaveArgs<T>& a) {
  constexpr int W = Vec<T>::width;
  std::int64_t i = 0;
  for (; i + W <= a.n; i += W) {
    Vec<T> r[3];
    FASTCONV_UNROLL for (int c = 0; c < 3; ++c) r[c] = Vec<T>::load(a.x + c * a.x_plane + i);
    Vec<T>::interleave(r);
    FASTCONV_UNROLL for (int c = 0; c < 3; ++c) r[c].store(a.y + 3 * i + c * W);
  }
  for (; i < a.n; ++i)
    for (int c = 0; c < 3; ++c) a.y[3 * i + c] = a.x[c * a.x_plane + i];
}

template void interleave<float>(const InterleaveArgs<float>&);
template void interleave<double>(const InterleaveArgs<double>&);

}  // namespace fastconv::FASTCONV_ISA
