// Element types, shapes, attributes and errors shared by every layer of the core.
#pragma once
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace fastconv {

// Raised for every mistake of the caller; becomes Python's ValueError.
struct Error : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

enum class DType : std::uint8_t { f32, f64, i64 };

constexpr std::size_t size_of(DType t) { return t == DType::f32 ? 4 : 8; }
const char* name_of(DType t);
DType dtype_from_name(const std::string& name);

template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::f64;
};
template <>
struct DTypeOf<std::int64_t> {
  static constexpr DType value = DType::i64;
};

using Shape = std::vector<std::int64_t>;

std::string to_string(const Shape& shape);

// Product of the dimensions; throws Error when one is negative or the bytes would overflow.
std::int64_t num_elements(const Shape& shape);

// Product of dimensions [begin, end) of a shape already checked by num_elements.
std::int64_t product(const Shape& shape, std::size_t begin, std::size_t end);

struct TensorType {
  Shape shape;
  DType dtype = DType::f32;
  std::int64_t size() const { return product(shape, 0, shape.size()); }
  std::size_t bytes() const { return static_cast<std::size_t>(size()) * size_of(dtype); }
};

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
inline std::int64_t round_up(std::int64_t a, std::int64_t b) { return ceil_div(a, b) * b; }

}  // namespace fastconv
