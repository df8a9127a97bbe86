#include "threads.h"

#include <memory>
#include <thread>
#include <vector>

#if !defined(_WIN32)
#include <pthread.h>
#endif
#if defined(__linux__)
#include <sched.h>
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

// What a team may wait for a member without giving it up.
constexpr auto max_loss = std::chrono::microseconds(100);

}  // namespace

template <class Done>
Clock::duration WaitPoint::until(Done done) {
  for (int i = 0; i < patience; ++i) {
    if (done()) return {};
    pause();
  }
  const Clock::time_point begin = Clock::now();
  std::unique_lock<std::mutex> lock(mutex_);
  sleeping_.fetch_add(1);
  awake_.wait(lock, done);
  sleeping_.fetch_sub(1);
  return Clock::now() - begin;
}

// Who goes to sleep counts itself first and looks once more; so either it sees the change, or it
// is seen here.
void WaitPoint::wake() {
  if (!anyone_sleeps()) return;
  {
    std::lock_guard<std::mutex> lock(mutex_);
  }
  awake_.notify_all();
}

bool Team::claim(i64 phase, int part, int member) {
  if (member && alone_.load()) throw MemberDropped();
  std::atomic<i64>& phases = parts_[std::size_t(part)].phases;
  // A member that is behind finds later phases begun.
  return phases.load() == phase && phases.compare_exchange_strong(phase, phase + 1);
}

bool Team::finish_part(i64 phase) {
  if (finished_.fetch_add(1) + 1 < (phase + 1) * count) return false;
  waiting_.wake();
  return true;
}

void Team::wait(i64 phase, int member, Clock::time_point begin) {
  const Clock::duration slept =
      waiting_.until([&] { return finished_.load() >= (phase + 1) * count; });
  if (member || slept < max_loss || 3 * slept < 2 * (Clock::now() - begin)) return;
  lost += slept;
  alone_.store(true);
}

namespace {

class Pool {
 public:
  explicit Pool(int workers) : workers_(std::size_t(workers)) {
    for (int i = 0; i < workers; ++i)
      workers_[std::size_t(i)].thread = std::thread([this, i] { serve(i + 1); });
  }

  ~Pool() {
    ending_.store(true);
    for (Worker& worker : workers_) worker.call();
    for (Worker& worker : workers_) worker.thread.join();
  }

  int workers() const { return int(workers_.size()); }

  // Whether so many, the caller among them, look for work and need not be woken.
  bool are_awake(int count) const {
    for (int i = 0; i < count - 1; ++i)
      if (workers_[std::size_t(i)].calling.anyone_sleeps()) return false;
    return true;
  }

  void run(int count, i64 pieces, const Pieces& work) {
    work_ = &work;
    count_ = count;
    pieces_ = pieces;
    next_.store(0);
    open_.store(true);
    for (int i = 0; i < count - 1; ++i) {
      Worker& worker = workers_[std::size_t(i)];
      if (worker.calling.anyone_sleeps()) keep_off_this_core(worker.thread);
      worker.call();
    }
    claim(0);
    // Who enters from here on finds the work closed; who entered before is waited for.
    open_.store(false);
    leaving_.until([&] { return inside_.load() == 0; });
  }

 private:
  struct Worker {
    std::thread thread;
    std::atomic<int> calls{0};
    WaitPoint calling;

    void call() {
      calls.fetch_add(1);
      calling.wake();
    }
  };

  void claim(int thread) {
    for (i64 piece; (piece = next_.fetch_add(1)) < pieces_;) (*work_)(piece, thread);
  }

  // A kernel may wake a thread on the core of the one that wakes it, and move it to a free one
  // only milliseconds later, when the work is done.
  static void keep_off_this_core([[maybe_unused]] std::thread& thread) {
#if defined(__linux__)
    cpu_set_t others;
    const int here = sched_getcpu();
    if (here < 0 || pthread_getaffinity_np(pthread_self(), sizeof others, &others)) return;
    CPU_CLR(here, &others);
    if (CPU_COUNT(&others)) pthread_setaffinity_np(thread.native_handle(), sizeof others, &others);
#endif
  }

  void serve(int thread) {
    Worker& me = workers_[std::size_t(thread - 1)];
    for (int seen = 0;;) {
      me.calling.until([&] { return me.calls.load() != seen; });
      seen = me.calls.load();
      if (ending_.load()) return;
      inside_.fetch_add(1);
      if (open_.load() && thread < count_) claim(thread);  // a late one may be one too many
      inside_.fetch_sub(1);
      leaving_.wake();
    }
  }

