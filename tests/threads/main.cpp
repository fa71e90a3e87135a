// Plans and loops used by many threads at once, checked for their results; under ThreadSanitizer also for races
// (`nox -s threads`).
#include <atomic>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <stdexcept>
#include <thread>
#include <vector>

#include "backend/cpu/cpu.hpp"
#include "core/parallel.hpp"
#include "graph/plan.hpp"

using namespace fastconv;

namespace {

constexpr int kThreads = 4, kRuns = 6;
std::atomic<int> failures{0};

void check(bool ok, const char* what) {
  if (ok) return;
  std::printf("FAILED: %s\n", what);
  ++failures;
}

void together(const std::function<void(int)>& fn) {
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) threads.emplace_back([&fn, t] { fn(t); });
  for (std::thread& t : threads) t.join();
}

// A small network with convolutions that every algorithm would like, and a step of its training.
struct Network {
  Graph graph;
  std::vector<VariablePtr> weights;
  int logits = kNone, loss = kNone;

  int variable(Shape shape) {
    auto v = std::make_shared<Variable>(TensorType{std::move(shape), DType::f32}, "w");
    std::normal_distribution<float> normal(0, 0.1f);
    auto* data = static_cast<float*>(v->data());
    for (std::int64_t i = 0; i < v->type().size(); ++i) data[i] = normal(random);
    weights.push_back(v);
    return graph.variable(std::move(v));
  }
  int conv(int x, std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride) {
    const std::int64_t pad = kernel / 2;
    const int w = variable({kernel, kernel, in, out}), b = variable({out});
    const Attrs attrs{{"strides", Ints{stride, stride}}, {"pads", Ints{pad, pad, pad, pad}}, {"dilations", Ints{1, 1}}};
    return graph.add("relu", graph.add("conv2d", {x, w, b}, attrs))[0];
  }
  explicit Network(bool training) {
    int x = graph.input("x", {{kBatch, 20, 20, 3}, DType::f32});
    x = conv(conv(conv(x, 3, 16, 3, 1), 16, 32, 3, 1), 32, 32, 1, 1);
    x = graph.add(
        "max_pool2d", {x},
        {{"kernel", Ints{2, 2}}, {"strides", Ints{2, 2}}, {"pads", Ints{0, 0, 0, 0}}, {"dilations", Ints{1, 1}}})[0];
    x = graph.add("reshape", {conv(x, 32, 48, 3, 2)}, {{"shape", Ints{kBatch, -1}}})[0];
    logits = graph.add("dense", {x, variable({25 * 48, 10}), variable({10})})[0];
    if (!training) return;
    const int target = graph.input("y", {{kBatch}, DType::i64});
    loss = graph.add("reduce_mean", graph.add("softmax_cross_entropy", {logits, target}), {{"axes", Ints{0}}})[0];
    std::vector<int> ids;
    for (const VariablePtr& w : weights) ids.push_back(graph.variable(w));
    const std::vector<int> grads = graph.gradients({loss}, {kNone}, ids);
    const int rate = graph.scalar(0.05, DType::f32);
    for (std::size_t i = 0; i < ids.size(); ++i) graph.add("sgd_update", {ids[i], grads[i], kNone, rate});
  }

  static constexpr std::int64_t kBatch = 3;
  std::mt19937 random{7};
};

const std::vector<float>& images() {
  static const std::vector<float> x = [] {
    std::vector<float> values(Network::kBatch * 20 * 20 * 3);
    std::mt19937 random(3);
    std::normal_distribution<float> normal;
    for (float& v : values) v = normal(random);
    return values;
  }();
  return x;
}

std::vector<float> run(Plan& plan) {
  std::vector<float> y(Network::kBatch * 10);
  plan.run({images().data()}, {y.data()});
  return y;
}

bool same(const std::vector<float>& a, const std::vector<float>& b) {
  return std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

void one_plan() {
  const Network net(false);
  Plan plan(net.graph, {net.logits}, cpu::backend());
  const std::vector<float> wanted = run(plan);
  together([&](int) {
    for (int i = 0; i < kRuns; ++i) check(same(run(plan), wanted), "one plan gives every thread the same bits");
  });
}

void plans_that_share() {
  const Network net(false);
  const auto store = std::make_shared<PackStore>();
  Plan first(net.graph, {net.logits}, cpu::backend());
  const std::vector<float> wanted = run(first);
  together([&](int) {
    for (int i = 0; i < kRuns; ++i) {
      Plan plan(net.graph, {net.logits}, cpu::backend(), store);
      check(same(run(plan), wanted), "plans with one store give the same bits");
    }
  });
  check(store->bytes() == 0, "the store is empty after its plans");
}

std::vector<float> train(int threads) {
  Network net(true);
  Plan plan(net.graph, {net.loss}, cpu::backend());
  const std::vector<std::int64_t> targets{1, 7, 3};
  const auto steps = [&](int) {
    float loss = 0;
    for (int i = 0; i < kRuns * kThreads / threads; ++i) plan.run({images().data(), targets.data()}, {&loss});
  };
  threads == 1 ? steps(0) : together(steps);
  const auto* w = static_cast<const float*>(net.weights[0]->data());
  return {w, w + net.weights[0]->type().size()};
}

void training() { check(same(train(1), train(kThreads)), "steps of one training wait for each other"); }

void loops() {
  together([](int t) {
    for (int i = 0; i < kRuns * 10; ++i) {
      std::atomic<std::int64_t> sum{0};
      bool thrown = false;
      try {
        parallel_for(100, [&](std::int64_t piece, int) {
          if (t == 0 && piece == 50) throw std::runtime_error("a piece's");
          sum += piece;
        });
      } catch (const std::runtime_error&) {
        thrown = true;
      }
      check(t == 0 ? thrown : sum == 4950, "loops of several threads");
    }
  });
}

void counts() {
  const Network net(false);
  Plan plan(net.graph, {net.logits}, cpu::backend());
  const std::vector<float> wanted = run(plan);
  together([&](int t) {
    for (int i = 0; i < kRuns; ++i) {
      if (t == 0)
        set_num_threads(1 + i % 3);
      else
        check(same(run(plan), wanted), "the number of threads changes between runs");
    }
  });
}

}  // namespace

int main() {
  set_num_threads(2);
  one_plan();
  plans_that_share();
  training();
  loops();
  counts();
  std::printf("%d failed\n", failures.load());
  return failures ? 1 : 0;
}
