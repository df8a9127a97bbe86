// Aligned memory: owned buffers, and scratch that a thread keeps between calls.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <new>
#include <utility>

#include "kernels.h"

namespace statewise {

constexpr std::size_t alignment = 64;

inline std::size_t round_to_alignment(std::size_t bytes) {
  return (bytes + alignment - 1) / alignment * alignment;
}

// Blocks that come and go at every step of a training run: kept when given back, up to 256 MB in
// all, since memory fresh from the system costs a page fault every 4 KB.
void* take_block(std::size_t bytes);
void give_block(void* block);

// Bytes aligned to a cache line, zero at first unless they are all written anyway.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t bytes, bool clear = true);
  ~Buffer() {
    if (data_) give_block(data_);
  }
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  void* data() const { return data_; }
  float* floats() const { return static_cast<float*>(data_); }

 private:
  void swap(Buffer& other) { std::swap(data_, other.data_); }
  void* data_ = nullptr;
};

// Hands out parts of one block. Measured first with a null block, then taken in the same order.
class Arena {
 public:
  explicit Arena(char* block = nullptr) : block_(block) {}
  template <class T>
  T* take(i64 count) {
    const std::size_t at = used_;
    used_ += round_to_alignment(std::size_t(count) * sizeof(T));
    return block_ ? reinterpret_cast<T*>(block_ + at) : nullptr;
  }
  std::size_t used() const { return used_; }

 private:
  char* block_;
  std::size_t used_ = 0;
};

// Scratch of the calling thread, at least this many bytes; not cleared. Large blocks are given
// back by the next call that needs little.
char* get_scratch(std::size_t bytes);

}  // namespace statewise
