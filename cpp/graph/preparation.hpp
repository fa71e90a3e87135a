// What a plan computes before its first run, and again when a variable was assigned: all that depends on variables
// alone which it does not change. Only what the runs read is kept; what merely leads there is freed at once.
#pragma once
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "backend/backend.hpp"
#include "graph/pack_store.hpp"

namespace fastconv {

class Preparation {
 public:
  // Of a graph whose values are `stable` where they depend on such variables alone. A null store: one of its own.
  Preparation(const Graph& graph, const std::vector<bool>& stable, std::shared_ptr<PackStore> store);
  ~Preparation();
  Preparation(const Preparation&) = delete;
  Preparation& operator=(const Preparation&) = delete;

  // In the order of the nodes, those whose outputs are stable.
  void add_step(const Node& node, Step step, std::vector<PackRequest> packs);
  // Packs a stable value. Returns its item.
  int add_pack(PackRequest request);
  // What the runs read.
  void keep(int item);
  void keep_value(int value);

  // Where a stable value lies: in memory of variable(value), or in an item.
  int item_of(int value) const { return places_[value].item; }
  VariablePtr variable_of(int value) const { return places_[value].variable; }
  std::size_t kept_bytes() const;

  // The items' contents, computed where they are missing or old.
  std::shared_ptr<const PackStore::Snapshot> get();

 private:
  struct Place {
    int item = kNone;
    VariablePtr variable;
    std::string key;
    std::vector<int> depends;  // indices into variables_, ascending
  };
  struct Item {
    PackStore::Entry* entry;
    std::size_t bytes;
    std::vector<int> depends;
    std::vector<int> values;  // that lie in it
    bool keep = false;
  };
  struct Action {
    Step step;  // without run: the pack makes the one output
    PackRequest pack;
    std::vector<int> packs;            // items that the step reads as its packs
    std::vector<int> inputs, outputs;  // items
    std::vector<VariablePtr> read;     // where the step or the pack reads variables themselves
  };
  struct Memory;

  int item_for(std::string key, std::size_t bytes, const std::vector<int>& depends, bool& made);
  std::uint64_t version(const std::vector<int>& depends) const;
  void compute(const std::vector<bool>& run_action, std::vector<int> readers,
               const std::vector<std::uint64_t>& versions, std::vector<std::shared_ptr<Buffer>>& contents);
  void run(const Action& action, Memory& memory) const;
  std::string type_key(int value) const;

  std::shared_ptr<PackStore> store_;
  std::vector<TensorType> types_;       // by value
  std::vector<Place> places_;           // by value
  std::vector<VariablePtr> variables_;  // those that can be assigned
  std::vector<Item> items_;
  std::unordered_map<PackStore::Entry*, int> item_by_entry_;
  std::vector<Action> actions_;
  std::vector<int> kept_depends_;
  std::size_t scratch_ = 0, workspace_ = 0;
  PackStore::Slot slot_;
};

}  // namespace fastconv
