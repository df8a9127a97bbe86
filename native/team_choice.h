// Whether brief work that comes again and again is quicker alone or together.
#pragma once

#include "threads.h"

namespace statewise {

// What threads tell one another takes as long as microseconds of work, or longer, where their cores
// have no cache in common. So both ways are tried, a few times every thousand, and the quicker one
// taken for the rest; more seldom where that is alone. Threads may use it at once: a count that is
// off by one does no harm.
class TeamChoice {
 public:
  bool prefers_team() const {
    const int at = at_.load(std::memory_order_relaxed);
    return at < 2 * tries ? at >= tries : best_[1].load() < best_[0].load();
  }
  // Whether `record` wants to know how long it was.
  bool is_trying() const { return at_.load(std::memory_order_relaxed) < 2 * tries; }

  void record(bool team, Clock::duration time) {
    const int at = at_.load(std::memory_order_relaxed);
    if (at < 2 * tries) {
      if (team != (at >= tries)) return;  // threads to try it with were not at hand
      std::atomic<Clock::rep>& best = best_[team];
      if (at % tries == 0 || time.count() < best.load()) best.store(time.count());
    }
    const int round = round_.load(std::memory_order_relaxed);
    at_.store(at + 1 < round ? at + 1 : 0, std::memory_order_relaxed);
    if (at + 1 < round) return;
    const bool helps = best_[1].load() < best_[0].load();
    round_.store(helps               ? min_round
                 : round < max_round ? 2 * round
                                     : round,
                 std::memory_order_relaxed);
  }

 private:
  static constexpr int tries = 16, min_round = 1024, max_round = 65536;
  std::atomic<int> at_{0}, round_{min_round};
  std::atomic<Clock::rep> best_[2] = {};
};

}  // namespace statewise
