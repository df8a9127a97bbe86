// The threads of the OpenMP that torch has brought into the process.

#include <atomic>
#include <thread>

#include "threads.h"

#if defined(__linux__)
#include <dlfcn.h>
#endif

namespace statewise {

namespace {

thread_local bool borrowing = false;

// The entry that GCC's OpenMP and LLVM's both have. There is no header for it: compilers call it.
using Parallel = void (*)(void (*)(void*), void*, unsigned threads, unsigned flags);

Parallel parallel() {
#if defined(__linux__)
  static const auto found = reinterpret_cast<Parallel>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
  return found;
#else
  return nullptr;
#endif
}

struct Region {
  int count;
  i64 pieces;
  const Pieces& work;
  const std::thread::id caller = std::this_thread::get_id();
  std::atomic<int> arrived{0};
  std::atomic<i64> next{0}, finished{0};
  Clock::time_point end{};

  void enter() {
    const int thread = std::this_thread::get_id() == caller ? 0 : arrived.fetch_add(1) + 1;
    if (thread >= count) return;
    for (i64 piece; (piece = next.fetch_add(1)) < pieces;) {
      work(piece, thread);
      if (finished.fetch_add(1) + 1 == pieces) end = Clock::now();
    }
  }
};

}  // namespace

BorrowedThreads::BorrowedThreads(bool wanted) : before_(borrowing) { borrowing = wanted; }
BorrowedThreads::~BorrowedThreads() { borrowing = before_; }

bool can_borrow_threads() { return borrowing && parallel(); }

Clock::duration run_on_torch_threads(int count, i64 pieces, const Pieces& work) {
  Region region{count, pieces, work};
  // As many threads as OpenMP is set to use: another number would make it end some and start new
  // ones.
  parallel()([](void* data) { static_cast<Region*>(data)->enter(); }, &region, 0, 0);
  return Clock::now() - region.end;
}

}  // namespace statewise
