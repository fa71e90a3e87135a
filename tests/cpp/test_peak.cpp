#include "harness.hpp"

namespace fastconv::test {

template <class T>
void test_fma_peak(const KernelTable<T>& table) {
  Guarded<T> sum(1);
  double flops = 0;
  const PeakArgs<T> a{10, T(0.5), T(1), sum.data(), &flops};
  table.fma_peak(a);
  // After n rounds x becomes 2 + (x - 2) / 2^n; flops = 2 * vectors * width * rounds.
  const int vectors = static_cast<int>(flops / (20.0 * table.width));
  double expected = 0;
  for (int i = 0; i < vectors; ++i) expected += table.width * (2 + (i - 2) / 1024.0);
  check(vectors >= 8, "fma_peak uses too few vectors");
  check_close(sum[0], expected, 1e-5, "fma_peak");
}

FASTCONV_TEST(fma_peak);

}  // namespace fastconv::test
