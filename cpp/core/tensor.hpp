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

// A byte that is a truth value whatever is in it: NumPy's bool arrays may hold more than 0 and 1.
struct Bool {
  std::uint8_t byte;
  Bool(bool value = false) : byte(value) {}
  operator bool() const { return byte != 0; }
};

// X(the enumerator, the C++ type, NumPy's name)
#define FASTCONV_DTYPES(X)        \
  X(f32, float, "float32")        \
  X(f64, double, "float64")       \
  X(i64, std::int64_t, "int64")   \
  X(i32, std::int32_t, "int32")   \
  X(i16, std::int16_t, "int16")   \
  X(i8, std::int8_t, "int8")      \
  X(u64, std::uint64_t, "uint64") \
  X(u32, std::uint32_t, "uint32") \
  X(u16, std::uint16_t, "uint16") \
  X(u8, std::uint8_t, "uint8")    \
  X(b8, Bool, "bool")

enum class DType : std::uint8_t {
#define FASTCONV_DTYPE(name, T, numpy) name,
  FASTCONV_DTYPES(FASTCONV_DTYPE)
#undef FASTCONV_DTYPE
};

template <class T>
struct DTypeOf;
#define FASTCONV_DTYPE(name, T, numpy)          \
  template <>                                   \
  struct DTypeOf<T> {                           \
    static constexpr DType value = DType::name; \
  };
FASTCONV_DTYPES(FASTCONV_DTYPE)
#undef FASTCONV_DTYPE

// Calls fn with a value of the element type.
template <class Fn>
auto visit(DType dtype, Fn&& fn) -> decltype(fn(float{})) {
  switch (dtype) {
#define FASTCONV_DTYPE(name, T, numpy) \
  case DType::name: return fn(T{});
    FASTCONV_DTYPES(FASTCONV_DTYPE)
#undef FASTCONV_DTYPE
  }
  throw std::logic_error("unknown dtype");
}

// Calls fn with an unsigned integer as wide as the element, for what only moves bits.
template <class Fn>
auto visit_bits(std::size_t bytes, Fn&& fn) -> decltype(fn(std::uint8_t{})) {
  switch (bytes) {
    case 1: return fn(std::uint8_t{});
    case 2: return fn(std::uint16_t{});
    case 4: return fn(std::uint32_t{});
    case 8: return fn(std::uint64_t{});
  }
  throw std::logic_error("unknown element size");
}

constexpr std::size_t size_of(DType dtype) {
  constexpr std::size_t sizes[] = {
#define FASTCONV_DTYPE(name, T, numpy) sizeof(T),
      FASTCONV_DTYPES(FASTCONV_DTYPE)
#undef FASTCONV_DTYPE
  };
  return sizes[static_cast<std::size_t>(dtype)];
}

constexpr bool is_floating(DType t) { return t == DType::f32 || t == DType::f64; }
constexpr bool is_integer(DType t) { return !is_floating(t) && t != DType::b8; }
const char* name_of(DType t);
DType dtype_from_name(const std::string& name);
std::string dtype_names();  // "float32, float64, ... or bool"

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
