// Kernel tests: each registered kernel has a `template <class T> void test_NAME(const KernelTable<T>&)`, called for
// float and double on every instruction set. A missing one does not compile.
#pragma once
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/kernels.hpp"

namespace fastconv::test {

// An array that begins or ends, as chance has it, at a page that may not be touched: reading or writing there ends the
// process. Beside its other end nothing may be written.
template <class T>
class Guarded {
 public:
  explicit Guarded(std::int64_t n) : n_(n) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t bytes = static_cast<std::size_t>(n) * sizeof(T);
    inner_ = (bytes + page - 1) / page * page;
    total_ = inner_ + 2 * page;
    base_ = static_cast<char*>(mmap(nullptr, total_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (base_ == MAP_FAILED || (inner_ && mprotect(base_ + page, inner_, PROT_READ | PROT_WRITE))) std::abort();
    static std::minstd_rand side(1);
    const bool at_end = side() % 2 == 0;
    rest_ = inner_ - bytes;
    char* const begin = base_ + page + (at_end ? rest_ : 0);
    untouched_ = at_end ? base_ + page : begin + bytes;
    std::memset(untouched_, kUntouched, rest_);
    data_ = reinterpret_cast<T*>(begin);
  }
  ~Guarded() {
    for (std::size_t i = 0; i < rest_; ++i)
      if (untouched_[i] != kUntouched) {
        std::fprintf(stderr, "a kernel wrote beside an array of %lld elements\n", static_cast<long long>(n_));
        std::abort();
      }
    munmap(base_, total_);
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  T* data() { return data_; }
  const T* data() const { return data_; }
  T& operator[](std::int64_t i) { return data_[i]; }
  const T& operator[](std::int64_t i) const { return data_[i]; }
  std::int64_t size() const { return n_; }

 private:
  static constexpr char kUntouched = 0x5a;
  std::int64_t n_;
  std::size_t inner_, total_, rest_;
  char *base_, *untouched_;
  T* data_;
};

inline std::mt19937_64& random_engine() {
  static std::mt19937_64 engine(20240607);
  return engine;
}

inline std::int64_t random_int(std::int64_t lo, std::int64_t hi) {
  return std::uniform_int_distribution<std::int64_t>(lo, hi)(random_engine());
}

template <class T>
void fill_random(Guarded<T>& a, double scale = 1.0) {
  std::normal_distribution<double> normal(0, scale);
  for (std::int64_t i = 0; i < a.size(); ++i) a[i] = static_cast<T>(normal(random_engine()));
}

// Rounding of a sum of `terms` products of size about 1.
template <class T>
double tolerance(double terms) {
  return (sizeof(T) == 4 ? 6e-8 : 1.2e-16) * 8 * (terms + 4);
}

inline int& failures() {
  static int n = 0;
  return n;
}
inline int& checks() {
  static int n = 0;
  return n;
}

inline void check(bool good, const std::string& what) {
  ++checks();
  if (good) return;
  if (++failures() <= 20) std::printf("FAILED: %s\n", what.c_str());
}

inline void check_close(double got, double expected, double tol, const std::string& what) {
  const bool same = got == expected || (std::isnan(got) && std::isnan(expected));
  check(same || std::fabs(got - expected) <= tol * std::max(1.0, std::fabs(expected)),
        what + ": got " + std::to_string(got) + ", expected " + std::to_string(expected));
}

#define FASTCONV_KERNEL(name, Args) \
  template <class T>                \
  void test_##name(const KernelTable<T>& table);
#include "kernels/kernels.inc"
#undef FASTCONV_KERNEL

}  // namespace fastconv::test

// Put at the end of a file that defines test_NAME.
#define FASTCONV_TEST(name)                                          \
  template void test_##name<float>(const KernelTable<float>& table); \
  template void test_##name<double>(const KernelTable<double>& table)
