// The arithmetic limit of a core, as the kernels could reach it: independent FMAs on registers.
#include "kernels/isa.hpp"
#include "kernels/peak_args.hpp"

namespace fastconv::FASTCONV_ISA {

template <class T>
void fma_peak(const PeakArgs<T>& a) {
  using VT = Vec<T>;
  constexpr int N = 12;  // enough to hide the latency, few enough for 16 registers
  VT acc[N];
  const VT factor = VT::set(a.factor), term = VT::set(a.term);
  FASTCONV_UNROLL for (int i = 0; i < N; ++i) acc[i] = VT::set(static_cast<T>(i));
  for (std::int64_t k = 0; k < a.iterations; ++k)
    FASTCONV_UNROLL for (int i = 0; i < N; ++i) acc[i] = fma(acc[i], factor, term);
  VT s = acc[0];
  FASTCONV_UNROLL for (int i = 1; i < N; ++i) s = s + acc[i];
  *a.sum = sum(s);
  *a.flops = 2.0 * N * VT::width * static_cast<double>(a.iterations);
}

template void fma_peak<float>(const PeakArgs<float>&);
template void fma_peak<double>(const PeakArgs<double>&);

}  // namespace fastconv::FASTCONV_ISA
