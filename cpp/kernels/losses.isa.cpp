// Cross-entropy from logits, in the forms that neither overflow nor cancel.
#include "kernels/isa.hpp"
#include "kernels/math_exp.hpp"
#include "kernels/rows.hpp"
#include "kernels/softmax_args.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

// With d = x - max: loss = sum of t' * (log(sum of exp d) - d), t' = t * (1 - smoothing) + smoothing / classes.
template <class T>
T row_loss(const CrossEntropyArgs<T>& a, std::int64_t r) {
  using V = Vec<T>;
  const std::int64_t n = a.classes;
  const T* x = a.x + r * n;
  const T keep = 1 - a.smoothing, spread = a.smoothing / static_cast<T>(n);
  const T top = row_max(x, n);
  const V m = V::set(top);
  V s = V::zero();
  for_row<V>(n, [&](auto part) { s = s + exp(part.load(x) - m); });
  const V log_sum = log(V::set(sum(s)));
  T lanes[V::width];
  log_sum.store(lanes);

  V total = V::zero();
  if (a.probabilities) {
    const T* t = a.probabilities + r * n;
    for_row<V>(n, [&](auto part) {
      const V target = fma(part.zeros(t), V::set(keep), V::set(spread));
      total = total + part.only(target * (log_sum - (part.load(x) - m)));
    });
    return sum(total);
  }
  const T hard = lanes[0] - (x[a.labels[r]] - top);
  if (a.smoothing == 0) return hard;
  for_row<V>(n, [&](auto part) { total = total + part.only(log_sum - (part.load(x) - m)); });
  return keep * hard + spread * sum(total);
}

// dx = (softmax(x) * sum of t' - t') * dloss
template <class T>
void row_gradient(const CrossEntropyArgs<T>& a, std::int64_t r) {
  using V = Vec<T>;
  const std::int64_t n = a.classes;
  const T* x = a.x + r * n;
  T* dx = a.y + r * n;
  const T keep = 1 - a.smoothing, spread = a.smoothing / static_cast<T>(n), dloss = a.dloss[r];
  const T exponentials = exp_row(x, V::set(row_max(x, n)), n, dx);
  const V d = V::set(dloss), part_of_all = V::set(spread);
  if (a.probabilities) {
    const T* t = a.probabilities + r * n;
    V total = V::zero();
    for_row<V>(n, [&](auto part) { total = total + part.zeros(t); });
    const V scale = V::set((keep * sum(total) + a.smoothing) / exponentials);
    for_row<V>(n, [&](auto part) {
      const V target = fma(part.zeros(t), V::set(keep), part_of_all);
      part.store((part.load(dx) * scale - target) * d, dx);
    });
    return;
  }
  const V scale = V::set(1 / exponentials);
  const std::int64_t label = a.labels[r];
  const T probability = dx[label] / exponentials;
  for_row<V>(n, [&](auto part) { part.store((part.load(dx) * scale - part_of_all) * d, dx); });
  dx[label] = (probability - (keep + spread)) * dloss;
}

template <class T, class Fn>
FASTCONV_INLINE void each(const SigmoidCrossEntropyArgs<T>& a, Fn fn) {
  for_row<Vec<T>>(a.n, [&](auto part) { part.store(fn(part.zeros(a.x), part.zeros(a.target), part), a.y); });
}

}  // namespace

template <class T>
void cross_entropy(const CrossEntropyArgs<T>& a) {
  for (std::int64_t r = 0; r < a.rows; ++r) {
    const bool ignored = a.labels && a.labels[r] == a.ignore_index;
    if (!a.dloss) {
      a.y[r] = ignored ? T(0) : row_loss(a, r);
    } else if (ignored) {
      for (std::int64_t i = 0; i < a.classes; ++i) a.y[r * a.classes + i] = 0;
    } else {
      row_gradient(a, r);
    }
  }
}

template <class T>
void sigmoid_cross_entropy(const SigmoidCrossEntropyArgs<T>& a) {
  using V = Vec<T>;
  const V one = V::set(1);
  if (a.dloss) {
    each(a,
         [&](V x, V target, auto part) { return (one / (one + exp(V::zero() - x)) - target) * part.zeros(a.dloss); });
    return;
  }
  each(a, [&](V x, V target, auto) {
    const V e = exp(V::zero() - abs(x)), u = one + e;
    // log(1 + e) with the bits that 1 + e has lost
    const V log1p = select(equal(u, one), e, log(u) * e / (u - one));
    return x * select(less(V::zero(), x), one - target, V::zero() - target) + log1p;
  });
}

template void cross_entropy<float>(const CrossEntropyArgs<float>&);
template void cross_entropy<double>(const CrossEntropyArgs<double>&);
template void sigmoid_cross_entropy<float>(const SigmoidCrossEntropyArgs<float>&);
template void sigmoid_cross_entropy<double>(const SigmoidCrossEntropyArgs<double>&);

}  // namespace fastconv::FASTCONV_ISA
