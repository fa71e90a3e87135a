#include "graph/pack_store.hpp"

#include <algorithm>
#include <utility>

namespace fastconv {

using Section = std::lock_guard<std::mutex>;

std::size_t PackStore::bytes() const {
  Section section(section_mutex());
  return bytes_;
}

PackStore::Entry* PackStore::acquire(std::string key) {
  Section section(section_mutex());
  const auto [it, made] = entries_.try_emplace(std::move(key));
  if (made) {
    it->second.key = &it->first;
    it->second.id = ++last_id_;
  }
  ++it->second.plans;
  return &it->second;
}

void PackStore::keep(Entry* entry) {
  Section section(section_mutex());
  ++entry->keepers;
}

void PackStore::release(const std::vector<Entry*>& entries, const std::vector<Entry*>& kept) {
  std::vector<std::shared_ptr<Buffer>> unused;  // freed after the section
  unused.reserve(kept.size());
  Section section(section_mutex());
  for (Entry* entry : kept)
    if (--entry->keepers == 0 && entry->contents) unused.push_back(take(*entry));
  for (Entry* entry : entries)
    if (--entry->plans == 0) entries_.erase(*entry->key);
}

void PackStore::add_slot(Slot* slot) {
  Section section(section_mutex());
  slots_.push_back(slot);
}

void PackStore::remove_slot(Slot* slot) {
  Slot unused;
  Section section(section_mutex());
  slots_.erase(std::remove(slots_.begin(), slots_.end(), slot), slots_.end());
  unused = std::move(*slot);
}

std::shared_ptr<Buffer> PackStore::take(Entry& entry) {
  if (entry.contents) bytes_ -= entry.contents->size();
  return std::exchange(entry.contents, nullptr);
}

void PackStore::put(Entry& entry, std::shared_ptr<Buffer> contents, std::uint64_t version) {
  bytes_ += contents->size();
  entry.contents = std::move(contents);
  entry.version = version;
}

void PackStore::clear_slots(std::vector<Slot>& cleared) {
  cleared.reserve(slots_.size());
  for (Slot* slot : slots_)
    if (*slot) cleared.push_back(std::move(*slot));
}

}  // namespace fastconv
