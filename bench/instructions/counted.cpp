// Runs one case for bench/instructions/check.py, which counts the instructions of `counted_run` with callgrind.
//   fastconv_counted            the names of the cases
//   fastconv_counted NAME       that one
#include <cstdio>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "backend/cpu/cpu.hpp"
#include "core/parallel.hpp"
#include "graph/plan.hpp"

using namespace fastconv;

namespace {

class Case {
 public:
  int input(Shape shape, DType dtype = DType::f32) {
    return graph.input("x" + std::to_string(graph.values().size()), {std::move(shape), dtype});
  }
  int variable(Shape shape) {
    auto v = std::make_shared<Variable>(TensorType{std::move(shape), DType::f32}, "w");
    fill(static_cast<float*>(v->data()), num_elements(v->type().shape));
    return graph.variable(std::move(v));
  }
  void fill(float* to, std::int64_t n) {
    std::normal_distribution<float> normal;
    for (std::int64_t i = 0; i < n; ++i) to[i] = normal(random);
  }

  Graph graph;
  std::mt19937 random{1};
};

struct Layer {
  std::int64_t in, out, kernel, stride, map, groups = 1, batch = 1;
};

Attrs attributes(const Layer& l) {
  const std::int64_t pad = l.kernel / 2;
  return {{"strides", Ints{l.stride, l.stride}},
          {"dilations", Ints{1, 1}},
          {"pads", Ints{pad, pad, pad, pad}},
          {"groups", l.groups}};
}

std::vector<int> forward(Case& c, const Layer& l) {
  const int x = c.input({l.batch, l.map, l.map, l.in});
  const int w = c.variable({l.kernel, l.kernel, l.in / l.groups, l.out}), b = c.variable({l.out});
  return c.graph.add("relu", c.graph.add("conv2d", {x, w, b}, attributes(l)));
}

std::vector<int> gradients(Case& c, const Layer& l, bool of_input) {
  const int x = c.input({l.batch, l.map, l.map, l.in});
  const int w = c.variable({l.kernel, l.kernel, l.in / l.groups, l.out});
  const int y = c.graph.add("conv2d", {x, w}, attributes(l))[0];
  const int dy = c.input(c.graph.value(y).type.shape);
  return c.graph.gradients({y}, {dy}, {of_input ? x : w});
}

std::vector<int> gradients(Case& c, const std::string& op, Shape shape, Attrs attrs) {
  const int x = c.input(std::move(shape)), y = c.graph.add(op, {x}, std::move(attrs))[0];
  const int dy = c.input(c.graph.value(y).type.shape);
  return c.graph.gradients({y}, {dy}, {x});
}

std::vector<int> batch_norm(Case& c, bool backward) {
  const int x = c.input({8, 14, 14, 64}), gamma = c.variable({64}), beta = c.variable({64});
  const int y = c.graph.add("batch_norm_training", {x, gamma, beta, kNone, kNone})[0];
  const int relu = c.graph.add("relu", {y})[0];
  if (!backward) return {relu};
  return c.graph.gradients({relu}, {c.input({8, 14, 14, 64})}, {x, gamma, beta});
}

std::vector<int> adam(Case& c) {
  std::vector<int> inputs{c.variable({64, 1000}),
                          c.input({64, 1000}),
                          c.variable({64, 1000}),
                          c.variable({64, 1000}),
                          kNone,
                          c.input({}),
                          c.input({})};
  return c.graph.add("adam_update", inputs);
}

using Build = std::function<std::vector<int>(Case&)>;

const Attrs kPool{
    {"kernel", Ints{2, 2}}, {"strides", Ints{2, 2}}, {"pads", Ints{0, 0, 0, 0}}, {"dilations", Ints{1, 1}}};
const Attrs kPool3{
    {"kernel", Ints{3, 3}}, {"strides", Ints{2, 2}}, {"pads", Ints{1, 1, 1, 1}}, {"dilations", Ints{1, 1}}};
const Attrs kNorm{{"size", std::int64_t{5}}};

const std::vector<std::pair<std::string, Layer>> kLayers{{"3x3 64 of 28x28", {64, 64, 3, 1, 28}},
                                                         {"3x3 32-48 of 13x13, batch 3", {32, 48, 3, 1, 13, 1, 3}},
                                                         {"3x3/2 64-128 of 28x28", {64, 128, 3, 2, 28}},
                                                         {"1x1 64-256 of 14x14", {64, 256, 1, 1, 14}},
                                                         {"1x1 24-96 of 28x28", {24, 96, 1, 1, 28}},
                                                         {"5x5 16-32 of 14x14", {16, 32, 5, 1, 14}},
                                                         {"7x7/2 3-64 of 64x64", {3, 64, 7, 2, 64}},
                                                         {"3x3 1-32 of 28x28, batch 4", {1, 32, 3, 1, 28, 1, 4}},
                                                         {"depthwise 3x3 96 of 28x28", {96, 96, 3, 1, 28, 96}},
                                                         {"depthwise 3x3/2 96 of 28x28", {96, 96, 3, 2, 28, 96}},
                                                         {"3x3 64 in 4 groups of 14x14", {64, 64, 3, 1, 14, 4}}};

std::vector<std::pair<std::string, Build>> cases() {
  std::vector<std::pair<std::string, Build>> all;
  for (const auto& [name, layer] : kLayers) {
    all.emplace_back("conv2d " + name, [l = layer](Case& c) { return forward(c, l); });
    all.emplace_back("input gradient " + name, [l = layer](Case& c) { return gradients(c, l, true); });
    all.emplace_back("weight gradient " + name, [l = layer](Case& c) { return gradients(c, l, false); });
  }
  const auto one = [](const char* op, Attrs attrs) {
    return [=](Case& c) { return c.graph.add(op, {c.input({1, 28, 28, 64})}, attrs); };
  };
  const auto backward = [](const char* op, Attrs attrs) {
    return [=](Case& c) { return gradients(c, op, {1, 28, 28, 64}, attrs); };
  };
  all.emplace_back("max_pool2d 2x2", one("max_pool2d", kPool));
  all.emplace_back("max_pool2d 3x3/2", one("max_pool2d", kPool3));
  all.emplace_back("avg_pool2d 3x3/2", one("avg_pool2d", kPool3));
  all.emplace_back("local_response_norm", one("local_response_norm", kNorm));
  all.emplace_back("softmax", one("softmax", {}));
  all.emplace_back("gradient of max_pool2d 2x2", backward("max_pool2d", kPool));
  all.emplace_back("gradient of max_pool2d 3x3/2", backward("max_pool2d", kPool3));
  all.emplace_back("gradient of avg_pool2d 3x3/2", backward("avg_pool2d", kPool3));
  all.emplace_back("gradient of local_response_norm", backward("local_response_norm", kNorm));
  all.emplace_back("batch_norm_training, ReLU", [](Case& c) { return batch_norm(c, false); });
  all.emplace_back("gradient of batch_norm_training, ReLU", [](Case& c) { return batch_norm(c, true); });
  all.emplace_back("dense 1024-256, batch 8", [](Case& c) {
    return c.graph.add("dense", {c.input({8, 1024}), c.variable({1024, 256}), c.variable({256})});
  });
  all.emplace_back("dense 1024-1000, batch 1", [](Case& c) {
    return c.graph.add("dense", {c.input({1, 1024}), c.variable({1024, 1000}), c.variable({1000})});
  });
  all.emplace_back("adam_update", adam);
  return all;
}

}  // namespace

