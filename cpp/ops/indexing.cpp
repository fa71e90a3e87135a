// Operators that pick elements: gather, strided_slice, tile, arg_max, arg_min.
#include "ops/shapes.hpp"

namespace fastconv {
namespace {

std::vector<TensorType> infer_gather(const InferContext& c) {
  if (c.type(1).dtype != DType::i64)
    c.fail(std::string("indices are ") + name_of(c.type(1).dtype) + ", expected int64");
  const Shape &shape = c.shape(0), &indices = c.shape(1);
  const std::size_t axis = normalize_axis(c, c.attrs().integer("axis", 0), shape.size());
  Shape out(shape.begin(), shape.begin() + static_cast<std::ptrdiff_t>(axis));
  out.insert(out.end(), indices.begin(), indices.end());
  out.insert(out.end(), shape.begin() + static_cast<std::ptrdiff_t>(axis) + 1, shape.end());
  return {{out, c.type(0).dtype}};
}

const Ints& one_an_axis(const InferContext& c, const char* key) {
  const Ints& values = c.attrs().ints(key);
  if (values.size() != c.shape(0).size())
    c.fail(std::string(key) + " is " + to_string(values) + ", expected one integer for each axis of shape " +
           to_string(c.shape(0)));
  return values;
}

std::vector<TensorType> infer_strided_slice(const InferContext& c) {
  const Shape& shape = c.shape(0);
  const Ints &begin = one_an_axis(c, "begin"), &size = one_an_axis(c, "size"), &step = one_an_axis(c, "step");
  num_elements(size);
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (step[i] == 0) c.fail("step is " + to_string(step) + ", expected no 0");
    if (size[i] == 0) continue;
    const std::int64_t n = shape[i], b = begin[i];
    bool inside = b >= 0 && b < n;
    if (inside && size[i] > 1) {
      const std::int64_t room = step[i] > 0 ? n - 1 - b : b;  // by division: the product may overflow
      inside = step[i] > 0 ? (size[i] - 1) <= room / step[i] : -(size[i] - 1) >= room / step[i];
    }
    if (!inside)
      c.fail("begin " + std::to_string(b) + ", size " + std::to_string(size[i]) + " and step " +
             std::to_string(step[i]) + " leave axis " + std::to_string(i) + " of size " + std::to_string(n));
  }
  return {{size, c.type(0).dtype}};
}

std::vector<TensorType> infer_tile(const InferContext& c) {
  TensorType out = c.type(0);
  const Ints& repeats = one_an_axis(c, "repeats");
  num_elements(repeats);
  for (std::size_t i = 0; i < repeats.size(); ++i) {
    if (repeats[i] && out.shape[i] > (std::int64_t{1} << 46) / repeats[i])
      c.fail("repeats " + to_string(repeats) + " of shape " + to_string(c.shape(0)) + " are too many elements");
    out.shape[i] *= repeats[i];
  }
  return {out};
}

std::vector<TensorType> infer_arg(const InferContext& c) {
  Shape out = c.shape(0);
  const std::size_t axis = normalize_axis(c, c.attrs().integer("axis"), out.size());
  c.attrs().boolean("select_last_index", false);
  const std::int64_t n = out[axis];
  if (c.attrs().boolean("keepdims", true))
    out[axis] = 1;
  else
    out.erase(out.begin() + static_cast<std::ptrdiff_t>(axis));
  if (n == 0 && num_elements(out) != 0)
    c.fail("input of shape " + to_string(c.shape(0)) + " has no elements along axis " + std::to_string(axis));
  return {{out, DType::i64}};
}

const RegisterOp gather_op{{"gather", infer_gather, nullptr, {}, {}, false}};
const RegisterOp strided_slice_op{{"strided_slice", infer_strided_slice, nullptr, {}, {}, false}};
const RegisterOp tile_op{{"tile", infer_tile, nullptr, {}, {}, false}};
const RegisterOp arg_max_op{{"arg_max", infer_arg, nullptr, {}, {}, false}};
const RegisterOp arg_min_op{{"arg_min", infer_arg, nullptr, {}, {}, false}};

}  // namespace
}  // namespace fastconv
