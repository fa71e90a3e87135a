#include "core/cpu.hpp"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>

#include "core/tensor.hpp"
#if defined(__linux__)
#include <unistd.h>
#endif

namespace fastconv {

const char* name_of(Isa isa) {
  switch (isa) {
    case Isa::scalar: return "scalar";
    case Isa::avx2: return "avx2";
    case Isa::avx512: return "avx512";
  }
  return "?";
}

std::vector<Isa> compiled_isas() {
  std::vector<Isa> isas{Isa::scalar};
#ifdef FASTCONV_HAVE_AVX2
  isas.push_back(Isa::avx2);
#endif
#ifdef FASTCONV_HAVE_AVX512
  isas.push_back(Isa::avx512);
#endif
  return isas;
}

namespace {

// __builtin_cpu_supports also checks that the operating system saves the registers (XGETBV).
bool processor_has(Isa isa) {
  if (isa == Isa::scalar) return true;
#if (defined(__x86_64__) || defined(__i386__)) && defined(__GNUC__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (isa == Isa::avx2) return avx2;
  return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
  return false;
#endif
}

Isa choose() {
  const char* wish = std::getenv("FASTCONV_ISA");
  Isa best = Isa::scalar;
  std::string have;
  for (Isa isa : compiled_isas()) {
    if (!processor_has(isa)) continue;
    best = isa;
    have += std::string(have.empty() ? "" : ", ") + name_of(isa);
  }
  if (!wish || !*wish) return best;
  for (Isa isa : compiled_isas())
    if (std::string(wish) == name_of(isa)) {
      if (processor_has(isa)) return isa;
      throw Error("FASTCONV_ISA=" + std::string(wish) +
                  ": this processor does not support it; supported here: " + have);
    }
  throw Error("FASTCONV_ISA=" + std::string(wish) + ": not an instruction set of this build; supported here: " + have);
}

std::int64_t cache_size(int name, std::int64_t fallback) {
#if defined(__linux__) && defined(_SC_LEVEL1_DCACHE_SIZE)
  const long n = sysconf(name);
  if (n > 0) return n;
#else
  (void)name;
#endif
  return fallback;
}

}  // namespace

bool supported(Isa isa) {
  for (Isa c : compiled_isas())
    if (c == isa) return processor_has(isa);
  return false;
}

Isa active_isa() {
  static const Isa isa = choose();
  return isa;
}

const Caches& caches() {
#if defined(__linux__) && defined(_SC_LEVEL1_DCACHE_SIZE)
  static const Caches c{cache_size(_SC_LEVEL1_DCACHE_SIZE, 32 << 10), cache_size(_SC_LEVEL2_CACHE_SIZE, 1 << 20),
                        cache_size(_SC_LEVEL3_CACHE_SIZE, 8 << 20)};
#else
  static const Caches c{32 << 10, 1 << 20, 8 << 20};
#endif
  return c;
}

int processors() {
  static const int n = [] {
    const char* root = std::getenv("FASTCONV_CGROUP_ROOT");  // for tests: stands for the "/" of proc and sys
    std::ifstream f((root ? std::string(root) : "") + "/sys/devices/system/cpu/present");
    std::string ranges;  // "0-63"
    f >> ranges;
    const std::size_t last = ranges.find_last_of(",-");
    const int highest = std::atoi(ranges.c_str() + (last == std::string::npos ? 0 : last + 1));
    return std::max({1, highest + 1, static_cast<int>(std::thread::hardware_concurrency())});
  }();
  return n;
}

}  // namespace fastconv
