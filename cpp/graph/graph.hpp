// The graph: values, nodes, and the operators they are made of. Nodes are stored in topological order, and those
// that change variables run in the order they were added.
#pragma once
#include <functional>
#include <limits>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "graph/attrs.hpp"
#include "graph/variable.hpp"

namespace fastconv {

class Graph;
struct OpDef;

constexpr int kNone = -1;                                    // an omitted input, a missing gradient
constexpr int kAnyNumber = std::numeric_limits<int>::max();  // of inputs

struct Value {
  enum class Kind : std::uint8_t { input, variable, computed };
  TensorType type;
  Kind kind = Kind::computed;
  int node = kNone;      // the node that computes it
  VariablePtr variable;  // of a variable or constant
  std::string name;
  bool constant = false;  // a variable that nobody can assign: passes may read its contents
};

// Which of a node's tensors lie channels first: images as NCHW instead of NHWC, weights as OIHW instead of HWIO.
struct ChannelsFirst {
  bool input = false, weights = false, output = false;
};

struct Node {
  const OpDef* op = nullptr;
  std::vector<int> inputs;  // value ids, kNone where omitted
  std::vector<int> outputs;
  Attrs attrs;
  std::string name;
  ChannelsFirst channels_first;  // set by a pass
  bool backward = false;         // appended by Graph::gradients
};

// Sets of dtypes that an operator takes.
enum DTypeSet : unsigned { kFloating = 1, kIntegers = 2, kBool = 4, kNumbers = kFloating | kIntegers, kAny = 7 };

// What shape inference sees of a node that is being added.
class InferContext {
 public:
  InferContext(const Graph& graph, const Node& node) : graph_(graph), node_(node) {}
  const Attrs& attrs() const { return node_.attrs; }
  std::size_t inputs() const { return node_.inputs.size(); }
  bool has(std::size_t i) const { return i < node_.inputs.size() && node_.inputs[i] != kNone; }
  const TensorType& type(std::size_t i) const;  // throws when the input is missing
  const Shape& shape(std::size_t i) const { return type(i).shape; }
  // Throws Error with the operator's and the node's name before the message.
  [[noreturn]] void fail(const std::string& message) const;
  // Common checks.
  void expect_rank(std::size_t i, std::size_t rank, const char* what) const;
  void expect_shape(std::size_t i, const Shape& shape, const char* what) const;
  void expect_dtype(std::size_t i, DTypeSet set) const;
  void expect_same_dtype(DTypeSet set = kFloating) const;  // all inputs of one dtype of the set

 private:
  const Graph& graph_;
  const Node& node_;
};

// What an operator's gradient sees: it appends nodes to the graph and sets the gradient of each input that needs one.
class GradContext {
 public:
  GradContext(Graph& graph, const Node& node, const std::vector<int>& grads, const std::vector<bool>& needs)
      : graph(graph), node(node), grads_(grads), needs_(needs), result_(node.inputs.size(), kNone) {}
  Graph& graph;
  const Node node;  // a copy: adding nodes moves the graph's own

  int in(std::size_t i) const { return i < node.inputs.size() ? node.inputs[i] : kNone; }
  int out(std::size_t i = 0) const { return node.outputs[i]; }
  int grad(std::size_t i = 0) const { return grads_[i]; }  // kNone when the output has no gradient
  bool needs(std::size_t i) const { return i < node.inputs.size() && node.inputs[i] != kNone && needs_[i]; }
  const TensorType& type(int value) const;
  void set(std::size_t i, int value) { result_[i] = value; }
  int add(const std::string& op, std::vector<int> inputs, Attrs attrs = {});  // first output
  std::vector<int> add_all(const std::string& op, std::vector<int> inputs, Attrs attrs = {});
  const std::vector<int>& result() const { return result_; }

 private:
  std::vector<int> grads_;
  std::vector<bool> needs_;
  std::vector<int> result_;
};

struct OpDef {
  std::string name;
  // Types of the outputs; throws Error through the context for anything invalid.
  std::function<std::vector<TensorType>(const InferContext&)> infer;
  // Empty: not differentiable.
  std::function<void(GradContext&)> gradient;
  // Inputs (variables) that running the node changes.
  std::vector<int> mutates;
  // Inputs whose memory output 0 may take over when nothing reads them later: element i of the output may only
  // depend on element i of that input.
  std::vector<int> inplace;
  // Output 0 is input 0 with another shape.
  bool view = false;
  int max_inputs = kAnyNumber;
  // The same as `inplace` for other outputs: which, and an input.
  std::vector<std::pair<int, int>> inplace_others = {};
};

// Operators register themselves with the number of inputs they take at most:
// `static const RegisterOp conv2d{{"conv2d", infer, gradient}, 3};`
struct RegisterOp {
  explicit RegisterOp(OpDef def);
  RegisterOp(OpDef def, int max_inputs);
};
const OpDef& find_op(const std::string& name);  // throws Error
const OpDef* find_op_or_null(const std::string& name);
std::vector<std::string> op_names();

class Graph {
 public:
  int input(const std::string& name, TensorType type);
  int variable(VariablePtr variable);  // the same id for the same variable
  std::vector<int> add(const std::string& op, std::vector<int> inputs, Attrs attrs = {}, std::string name = "");

  // Appends the backward graph: gradients of sum_i <outputs[i], seeds[i]> (kNone: ones) with respect to `wrt`;
  // kNone where there is no path.
  std::vector<int> gradients(const std::vector<int>& outputs, const std::vector<int>& seeds,
                             const std::vector<int>& wrt);

  int constant(TensorType type, const void* data);
  int scalar(double value, DType dtype);

  const Value& value(int id) const;
  const std::vector<Value>& values() const { return values_; }
  const std::vector<Node>& nodes() const { return nodes_; }
  const std::vector<int>& inputs() const { return inputs_; }

  // For passes.
  std::vector<Node>& mutable_nodes() { return nodes_; }
  void replace_nodes(std::vector<Node> nodes);  // sets Value::node anew
  void set_source(int value, int node) { values_[static_cast<std::size_t>(value)].node = node; }
  // Makes a node with fresh outputs without storing it, for passes that insert.
  Node make_node(const std::string& op, std::vector<int> inputs, Attrs attrs = {}, std::string name = "");
  Node copy_node(const Node& node);  // likewise

 private:
  void check(int id) const;
  std::vector<Value> values_;
  std::vector<Node> nodes_;
  std::vector<int> inputs_;
  std::unordered_map<const Variable*, int> variables_;
};

}  // namespace fastconv
