#include "graph/graph.hpp"

#include <cstring>
#include <map>

#include "core/numbers.hpp"

namespace fastconv {
namespace {

std::map<std::string, OpDef>& registry() {
  static auto* ops = new std::map<std::string, OpDef>;
  return *ops;
}

std::string label(const Node& node) {
  return node.name.empty() || node.name == node.op->name ? node.op->name : node.op->name + " '" + node.name + "'";
}

}  // namespace

RegisterOp::RegisterOp(OpDef def) {
  const std::string name = def.name;
  registry().emplace(name, std::move(def));
}

RegisterOp::RegisterOp(OpDef def, int max_inputs) {
  def.max_inputs = max_inputs;
  RegisterOp(std::move(def));
}

const OpDef* find_op_or_null(const std::string& name) {
  const auto it = registry().find(name);
  return it == registry().end() ? nullptr : &it->second;
}

const OpDef& find_op(const std::string& name) {
  if (const OpDef* op = find_op_or_null(name)) return *op;
  throw Error("there is no operator '" + name + "'");
}

std::vector<std::string> op_names() {
  std::vector<std::string> names;
  for (const auto& [name, op] : registry()) names.push_back(name);
  return names;
}

const TensorType& InferContext::type(std::size_t i) const {
  if (!has(i)) fail("input " + std::to_string(i) + " is missing");
  return graph_.value(node_.inputs[i]).type;
}

void InferContext::fail(const std::string& message) const { throw Error(label(node_) + ": " + message); }

void InferContext::expect_rank(std::size_t i, std::size_t rank, const char* what) const {
  if (shape(i).size() != rank)
    fail(std::string(what) + " has shape " + to_string(shape(i)) + ", expected rank " + std::to_string(rank));
}

void InferContext::expect_shape(std::size_t i, const Shape& expected, const char* what) const {
  if (shape(i) != expected)
    fail(std::string(what) + " has shape " + to_string(shape(i)) + ", expected " + to_string(expected));
}

void InferContext::expect_dtype(std::size_t i, DTypeSet set) const {
  const DType dtype = type(i).dtype;
  if (set & (is_floating(dtype) ? kFloating : is_integer(dtype) ? kIntegers : kBool)) return;
  std::string expected;
  const auto add = [&](DTypeSet part, const char* what) {
    if (set & part) expected += std::string(expected.empty() ? "" : " or ") + what;
  };
  add(kFloating, "float32 or float64");
  add(kIntegers, "an integer type");
  add(kBool, "bool");
  fail("input " + std::to_string(i) + " is " + name_of(dtype) + ", expected " + expected);
}

void InferContext::expect_same_dtype(DTypeSet set) const {
  for (std::size_t i = 0; i < inputs(); ++i) {
    if (!has(i)) continue;
    expect_dtype(i, set);
    if (type(i).dtype != type(0).dtype)
      fail("inputs have different dtypes: " + std::string(name_of(type(0).dtype)) + " and " + name_of(type(i).dtype));
  }
}

const TensorType& GradContext::type(int value) const { return graph.value(value).type; }

int GradContext::add(const std::string& op, std::vector<int> inputs, Attrs attrs) {
  return add_all(op, std::move(inputs), std::move(attrs)).at(0);
}

std::vector<int> GradContext::add_all(const std::string& op, std::vector<int> inputs, Attrs attrs) {
  return graph.add(op, std::move(inputs), std::move(attrs), node.name);
}

void Graph::check(int id) const {
  if (id < 0 || id >= static_cast<int>(values_.size()))
    throw Error("there is no value " + std::to_string(id) + " in this graph");
}

const Value& Graph::value(int id) const {
  check(id);
  return values_[static_cast<std::size_t>(id)];
}

int Graph::input(const std::string& name, TensorType type) {
  num_elements(type.shape);
  const int id = static_cast<int>(values_.size());
  values_.push_back({std::move(type), Value::Kind::input, kNone, nullptr, name});
  inputs_.push_back(id);
  return id;
}

int Graph::variable(VariablePtr variable) {
  if (!variable) throw Error("variable: expected a Variable, got None");
  const int id = static_cast<int>(values_.size());
  if (const auto [it, fresh] = variables_.try_emplace(variable.get(), id); !fresh) return it->second;
  std::string name = variable->name();
  TensorType type = variable->type();
  const bool constant = variable->read_only();
  values_.push_back({std::move(type), Value::Kind::variable, kNone, std::move(variable), std::move(name), constant});
  return id;
}

int Graph::constant(TensorType type, const void* data) {
  auto v = std::make_shared<Variable>(std::move(type), "constant");
  if (v->type().bytes()) std::memcpy(v->data(), data, v->type().bytes());
  v->make_read_only();
  return variable(std::move(v));
}

int Graph::scalar(double value, DType dtype) {
  return visit(dtype, [&](auto t) {
    t = saturate<decltype(t)>(value);
    return constant({{}, dtype}, &t);
  });
}

Node Graph::make_node(const std::string& op, std::vector<int> inputs, Attrs attrs, std::string name) {
  Node node;
  node.op = &find_op(op);
  node.inputs = std::move(inputs);
  node.attrs = std::move(attrs);
  node.name = std::move(name);
  for (int in : node.inputs)
    if (in != kNone) check(in);
  if (node.inputs.size() > static_cast<std::size_t>(node.op->max_inputs))
    throw Error(label(node) + ": got " + std::to_string(node.inputs.size()) + " inputs, expected at most " +
                std::to_string(node.op->max_inputs));
  std::vector<TensorType> types;
  try {
    types = node.op->infer(InferContext(*this, node));
  } catch (const Error& e) {
    const std::string message = e.what();
    if (message.rfind(label(node), 0) == 0) throw;
    throw Error(label(node) + ": " + message);
  }
  for (int m : node.op->mutates) {
    if (m >= static_cast<int>(node.inputs.size()) || node.inputs[m] == kNone) continue;
    const Value& changed = value(node.inputs[m]);
    if (changed.kind != Value::Kind::variable)
      throw Error(label(node) + ": input " + std::to_string(m) + " is changed in place and must be a variable");
    if (changed.variable->read_only())
      throw Error(label(node) + ": input " + std::to_string(m) + " is changed in place, but '" + changed.name +
                  "' is read-only");
  }
  for (auto& type : types) {
    num_elements(type.shape);
    node.outputs.push_back(static_cast<int>(values_.size()));
    values_.push_back({std::move(type), Value::Kind::computed, kNone, nullptr, node.name});
  }
  return node;
}

Node Graph::copy_node(const Node& node) {
  Node copy = node;
  for (int& out : copy.outputs) {
    const TensorType type = value(out).type;
    out = static_cast<int>(values_.size());
    values_.push_back({type, Value::Kind::computed, kNone, nullptr, node.name});
  }
  return copy;
}

std::vector<int> Graph::add(const std::string& op, std::vector<int> inputs, Attrs attrs, std::string name) {
  Node node = make_node(op, std::move(inputs), std::move(attrs), std::move(name));
  for (int out : node.outputs) values_[out].node = static_cast<int>(nodes_.size());
  nodes_.push_back(std::move(node));
  return nodes_.back().outputs;
}

void Graph::replace_nodes(std::vector<Node> nodes) {
  for (Value& v : values_) v.node = kNone;
  nodes_ = std::move(nodes);
  for (std::size_t i = 0; i < nodes_.size(); ++i)
    for (int out : nodes_[i].outputs) values_[out].node = static_cast<int>(i);
}

}  // namespace fastconv
