#include "core/parallel.hpp"

#include <omp.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <memory>
#include <mutex>
#include <sstream>
#include <thread>
#include <utility>
#include <vector>

#include "core/fork.hpp"
#include "core/tensor.hpp"
#include "kernels/simd/float_state.hpp"
#include "kernels/simd/pause.hpp"
#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#endif

namespace fastconv {
namespace {

int affinity_threads() {
#if defined(__linux__)
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1u, std::thread::hardware_concurrency());
}

// quota / period of this process's control group, rounded up; 0 when there is none.
int ratio_up(double quota, double period) {
  return quota > 0 && period > 0 ? static_cast<int>((quota + period - 1) / period) : 0;
}

int read_quota_v2(const std::string& dir) {
  std::ifstream f(dir + "/cpu.max");
  std::string quota;
  double period = 0;
  if (!(f >> quota >> period) || quota == "max") return 0;
  return ratio_up(std::atof(quota.c_str()), period);
}

int read_quota_v1(const std::string& dir) {
  std::ifstream q(dir + "/cpu.cfs_quota_us"), p(dir + "/cpu.cfs_period_us");
  double quota = 0, period = 0;
  return (q >> quota) && (p >> period) ? ratio_up(quota, period) : 0;
}

// Limits nest: every group from this process's own up to the root may set one; the smallest holds.
template <class Read>
int smallest_quota(const std::string& root, std::string path, Read read) {
  int best = 0;
  for (;;) {
    const int q = read(root + path);
    if (q > 0) best = best ? std::min(best, q) : q;
    if (path.empty() || path == "/") return best;
    path.erase(path.rfind('/'));
  }
}

int cgroup_threads() {
  const char* root_env = std::getenv("FASTCONV_CGROUP_ROOT");  // for tests: stands for the "/" of proc and sys
  const std::string root = root_env ? root_env : "";
  std::ifstream f(root + "/proc/self/cgroup");
  std::string line;
  int best = 0;
  const auto take = [&](int q) {
    if (q > 0) best = best ? std::min(best, q) : q;
  };
  while (std::getline(f, line)) {
    std::istringstream s(line);
    std::string id, controllers, path;
    if (!std::getline(s, id, ':') || !std::getline(s, controllers, ':')) continue;
    std::getline(s, path);
    if (controllers.empty()) {
      take(smallest_quota(root + "/sys/fs/cgroup", path, read_quota_v2));
    } else if (("," + controllers + ",").find(",cpu,") != std::string::npos) {
      take(smallest_quota(root + "/sys/fs/cgroup/cpu", path, read_quota_v1));
      take(smallest_quota(root + "/sys/fs/cgroup/" + controllers, path, read_quota_v1));
    }
  }
  return best;
}

struct Settings {
  int threads = 1;
  std::string reason;
};

Settings from_environment() {
  if (const char* e = std::getenv("FASTCONV_NUM_THREADS"); e && *e) {
    char* end = nullptr;
    const long n = std::strtol(e, &end, 10);
    if (*end || n < 1 || n > 4096)
      throw Error("FASTCONV_NUM_THREADS=" + std::string(e) + ": expected an integer from 1 to 4096");
    return {static_cast<int>(n), "FASTCONV_NUM_THREADS"};
  }
  Settings s{affinity_threads(), "affinity"};
  const int quota = cgroup_threads();
  if (quota && quota < s.threads) s = {quota, "cgroup quota"};
  return s;
}

// GNU OpenMP ends the process when it cannot start a thread: there are too many, or no address space is left for their
// stacks. It keeps a pool of threads for each thread that calls it. So before a caller's pool may grow past what was
// tried before, as many threads are started here, all at once; their stacks are kept for the next ones.
thread_local int startable = 1;

// How many threads can be started together, the caller included; at most n.
int can_start(int n) {
  if (n <= startable) return n;
  std::mutex gate;
  std::vector<std::thread> threads;
  {
    std::lock_guard<std::mutex> closed(gate);
    try {
      [[maybe_unused]] const std::vector<char> room(std::size_t{1} << 16);  // for what the pool allocates itself
      threads.reserve(static_cast<std::size_t>(n));
      while (static_cast<int>(threads.size()) < n - 1)
        threads.emplace_back([&gate] { std::lock_guard<std::mutex> wait(gate); });
    } catch (const std::exception&) {  // std::system_error, std::bad_alloc
    }
  }
  for (std::thread& t : threads) t.join();
  const int started = static_cast<int>(threads.size()) + 1;
  if (started == n) startable = n;
  return started;
}

void check_startable(int n, const std::string& who) {
  const int started = can_start(n);
  if (started < n)
    throw Error(who + ": the system cannot start " + std::to_string(n) + " threads, only " + std::to_string(started));
}

std::atomic<int> thread_count{0};  // 0: not read yet
std::string reason;                // guarded by section_mutex()

void load_settings() {
  Settings s = from_environment();
  if (s.threads > affinity_threads()) check_startable(s.threads, s.reason + "=" + std::to_string(s.threads));
  std::lock_guard<std::mutex> section(section_mutex());
  if (thread_count.load() != 0) return;
  reason = std::move(s.reason);
  thread_count.store(s.threads);
}

thread_local bool inside = false;
thread_local int pinned = 0;

#if defined(__linux__) && _OPENMP >= 201511
// A child of fork has only the forking thread, yet GNU OpenMP's pool would wait for the others. Giving the pool
// back just before the fork makes both sides start a new one.
void before_fork() {
  if (inside) return;
  omp_pause_resource_all(omp_pause_soft);
  startable = 1;
}
const int fork_handler = pthread_atfork(before_fork, nullptr, nullptr);
#endif

// One thread's part of the pieces; others take from it when theirs is done.
struct alignas(64) Share {
  std::atomic<std::int64_t> next{0};
  std::int64_t end = 0;
};

// Every thread begins with pieces of its own, in order: neighbouring pieces of consecutive steps then meet in the cache
// of one core.
struct Job {
  std::int64_t pieces;
  int threads;
  Share* shares;
  void (*body)(void*, std::int64_t, int);
  void* arg;
  std::atomic<bool> failed{false};
  std::exception_ptr error;

