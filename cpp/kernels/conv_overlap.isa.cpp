// Sums of overlapping runs: the last step of a convolution with fewer output channels than a vector has elements.
#include "kernels/conv_args.hpp"
#include "kernels/isa.hpp"

namespace fastconv::FASTCONV_ISA {

// Every `apart`-th run overlaps none of the others, so that no load waits for the store just before it.
template <class T>
void overlap_add(const OverlapArgs<T>& a) {
  using VT = Vec<T>;
  constexpr int W = VT::width;
  const std::int64_t apart = (a.n + a.step - 1) / a.step, whole = a.n / W * W;
  const int tail = static_cast<int>(a.n - whole);
  for (std::int64_t first = 0; first < apart; ++first)
    for (std::int64_t i = first; i < a.runs; i += apart) {
      const T* x = a.x + i * a.x_run;
      T* y = a.y + i * a.step;
      for (std::int64_t c = 0; c < whole; c += W) (VT::load(y + c) + VT::load(x + c)).store(y + c);
      if (tail) (VT::load(y + whole, tail) + VT::load(x + whole, tail)).store(y + whole, tail);
    }
}

template void overlap_add<float>(const OverlapArgs<float>&);
template void overlap_add<double>(const OverlapArgs<double>&);

}  // namespace fastconv::FASTCONV_ISA
