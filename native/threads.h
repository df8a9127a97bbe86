// A small pool of threads that run one piece of work together and meet at barriers.
#pragma once

#include <atomic>
#include <functional>

#include "kernels.h"

namespace statewise {

// Where the members of a piece of work wait for one another. Spins, then yields.
class Barrier {
 public:
  explicit Barrier(int count) : count_(count) {}
  void wait();

 private:
  const int count_;
  std::atomic<int> arrived_{0};
  std::atomic<int> round_{0};
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
};

// This member's share of `total` pieces, in whole multiples of `unit`.
inline Range share(i64 total, const Member& me, i64 unit = 1) {
  const i64 blocks = (total + unit - 1) / unit;
  const i64 first = blocks * me.index / me.count * unit;
  const i64 last = blocks * (me.index + 1) / me.count * unit;
  return {first < total ? first : total, last < total ? last : total};
}

int threads();
void set_threads(int count);

// Run `work` on `count` threads, the caller among them. Falls back to fewer, the caller alone at
// worst, where another thread is using the pool; `work` must not throw.
void together(int count, const std::function<void(const Member&)>& work);

}  // namespace statewise
