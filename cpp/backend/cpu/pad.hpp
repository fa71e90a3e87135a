#pragma once
#include <cstdint>
#include <string>

namespace fastconv::cpu {

enum class PadMode : std::uint8_t { constant, reflect, replicate, circular };

inline PadMode pad_mode(const std::string& name) {
  if (name == "reflect") return PadMode::reflect;
  if (name == "replicate") return PadMode::replicate;
  if (name == "circular") return PadMode::circular;
  return PadMode::constant;
}

// Where position i of a padded axis (0 is the first element of the input, of size n) comes from: -1 is the constant.
inline std::int64_t pad_source(std::int64_t i, std::int64_t n, PadMode mode) {
  if (i >= 0 && i < n) return i;
  switch (mode) {
    case PadMode::reflect: return i < 0 ? -i : 2 * (n - 1) - i;
    case PadMode::replicate: return i < 0 ? 0 : n - 1;
    case PadMode::circular: return i < 0 ? i + n : i - n;
    case PadMode::constant: break;
  }
  return -1;
}

}  // namespace fastconv::cpu
