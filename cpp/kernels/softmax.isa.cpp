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

// Vectors of an axis that are kept on the stack: at a stride of a power of two the cache would lose them.
constexpr std::int64_t kKept = 64;

// One vector of softmaxes that lie side by side; x(i) gives their i-th elements, keep(i, v) sets x(i).
template <class V, class X, class Keep, class Store>
FASTCONV_INLINE void column(std::int64_t n, bool take_log, X x, Keep keep, Store store) {
  V m = x(0), s = V::zero();
  for (std::int64_t i = 1; i < n; ++i) m = max(m, x(i));
  for (std::int64_t i = 0; i < n; ++i) {
    const V d = x(i) - m, e = exp(d);
    s = s + e;
    keep(i, take_log ? d : e);
  }
  const V last = take_log ? log(s) : V::set(1) / s;
  for (std::int64_t i = 0; i < n; ++i) store(i, take_log ? x(i) - last : x(i) * last);
}

template <class T, class Part>
FASTCONV_INLINE void columns(const SoftmaxArgs<T>& a, Part part) {
  using V = Vec<T>;
  const std::int64_t n = a.length, step = a.stride;
  const auto store = [&](std::int64_t i, V v) { part.store(v, a.y + i * step); };
  V x[kKept];
  if (!a.dy) {
    if (n > kKept) {
      for (std::int64_t i = 0; i < n; ++i) store(i, part.load(a.x + i * step));
      column<V>(n, a.log, [&](std::int64_t i) { return part.load(a.y + i * step); }, store, store);
    } else {
      for (std::int64_t i = 0; i < n; ++i) x[i] = part.load(a.x + i * step);
      column<V>(n, a.log, [&](std::int64_t i) { return x[i]; }, [&](std::int64_t i, V v) { x[i] = v; }, store);
    }
    return;
  }
  V dy[kKept], s = V::zero();
  for (std::int64_t i = 0; i < n; ++i) {
    const V g = part.load(a.dy + i * step), y = part.load(a.x + i * step);
    s = a.log ? s + g : fma(g, y, s);
    if (n <= kKept) x[i] = y, dy[i] = g;
  }
  for (std::int64_t i = 0; i < n; ++i) {
    const V g = n <= kKept ? dy[i] : part.load(a.dy + i * step), y = n <= kKept ? x[i] : part.load(a.x + i * step);
    store(i, a.log ? g - exp(y) * s : y * (g - s));
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
