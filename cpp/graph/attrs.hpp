// Attributes of a node: a small ordered map of typed values.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

namespace fastconv {

using Ints = std::vector<std::int64_t>;
using Attr = std::variant<bool, std::int64_t, double, std::string, Ints, std::vector<double>>;

class Attrs {
 public:
  Attrs() = default;
  Attrs(std::initializer_list<std::pair<const std::string, Attr>> init) : map_(init) {}

  bool has(const std::string& key) const { return map_.count(key) != 0; }
  void set(const std::string& key, Attr value) { map_[key] = std::move(value); }
  void erase(const std::string& key) { map_.erase(key); }
  const std::map<std::string, Attr>& items() const { return map_; }
  bool operator==(const Attrs& o) const { return map_ == o.map_; }

  // Each throws Error when the value has another type; those without a default also when it is missing.
  std::int64_t integer(const std::string& key) const;
  std::int64_t integer(const std::string& key, std::int64_t fallback) const;
  double real(const std::string& key, double fallback) const;
  bool boolean(const std::string& key, bool fallback) const;
  std::string text(const std::string& key, const std::string& fallback) const;
  const Ints& ints(const std::string& key) const;
  Ints ints(const std::string& key, Ints fallback) const;

 private:
  std::map<std::string, Attr> map_;
};

}  // namespace fastconv
