// Locks that a child of fork can use, though another thread of its parent may hold them at that moment.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

namespace fastconv {

// The one lock for short sections that wait for nothing: fork waits until nobody is inside, so that a child finds
// the lock free and what it guards whole.
std::mutex& section_mutex();

// For sections that run steps. A child of fork finds it free, whoever held it: what it guards must be whole at any
// moment for a child that has only the memory.
class LongMutex {
 public:
  LongMutex();
  LongMutex(const LongMutex&) = delete;
  LongMutex& operator=(const LongMutex&) = delete;
  void lock();
  void unlock() { mutex_->unlock(); }

 private:
  std::atomic<std::uint64_t> process_;  // the forks behind the process that made mutex_
  std::unique_ptr<std::mutex> mutex_;
};

}  // namespace fastconv
