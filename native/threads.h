// A small pool of threads that claim pieces of work, or run one piece together and meet at barriers.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>

#include "kernels.h"

namespace statewise {

// Waiting for what another thread does: looking for some tens of microseconds, which is what a
// step takes, and then asleep, so that a thread that waits does not keep the awaited one from a
// core.
class Waiting {
 public:
  template <class Done>
  void until(Done done);
  // To be called after what `done` looks at has changed.
  void wake();

 private:
  std::mutex mutex_;
  std::condition_variable awake_;
  std::atomic<int> sleeping_{0};
};

// Where the members of a team wait for one another.
class Barrier {
 public:
  explicit Barrier(int count) : count_(count) {}
  void wait();

 private:
  const int count_;
  std::atomic<int> arrived_{0};
  std::atomic<int> round_{0};
  Waiting waiting_;
};

struct Member {
  int index = 0;
  int count = 1;
  Barrier* barrier = nullptr;
  void wait() const {
    if (barrier) barrier->wait();
  }
};

struct Range {
  i64 first, last;
  i64 count() const { return last - first; }
};

// Part `index` of `parts` of `total`, in whole multiples of `unit`.
inline Range part(i64 total, i64 index, i64 parts, i64 unit = 1) {
  const i64 blocks = (total + unit - 1) / unit;
  const i64 first = blocks * index / parts * unit;
  const i64 last = blocks * (index + 1) / parts * unit;
  return {first < total ? first : total, last < total ? last : total};
}

inline Range share(i64 total, const Member& me, i64 unit = 1) {
  return part(total, me.index, me.count, unit);
}

int threads();
void set_threads(int count);

// Run `work(piece, thread)` for every piece, on `count` threads at most, the caller among them as
// thread 0. Threads claim pieces: one that gets no core takes none and is not waited for. The
// caller does them all where another thread is using the pool; `work` must not throw.
void divided(int count, i64 pieces, const std::function<void(i64 piece, int thread)>& work);

// Run `work` on `count` threads at once. The caller is alone where another thread is using the
// pool; `work` must not throw.
void together(int count, const std::function<void(const Member&)>& work);

}  // namespace statewise
