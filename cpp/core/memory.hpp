// Aligned buffers, and the pool that arenas of plans are taken from.
#pragma once
#include <cstddef>
#include <memory>
#include <vector>

namespace fastconv {

constexpr std::size_t kAlignment = 64;

enum class Pages { huge, small };

// Owns 64-byte aligned memory, zeroed by the operating system or here. Throws std::bad_alloc.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t bytes, Pages pages = Pages::huge);  // huge: where there is enough of it
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  ~Buffer();
  std::byte* data() const { return data_; }
  std::size_t size() const { return bytes_; }
  // Takes the pages of [begin, end) from the system at once: a fault for each costs more.
  void populate(std::size_t begin, std::size_t end) const;
  // Moves [begin, end) of a large one from small pages to huge ones, where the system can. Others may read it
  // meanwhile.
  void make_huge(std::size_t begin, std::size_t end) const;
  bool large() const;  // enough for huge pages

 private:
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

// Moves those that are large to huge pages, from a thread of its own: readers go on, but it takes up to a millisecond a
// page. It keeps none of them alive.
void make_huge_meanwhile(const std::vector<std::shared_ptr<Buffer>>& buffers);

// Takes the pages of a file that is mapped for reading out of this process's memory; the next read maps them again.
void release_pages(const void* data, std::size_t bytes);

// Arenas are borrowed for one run, so that many plans (one a shape) need the memory of one. A plan registers its
// size while it lives; idle arenas more than four times as large as any living plan needs are given back.
class ArenaPool {
 public:
  static ArenaPool& instance();
  void register_size(std::size_t bytes);
  void unregister_size(std::size_t bytes);

  class Lease {
   public:
    Lease(ArenaPool& pool, std::size_t bytes);
    ~Lease();
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    std::byte* data() const { return buffer_.data(); }

   private:
    ArenaPool& pool_;
    Buffer buffer_;
  };

 private:
  struct State;
  ArenaPool();
  ~ArenaPool();
  std::unique_ptr<State> state_;
};

}  // namespace fastconv
