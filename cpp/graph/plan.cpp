#include "graph/plan.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "core/parallel.hpp"
#include "graph/passes/passes.hpp"
#include "graph/placement.hpp"
#include "kernels/simd/float_state.hpp"

namespace fastconv {

Plan::Plan(const Graph& source, std::vector<int> outputs, const Backend& backend, std::shared_ptr<PackStore> store,
           const PlanOptions& options) {
  Graph graph = source;
  for (int out : outputs) output_types_.push_back(graph.value(out).type);
  for (int in : graph.inputs()) {
    input_types_.push_back(graph.value(in).type);
    input_names_.push_back(graph.value(in).name);
  }
  passes::optimize(graph, outputs);
  std::vector<bool> stable = passes::stable_values(graph);
  passes::drop_transposes(graph, outputs, [&](const Node& node, ChannelsFirst offered) {
    std::vector<PackRequest> requests;
    return backend.channels_first(PlanContext(graph, node, stable, options, requests), offered);
  });
  if (options.recompute)
    passes::recompute_segments(graph, outputs);
  else
    passes::recompute_cheap(graph, outputs);
  passes::update_early(graph, outputs);
  stable = passes::stable_values(graph);
  preparation_ = std::make_unique<Preparation>(graph, stable, std::move(store));
  std::vector<std::size_t> run_nodes;
  const Placement placement = place_concats(graph, outputs, stable, backend);
  plan_nodes(graph, stable, backend, options, placement, run_nodes);
  for (int out : outputs)
    if (stable[out]) preparation_->keep_value(out);
  locations_.resize(graph.values().size());
  for (std::size_t i = 0; i < graph.inputs().size(); ++i) locations_[graph.inputs()[i]] = {Place::feed, i};
  place_stable(graph, stable);
  assign_memory(graph, outputs, placement, run_nodes);
  for (const PlannedStep& s : steps_) seconds_ += s.step.run ? s.step.seconds() : 0;
  pool_bytes_ = arena_bytes_ + scratch_bytes_ * static_cast<std::size_t>(num_threads());
  ArenaPool::instance().register_size(pool_bytes_);
}

Plan::~Plan() { ArenaPool::instance().unregister_size(pool_bytes_); }

// Asks the backend for the steps: those of stable nodes go to the preparation.
void Plan::plan_nodes(const Graph& graph, const std::vector<bool>& stable, const Backend& backend,
                      const PlanOptions& options, const Placement& placement, std::vector<std::size_t>& run_nodes) {
  for (std::size_t n = 0; n < graph.nodes().size(); ++n) {
    const Node& node = graph.nodes()[n];
    std::vector<PackRequest> requests;
    PlanContext context(graph, node, stable, options, requests, &placement);
    PlannedStep planned;
    planned.step = backend.plan(context);
    for (const auto* values : {&node.inputs, &node.outputs})
      for (int v : *values)
        if (v != kNone) planned.step.bytes += static_cast<double>(graph.value(v).type.bytes());
    if (!planned.step.run)
      throw Error("operator " + node.op->name + (node.name.empty() ? "" : " '" + node.name + "'") +
                  " is not supported by the " + backend.name() + " backend for " +
                  name_of(graph.value(node.outputs.empty() ? node.inputs[0] : node.outputs[0]).type.dtype));
    // A node without outputs changes variables: it belongs to every run.
    if (!node.outputs.empty() && stable[node.outputs[0]]) {
      preparation_->add_step(node, std::move(planned.step), std::move(requests));
      continue;
    }
    planned.op = node.op->name;
    planned.name = node.name;
    if (!node.outputs.empty()) planned.shape = graph.value(node.outputs[0]).type.shape;
    for (int in : node.inputs) {
      if (in == kNone || !stable[in]) continue;
      const bool packed =
          std::any_of(requests.begin(), requests.end(), [&](auto& r) { return r.value == in || r.scale == in; });
      if (!packed || std::count(node.inputs.begin(), node.inputs.end(), in) > 1) preparation_->keep_value(in);
    }
    for (PackRequest& request : requests) {
      planned.packs.push_back(static_cast<int>(packs_.size()));
      Pack pack;
      if (stable[request.value]) {
        pack.item = preparation_->add_pack(std::move(request));
        preparation_->keep(pack.item);
      } else {
        pack.request = std::move(request);
      }
      packs_.push_back(std::move(pack));
    }
    scratch_bytes_ = std::max(scratch_bytes_, (planned.step.scratch + kAlignment - 1) / kAlignment * kAlignment);
    run_nodes.push_back(n);
    steps_.push_back(std::move(planned));
    for (int m : node.op->mutates)
      if (m < static_cast<int>(node.inputs.size()) && node.inputs[m] != kNone)
        mutated_.push_back(graph.value(node.inputs[m]).variable);
  }
  std::sort(mutated_.begin(), mutated_.end());
  mutated_.erase(std::unique(mutated_.begin(), mutated_.end()), mutated_.end());
}

void Plan::place_stable(const Graph& graph, const std::vector<bool>& stable) {
  std::unordered_map<const Variable*, std::size_t> index;
  for (std::size_t v = 0; v < graph.values().size(); ++v) {
    const Value& value = graph.values()[v];
    const bool variable = value.kind == Value::Kind::variable;
    if (!variable && !stable[v]) continue;
    const int id = static_cast<int>(v);
    if (!variable && preparation_->item_of(id) != kNone) {
      locations_[v] = {Place::prepared, static_cast<std::size_t>(preparation_->item_of(id))};
      continue;
    }
    // A variable, or a view of one.
    const VariablePtr& memory = variable ? value.variable : preparation_->variable_of(id);
    if (!memory) continue;  // of a node that is no longer there
    const auto [it, fresh] = index.try_emplace(memory.get(), variables_.size());
    if (fresh) variables_.push_back(memory);
    locations_[v] = {Place::variable, it->second};
  }
}

// Gives every value that a run computes a place: an output's memory, another value's (views, in-place operators,
// parts of a concat), or an offset of the arena.
void Plan::assign_memory(const Graph& graph, const std::vector<int>& outputs, const Placement& placement,
                         const std::vector<std::size_t>& run_nodes) {
  const std::size_t n = graph.values().size();
  const int end = static_cast<int>(run_nodes.size());
  std::vector<int> root(n), first(n, -1), last(n, -1);
  for (std::size_t v = 0; v < n; ++v) root[v] = placement.root[v] == kNone ? static_cast<int>(v) : placement.root[v];
  const std::vector<bool> changed = passes::changed_variables(graph);
  for (int s = 0; s < end; ++s) {
    const Node& node = graph.nodes()[run_nodes[s]];
    // A view of a variable that the plan changes is a copy: it keeps the value from before.
    if (node.op->view && !changed[node.inputs[0]]) root[node.outputs[0]] = root[node.inputs[0]];
    for (int in : node.inputs)
      if (in != kNone) last[root[in]] = std::max(last[root[in]], s);
    for (int out : node.outputs) {
      if (first[root[out]] < 0) first[root[out]] = s;
      last[root[out]] = std::max(last[root[out]], s);
    }
  }

  // Outputs are written where they are wanted; what cannot be is copied at the end.
  for (std::size_t o = 0; o < outputs.size(); ++o) {
    const int r = root[outputs[o]];
    last[r] = end;
    if (locations_[r].place == Place::none && graph.value(r).kind == Value::Kind::computed)
      locations_[r] = {Place::output, o};
    else
      copies_.push_back({outputs[o], o, graph.value(outputs[o]).type.bytes()});
  }

  // In-place: the output of an elementwise operator takes over the memory of an input that dies there.
  const auto take_over = [&](const Node& node, int s, int out, int i) {
    if (locations_[out].place != Place::none || root[out] != out) return false;
    if (i >= static_cast<int>(node.inputs.size()) || node.inputs[i] == kNone) return false;
    const int from = root[node.inputs[i]];
    if (graph.value(from).kind != Value::Kind::computed || locations_[from].place != Place::none) return false;
    if (last[from] != s || graph.value(from).type.bytes() != graph.value(out).type.bytes()) return false;
    // Another input may be read at other elements after the output's are written.
    for (int j = 0; j < static_cast<int>(node.inputs.size()); ++j)
      if (node.inputs[j] != kNone && root[node.inputs[j]] == from && j != i &&
          !std::count(node.op->inplace.begin(), node.op->inplace.end(), j))
        return false;
    last[from] = std::max(last[from], last[out]);
    for (std::size_t v = 0; v < n; ++v)
      if (root[v] == out) root[v] = from;
    return true;
  };
  for (int s = 0; s < end; ++s) {
    const Node& node = graph.nodes()[run_nodes[s]];
    if (node.outputs.empty() || node.op->view) continue;
    for (int i : node.op->inplace)
      if (take_over(node, s, node.outputs[0], i)) break;
    for (const auto& [out, i] : node.op->inplace_others)
      take_over(node, s, node.outputs[static_cast<std::size_t>(out)], i);
  }

  std::vector<Lifetime> buffers;
  std::vector<int> buffer_of(n, -1);
  for (std::size_t v = 0; v < n; ++v)
    if (root[v] == static_cast<int>(v) && first[v] >= 0 && locations_[v].place == Place::none) {
      buffer_of[v] = static_cast<int>(buffers.size());
      buffers.push_back({graph.values()[v].type.bytes(), first[v], last[v]});
    }
  std::vector<std::pair<int, std::size_t>> pack_buffers, workspaces;
  for (int s = 0; s < end; ++s) {
    for (int p : steps_[s].packs)
      if (packs_[p].item == kNone) {
        pack_buffers.emplace_back(p, buffers.size());
        buffers.push_back({packs_[p].request.bytes, s, s});
      }
    if (steps_[s].step.workspace) {
      workspaces.emplace_back(s, buffers.size());
      buffers.push_back({steps_[s].step.workspace, s, s});
    }
  }
  arena_bytes_ = assign_offsets(buffers);
  live_bytes_ = most_live(buffers);

  for (auto& [p, b] : pack_buffers) packs_[p].offset = buffers[b].offset;
  for (auto& [s, b] : workspaces) steps_[s].workspace_offset = buffers[b].offset;
  for (std::size_t v = 0; v < n; ++v)
    if (buffer_of[v] >= 0) locations_[v] = {Place::arena, buffers[buffer_of[v]].offset};
  for (std::size_t v = 0; v < n; ++v)
    if (locations_[v].place == Place::none) {
      locations_[v] = locations_[root[v]];
      locations_[v].shift = static_cast<std::size_t>(placement.offset[v]) * size_of(graph.values()[v].type.dtype);
    }

  // Nothing to do for views: their memory is their input's.
  for (int s = 0; s < end; ++s)
    if (const Node& v = graph.nodes()[run_nodes[s]]; v.op->view && !changed[v.inputs[0]]) steps_[s].step.run = nullptr;
}

std::vector<void*> Plan::locate(const std::vector<const void*>& feeds, const std::vector<void*>& outputs,
                                std::byte* arena, const PackStore::Snapshot& prepared) const {
  std::vector<void*> values(locations_.size(), nullptr);
  for (std::size_t v = 0; v < locations_.size(); ++v) {
    const Location& l = locations_[v];
    switch (l.place) {
      case Place::none: break;
      case Place::arena: values[v] = arena + l.offset + l.shift; break;
      case Place::feed: values[v] = const_cast<void*>(feeds[l.offset]); break;
      case Place::output: values[v] = static_cast<std::byte*>(outputs[l.offset]) + l.shift; break;
      case Place::variable: values[v] = variables_[l.offset]->data(); break;
      case Place::prepared:  // null where only the preparation reads it
        if (prepared.contents[l.offset]) values[v] = prepared.contents[l.offset]->data();
        break;
    }
  }
  return values;
}

void Step::execute(const RunContext& context) const {
  // A second thread costs a microsecond or two, and the way of the data from one core to the other.
  constexpr double kSmall = 5e-6;
  std::optional<PinThreads> alone;
  if (seconds() < kSmall) alone.emplace(1);
  run(context);
}

void Plan::run_step(const PlannedStep& s, RunContext& context, std::byte* arena) const {
  if (!s.step.run) return;
  for (int p : s.packs) {
    const Pack& pack = packs_[p];
    const PackRequest& r = pack.request;
    if (pack.item == kNone)
      r.pack(context.values_[r.value], r.scale == kNone ? nullptr : context.values_[r.scale], arena + pack.offset);
  }
  context.workspace_ = arena + s.workspace_offset;
  s.step.execute(context);
}

void Plan::execute(const std::vector<const void*>& feeds, const std::vector<void*>& outputs,
                   std::vector<Measured>* measured) {
  [[maybe_unused]] const simd::FlushDenormals flush;
  // Threads that sleep take some 50 microseconds to wake, but the caller begins without them.
  constexpr double kSmall = 30e-6;
  PinThreads pin(seconds_ < kSmall ? 1 : num_threads());
  const std::shared_ptr<const PackStore::Snapshot> prepared = preparation_->get();
  // Plans that change variables run alone.
  std::unique_lock<LongMutex> alone(alone_, std::defer_lock);
  if (!mutated_.empty()) alone.lock();
  // Also when a step throws: steps before it may have changed some.
  struct Touch {
    const std::vector<VariablePtr>& variables;
    ~Touch() {
      for (const VariablePtr& v : variables) v->touch();
    }
  } touch{mutated_};

  ArenaPool::Lease arena(ArenaPool::instance(),
                         arena_bytes_ + scratch_bytes_ * static_cast<std::size_t>(num_threads()));
  std::vector<void*> values = locate(feeds, outputs, arena.data(), *prepared), packed(packs_.size());
  for (std::size_t p = 0; p < packs_.size(); ++p)
    packed[p] = packs_[p].item == kNone ? arena.data() + packs_[p].offset : prepared->contents[packs_[p].item]->data();
  RunContext context;
  context.values_ = values.data();
  context.scratch_ = arena.data() + arena_bytes_;
  context.scratch_stride_ = scratch_bytes_;
  // One team for the whole plan: between the steps its threads wait awake.
  with_team([&] {
    for (const PlannedStep& s : steps_) {
      context.packed_ = s.packs.empty() ? nullptr : packed.data() + s.packs.front();
      if (measured) {
        take_most_pieces();
        const auto start = std::chrono::steady_clock::now();
        run_step(s, context, arena.data());
        const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
        measured->push_back({time.count(), take_most_pieces()});
      } else {
        run_step(s, context, arena.data());
      }
    }
  });
  for (const Copy& c : copies_)
    if (c.bytes) std::memcpy(outputs[c.output], values[c.value], c.bytes);
  // What runs twice will run often.
  if (runs_.load(std::memory_order_relaxed) < 2 && ++runs_ == 2) make_huge_meanwhile(prepared->contents);
}

void Plan::run(const std::vector<const void*>& feeds, const std::vector<void*>& outputs) {
  execute(feeds, outputs, nullptr);
}

std::vector<StepReport> Plan::profile(const std::vector<const void*>& feeds, const std::vector<void*>& outputs) {
  std::vector<Measured> measured;
  execute(feeds, outputs, &measured);
  std::vector<StepReport> report;
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    const PlannedStep& s = steps_[i];
    report.push_back({s.op, s.name, s.step.run ? s.step.algorithm : "view", s.shape, measured[i].seconds, s.step.flops,
                      measured[i].pieces});
  }
  return report;
}

std::vector<Choice> Plan::choices() const {
  std::vector<Choice> choices;
  for (std::size_t i = 0; i < steps_.size(); ++i)
    if (const Step& s = steps_[i].step; s.candidates.size() > 1)
      choices.push_back({i, s.problem, s.algorithm, s.candidates});
  return choices;
}

}  // namespace fastconv