__attribute__((noinline)) void counted_run(Plan& plan, const std::vector<const void*>& feeds,
                                           const std::vector<void*>& outputs) {
  plan.run(feeds, outputs);
}

int main(int argc, char** argv) {
  const auto all = cases();
  if (argc < 2) {
    for (const auto& [name, build] : all) std::puts(name.c_str());
    return 0;
  }
  for (const auto& [name, build] : all) {
    if (name != argv[1]) continue;
    set_num_threads(1);
    Case c;
    const std::vector<int> wanted = build(c);
    Plan plan(c.graph, wanted, cpu::backend());
    std::vector<std::vector<float>> memory;
    std::vector<const void*> feeds;
    std::vector<void*> outputs;
    for (const TensorType& t : plan.input_types()) {
      memory.emplace_back(static_cast<std::size_t>(num_elements(t.shape)));
      c.fill(memory.back().data(), num_elements(t.shape));
      feeds.push_back(memory.back().data());
    }
    for (int id : wanted) {
      memory.emplace_back(static_cast<std::size_t>(num_elements(c.graph.value(id).type.shape)));
      outputs.push_back(memory.back().data());
    }
    plan.run(feeds, outputs);  // weights are packed
    counted_run(plan, feeds, outputs);
    return 0;
  }
  std::fprintf(stderr, "no case '%s'\n", argv[1]);
  return 2;
}
