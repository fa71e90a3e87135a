// Sums of overlapping runs: the last step of a convolution with fewer output channels than a vector has elements.
#include "kernels/conv_args.hpp"
#include "kernels/isa.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

// Runs of N elements, one further each: an element of y after the other, from all runs that have it.
template <int N, class T>
void add_diagonals(const OverlapArgs<T>& a) {
  const std::int64_t end = a.runs + N - 1;
  const auto add_inside = [&a](std::int64_t p) {
    for (std::int64_t i = p < N ? 0 : p - N + 1; i <= p && i < a.runs; ++i) a.y[p] += a.x[i * a.x_run + p - i];
  };
  std::int64_t p = 0;
  for (; p < N - 1 && p < end; ++p) add_inside(p);
  const T* x = a.x + N - 1;
  for (; p < a.runs; ++p, x += a.x_run) {
    T s = a.y[p];
    FASTCONV_UNROLL for (int j = 0; j < N; ++j) s += x[j * (a.x_run - 1)];
    a.y[p] = s;
  }
  for (; p < end; ++p) add_inside(p);
}

}  // namespace

// Every `apart`-th run overlaps none of the others, not even by the masked end of its last vector, so that no load
// waits for the store just before it.
template <class T>
void overlap_add(const OverlapArgs<T>& a) {
  using VT = Vec<T>;
  constexpr int W = VT::width;
  if (a.step == 1 && W > 4) {
    if (a.n == 3) return add_diagonals<3>(a);
    if (a.n == 5) return add_diagonals<5>(a);
  }
  const std::int64_t apart = ((a.n + W - 1) / W * W + a.step - 1) / a.step, whole = a.n / W * W;
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
