// One step of an optimizer over n elements. Every update first decays: param -= decay * param, decay being
// lr * weight_decay. Pointers to what an optimizer may go without are null then.
#pragma once
#include <cstdint>

namespace fastconv {

template <class T>
struct SgdArgs {
  T* param;
  const T* grad;
  T* velocity;
  std::int64_t n;
  T decay, lr, momentum;
  bool nesterov;
};

template <class T>
struct AdamArgs {
  T* param;
  const T* grad;
  T *m, *v, *vhat;
  std::int64_t n;
  T decay;
  T rate;          // lr with the bias correction
  T gain1, gain2;  // 1 - beta
  T epsilon;
};

template <class T>
struct RmspropArgs {
  T* param;
  const T* grad;
  T *v, *momentum_buffer, *mean;
  std::int64_t n;
  T decay, lr, rho, keep;  // keep = 1 - rho
  T momentum, epsilon;
};

template <class T>
struct AdagradArgs {
  T* param;
  const T* grad;
  T* accumulator;
  std::int64_t n;
  T decay, lr, epsilon;
};

}  // namespace fastconv
