#include "kernels/isa.hpp"
#include "kernels/math_exp.hpp"
#include "kernels/rows.hpp"
#include "kernels/softmax_args.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

template <class T>
void row(const SoftmaxArgs<T>& a, const T* x, T* y) {
  using V = Vec<T>;
  const std::int64_t n = a.length;
  const V m = V::set(row_max(x, n));
  if (a.log) {
    V s = V::zero();
    for_row<V>(n, [&](auto part) { s = s + exp(part.load(x) - m); });
    const V log_sum = log(V::set(sum(s)));
    for_row<V>(n, [&](auto part) { part.store((part.load(x) - m) - log_sum, y); });
    return;
  }
  const V scale = V::set(1) / V::set(exp_row(x, m, n, y));
  for_row<V>(n, [&](auto part) { part.store(part.load(y) * scale, y); });
}

template <class T>
void row_gradient(const SoftmaxArgs<T>& a, const T* y, const T* dy, T* dx) {
  using V = Vec<T>;
  const std::int64_t n = a.length;
  V s = V::zero();
  if (a.log) {
    for_row<V>(n, [&](auto part) { s = s + part.zeros(dy); });
    const V total = V::set(sum(s));
    for_row<V>(n, [&](auto part) { part.store(part.load(dy) - exp(part.load(y)) * total, dx); });
  } else {
    for_row<V>(n, [&](auto part) { s = fma(part.zeros(dy), part.zeros(y), s); });
    const V total = V::set(sum(s));
    for_row<V>(n, [&](auto part) { part.store(part.load(y) * (part.load(dy) - total), dx); });
  }
}

// One vector of softmaxes that lie side by side.
template <class T, class Part>
FASTCONV_INLINE void columns(const SoftmaxArgs<T>& a, Part part) {
  using V = Vec<T>;
  const std::int64_t end = a.length * a.stride, step = a.stride;
  if (a.dy) {
    V s = V::zero();
    for (std::int64_t i = 0; i < end; i += step) {
      const V dy = part.load(a.dy + i);
      s = a.log ? s + dy : fma(dy, part.load(a.x + i), s);
    }
    for (std::int64_t i = 0; i < end; i += step) {
      const V y = part.load(a.x + i), dy = part.load(a.dy + i);
      part.store(a.log ? dy - exp(y) * s : y * (dy - s), a.y + i);
    }
    return;
  }
  V m = part.load(a.x), s = V::zero();
  for (std::int64_t i = step; i < end; i += step) m = max(m, part.load(a.x + i));
  for (std::int64_t i = 0; i < end; i += step) {
    const V d = part.load(a.x + i) - m, e = exp(d);
    s = s + e;
    part.store(a.log ? d : e, a.y + i);
  }
  const V last = a.log ? log(s) : V::set(1) / s;
  for (std::int64_t i = 0; i < end; i += step) {
    const V y = part.load(a.y + i);
    part.store(a.log ? y - last : y * last, a.y + i);
  }
}

}  // namespace

template <class T>
void softmax(const SoftmaxArgs<T>& a) {
  if (a.length <= 0) return;
  if (a.stride != 1) return for_row<Vec<T>>(a.rows, [&](auto part) { columns(a, part); });
  for (std::int64_t r = 0; r < a.rows; ++r) {
    const std::int64_t at = r * a.length;
    if (a.dy)
      row_gradient(a, a.x + at, a.dy + at, a.y + at);
    else
      row(a, a.x + at, a.y + at);
  }
}

template void softmax<float>(const SoftmaxArgs<float>&);
template void softmax<double>(const SoftmaxArgs<double>&);

}  // namespace fastconv::FASTCONV_ISA
