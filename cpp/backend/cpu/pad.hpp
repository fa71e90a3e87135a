#pragma once
#include <cstdint>
#include <string>

namespace fastconv::cpu {

// Where position i of a padded axis (0 is the first element of the input, of size n) comes from: -1 is the constant.
inline std::int64_t pad_source(std::int64_t i, std::int64_t n, const std::string& mode) {
  if (i >= 0 && i < n) return i;
  if (mode == "reflect") return i < 0 ? -i : 2 * (n - 1) - i;
  if (mode == "replicate") return i < 0 ? 0 : n - 1;
  if (mode == "circular") return i < 0 ? i + n : i - n;
  return -1;
}

}  // namespace fastconv::cpu
