// What plans prepared from variables (folded constants, packed weights), shared by the plans that want the same.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/fork.hpp"
#include "core/memory.hpp"

namespace fastconv {

// Everything here but `preparing` is guarded by section_mutex().
class PackStore {
 public:
  // The key says all that the contents depend on but the versions of the variables. It lives as long as a plan
  // knows of it, its contents as long as a plan keeps them.
  struct Entry {
    const std::string* key = nullptr;
    std::uint64_t id = 0;  // stands for the key in the keys of what is computed from it
    int plans = 0, keepers = 0;
    std::shared_ptr<Buffer> contents;  // never written while somebody else may read them
    std::uint64_t version = 0;         // of the variables when they were computed
  };
  // The contents of one plan's items, as its runs read them.
  struct Snapshot {
    std::uint64_t version = 0;
    std::vector<std::shared_ptr<Buffer>> contents;
  };
  using Slot = std::shared_ptr<const Snapshot>;

  std::size_t bytes() const;  // of all contents

  // Each takes the section's lock itself.
  Entry* acquire(std::string key);
  void keep(Entry* entry);
  // Releases a plan's entries, and those of them that it keeps.
  void release(const std::vector<Entry*>& entries, const std::vector<Entry*>& kept);
  void add_slot(Slot* slot);
  void remove_slot(Slot* slot);

  // For who holds the section's lock: contents that are only in `slots_` and the entry are taken out to be written
  // anew; null where somebody reads them.
  std::shared_ptr<Buffer> take(Entry& entry);
  void put(Entry& entry, std::shared_ptr<Buffer> contents, std::uint64_t version);
  void clear_slots(std::vector<Slot>& cleared);

  // Held while a plan computes contents: plans that start together do it once.
  LongMutex preparing;

 private:
  std::unordered_map<std::string, Entry> entries_;
  std::vector<Slot*> slots_;
  std::size_t bytes_ = 0;
  std::uint64_t last_id_ = 0;
};

}  // namespace fastconv
