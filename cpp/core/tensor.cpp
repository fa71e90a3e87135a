#include "core/tensor.hpp"

namespace fastconv {

const char* name_of(DType t) {
  constexpr const char* names[] = {
#define FASTCONV_DTYPE(name, T, numpy) numpy,
      FASTCONV_DTYPES(FASTCONV_DTYPE)
#undef FASTCONV_DTYPE
  };
  return names[static_cast<std::size_t>(t)];
}

DType dtype_from_name(const std::string& name) {
#define FASTCONV_DTYPE(enumerator, T, numpy) \
  if (name == numpy) return DType::enumerator;
  FASTCONV_DTYPES(FASTCONV_DTYPE)
#undef FASTCONV_DTYPE
  throw Error("dtype " + name + " is not supported; expected " + dtype_names());
}

std::string dtype_names() {
  std::string names;
#define FASTCONV_DTYPE(enumerator, T, numpy) \
  names += std::string(names.empty() ? "" : DType::enumerator == DType::b8 ? " or " : ", ") + numpy;
  FASTCONV_DTYPES(FASTCONV_DTYPE)
#undef FASTCONV_DTYPE
  return names;
}

std::string to_string(const Shape& shape) {
  std::string s = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i) s += ", ";
    s += std::to_string(shape[i]);
  }
  if (shape.size() == 1) s += ",";
  return s + ")";
}

std::int64_t num_elements(const Shape& shape) {
  // 2^46 elements are 512 TiB of float64: past any machine, and far from overflow in later sums.
  constexpr std::int64_t limit = std::int64_t{1} << 46;
  std::int64_t n = 1;
  bool empty = false;
  for (auto d : shape) {
    if (d < 0) throw Error("shape " + to_string(shape) + " has a negative dimension");
    if (d == 0) {
      empty = true;
      continue;
    }
    if (d > limit / n) throw Error("shape " + to_string(shape) + " is too large");
    n *= d;
  }
  return empty ? 0 : n;
}

std::int64_t product(const Shape& shape, std::size_t begin, std::size_t end) {
  std::int64_t n = 1;
  for (std::size_t i = begin; i < end; ++i) n *= shape[i];
  return n;
}

}  // namespace fastconv
