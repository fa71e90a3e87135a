// Operators that move elements: reshape, flatten, transpose, concat, slice, pad.
#include <algorithm>

#include "ops/shapes.hpp"

namespace fastconv {
namespace {

std::vector<TensorType> infer_reshape(const InferContext& c) {
  Shape target = c.attrs().ints("shape");
  const std::int64_t size = c.type(0).size();
  std::int64_t known = 1;
  int unknown = -1;
  for (std::size_t i = 0; i < target.size(); ++i) {
    if (target[i] == -1) {
      if (unknown >= 0) c.fail("shape " + to_string(target) + " has more than one -1");
      unknown = static_cast<int>(i);
    } else if (target[i] < 0) {
      c.fail("shape " + to_string(target) + " has a negative dimension");
    }
  }
  Shape rest = target;
  if (unknown >= 0) rest[static_cast<std::size_t>(unknown)] = 1;
  known = num_elements(rest);
  const bool fits = unknown < 0 ? known == size : known > 0 && size % known == 0;
  if (!fits) c.fail("input of shape " + to_string(c.shape(0)) + " cannot become " + to_string(target));
  if (unknown >= 0) target[static_cast<std::size_t>(unknown)] = size / known;
  return {{target, c.type(0).dtype}};
}

std::vector<TensorType> infer_flatten(const InferContext& c) {
  const Shape& s = c.shape(0);
  if (s.empty()) c.fail("input has shape (), expected rank 1 or more");
  return {{{s[0], product(s, 1, s.size())}, c.type(0).dtype}};
}

void gradient_view(GradContext& c) { c.set(0, reshape_to(c, c.grad(), c.type(c.in(0)).shape)); }

std::vector<TensorType> infer_transpose(const InferContext& c) {
  const Shape& s = c.shape(0);
  const Ints& perm = c.attrs().ints("perm");
  std::vector<bool> seen(s.size(), false);
  bool valid = perm.size() == s.size();
  for (std::size_t i = 0; valid && i < perm.size(); ++i) {
    valid = perm[i] >= 0 && perm[i] < static_cast<std::int64_t>(s.size()) && !seen[static_cast<std::size_t>(perm[i])];
    if (valid) seen[static_cast<std::size_t>(perm[i])] = true;
  }
  if (!valid)
    c.fail("perm is " + to_string(perm) + ", expected a permutation of the " + std::to_string(s.size()) + " axes");
  Shape out;
  for (auto p : perm) out.push_back(s[static_cast<std::size_t>(p)]);
  return {{out, c.type(0).dtype}};
}

void gradient_transpose(GradContext& c) {
  const Ints& perm = c.node.attrs.ints("perm");
  Ints inverse(perm.size());
  for (std::size_t i = 0; i < perm.size(); ++i)
    inverse[static_cast<std::size_t>(perm[i])] = static_cast<std::int64_t>(i);
  c.set(0, c.add("transpose", {c.grad()}, {{"perm", inverse}}));
}

std::vector<TensorType> infer_concat(const InferContext& c) {
  if (c.inputs() == 0) c.fail("there are no inputs");
  TensorType out = c.type(0);
  const std::size_t axis = normalize_axis(c, c.attrs().integer("axis"), out.shape.size());
  for (std::size_t i = 1; i < c.inputs(); ++i) {
    Shape other = c.shape(i);
    if (c.type(i).dtype != out.dtype)
      c.fail("inputs have different dtypes: " + std::string(name_of(out.dtype)) + " and " + name_of(c.type(i).dtype));
    bool fits = other.size() == out.shape.size();
    for (std::size_t d = 0; fits && d < other.size(); ++d) fits = d == axis || other[d] == out.shape[d];
    if (!fits)
      c.fail("input " + std::to_string(i) + " has shape " + to_string(other) + ", expected that of input 0, " +
             to_string(c.shape(0)) + ", except for axis " + std::to_string(axis));
    out.shape[axis] += other[axis];
  }
  return {out};
}

std::size_t axis_of(const Attrs& attrs, std::size_t rank) {
  const std::int64_t axis = attrs.integer("axis");
  return static_cast<std::size_t>(axis < 0 ? axis + static_cast<std::int64_t>(rank) : axis);
}

void gradient_concat(GradContext& c) {
  const Shape shape = c.type(c.out()).shape;
  const std::size_t axis = axis_of(c.node.attrs, shape.size());
  std::int64_t start = 0;
  for (std::size_t i = 0; i < c.node.inputs.size(); ++i) {
    const std::int64_t end = start + c.type(c.in(i)).shape[axis];
    if (c.needs(i))
      c.set(i, c.add("slice", {c.grad()}, {{"axis", static_cast<std::int64_t>(axis)}, {"start", start}, {"end", end}}));
    start = end;
  }
}

// Python's rule: negative ends count from the back, all are clamped.
std::int64_t slice_bound(std::int64_t i, std::int64_t n) {
  return std::min(std::max<std::int64_t>(i < 0 ? i + n : i, 0), n);
}

std::vector<TensorType> infer_slice(const InferContext& c) {
  TensorType out = c.type(0);
  const std::size_t axis = normalize_axis(c, c.attrs().integer("axis"), out.shape.size());
  std::int64_t& n = out.shape[axis];
  const std::int64_t start = slice_bound(c.attrs().integer("start", 0), n);
  n = std::max<std::int64_t>(slice_bound(c.attrs().integer("end", n), n) - start, 0);
  return {out};
}

void gradient_slice(GradContext& c) {
  const Shape from = c.type(c.in(0)).shape, to = c.type(c.out()).shape;
  const std::size_t axis = axis_of(c.node.attrs, from.size());
  const std::int64_t start = slice_bound(c.node.attrs.integer("start", 0), from[axis]);
  Ints pads(2 * from.size(), 0);
  pads[axis] = start;
  pads[axis + from.size()] = from[axis] - start - to[axis];
  c.set(0, c.add("pad", {c.grad()}, {{"pads", pads}}));
}

std::vector<TensorType> infer_pad(const InferContext& c) {
  TensorType out = c.type(0);
  const Ints& pads = c.attrs().ints("pads");
  const std::size_t rank = out.shape.size();
  const std::string mode = c.attrs().text("mode", "constant");
  if (mode != "constant" && mode != "reflect" && mode != "replicate" && mode != "circular")
    c.fail("mode is \"" + mode + "\", expected constant, reflect, replicate or circular");
  if (pads.size() != 2 * rank)
    c.fail("pads has " + std::to_string(pads.size()) + " numbers, expected " + std::to_string(2 * rank));
  c.attrs().real("value", 0);
  for (std::size_t i = 0; i < rank; ++i) {
    const std::int64_t n = out.shape[i], before = pads[i], after = pads[i + rank];
    const std::int64_t most = mode == "reflect" ? n - 1 : mode == "circular" ? n : n > 0 ? INT64_MAX : 0;
    // Negative pads crop: the gradient of constant padding.
    if (mode != "constant" && (before < 0 || after < 0))
      c.fail("pads are " + to_string(pads) + ", expected no negative ones for mode " + mode);
    if (mode != "constant" && (before || after) && (before > most || after > most))
      c.fail("axis " + std::to_string(i) + " of size " + std::to_string(n) + " cannot be padded by " +
             std::to_string(before) + " and " + std::to_string(after) + " in mode " + mode);
    // Keeps the sum below from overflowing; other modes than constant are planned position by position.
    const std::int64_t limit = std::int64_t{1} << (mode == "constant" ? 46 : 24);
    if (before > limit || after > limit || before < -limit || after < -limit || n + before + after < 0)
      c.fail("pads " + to_string(pads) + " do not fit shape " + to_string(c.shape(0)));
    out.shape[i] = n + before + after;
  }
  return {out};
}

void gradient_pad(GradContext& c) {
  const Ints& pads = c.node.attrs.ints("pads");
  const std::string mode = c.node.attrs.text("mode", "constant");
  const std::size_t rank = pads.size() / 2;
  int dy = c.grad();
  if (mode == "constant") {
    Ints crop = pads;
    for (auto& p : crop) p = -p;
    return c.set(0, c.add("pad", {dy}, {{"pads", crop}}));
  }
  for (std::size_t i = 0; i < rank; ++i)
    if (pads[i] || pads[i + rank])
      dy = c.add("pad_backward", {dy},
                 {{"axis", static_cast<std::int64_t>(i)}, {"begin", pads[i]}, {"end", pads[i + rank]}, {"mode", mode}});
  c.set(0, dy);
}

// The adjoint of padding one axis other than by a constant: what was copied outwards is added back.
std::vector<TensorType> infer_pad_backward(const InferContext& c) {
  c.expect_same_dtype();
  TensorType out = c.type(0);
  const std::size_t axis = normalize_axis(c, c.attrs().integer("axis"), out.shape.size());
  const std::int64_t padded = out.shape[axis], begin = c.attrs().integer("begin"), end = c.attrs().integer("end");
  const std::string mode = c.attrs().text("mode", "");
  if (mode != "reflect" && mode != "replicate" && mode != "circular")
    c.fail("mode is \"" + mode + "\", expected reflect, replicate or circular");
  if (begin < 0 || end < 0 || begin > padded || end > padded - begin)
    c.fail("input of shape " + to_string(c.shape(0)) + " cannot hold padding of " + std::to_string(begin) + " and " +
           std::to_string(end));
  const std::int64_t n = out.shape[axis] = padded - begin - end;
  const std::int64_t most = mode == "reflect" ? n - 1 : mode == "circular" ? n : n > 0 ? INT64_MAX : 0;
  if ((begin || end) && (begin > most || end > most)) c.fail("the padding is more than mode " + mode + " gives");
  if (padded > kMostPlanned / 4)
    c.fail("axis of " + std::to_string(padded) + " elements, expected at most " + std::to_string(kMostPlanned / 4));
  return {out};
}

void gradient_pad_backward(GradContext& c) {
  const std::size_t rank = c.type(c.out()).shape.size(), axis = axis_of(c.node.attrs, rank);
  Ints pads(2 * rank, 0);
  pads[axis] = c.node.attrs.integer("begin");
  pads[axis + rank] = c.node.attrs.integer("end");
  c.set(0, c.add("pad", {c.grad()}, {{"pads", pads}, {"mode", c.node.attrs.text("mode", "")}}));
}

const RegisterOp reshape_op{{"reshape", infer_reshape, gradient_view, {}, {}, true}, 1};
const RegisterOp flatten_op{{"flatten", infer_flatten, gradient_view, {}, {}, true}, 1};
const RegisterOp transpose_op{{"transpose", infer_transpose, gradient_transpose, {}, {}, false}, 1};
const RegisterOp concat_op{{"concat", infer_concat, gradient_concat, {}, {}, false}};
const RegisterOp slice_op{{"slice", infer_slice, gradient_slice, {}, {}, false}, 1};
const RegisterOp pad_op{{"pad", infer_pad, gradient_pad, {}, {}, false}, 1};
const RegisterOp pad_backward_op{{"pad_backward", infer_pad_backward, gradient_pad_backward, {}, {}, false}, 1};

}  // namespace
}  // namespace fastconv
