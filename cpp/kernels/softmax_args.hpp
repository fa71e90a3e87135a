// Softmax along an axis, and cross-entropy losses.
#pragma once
#include <cstdint>

namespace fastconv {

// `rows` independent softmaxes of `length` contiguous elements when stride is 1; otherwise `rows` (at most stride)
// of them lie side by side, their elements `stride` apart. With dy the gradient: x is then the forward's result.
template <class T>
struct SoftmaxArgs {
  const T* x;
  const T* dy;
  T* y;
  std::int64_t rows, length, stride;
  bool log;
};

// Losses of rows of logits, or, with dloss, their gradient to the logits. Targets are class indices (in range, or
// ignore_index) or probabilities; the other pointer is null.
template <class T>
struct CrossEntropyArgs {
  const T* x;
  const std::int64_t* labels;
  const T* probabilities;
  const T* dloss;
  T* y;
  std::int64_t rows, classes, ignore_index;
  T smoothing;
};

// Elementwise: (x > 0 ? x * (1 - target) : -x * target) + log(1 + exp(-|x|)), or, with dloss, (sigmoid(x) - target) *
// dloss.
template <class T>
struct SigmoidCrossEntropyArgs {
  const T* x;
  const T* target;
  const T* dloss;
  T* y;
  std::int64_t n;
};

}  // namespace fastconv
