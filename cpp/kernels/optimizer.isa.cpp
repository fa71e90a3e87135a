// Optimizer updates: one pass over the parameter, its gradient and its state. Formulas are Keras 3's.
#include "kernels/isa.hpp"
#include "kernels/optimizer_args.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

// fn(load, store) for every whole vector and the tail.
template <class T, class Fn>
FASTCONV_INLINE void for_vectors(std::int64_t n, Fn fn) {
  constexpr int W = Vec<T>::width;
  std::int64_t i = 0;
  for (; i + W <= n; i += W) fn([i](auto* p) { return Vec<T>::load(p + i); }, [i](T* p, Vec<T> v) { v.store(p + i); });
  const int rest = static_cast<int>(n - i);
  if (rest)
    fn([i, rest](auto* p) { return Vec<T>::load(p + i, rest); }, [i, rest](T* p, Vec<T> v) { v.store(p + i, rest); });
}

template <class T, bool momentum>
FASTCONV_NOINLINE void sgd(const SgdArgs<T>& a) {
  using V = Vec<T>;
  const V decay = V::set(-a.decay), lr = V::set(-a.lr), mu = V::set(a.momentum);
  for_vectors<T>(a.n, [&](auto load, auto store) {
    V p = load(a.param);
    p = fma(decay, p, p);
    const V step = lr * load(a.grad);
    if constexpr (momentum) {
      const V velocity = fma(mu, load(a.velocity), step);
      store(a.velocity, velocity);
      p = a.nesterov ? fma(mu, velocity, step) + p : p + velocity;
    } else {
      p = p + step;
    }
    store(a.param, p);
  });
}

template <class T, bool amsgrad>
FASTCONV_NOINLINE void adam(const AdamArgs<T>& a) {
  using V = Vec<T>;
  const V decay = V::set(-a.decay), rate = V::set(a.rate), epsilon = V::set(a.epsilon);
  const V gain1 = V::set(a.gain1), gain2 = V::set(a.gain2);
  for_vectors<T>(a.n, [&](auto load, auto store) {
    const V g = load(a.grad), m0 = load(a.m), v0 = load(a.v);
    V p = load(a.param);
    p = fma(decay, p, p);
    const V m = fma(g - m0, gain1, m0);
    V v = fma(fma(g, g, V::zero() - v0), gain2, v0);
    store(a.m, m);
    store(a.v, v);
    if constexpr (amsgrad) {
      v = max(load(a.vhat), v);
      store(a.vhat, v);
    }
    store(a.param, p - rate * m / (sqrt(v) + epsilon));
  });
}

template <class T, bool momentum, bool centered>
FASTCONV_NOINLINE void rmsprop(const RmspropArgs<T>& a) {
  using V = Vec<T>;
  const V decay = V::set(-a.decay), lr = V::set(a.lr), epsilon = V::set(a.epsilon), mu = V::set(a.momentum);
  const V rho = V::set(a.rho), keep = V::set(a.keep);
  for_vectors<T>(a.n, [&](auto load, auto store) {
    const V g = load(a.grad);
    V p = load(a.param);
    p = fma(decay, p, p);
    const V v = fma(rho, load(a.v), keep * (g * g));
    store(a.v, v);
    V variance = v;
    if constexpr (centered) {
      const V mean = fma(rho, load(a.mean), keep * g);
      store(a.mean, mean);
      variance = v - mean * mean;
    }
    V step = lr * g / sqrt(variance + epsilon);
    if constexpr (momentum) {
      step = fma(mu, load(a.momentum_buffer), step);
      store(a.momentum_buffer, step);
    }
    store(a.param, p - step);
  });
}

}  // namespace

template <class T>
void sgd_update(const SgdArgs<T>& a) {
  a.velocity ? sgd<T, true>(a) : sgd<T, false>(a);
}

template <class T>
void adam_update(const AdamArgs<T>& a) {
  a.vhat ? adam<T, true>(a) : adam<T, false>(a);
}

template <class T>
void rmsprop_update(const RmspropArgs<T>& a) {
  if (a.momentum_buffer)
    a.mean ? rmsprop<T, true, true>(a) : rmsprop<T, true, false>(a);
  else
    a.mean ? rmsprop<T, false, true>(a) : rmsprop<T, false, false>(a);
}

template <class T>
void adagrad_update(const AdagradArgs<T>& a) {
  using V = Vec<T>;
  const V decay = V::set(-a.decay), lr = V::set(a.lr), epsilon = V::set(a.epsilon);
  for_vectors<T>(a.n, [&](auto load, auto store) {
    const V g = load(a.grad);
    V p = load(a.param);
    p = fma(decay, p, p);
    const V sum = fma(g, g, load(a.accumulator));
    store(a.accumulator, sum);
    store(a.param, p - lr * g / sqrt(sum + epsilon));
  });
}

#define FASTCONV_INSTANTIATE(T)                           \
  template void sgd_update<T>(const SgdArgs<T>&);         \
  template void adam_update<T>(const AdamArgs<T>&);       \
  template void rmsprop_update<T>(const RmspropArgs<T>&); \
  template void adagrad_update<T>(const AdagradArgs<T>&);
FASTCONV_INSTANTIATE(float)
FASTCONV_INSTANTIATE(double)

}  // namespace fastconv::FASTCONV_ISA
