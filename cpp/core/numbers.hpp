// Conversions between element types that are defined for every value.
#pragma once
#include <cstdint>
#include <limits>
#include <type_traits>

#include "core/tensor.hpp"

namespace fastconv {

// Numbers past T's range become its nearest one, NaN becomes an integer's 0, fractions are cut off.
template <class T, class From>
T saturate(From x) {
  if constexpr (std::is_same_v<T, Bool>) {
    return Bool(x != From(0));
  } else if constexpr (std::is_floating_point_v<T> || std::is_same_v<From, Bool>) {
    return static_cast<T>(x);
  } else if constexpr (std::is_floating_point_v<From>) {
    using Limits = std::numeric_limits<T>;
    constexpr From low = static_cast<From>(Limits::min());
    constexpr From end = static_cast<From>(Limits::max() / 2 + 1) * 2;  // exact, where max() need not be
    const T inside = static_cast<T>(x >= low && x < end ? x : From(0));
    return x >= end ? Limits::max() : x < low ? Limits::min() : inside;
  } else {
    using Limits = std::numeric_limits<T>;
    if (x < From(0)) {
      if constexpr (!std::is_signed_v<T>) return 0;
      return static_cast<std::int64_t>(x) < static_cast<std::int64_t>(Limits::min()) ? Limits::min()
                                                                                     : static_cast<T>(x);
    }
    return static_cast<std::uint64_t>(x) > static_cast<std::uint64_t>(Limits::max()) ? Limits::max()
                                                                                     : static_cast<T>(x);
  }
}

// The `cast` operator: as saturate, but integers wrap around into other integers, as in NumPy.
template <class T, class From>
T convert(From x) {
  if constexpr (std::is_integral_v<T> && std::is_integral_v<From>)
    return static_cast<T>(x);
  else
    return saturate<T>(x);
}

namespace detail {
template <class T, bool integral = std::is_integral_v<T>>
struct Unsigned {
  using type = T;
};
template <class T>
struct Unsigned<T, true> {
  using type = std::make_unsigned_t<T>;
};
}  // namespace detail

// The unsigned type for integers, T otherwise: one piece of code for both where the sign does not matter.
template <class T>
using Unsigned = typename detail::Unsigned<T>::type;

}  // namespace fastconv
