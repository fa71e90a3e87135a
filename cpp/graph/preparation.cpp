#include "graph/preparation.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <utility>

#include "core/parallel.hpp"

namespace fastconv {
namespace {

using Section = std::lock_guard<std::mutex>;

// Keys are strings without ambiguity: texts carry their length, and what follows a type has the type's length.
std::string text_key(const std::string& text) { return std::to_string(text.size()) + ":" + text; }

std::string real_key(double value) {
  std::uint64_t bits;  // tells -0 from 0 and one NaN from another
  std::memcpy(&bits, &value, sizeof bits);
  return std::to_string(bits);
}

struct AttrKey {
  std::string operator()(bool v) const { return v ? "true" : "false"; }
  std::string operator()(std::int64_t v) const { return "i" + std::to_string(v); }
  std::string operator()(double v) const { return "r" + real_key(v); }
  std::string operator()(const std::string& v) const { return "t" + text_key(v); }
  std::string operator()(const Ints& v) const { return "I" + to_string(v); }
  std::string operator()(const std::vector<double>& v) const {
    std::string key = "R";
    for (double r : v) key += real_key(r) + ",";
    return key;
  }
};

// Equal constants are one, though every plan's passes make their own. Larger ones are told apart by identity.
constexpr std::size_t kSmallConstant = 4096;

void merge(std::vector<int>& into, const std::vector<int>& more) {
  std::vector<int> all;
  std::set_union(into.begin(), into.end(), more.begin(), more.end(), std::back_inserter(all));
  into = std::move(all);
}

}  // namespace

// Where everything lies while contents are computed.
struct Preparation::Memory {
  std::vector<void*> values, items;
  Buffer scratch, workspace;
};

Preparation::Preparation(const Graph& graph, const std::vector<bool>& stable, std::shared_ptr<PackStore> store)
    : store_(store ? std::move(store) : std::make_shared<PackStore>()), places_(graph.values().size()) {
  for (std::size_t v = 0; v < places_.size(); ++v) {
    const Value& value = graph.values()[v];
    types_.push_back(value.type);
    if (value.kind != Value::Kind::variable || !stable[v]) continue;
    Place& place = places_[v];
    place.variable = value.variable;
    if (value.constant && value.type.bytes() <= kSmallConstant)
      place.key = "c" + std::string(static_cast<const char*>(value.variable->data()), value.type.bytes());
    else
      place.key = "v" + std::to_string(value.variable->id());
    if (value.variable->read_only()) continue;
    place.depends = {static_cast<int>(variables_.size())};
    variables_.push_back(value.variable);
  }
  store_->add_slot(&slot_);
}

Preparation::~Preparation() {
  store_->remove_slot(&slot_);
  std::vector<PackStore::Entry*> all, kept;
  for (const Item& item : items_) {
    all.push_back(item.entry);
    if (item.keep) kept.push_back(item.entry);
  }
  store_->release(all, kept);
}

std::string Preparation::type_key(int value) const {
  return std::string(name_of(types_[value].dtype)) + to_string(types_[value].shape);
}

int Preparation::item_for(std::string key, std::size_t bytes, const std::vector<int>& depends, bool& made) {
  items_.reserve(items_.size() + 1);
  PackStore::Entry* entry = store_->acquire(std::move(key));
  const auto [it, fresh] = item_by_entry_.try_emplace(entry, static_cast<int>(items_.size()));
  made = fresh;
  if (fresh)
    items_.push_back({entry, std::max<std::size_t>(bytes, 1), depends, {}, false});
  else
    store_->release({entry}, {});  // the item of before has it
  return it->second;
}

void Preparation::add_step(const Node& node, Step step, std::vector<PackRequest> packs) {
  if (node.op->view) {
    Place& out = places_[node.outputs[0]];
    out = places_[node.inputs[0]];
    if (out.item != kNone) items_[out.item].values.push_back(node.outputs[0]);
    return;
  }
  std::string key = node.op->name + " " + text_key(step.algorithm) + "{";
  for (const auto& [name, value] : node.attrs.items()) key += text_key(name) + "=" + std::visit(AttrKey{}, value);
  key += "}";
  std::vector<int> depends, inputs;
  for (int in : node.inputs) {
    if (in == kNone) {
      key += "-;";
      continue;
    }
    key += type_key(in) + places_[in].key + ";";
    merge(depends, places_[in].depends);
    if (places_[in].item != kNone) merge(inputs, {places_[in].item});
  }
  Action action;
  bool made = false;
  for (std::size_t o = 0; o < node.outputs.size(); ++o) {
    const int out = node.outputs[o];
    const int item = item_for(key + std::to_string(o), types_[out].bytes(), depends, made);
    items_[item].values.push_back(out);
    places_[out] = {item, nullptr, "#" + std::to_string(items_[item].entry->id), depends};
    action.outputs.push_back(item);
  }
  if (!made) return;  // an equal node came before
  for (PackRequest& request : packs) {
    action.packs.push_back(add_pack(std::move(request)));
    merge(inputs, {action.packs.back()});
  }
  scratch_ = std::max(scratch_, (step.scratch + kAlignment - 1) / kAlignment * kAlignment);
  workspace_ = std::max(workspace_, step.workspace);
  for (int in : node.inputs)
    if (in != kNone && places_[in].variable) action.read.push_back(places_[in].variable);
  action.step = std::move(step);
  action.inputs = std::move(inputs);
  actions_.push_back(std::move(action));
}

int Preparation::add_pack(PackRequest request) {
  static std::atomic<std::uint64_t> unshared{0};
  const Place none, &place = places_[request.value], &scale = request.scale == kNone ? none : places_[request.scale];
  std::string key = request.key.empty() ? "unshared " + std::to_string(++unshared) : "pack " + text_key(request.key);
  // Packing sees bytes, not shapes; a small constant's are told by its type.
  key += " " + std::to_string(request.bytes) + " " + type_key(request.value) + place.key;
  if (request.scale != kNone) key += " " + type_key(request.scale) + scale.key;
  std::vector<int> depends = place.depends;
  merge(depends, scale.depends);
  bool made = false;
  const int item = item_for(std::move(key), request.bytes, depends, made);
  if (!made) return item;
  Action action;
  action.outputs = {item};
  for (const Place* p : {&place, &scale}) {
    if (p->item != kNone) merge(action.inputs, {p->item});
    if (p->variable) action.read.push_back(p->variable);
  }
  action.pack = std::move(request);
  actions_.push_back(std::move(action));
  return item;
}

void Preparation::keep(int item) {
  if (items_[item].keep) return;
  store_->keep(items_[item].entry);
  items_[item].keep = true;
  merge(kept_depends_, items_[item].depends);
}

void Preparation::keep_value(int value) {
  if (places_[value].item != kNone) keep(places_[value].item);
}

std::size_t Preparation::kept_bytes() const {
  std::size_t bytes = 0;
  for (const Item& item : items_)
    if (item.keep) bytes += item.bytes;
  return bytes;
}

// Each version only grows, so equal sums mean equal versions.
std::uint64_t Preparation::version(const std::vector<int>& depends) const {
  std::uint64_t sum = 1;
  for (int v : depends) sum += variables_[v]->version();
  return sum;
}

std::shared_ptr<const PackStore::Snapshot> Preparation::get() {
  std::uint64_t now = version(kept_depends_);
  const auto current = [&]() -> PackStore::Slot {
    Section section(section_mutex());
    return slot_ && slot_->version == now ? slot_ : nullptr;
  };
  if (PackStore::Slot slot = current()) return slot;

  std::lock_guard<LongMutex> preparing(store_->preparing);
  now = version(kept_depends_);
  if (PackStore::Slot slot = current()) return slot;
  const std::size_t n = items_.size();
  std::vector<std::uint64_t> versions(n);  // read before the contents that they tell of
  for (std::size_t i = 0; i < n; ++i) versions[i] = version(items_[i].depends);
  auto snapshot = std::make_shared<PackStore::Snapshot>();
  snapshot->version = now;
  std::vector<std::shared_ptr<Buffer>>& contents = snapshot->contents;
  contents.resize(n);
  std::vector<bool> wanted(n, false);
  {
    std::vector<PackStore::Slot> cleared;  // freed after the section
    bool old = false;
    Section section(section_mutex());
    for (std::size_t i = 0; i < n; ++i) {
      const PackStore::Entry& entry = *items_[i].entry;
      if (entry.contents && entry.version == versions[i]) contents[i] = entry.contents;
      wanted[i] = items_[i].keep && !contents[i];
      old = old || (wanted[i] && entry.contents);
    }
    // Plans that do not run now must not hold what is written anew.
    if (old) store_->clear_slots(cleared);
  }
  std::vector<bool> run(actions_.size(), false);
  std::vector<int> readers(n, 0);
  for (std::size_t a = actions_.size(); a-- > 0;) {
    for (int out : actions_[a].outputs) run[a] = run[a] || wanted[out];
    if (!run[a]) continue;
    for (int in : actions_[a].inputs) {
      ++readers[in];
      wanted[in] = wanted[in] || !contents[in];
    }
  }
  compute(run, std::move(readers), versions, contents);
  for (std::size_t i = 0; i < n; ++i)
    if (!items_[i].keep) contents[i].reset();
  PackStore::Slot replaced = snapshot;
  Section section(section_mutex());
  std::swap(slot_, replaced);
  return slot_;
}

void Preparation::compute(const std::vector<bool>& run_action, std::vector<int> readers,
                          const std::vector<std::uint64_t>& versions, std::vector<std::shared_ptr<Buffer>>& contents) {
  Memory memory;
  memory.values.resize(places_.size());
  memory.items.resize(items_.size());
  for (std::size_t v = 0; v < places_.size(); ++v)
    if (places_[v].variable) memory.values[v] = places_[v].variable->data();
  const auto lies = [&](int item, const Buffer& buffer) {
    memory.items[item] = buffer.data();
    for (int v : items_[item].values) memory.values[v] = buffer.data();
  };
  for (std::size_t i = 0; i < items_.size(); ++i)
    if (contents[i]) lies(static_cast<int>(i), *contents[i]);

  // What leads to the packs lies in the same few buffers in turn: fresh pages cost more than the work on them.
  std::vector<std::shared_ptr<Buffer>> idle;
  const auto recycle = [&](int item) {
    if (contents[item] && contents[item].use_count() == 1) idle.push_back(contents[item]);
    contents[item].reset();
  };
  // In small pages: huge ones may be memory that a virtual machine's host must find first, which takes far longer.
  const auto fresh_buffer = [&](const Item& item) {
    const auto fits = [&](const auto& buffer) { return buffer->size() >= item.bytes; };
    const auto found = item.keep ? idle.end() : std::find_if(idle.begin(), idle.end(), fits);
    std::shared_ptr<Buffer> buffer;
    if (found != idle.end()) {
      buffer = std::move(*found);
      idle.erase(found);
    } else {
      if (!item.keep && !idle.empty()) idle.pop_back();       // too small
      constexpr std::size_t longest = std::size_t{32} << 20;  // more would take seconds to move
      buffer = std::make_shared<Buffer>(item.bytes, item.bytes < longest ? Pages::small : Pages::huge);
      constexpr std::size_t piece = std::size_t{1} << 20;
      parallel_for(static_cast<std::int64_t>((item.bytes + piece - 1) / piece), [&](std::int64_t i, int) {
        const std::size_t begin = static_cast<std::size_t>(i) * piece;
        buffer->populate(begin, std::min(begin + piece, item.bytes));
      });
    }
    return buffer;
  };
  for (std::size_t a = 0; a < actions_.size(); ++a) {
    if (!run_action[a]) continue;
    const Action& action = actions_[a];
    std::vector<Buffer> spare;  // for outputs that are there already, and that others may be reading
    std::vector<int> fresh;
    for (int out : action.outputs) {
      const Item& item = items_[out];
      if (contents[out]) {
        spare.emplace_back(item.bytes);
        lies(out, spare.back());
        continue;
      }
      if (item.keep) {
        std::shared_ptr<Buffer> old;
        {
          Section section(section_mutex());
          old = store_->take(*item.entry);
        }
        if (old && old.use_count() == 1) {
          std::atomic_thread_fence(std::memory_order_acquire);  // after the last reader's reads
          contents[out] = std::move(old);
        }
      }
      if (!contents[out]) contents[out] = fresh_buffer(item);
      lies(out, *contents[out]);
      fresh.push_back(out);
    }
    run(action, memory);
    for (const VariablePtr& variable : action.read) variable->release_pages();
    for (int out : action.outputs)
      if (contents[out]) lies(out, *contents[out]);
    for (int out : fresh) {
      if (items_[out].keep) {
        Section section(section_mutex());
        store_->put(*items_[out].entry, contents[out], versions[out]);
      } else if (readers[out] == 0) {
        recycle(out);
      }
    }
    for (int in : action.inputs)
      if (--readers[in] == 0 && !items_[in].keep) recycle(in);
  }
}

void Preparation::run(const Action& action, Memory& memory) const {
  if (!action.step.run) {
    const PackRequest& p = action.pack;
    p.pack(memory.values[p.value], p.scale == kNone ? nullptr : memory.values[p.scale],
           memory.items[action.outputs[0]]);
    return;
  }
  const std::size_t scratch = scratch_ * static_cast<std::size_t>(num_threads());
  if (memory.scratch.size() < scratch) memory.scratch = Buffer(scratch);
  if (memory.workspace.size() < workspace_) memory.workspace = Buffer(workspace_);
  std::vector<void*> packed;
  for (int item : action.packs) packed.push_back(memory.items[item]);
  RunContext context;
  context.values_ = memory.values.data();
  context.packed_ = packed.data();
  context.scratch_ = memory.scratch.data();
  context.scratch_stride_ = scratch_;
  context.workspace_ = memory.workspace.data();
  action.step.execute(context);
}

}  // namespace fastconv