  void cut() {
    for (int t = 0; t < threads; ++t) {
      shares[t].next.store(pieces * t / threads, std::memory_order_relaxed);
      shares[t].end = pieces * (t + 1) / threads;
    }
  }

  void work(int thread) {
    if (thread >= threads) return;
    for (int i = 0; i < threads; ++i) {
      Share& share = shares[(thread + i) % threads];
      while (share.next.load(std::memory_order_relaxed) < share.end) {
        const std::int64_t piece = share.next.fetch_add(1, std::memory_order_relaxed);
        if (piece >= share.end) break;
        if (failed.load(std::memory_order_relaxed)) return;
        try {
          body(arg, piece, thread);
        } catch (...) {
          if (!failed.exchange(true)) error = std::current_exception();
        }
      }
    }
  }
};

// Threads that wait for the loops of one caller. A loop waits for the threads that have begun it, not for those that
// have not: one that the system holds back costs only its help.
class Team {
 public:
  explicit Team(int threads) : spins_(threads <= affinity() ? kSpins : 0) {}

  void run(Job& job) {
    job_.store(&job);
    announce([&] { count_.fetch_add(1); });
    job.work(0);
    job_.store(nullptr);
    while (busy_.load() != 0) simd::pause();
  }

  void serve(int thread) {
    for (std::uint64_t seen = 0; wait(seen);) {
      seen = count_.load();
      busy_.fetch_add(1);
      if (Job* job = job_.load()) job->work(thread);  // null: it ended before it could see this thread
      busy_.fetch_sub(1);
    }
  }

  void end() {
    announce([&] { ended_.store(true); });
  }

 private:
  static constexpr int kSpins = 8000;  // about 100 us, longer than most steps that run in one thread

  static int affinity() {
    static const int n = affinity_threads();
    return n;
  }

  bool called(std::uint64_t seen) const { return count_.load() != seen || ended_.load(); }

