#include "threads.h"

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#if !defined(_WIN32)
#include <pthread.h>
#endif

namespace statewise {

namespace {

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// How often to look before sleeping or yielding: some tens of microseconds.
constexpr int patience = 2000;

class Pool {
 public:
  explicit Pool(int workers) {
    for (int i = 0; i < workers; ++i) threads_.emplace_back([this, i] { serve(i + 1); });
  }

  ~Pool() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      ending_ = true;
      round_.fetch_add(1);
    }
    awake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  int workers() const { return int(threads_.size()); }

  void run(int count, const std::function<void(const Member&)>& work) {
    Barrier barrier(count);
    work_ = &work;
    barrier_ = &barrier;
    count_ = count;
    left_.store(workers(), std::memory_order_relaxed);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      round_.fetch_add(1, std::memory_order_release);
    }
    if (sleeping_.load() > 0) awake_.notify_all();
    work({0, count, &barrier});
    for (int i = 0; left_.load(std::memory_order_acquire) != 0; ++i)
      i < patience ? pause() : std::this_thread::yield();
  }

 private:
  void serve(int index) {
    int seen = 0;
    while (true) {
      for (int i = 0; i < patience && round_.load(std::memory_order_acquire) == seen; ++i) pause();
      if (round_.load(std::memory_order_acquire) == seen) {
        std::unique_lock<std::mutex> lock(mutex_);
        sleeping_.fetch_add(1);
        awake_.wait(lock, [&] { return round_.load() != seen; });
        sleeping_.fetch_sub(1);
      }
      seen = round_.load(std::memory_order_acquire);
      if (ending_) return;
      if (index < count_) (*work_)({index, count_, barrier_});
      left_.fetch_sub(1, std::memory_order_release);
    }
  }

  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable awake_;
  std::atomic<int> round_{0};
  std::atomic<int> left_{0};
  std::atomic<int> sleeping_{0};
  std::atomic<bool> ending_{false};
  const std::function<void(const Member&)>* work_ = nullptr;
  Barrier* barrier_ = nullptr;
  int count_ = 1;
};

struct Shared {
  std::mutex busy;
  Pool* pool = nullptr;  // never destroyed at exit: its threads may outlive static objects
  std::atomic<int> wanted{0};
};

Shared*& slot() {
  static Shared* shared = new Shared;
  return shared;
}

// A child of fork has none of the threads, and locks as they happened to be: it starts anew.
void after_fork() {
  const int wanted = slot()->wanted.load();
  slot() = new Shared;
  slot()->wanted.store(wanted);
}

Shared& shared() {
#if !defined(_WIN32)
  static const int registered = pthread_atfork(nullptr, nullptr, after_fork);
  (void)registered;
#endif
  return *slot();
}

int default_threads() {
  const int cores = int(std::thread::hardware_concurrency());
  return cores < 1 ? 1 : cores > 8 ? 8 : cores;
}

}  // namespace

void Barrier::wait() {
  const int round = round_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == count_) {
    arrived_.store(0, std::memory_order_relaxed);
    round_.store(round + 1, std::memory_order_release);
    return;
  }
  for (int i = 0; round_.load(std::memory_order_acquire) == round; ++i)
    i < patience ? pause() : std::this_thread::yield();
}

int threads() {
  const int wanted = shared().wanted.load(std::memory_order_relaxed);
  return wanted > 0 ? wanted : default_threads();
}

void set_threads(int count) { shared().wanted.store(count); }

void together(int count, const std::function<void(const Member&)>& work) {
  Shared& all = shared();
  std::unique_lock<std::mutex> lock(all.busy, std::defer_lock);
  if (count <= 1 || !lock.try_lock()) {
    work({0, 1, nullptr});
    return;
  }
  if (!all.pool || all.pool->workers() < count - 1) {
    Pool* larger = new Pool(count - 1);
    delete all.pool;
    all.pool = larger;
  }
  all.pool->run(count, work);
}

}  // namespace statewise
