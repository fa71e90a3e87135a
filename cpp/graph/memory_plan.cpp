// Assignment of arena offsets (greedy by size: Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net
// Inference", 2020, section 4).
#include <algorithm>
#include <numeric>

#include "graph/plan.hpp"

namespace fastconv {

std::size_t assign_offsets(std::vector<Lifetime>& buffers) {
  std::vector<std::size_t> order(buffers.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return buffers[a].bytes > buffers[b].bytes; });
  std::vector<std::size_t> placed;  // by offset
  std::size_t total = 0;
  for (std::size_t i : order) {
    Lifetime& b = buffers[i];
    const std::size_t bytes = (b.bytes + kAlignment - 1) / kAlignment * kAlignment;
    std::size_t offset = 0;
    for (std::size_t j : placed) {
      const Lifetime& other = buffers[j];
      if (other.last < b.first || other.first > b.last) continue;
      if (offset + bytes <= other.offset) break;
      offset = std::max(offset, other.offset + (other.bytes + kAlignment - 1) / kAlignment * kAlignment);
    }
    b.offset = offset;
    total = std::max(total, offset + bytes);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), i,
                                   [&](std::size_t x, std::size_t y) { return buffers[x].offset < buffers[y].offset; }),
                  i);
  }
  return total;
}

std::size_t most_live(const std::vector<Lifetime>& buffers) {
  int end = 0;
  for (const Lifetime& b : buffers) end = std::max(end, b.last + 1);
  std::vector<std::size_t> begins(static_cast<std::size_t>(end) + 1, 0), ends(begins);
  for (const Lifetime& b : buffers) {
    begins[static_cast<std::size_t>(b.first)] += b.bytes;
    ends[static_cast<std::size_t>(b.last) + 1] += b.bytes;
  }
  std::size_t live = 0, most = 0;
  for (std::size_t s = 0; s < begins.size(); ++s) {
    live += begins[s] - ends[s];
    most = std::max(most, live);
  }
  return most;
}

}  // namespace fastconv
