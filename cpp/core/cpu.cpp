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
    case Isa::neon: return "neon";
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
#ifdef FASTCONV_HAVE_NEON
  isas.push_back(Isa::neon);
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
#elif defined(__aarch64__)
  return isa == Isa::neon;
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

// The data cache of a level, as sysfs has it of processor 0; 0 where it does not tell.
std::int64_t cache_in_sysfs(int level) {
  for (int i = 0; i < 8; ++i) {
    const std::string folder = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(i) + "/";
    const auto read = [&](const char* name) {
      std::string word;
      std::ifstream(folder + name) >> word;
      return word;
    };
    if (read("level") != std::to_string(level) || read("type") == "Instruction") continue;
    const std::string size = read("size");  // "64K"
    const std::int64_t unit = size.empty() ? 0 : size.back() == 'K' ? 1 << 10 : size.back() == 'M' ? 1 << 20 : 1;
    return std::atoll(size.c_str()) * unit;
  }
  return 0;
}

// By sysconf, which on some processors (64-bit Arm) and with some C libraries knows none.
std::int64_t cache_size([[maybe_unused]] int name, int level, std::int64_t fallback) {
#if defined(__linux__) && defined(_SC_LEVEL1_DCACHE_SIZE)
  const long known = sysconf(name);
  if (known > 0) return known;
#endif
  const std::int64_t n = cache_in_sysfs(level);
  return n > 0 ? n : fallback;
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
  constexpr int names[] = {_SC_LEVEL1_DCACHE_SIZE, _SC_LEVEL2_CACHE_SIZE, _SC_LEVEL3_CACHE_SIZE};
#else
  constexpr int names[] = {0, 0, 0};
#endif
  static const Caches c{cache_size(names[0], 1, 32 << 10), cache_size(names[1], 2, 1 << 20),
                        cache_size(names[2], 3, 8 << 20)};
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
