#include "threads.h"

#include <memory>
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

// How often to look before sleeping: some tens of microseconds.
constexpr int patience = 2000;

}  // namespace

template <class Done>
void Waiting::until(Done done) {
  for (int i = 0; i < patience; ++i) {
    if (done()) return;
    pause();
  }
  std::unique_lock<std::mutex> lock(mutex_);
  sleeping_.fetch_add(1);
  awake_.wait(lock, done);
  sleeping_.fetch_sub(1);
}

// Who goes to sleep counts itself first and looks once more; so either it sees the change, or it
// is seen here.
void Waiting::wake() {
  if (sleeping_.load() == 0) return;
  { std::lock_guard<std::mutex> lock(mutex_); }
  awake_.notify_all();
}

void Barrier::wait() {
  const int round = round_.load();
  if (arrived_.fetch_add(1) + 1 == count_) {
    arrived_.store(0);
    round_.store(round + 1);
    waiting_.wake();
    return;
  }
  waiting_.until([&] { return round_.load() != round; });
}

namespace {

using Work = std::function<void(i64 piece, int thread)>;

class Pool {
 public:
  explicit Pool(int workers) {
    for (int i = 0; i < workers; ++i) threads_.emplace_back([this, i] { serve(i + 1); });
  }

  ~Pool() {
    ending_.store(true);
    round_.fetch_add(1);
    begun_.wake();
    for (std::thread& thread : threads_) thread.join();
  }

  int workers() const { return int(threads_.size()); }

  void run(int count, i64 pieces, const Work& work) {
    work_ = &work;
    count_ = count;
    pieces_ = pieces;
    next_.store(0);
    open_.store(true);
    round_.fetch_add(1);
    begun_.wake();
    claim(0);
    // Who enters from here on finds the work closed; who entered before is waited for.
    open_.store(false);
    ended_.until([&] { return inside_.load() == 0; });
  }

 private:
  void claim(int thread) {
    for (i64 piece; (piece = next_.fetch_add(1)) < pieces_;) (*work_)(piece, thread);
  }

  void serve(int thread) {
    int seen = 0;
    while (true) {
      begun_.until([&] { return round_.load() != seen; });
      seen = round_.load();
      if (ending_.load()) return;
      inside_.fetch_add(1);
      if (open_.load() && thread < count_) claim(thread);
      inside_.fetch_sub(1);
      ended_.wake();
    }
  }

  std::vector<std::thread> threads_;
  Waiting begun_, ended_;
  std::atomic<int> round_{0};
  std::atomic<int> inside_{0};
  std::atomic<bool> open_{false};
  std::atomic<bool> ending_{false};
  std::atomic<i64> next_{0};
  const Work* work_ = nullptr;
  i64 pieces_ = 0;
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
  // Asked once: it reads a file, which takes longer than a small step.
  static const int cores = int(std::thread::hardware_concurrency());
  return cores < 1 ? 1 : cores > 8 ? 8 : cores;
}

}  // namespace

int threads() {
  const int wanted = shared().wanted.load(std::memory_order_relaxed);
  return wanted > 0 ? wanted : default_threads();
}

void set_threads(int count) { shared().wanted.store(count); }

namespace {

// Whether the pool ran it: not where another thread is using it, or where one thread is enough.
bool pooled(int count, i64 pieces, const Work& work) {
  if (count <= 1 || pieces <= 1) return false;
  Shared& all = shared();
  std::unique_lock<std::mutex> lock(all.busy, std::try_to_lock);
  if (!lock) return false;
  if (!all.pool || all.pool->workers() < count - 1) {
    Pool* larger = new Pool(count - 1);
    delete all.pool;
    all.pool = larger;
  }
  all.pool->run(count, pieces, work);
  return true;
}

}  // namespace

void divided(int count, i64 pieces, const std::function<void(i64 piece, int thread)>& work) {
  if (pooled(count, pieces, work)) return;
  for (i64 piece = 0; piece < pieces; ++piece) work(piece, 0);
}

void together(int count, const std::function<void(const Member&)>& work) {
  // A member holds its piece until the first barrier, so each is another thread's.
  Barrier barrier(count);
  const bool done = pooled(count, count, [&](i64 index, int) {
    work({int(index), count, &barrier});
  });
  if (!done) work({});
}

}  // namespace statewise
