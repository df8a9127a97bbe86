#include "dispatch.h"

#include <atomic>
#include <cstdlib>
#include <stdexcept>

namespace statewise {

const std::vector<const Kernels*>& available_kernels() {
  static const std::vector<const Kernels*> found = [] {
    std::vector<const Kernels*> tables{&table_baseline()};
#if defined(STATEWISE_X86)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
      tables.push_back(&table_avx2());
      if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
          __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
        tables.push_back(&table_avx512());
      }
    }
#endif
    return tables;
  }();
  return found;
}

static const Kernels& find_kernels(const std::string& name) {
  std::string known;
  for (const Kernels* table : available_kernels()) {
    if (name == table->name) return *table;
    known += known.empty() ? table->name : std::string(", ") + table->name;
  }
  throw std::invalid_argument("this machine has no instruction set '" + name + "'; it has " +
                              known);
}

static std::atomic<const Kernels*>& selection() {
  static std::atomic<const Kernels*> table = [] {
    const char* forced = std::getenv("STATEWISE_ISA");
    return forced && *forced ? &find_kernels(forced) : available_kernels().back();
  }();
  return table;
}

const Kernels& current_kernels() { return *selection().load(std::memory_order_relaxed); }

void select_kernels(const std::string& name) { selection().store(&find_kernels(name)); }

}  // namespace statewise