  std::vector<Worker> workers_;
  WaitPoint leaving_;
  std::atomic<int> inside_{0};
  std::atomic<bool> open_{false};
  std::atomic<bool> ending_{false};
  std::atomic<i64> next_{0};
  const Pieces* work_ = nullptr;
  i64 pieces_ = 0;
  int count_ = 1;
};

struct Shared {
  std::mutex busy;
  Pool* pool = nullptr;  // never destroyed at exit: its threads may outlive static objects
  std::atomic<int> wanted{0};
  bool forked = false;

  // Whether threads may be waited for: not for a while after that has cost time, so that no more
  // than a tenth is lost where there are not as many cores.
  bool can_wait() const { return Clock::now().time_since_epoch().count() >= alone_until_.load(); }
  void lose(Clock::duration lost) {
    if (lost > max_loss) alone_until_.store((Clock::now() + 10 * lost).time_since_epoch().count());
  }

 private:
  std::atomic<Clock::rep> alone_until_{0};
};

Shared*& shared_slot() {
  static Shared* shared = new Shared;
  return shared;
}

// A child of fork has none of the threads, and locks as they happened to be: it starts anew.
void after_fork() {
  const int wanted = shared_slot()->wanted.load();
  shared_slot() = new Shared;
  shared_slot()->wanted.store(wanted);
  shared_slot()->forked = true;
}

Shared& shared() {
#if !defined(_WIN32)
  static const int registered = pthread_atfork(nullptr, nullptr, after_fork);
  (void)registered;
#endif
  return *shared_slot();
}

int default_thread_count() {
  // Asked once: it reads a file, which takes longer than a small step.
  static const int cores = int(std::thread::hardware_concurrency());
  return cores < 1 ? 1 : cores > 8 ? 8 : cores;
}

}  // namespace

int thread_count() {
  const int wanted = shared().wanted.load(std::memory_order_relaxed);
  return wanted > 0 ? wanted : default_thread_count();
}

void set_thread_count(int count) { shared().wanted.store(count); }

int count_ready_threads(i64 most) {
  // What looks for work stops after some tens of microseconds, so calls must come as quickly.
  constexpr auto soon = std::chrono::microseconds(40);
  constexpr int often = 64;
  thread_local Clock::time_point last{};
  thread_local int quick = 0;
  const int count = int(most < thread_count() ? most : thread_count());
  if (count < 2 || can_borrow_threads()) return 1;
  const Clock::time_point now = Clock::now();
  quick = now - last < soon ? quick + 1 : 0;
  last = now;
  Shared& all = shared();
  std::unique_lock<std::mutex> lock(all.busy, std::try_to_lock);
  if (!lock || !all.can_wait()) return 1;
  if (all.pool && all.pool->workers() >= count - 1 && all.pool->are_awake(count)) return count;
  if (quick < often) return 1;
  quick = 0;
  return count;
}

namespace {

// Whether the pool ran it: not where another thread is using it, or where one thread is enough.
bool run_in_pool(int count, i64 pieces, const Pieces& work) {
  if (count <= 1 || pieces <= 1) return false;
  Shared& all = shared();
  std::unique_lock<std::mutex> lock(all.busy, std::try_to_lock);
  if (!lock) return false;
  if (can_borrow_threads() && !all.forked && all.can_wait()) {
    all.lose(run_on_torch_threads(count, pieces, work));
    return true;
  }
  if (!all.pool || all.pool->workers() < count - 1) {
    Pool* larger = new Pool(count - 1);
    delete all.pool;
    all.pool = larger;
  }
  all.pool->run(count, pieces, work);
  return true;
}

}  // namespace

void run_pieces(int count, i64 pieces, const Pieces& work) {
  if (run_in_pool(count, pieces, work)) return;
  for (i64 piece = 0; piece < pieces; ++piece) work(piece, 0);
}

void run_team(int count, const std::function<void(Member&)>& work) {
  Team team(count);
  Clock::time_point done{};  // the caller's, who may be offered more than one place
  const auto take_place = [&](i64, int thread) {
    if (thread == 0 && done != Clock::time_point{}) return;
    Member me{&team, thread};
    try {
      work(me);
    } catch (const MemberDropped&) {
    }
    if (thread == 0) done = Clock::now();
  };
  Shared& all = shared();
  if (!all.can_wait() || !run_in_pool(count, count, take_place)) {
    Member alone;
    work(alone);
    return;
  }
  const bool took_part = done != Clock::time_point{};
  all.lose(team.lost + (took_part ? Clock::now() - done : Clock::duration{}));
}

}  // namespace statewise
