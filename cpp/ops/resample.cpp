// resample: each element along an axis is a weighted sum of some of the input's.
#include "ops/shapes.hpp"

namespace fastconv {
namespace {

// x, indices(int64[out, taps]), weights[out, taps] -> y
std::vector<TensorType> infer(const InferContext& c) {
  TensorType y = c.type(0);
  if (y.dtype != DType::f32 && y.dtype != DType::f64)
    c.fail("input 0 is " + std::string(name_of(y.dtype)) + ", expected float32 or float64");
  const std::size_t axis = normalize_axis(c, c.attrs().integer("axis"), y.shape.size());
  c.expect_rank(1, 2, "indices");
  c.expect_shape(2, c.shape(1), "weights");
  if (c.type(1).dtype != DType::i64)
    c.fail("indices are " + std::string(name_of(c.type(1).dtype)) + ", expected int64");
  if (c.type(2).dtype != y.dtype)
    c.fail("weights are " + std::string(name_of(c.type(2).dtype)) + ", expected the input's " + name_of(y.dtype));
  constexpr std::int64_t most = INT32_MAX;
  if (y.shape[axis] > most || c.type(1).size() > most)
    c.fail("axis of " + std::to_string(y.shape[axis]) + " elements and indices of shape " + to_string(c.shape(1)) +
           ": expected at most " + std::to_string(most) + " each");
  y.shape[axis] = c.shape(1)[0];
  return {y};
}

const RegisterOp resample_op{{"resample", infer, nullptr, {}, {}, false}};

}  // namespace
}  // namespace fastconv
