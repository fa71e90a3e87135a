// Denormals run up to a hundred times slower and carry no information here. They are flushed to zero while
// kernels run; the caller's floating-point state is put back after them.
#pragma once
#if defined(__x86_64__) || defined(_M_X64)
#include <xmmintrin.h>
#endif
#include <cstdint>

namespace fastconv::simd {

class FlushDenormals {
 public:
#if defined(__x86_64__) || defined(_M_X64)
  FlushDenormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040u); }  // FTZ | DAZ
  ~FlushDenormals() { _mm_setcsr(saved_); }
#elif defined(__aarch64__) && defined(__GNUC__)
  FlushDenormals() {
    asm volatile("mrs %0, fpcr" : "=r"(saved_) : : "memory");
    set(saved_ | (std::uint64_t{1} << 24));  // FZ, of inputs and results
  }
  ~FlushDenormals() { set(saved_); }
#else
  FlushDenormals() = default;
#endif
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
#if defined(__x86_64__) || defined(_M_X64)
  unsigned saved_;
#elif defined(__aarch64__) && defined(__GNUC__)
  static void set(std::uint64_t state) { asm volatile("msr fpcr, %0" : : "r"(state) : "memory"); }

  std::uint64_t saved_;
#endif
};

}  // namespace fastconv::simd
