// What processor this is, and which instruction set the kernels use.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace fastconv {

enum class Isa : std::uint8_t { scalar, avx2, avx512, neon };

const char* name_of(Isa isa);
std::vector<Isa> compiled_isas();
bool supported(Isa isa);  // compiled in, and the processor and the operating system have it

// The best supported one, or what FASTCONV_ISA asks for; throws Error when that cannot be had.
Isa active_isa();

struct Caches {
  std::int64_t l1d, l2, l3;  // bytes; l1d and l2 of one core
};
const Caches& caches();

// Of the machine, whatever this process may use of them. Unlike the number of threads it may decide between algorithms.
int processors();

}  // namespace fastconv
