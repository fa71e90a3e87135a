// Comparisons, logic, where, cast, isnan and isinf: operators between element types.
#include "ops/shapes.hpp"

namespace fastconv {
namespace {

void expect_one_of(const InferContext& c, const std::string& key, std::initializer_list<const char*> expected) {
  const std::string given = c.attrs().text(key, "");
  std::string list;
  for (const char* e : expected) {
    if (given == e) return;
    list += std::string(list.empty() ? "" : ", ") + e;
  }
  c.fail(key + " is \"" + given + "\", expected one of " + list);
}

std::vector<TensorType> infer_compare(const InferContext& c) {
  c.expect_same_dtype(kAny);
  expect_one_of(c, "kind", {"eq", "ne", "lt", "le", "gt", "ge"});
  return {{broadcast_shape(c, c.shape(0), c.shape(1)), DType::b8}};
}

std::vector<TensorType> infer_logical(const InferContext& c) {
  c.expect_same_dtype(kBool);
  expect_one_of(c, "kind", {"and", "or", "xor"});
  return {{broadcast_shape(c, c.shape(0), c.shape(1)), DType::b8}};
}

std::vector<TensorType> infer_logical_not(const InferContext& c) {
  c.expect_dtype(0, kBool);
  return {c.type(0)};
}

std::vector<TensorType> infer_where(const InferContext& c) {
  c.expect_dtype(0, kBool);
  if (c.type(1).dtype != c.type(2).dtype)
    c.fail("inputs 1 and 2 have different dtypes: " + std::string(name_of(c.type(1).dtype)) + " and " +
           name_of(c.type(2).dtype));
  return {{broadcast_shape(c, c.shape(0), broadcast_shape(c, c.shape(1), c.shape(2))), c.type(1).dtype}};
}

void gradient_where(GradContext& c) {
  for (std::size_t i = 1; i < 3; ++i) {
    if (!c.needs(i)) continue;
    const int zero = c.graph.scalar(0, c.type(c.grad()).dtype);
    const int share = c.add("where", {c.in(0), i == 1 ? c.grad() : zero, i == 1 ? zero : c.grad()});
    c.set(i, reduce_to(c, share, c.type(c.in(i)).shape));
  }
}

std::vector<TensorType> infer_cast(const InferContext& c) {
  return {{c.shape(0), dtype_from_name(c.attrs().text("dtype", ""))}};
}

void gradient_cast(GradContext& c) {
  const std::string dtype = name_of(c.type(c.in(0)).dtype);
  c.set(0, c.add("cast", {c.grad()}, {{"dtype", dtype}}));
}

std::vector<TensorType> infer_test(const InferContext& c) {
  c.expect_dtype(0, kFloating);
  c.attrs().boolean("detect_positive", true);
  c.attrs().boolean("detect_negative", true);
  return {{c.shape(0), DType::b8}};
}

const RegisterOp compare_op{{"compare", infer_compare, nullptr, {}, {}, false}};
const RegisterOp logical_op{{"logical", infer_logical, nullptr, {}, {0, 1}, false}};
const RegisterOp logical_not_op{{"logical_not", infer_logical_not, nullptr, {}, {0}, false}};
const RegisterOp where_op{{"where", infer_where, gradient_where, {}, {1, 2}, false}};
const RegisterOp cast_op{{"cast", infer_cast, gradient_cast, {}, {}, false}};
const RegisterOp isnan_op{{"isnan", infer_test, nullptr, {}, {}, false}};
const RegisterOp isinf_op{{"isinf", infer_test, nullptr, {}, {}, false}};

}  // namespace
}  // namespace fastconv
