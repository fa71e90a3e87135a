#include "graph/attrs.hpp"

#include "core/tensor.hpp"

namespace fastconv {
namespace {

[[noreturn]] void wrong(const std::string& key, const char* expected) {
  throw Error("attribute " + key + ": expected " + expected);
}

}  // namespace

std::int64_t Attrs::integer(const std::string& key) const {
  const auto it = map_.find(key);
  if (it == map_.end()) throw Error("attribute " + key + " is missing");
  if (auto* v = std::get_if<std::int64_t>(&it->second)) return *v;
  if (auto* b = std::get_if<bool>(&it->second)) return *b;
  wrong(key, "an integer");
}

std::int64_t Attrs::integer(const std::string& key, std::int64_t fallback) const {
  return has(key) ? integer(key) : fallback;
}

double Attrs::real(const std::string& key, double fallback) const {
  const auto it = map_.find(key);
  if (it == map_.end()) return fallback;
  if (auto* v = std::get_if<double>(&it->second)) return *v;
  if (auto* i = std::get_if<std::int64_t>(&it->second)) return static_cast<double>(*i);
  wrong(key, "a number");
}

bool Attrs::boolean(const std::string& key, bool fallback) const {
  const auto it = map_.find(key);
  if (it == map_.end()) return fallback;
  if (auto* v = std::get_if<bool>(&it->second)) return *v;
  if (auto* i = std::get_if<std::int64_t>(&it->second)) return *i != 0;
  wrong(key, "a boolean");
}

std::string Attrs::text(const std::string& key, const std::string& fallback) const {
  const auto it = map_.find(key);
  if (it == map_.end()) return fallback;
  if (auto* v = std::get_if<std::string>(&it->second)) return *v;
  wrong(key, "a string");
}

const Ints& Attrs::ints(const std::string& key) const {
  const auto it = map_.find(key);
  if (it == map_.end()) throw Error("attribute " + key + " is missing");
  if (auto* v = std::get_if<Ints>(&it->second)) return *v;
  wrong(key, "a list of integers");
}

Ints Attrs::ints(const std::string& key, Ints fallback) const { return has(key) ? ints(key) : fallback; }

}  // namespace fastconv
