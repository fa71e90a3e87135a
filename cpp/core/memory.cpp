#include "core/memory.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <mutex>
#include <new>
#include <set>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "core/fork.hpp"
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace fastconv {
namespace {
// From here pages are the system's, and go back to it at once; malloc keeps up to 64 MiB of what is freed.
constexpr std::size_t kMapThreshold = std::size_t{1} << 17;
constexpr std::size_t kHugeThreshold = std::size_t{1} << 22;

std::size_t map_size(std::size_t bytes) { return (bytes + 4095) & ~std::size_t{4095}; }

#if defined(__linux__)
// As in <linux/mman.h>, which may be older than the kernel. Hints: their failure changes nothing.
constexpr int kPopulateWrite = 23, kCollapse = 25;
#endif
}  // namespace

Buffer::Buffer(std::size_t bytes, [[maybe_unused]] Pages pages) : bytes_(bytes) {
  if (bytes == 0) return;
#if defined(__linux__)
  if (bytes >= kMapThreshold) {
    void* p = mmap(nullptr, map_size(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    if (pages == Pages::huge && bytes >= kHugeThreshold) madvise(p, map_size(bytes), MADV_HUGEPAGE);
    data_ = static_cast<std::byte*>(p);
    return;
  }
#endif
  data_ = static_cast<std::byte*>(::operator new(bytes, std::align_val_t{kAlignment}));
  std::memset(data_, 0, bytes);
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

Buffer::~Buffer() {
  if (!data_) return;
#if defined(__linux__)
  if (bytes_ >= kMapThreshold) {
    munmap(data_, map_size(bytes_));
    return;
  }
#endif
  ::operator delete(data_, std::align_val_t{kAlignment});
}

void Buffer::populate([[maybe_unused]] std::size_t begin, [[maybe_unused]] std::size_t end) const {
#if defined(__linux__)
  if (bytes_ < kMapThreshold) return;
  begin = begin & ~std::size_t{4095}, end = map_size(end);
  madvise(data_ + begin, end - begin, kPopulateWrite);
#endif
}

bool Buffer::large() const { return bytes_ >= kHugeThreshold; }

void Buffer::make_huge([[maybe_unused]] std::size_t begin, [[maybe_unused]] std::size_t end) const {
#if defined(__linux__)
  if (!large()) return;
  end = map_size(end);
  madvise(data_ + begin, end - begin, MADV_HUGEPAGE);
  madvise(data_ + begin, end - begin, kCollapse);
#endif
}

void make_huge_meanwhile(const std::vector<std::shared_ptr<Buffer>>& buffers) {
  constexpr std::size_t kRange = std::size_t{8} << 20;  // the longest that a buffer is kept
  std::vector<std::weak_ptr<Buffer>> large;
  for (const std::shared_ptr<Buffer>& b : buffers)
    if (b && b->large()) large.push_back(b);
  if (large.empty()) return;
  try {
    std::thread([large = std::move(large)] {
      for (const std::weak_ptr<Buffer>& weak : large)
        for (std::size_t begin = 0;; begin += kRange) {
          const std::shared_ptr<Buffer> b = weak.lock();
          if (!b || begin >= b->size()) break;
          b->make_huge(begin, std::min(begin + kRange, b->size()));
        }
    }).detach();
  } catch (const std::system_error&) {  // no thread: small pages do as well
  }
}

void release_pages([[maybe_unused]] const void* data, [[maybe_unused]] std::size_t bytes) {
#if defined(__linux__)
  constexpr std::uintptr_t page = 4096;
  if (bytes < 16 * page) return;
  const auto begin = reinterpret_cast<std::uintptr_t>(data) & ~(page - 1);
  const auto end = (reinterpret_cast<std::uintptr_t>(data) + bytes + page - 1) & ~(page - 1);
  madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);  // a hint: its failure changes nothing
#endif
}

struct ArenaPool::State {  // guarded by section_mutex()
  std::vector<Buffer> idle;
  std::multiset<std::size_t> plans;

  // Takes out the arenas that no living plan needs; they are freed by who calls, after the section.
  std::vector<Buffer> trim() {
    // Up to four times as much, so that plans of changing shapes neither let memory go nor take it anew all the time.
    const std::size_t largest = plans.empty() ? 0 : *plans.rbegin();
    const auto first =
        std::partition(idle.begin(), idle.end(), [&](const Buffer& b) { return b.size() / 4 <= largest; });
    std::vector<Buffer> out(std::make_move_iterator(first), std::make_move_iterator(idle.end()));
    idle.erase(first, idle.end());
    return out;
  }
};

ArenaPool::ArenaPool() : state_(std::make_unique<State>()) {}
ArenaPool::~ArenaPool() = default;

ArenaPool& ArenaPool::instance() {
  static ArenaPool* pool = new ArenaPool;  // never destroyed: plans may outlive static destruction
  return *pool;
}

void ArenaPool::register_size(std::size_t bytes) {
  std::lock_guard<std::mutex> section(section_mutex());
  state_->plans.insert(bytes);
}

void ArenaPool::unregister_size(std::size_t bytes) {
  std::vector<Buffer> unused;
  std::lock_guard<std::mutex> section(section_mutex());
  if (auto it = state_->plans.find(bytes); it != state_->plans.end()) state_->plans.erase(it);
  unused = state_->trim();
}

ArenaPool::Lease::Lease(ArenaPool& pool, std::size_t bytes) : pool_(pool) {
  Buffer small;
  {
    std::lock_guard<std::mutex> section(section_mutex());
    auto& idle = pool.state_->idle;
    auto best = idle.end();
    for (auto it = idle.begin(); it != idle.end(); ++it)
      if (it->size() >= bytes && (best == idle.end() || it->size() < best->size())) best = it;
    if (best != idle.end()) {
      buffer_ = std::move(*best);
      idle.erase(best);
      return;
    }
    // A smaller idle arena would only lie beside the new one.
    if (!idle.empty() && bytes > 0) {
      small = std::move(idle.back());
      idle.pop_back();
    }
  }
  small = Buffer();
  buffer_ = Buffer(bytes);
}

ArenaPool::Lease::~Lease() {
  std::vector<Buffer> unused;
  std::lock_guard<std::mutex> section(section_mutex());
  if (!buffer_.size()) return;
  pool_.state_->idle.push_back(std::move(buffer_));
  unused = pool_.state_->trim();  // its plan may be gone
}

}  // namespace fastconv
