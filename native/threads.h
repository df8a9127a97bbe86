// A small pool of threads that claim pieces of work, or do phase after phase together.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <vector>

#include "kernels.h"

namespace statewise {

using Clock = std::chrono::steady_clock;

// A place to wait for what another thread does: looking for some tens of microseconds, which is
// what a step takes, and then asleep, so that a thread that waits does not keep the awaited one
// from a core.
class WaitPoint {
 public:
  // How long it slept.
  template <class Done>
  Clock::duration until(Done done);
  bool anyone_sleeps() const { return sleeping_.load() > 0; }
  // To be called after what `done` looks at has changed.
  void wake();

 private:
  std::mutex mutex_;
  std::condition_variable awake_;
  std::atomic<int> sleeping_{0};
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

// What a team does together, phase after phase. Each member begins with its own part of a phase,
// always the same one, which it finds in its cache, and then takes those that others have not
// begun: a member that has no core holds nobody up. One that loses its core at work does; once
// that has cost far more than the work itself, the caller, who is member 0, goes on alone.
class Team {
 public:
  explicit Team(int count) : count(count), parts_(std::size_t(count)) {}
  // Whether this part of the phase is the member's to do, because nobody has begun it. Throws
  // MemberDropped.
  bool claim(i64 phase, int part, int member);
  // One part of the phase is done; whether all are.
  bool finish_part(i64 phase);
  // Until all are done, by a member that began the phase at this time.
  void wait(i64 phase, int member, Clock::time_point begin);

  const int count;
  Clock::duration lost{};  // by the caller, to members that lost their core

 private:
  struct alignas(64) Part {
    std::atomic<i64> phases{0};  // in which somebody has begun it
  };
  std::vector<Part> parts_;
  std::atomic<bool> alone_{false};
  alignas(64) std::atomic<i64> finished_{0};  // in all phases
  WaitPoint waiting_;
};

// Thrown where the caller goes on without this member.
struct MemberDropped {};

// A member of a team, or a thread that is alone.
struct Member {
  Team* team = nullptr;
  int index = 0;
  i64 phase = 0;

  // The next phase, which every member comes to with the same arguments: `work(range)` for parts
  // of `total` in whole multiples of `unit`. All of it is done on return.
  template <class Work>
  void share(i64 total, i64 unit, Work work) {
    if (!team) {
      work(Range{0, total});
      return;
    }
    const Clock::time_point begin = Clock::now();
    const i64 now = phase++;
    for (int i = 0; i < team->count; ++i) {
      const int index_of_part = (index + i) % team->count;
      if (!team->claim(now, index_of_part, index)) continue;
      const Range mine = part(total, index_of_part, team->count, unit);
      if (mine.count()) work(mine);
      if (team->finish_part(now)) return;
    }
    team->wait(now, index, begin);
  }
};

int thread_count();
void set_thread_count(int count);

// How many threads, `most` of them at best, work of a few microseconds may be divided among: waking
// one takes as long. So only those that look for work already, as they do for a while after they
// had some; but where a thread asks again and again, they are worth waking.
int count_ready_threads(i64 most);

// While this lives and `wanted` is true, what the thread runs is divided among the threads of
// torch's OpenMP, where there is one. They wait for torch's next operation without leaving their
// cores, and our own threads would have to share those with them.
class BorrowedThreads {
 public:
  explicit BorrowedThreads(bool wanted);
  ~BorrowedThreads();

 private:
  bool before_;
};

bool can_borrow_threads();

// Work in pieces that free threads claim: each is told which piece, and which thread it is.
using Pieces = std::function<void(i64 piece, int thread)>;

// `run_pieces` on borrowed threads, which OpenMP waits for even where they have claimed nothing:
// how long.
Clock::duration run_on_torch_threads(int count, i64 pieces, const Pieces& work);

// Run every piece, on `count` threads at most, the caller among them as thread 0. A thread that
// gets no core takes none and is not waited for. The caller does them all where another thread is
// using the pool; `work` must not throw.
void run_pieces(int count, i64 pieces, const Pieces& work);

// Run `work` as a team of `count` threads. The caller is alone where another thread is using the
// pool, and for a while after a team has cost time; `work` must not throw.
void run_team(int count, const std::function<void(Member&)>& work);

}  // namespace statewise
