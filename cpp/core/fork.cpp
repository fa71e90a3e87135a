#include "core/fork.hpp"

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace fastconv {
namespace {

std::atomic<std::uint64_t> forks{0};

#if defined(__unix__) || defined(__APPLE__)
[[maybe_unused]] const int handlers = pthread_atfork([] { section_mutex().lock(); }, [] { section_mutex().unlock(); },
                                                     [] {
                                                       forks.fetch_add(1);
                                                       section_mutex().unlock();
                                                     });
#endif

}  // namespace

std::mutex& section_mutex() {
  static auto* mutex = new std::mutex;  // never destroyed: plans may outlive static destruction
  return *mutex;
}

LongMutex::LongMutex() : process_(forks.load()), mutex_(std::make_unique<std::mutex>()) {}

void LongMutex::lock() {
  if (process_.load(std::memory_order_acquire) != forks.load(std::memory_order_relaxed)) {
    std::lock_guard<std::mutex> section(section_mutex());
    if (process_.load() != forks.load()) {
      (void)mutex_.release();  // a thread that is not here may hold it: it cannot be destroyed
      mutex_ = std::make_unique<std::mutex>();
      process_.store(forks.load(), std::memory_order_release);
    }
  }
  mutex_->lock();
}

}  // namespace fastconv
