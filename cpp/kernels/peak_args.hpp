#pragma once
#include <cstdint>

namespace fastconv {

// Runs `iterations` rounds of acc = acc * factor + term on as many vectors as hide the latency, from acc = 0, 1, 2, ...
template <class T>
struct PeakArgs {
  std::int64_t iterations;
  T factor, term;
  T* sum;  // of all elements
  double* flops;
};

}  // namespace fastconv
