// What the depthwise kernels share.
#pragma once
#include "kernels/isa.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

// Whole vectors of channels, or the last n < width of them.
template <class T, bool whole>
struct Channels {
  using VT = Vec<T>;
  std::int64_t vectors;
  int n;
  FASTCONV_INLINE VT load(const T* p) const { return whole ? VT::load(p) : VT::load(p, n); }
  FASTCONV_INLINE VT load_once(const T* p) const { return whole ? VT::load_once(p) : VT::load_once(p, n); }
  FASTCONV_INLINE void store(VT v, T* p) const {
    if constexpr (whole)
      v.store(p);
    else
      v.store(p, n);
  }
};

// Taps [begin, end) of those at first, first + step, ... lie in [0, in).
struct Taps {
  std::int64_t begin, end;
};
FASTCONV_INLINE Taps taps_inside(std::int64_t first, std::int64_t step, std::int64_t taps, std::int64_t in) {
  if (first >= 0 && first + (taps - 1) * step < in) return {0, taps};
  std::int64_t begin = 0, end = taps;
  while (begin < end && first + begin * step < 0) ++begin;
  while (end > begin && first + (end - 1) * step >= in) --end;
  return {begin, end};
}

}  // namespace
}  // namespace fastconv::FASTCONV_ISA