  // Until there is another job than the one seen; false: the end.
  bool wait(std::uint64_t seen) {
    for (int i = 0; i < spins_ && !called(seen); ++i) simd::pause();
    if (!called(seen)) {
      std::unique_lock<std::mutex> lock(mutex_);
      sleepers_.fetch_add(1);
      awake_.wait(lock, [&] { return called(seen); });
      sleepers_.fetch_sub(1);
    }
    return !ended_.load();
  }

  template <class Fn>
  void announce(Fn&& fn) {
    fn();
    if (sleepers_.load() == 0) return;
    {
      std::lock_guard<std::mutex> lock(mutex_);
    }  // those who just looked are asleep now
    awake_.notify_all();
  }

  const int spins_;
  alignas(64) std::atomic<Job*> job_{nullptr};
  std::atomic<std::uint64_t> count_{0};  // of jobs
  std::atomic<bool> ended_{false};
  alignas(64) std::atomic<int> busy_{0};
  std::atomic<int> sleepers_{0};
  std::mutex mutex_;
  std::condition_variable awake_;
};

thread_local Team* team = nullptr;
thread_local std::int64_t most_pieces = 0;

}  // namespace

PinThreads::PinThreads(int n) : before_(pinned) { pinned = n; }
PinThreads::~PinThreads() { pinned = before_; }

int num_threads() {
  if (pinned) return pinned;
  const int n = thread_count.load(std::memory_order_relaxed);
  if (n) return n;
  load_settings();
  return thread_count.load();
}

void set_num_threads(int n) {
  if (n < 1 || n > 4096)
    throw Error("set_num_threads: got " + std::to_string(n) + ", expected an integer from 1 to 4096");
  if (n > affinity_threads()) check_startable(n, "set_num_threads");
  std::lock_guard<std::mutex> section(section_mutex());
  thread_count.store(n);
  reason = "set_num_threads";
}

std::string num_threads_reason() {
  num_threads();
  std::lock_guard<std::mutex> section(section_mutex());
  return reason;
}

std::string openmp_runtime() {
#if defined(__clang__)
  return "LLVM OpenMP " + std::to_string(_OPENMP);
#elif defined(__GNUC__)
  return "GNU OpenMP " + std::to_string(_OPENMP);
#else
  return "OpenMP " + std::to_string(_OPENMP);
#endif
}

std::int64_t take_most_pieces() { return std::exchange(most_pieces, 0); }

void detail::parallel_run(std::int64_t pieces, int threads, void (*body)(void*, std::int64_t, int), void* arg) {
  if (pieces <= 0) return;
  if (!inside) most_pieces = std::max(most_pieces, pieces);
  int n = static_cast<int>(std::min<std::int64_t>(pieces, threads));
  if (n > 1 && !inside && !team) n = can_start(n);
  if (n <= 1 || inside) {
    for (std::int64_t p = 0; p < pieces; ++p) body(arg, p, 0);
    return;
  }
  constexpr int kFew = 8;
  std::array<Share, kFew> few;
  std::unique_ptr<Share[]> many;
  if (n > kFew) many = std::make_unique<Share[]>(static_cast<std::size_t>(n));
  Job job{pieces, n, many ? many.get() : few.data(), body, arg, {false}, nullptr};
  job.cut();
  if (team) {
    inside = true;
    team->run(job);
    inside = false;
  } else {
#pragma omp parallel num_threads(n)
    {
      [[maybe_unused]] const simd::FlushDenormals flush;
      inside = true;
      job.work(omp_get_thread_num());
      inside = false;
    }
  }
  if (job.error) std::rethrow_exception(job.error);
}

void detail::with_team(int threads, void (*body)(void*), void* arg) {
  if (threads > 1 && !inside && !team) threads = can_start(threads);
  if (threads <= 1 || inside || team) return body(arg);
  Team together(threads);
  std::exception_ptr error;
#pragma omp parallel num_threads(threads)
  {
    const int thread = omp_get_thread_num();
    if (thread == 0) {
      team = &together;
      try {
        body(arg);
      } catch (...) {
        error = std::current_exception();
      }
      team = nullptr;
      together.end();
    } else {
      [[maybe_unused]] const simd::FlushDenormals flush;
      inside = true;
      together.serve(thread);
      inside = false;
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace fastconv
