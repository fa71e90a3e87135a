// Matrix products with NumPy's rules: operands of one axis are a row or a column, batch axes are broadcast.
#include <algorithm>

#include "ops/shapes.hpp"

namespace fastconv {
namespace {

std::vector<TensorType> infer(const InferContext& c) {
  c.expect_dtype(0, kNumbers);
  const TensorType &a = c.type(0), &b = c.type(1);
  if (a.dtype != b.dtype)
    c.fail("inputs have different dtypes: " + std::string(name_of(a.dtype)) + " and " + name_of(b.dtype));
  if (a.shape.empty() || b.shape.empty())
    c.fail("inputs have shapes " + to_string(a.shape) + " and " + to_string(b.shape) + ", expected rank 1 or more");
  const std::size_t ra = a.shape.size(), rb = b.shape.size();
  const std::int64_t k = a.shape.back(), other = rb == 1 ? b.shape[0] : b.shape[rb - 2];
  if (k != other)
    c.fail("inputs have shapes " + to_string(a.shape) + " and " + to_string(b.shape) + ": the last axis of a has " +
           std::to_string(k) + " elements, expected b's " + std::to_string(other));
  if (rb > 1 && b.shape.back() > kMostChannels)
    c.fail("b has shape " + to_string(b.shape) + ", expected at most " + std::to_string(kMostChannels) + " columns");
  Shape out = broadcast_shape(c, Shape(a.shape.begin(), a.shape.end() - std::min<std::ptrdiff_t>(2, ra)),
                              Shape(b.shape.begin(), b.shape.end() - std::min<std::ptrdiff_t>(2, rb)));
  if (ra > 1) out.push_back(a.shape[ra - 2]);
  if (rb > 1) out.push_back(b.shape.back());
  return {{out, a.dtype}};
}

int swapped(GradContext& c, int value) {
  Ints perm;
  const std::size_t rank = c.type(value).shape.size();
  for (std::size_t i = 0; i < rank; ++i) perm.push_back(static_cast<std::int64_t>(i));
  std::swap(perm[rank - 1], perm[rank - 2]);
  return c.add("transpose", {value}, {{"perm", perm}});
}

void gradient(GradContext& c) {
  // Everything as stacks of matrices.
  const Shape a_shape = c.type(c.in(0)).shape, b_shape = c.type(c.in(1)).shape;
  Shape a_matrix = a_shape, b_matrix = b_shape, y_matrix = c.type(c.out()).shape;
  if (a_shape.size() == 1) {
    a_matrix.insert(a_matrix.begin(), 1);
    y_matrix.insert(b_shape.size() == 1 ? y_matrix.end() : y_matrix.end() - 1, 1);
  }
  if (b_shape.size() == 1) b_matrix.push_back(1), y_matrix.push_back(1);
  const int dy = reshape_to(c, c.grad(), y_matrix);
  if (c.needs(0)) {
    const int da = c.add("matmul", {dy, swapped(c, reshape_to(c, c.in(1), b_matrix))});
    c.set(0, reshape_to(c, reduce_to(c, da, a_matrix), a_shape));
  }
  if (c.needs(1)) {
    const int db = c.add("matmul", {swapped(c, reshape_to(c, c.in(0), a_matrix)), dy});
    c.set(1, reshape_to(c, reduce_to(c, db, b_matrix), b_shape));
  }
}

const RegisterOp matmul_op{{"matmul", infer, gradient, {}, {}, false}};

}  // namespace
}  // namespace fastconv
