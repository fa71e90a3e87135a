// Threads. The only user of OpenMP is parallel.cpp behind this header.
//
// Work is cut into pieces that write memory of their own, and no sum depends on where a piece ends; so results are the
// same bits at any thread count.
#pragma once
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>

namespace fastconv {

int num_threads();
void set_num_threads(int n);  // n >= 1, else Error

// Keeps num_threads() at n (by default: as it is) for the calling thread while it lives, since memory for each thread
// was counted by it, or since the work is too small to share.
class PinThreads {
 public:
  explicit PinThreads(int n = num_threads());
  ~PinThreads();
  PinThreads(const PinThreads&) = delete;
  PinThreads& operator=(const PinThreads&) = delete;

 private:
  int before_;
};
// Why num_threads() is what it is: "affinity", "cgroup quota", "FASTCONV_NUM_THREADS" or "set_num_threads".
std::string num_threads_reason();
std::string openmp_runtime();

// The most pieces that a loop of this thread had since the last call: for reports.
std::int64_t take_most_pieces();

namespace detail {
void parallel_run(std::int64_t pieces, int threads, void (*body)(void*, std::int64_t, int), void* arg);
void with_team(int threads, void (*body)(void*), void* arg);
}  // namespace detail

// Calls fn(piece, thread) for every piece in [0, pieces), thread in [0, num_threads()). Pieces are handed out
// dynamically. The first exception of a piece is rethrown here; inside another parallel_for it runs serially.
template <class Fn>
void parallel_for(std::int64_t pieces, Fn&& fn, int threads = num_threads()) {
  using F = std::remove_reference_t<Fn>;
  detail::parallel_run(
      pieces, threads, [](void* f, std::int64_t piece, int thread) { (*static_cast<F*>(f))(piece, thread); },
      const_cast<void*>(static_cast<const void*>(&fn)));
}

// Calls fn() with threads that wait for the loops of this thread inside it, so that each loop starts at once.
template <class Fn>
void with_team(Fn&& fn, int threads = num_threads()) {
  using F = std::remove_reference_t<Fn>;
  detail::with_team(
      threads, [](void* f) { (*static_cast<F*>(f))(); }, const_cast<void*>(static_cast<const void*>(&fn)));
}

// Cuts [0, n) into pieces of `grain` elements: fn(begin, end, thread).
template <class Fn>
void parallel_range(std::int64_t n, std::int64_t grain, Fn&& fn) {
  const std::int64_t pieces = (n + grain - 1) / grain;
  parallel_for(pieces, [&](std::int64_t p, int thread) {
    const std::int64_t begin = p * grain;
    fn(begin, begin + grain < n ? begin + grain : n, thread);
  });
}

}  // namespace fastconv
