// Elementwise functions of one input and their derivatives: one driver for all functions of unary.inc.
#include "kernels/unary_functions.hpp"

namespace fastconv::FASTCONV_ISA {
namespace {

// Two vectors a turn: the long dependency chains of exp and log overlap.
template <class T, template <class> class Function>
FASTCONV_NOINLINE void forward(const UnaryArgs<T>& args) {
  using V = Vec<T>;
  constexpr int W = V::width;
  const Function<V> f(args.parameters);
  const T* x = args.x;
  T* y = args.y;
  for (std::int64_t r = 0; r < args.rows; ++r, x += args.row, y += args.row) {
    std::int64_t i = 0;
    for (; i + 2 * W <= args.n; i += 2 * W) {
      const V y0 = f.forward(V::load(x + i)), y1 = f.forward(V::load(x + i + W));
      y0.store(y + i);
      y1.store(y + i + W);
    }
    for (; i < args.n; i += W) {
      const int n = args.n - i < W ? static_cast<int>(args.n - i) : W;
      f.forward(V::load(x + i, n)).store(y + i, n);
    }
  }
}

template <class T, template <class> class Function>
FASTCONV_NOINLINE void backward(const UnaryGradArgs<T>& args) {
  using V = Vec<T>;
  constexpr int W = V::width;
  const Function<V> f(args.parameters);
  const T *dy = args.dy, *s = args.s;
  T* dx = args.dx;
  std::int64_t i = 0;
  for (; i + 2 * W <= args.n; i += 2 * W) {
    const V d0 = f.backward(V::load(dy + i), V::load(s + i));
    const V d1 = f.backward(V::load(dy + i + W), V::load(s + i + W));
    d0.store(dx + i);
    d1.store(dx + i + W);
  }
  for (; i < args.n; i += W) {
    const int n = args.n - i < W ? static_cast<int>(args.n - i) : W;
    f.backward(V::load(dy + i, n), V::load(s + i, n)).store(dx + i, n);
  }
}

}  // namespace

template <class T>
void unary(const UnaryArgs<T>& args) {
  switch (args.function) {
#define FASTCONV_UNARY(name, reads, a, a_default, b, b_default) \
  case Unary::name: return forward<T, name##_function>(args);
#define FASTCONV_UNARY_PLAIN(name, a, a_default, b, b_default) \
  case Unary::name: return forward<T, name##_function>(args);
#include "kernels/unary.inc"
#undef FASTCONV_UNARY
#undef FASTCONV_UNARY_PLAIN
  }
}

template <class T>
void unary_grad(const UnaryGradArgs<T>& args) {
  switch (args.function) {
#define FASTCONV_UNARY(name, reads, a, a_default, b, b_default) \
  case Unary::name: return backward<T, name##_function>(args);
#define FASTCONV_UNARY_PLAIN(name, a, a_default, b, b_default) \
  case Unary::name: return;
#include "kernels/unary.inc"
#undef FASTCONV_UNARY
#undef FASTCONV_UNARY_PLAIN
  }
}

template void unary<float>(const UnaryArgs<float>&);
template void unary<double>(const UnaryArgs<double>&);
template void unary_grad<float>(const UnaryGradArgs<float>&);
template void unary_grad<double>(const UnaryGradArgs<double>&);

}  // namespace fastconv::FASTCONV_ISA
