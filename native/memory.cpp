#include "memory.h"

#include <cstring>

namespace statewise {

Buffer::Buffer(std::size_t bytes) : size_(rounded(bytes ? bytes : 1)) {
  data_ = std::aligned_alloc(alignment, size_);
  if (!data_) throw std::bad_alloc();
  std::memset(data_, 0, size_);
}

char* scratch(std::size_t bytes) {
  constexpr std::size_t kept = std::size_t(16) << 20;
  thread_local struct Held {
    char* data = nullptr;
    std::size_t size = 0;
    ~Held() { std::free(data); }
  } held;
  if (bytes > held.size || (held.size > kept && bytes <= kept)) {
    std::free(held.data);
    held.data = nullptr;
    held.size = 0;
    const std::size_t size = rounded(bytes < 65536 ? 65536 : bytes);
    held.data = static_cast<char*>(std::aligned_alloc(alignment, size));
    if (!held.data) throw std::bad_alloc();
    held.size = size;
  }
  return held.data;
}

}  // namespace statewise
