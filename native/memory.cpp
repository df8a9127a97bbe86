#include "memory.h"

#include <cstring>
#include <mutex>
#include <vector>

namespace statewise {

Buffer::Buffer(std::size_t bytes, bool clear) : data_(take_block(bytes)) {
  if (clear) std::memset(data_, 0, bytes);
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

namespace {

struct Header {
  std::size_t size;
};

struct Kept {
  std::mutex mutex;
  std::vector<Header*> blocks;
  std::size_t total = 0;
};

Kept& kept_blocks() {
  static Kept* kept = new Kept;  // arrays may outlive static objects
  return *kept;
}

}  // namespace

void* take_block(std::size_t bytes) {
  const std::size_t size = rounded(bytes ? bytes : 1) + alignment;
  Kept& kept = kept_blocks();
  Header* header = nullptr;
  {
    std::lock_guard<std::mutex> lock(kept.mutex);
    for (std::size_t i = kept.blocks.size(); i-- > 0;)
      if (kept.blocks[i]->size == size) {
        header = kept.blocks[i];
        kept.blocks.erase(kept.blocks.begin() + std::ptrdiff_t(i));
        kept.total -= size;
        break;
      }
  }
  if (!header) {
    header = static_cast<Header*>(std::aligned_alloc(alignment, size));
    if (!header) throw std::bad_alloc();
    header->size = size;
  }
  return reinterpret_cast<char*>(header) + alignment;
}

void give_block(void* block) {
  constexpr std::size_t most = std::size_t(256) << 20, count = 32;
  Header* header = reinterpret_cast<Header*>(static_cast<char*>(block) - alignment);
  Kept& kept = kept_blocks();
  std::lock_guard<std::mutex> lock(kept.mutex);
  while (!kept.blocks.empty() &&
         (kept.total + header->size > most || kept.blocks.size() >= count)) {
    kept.total -= kept.blocks.front()->size;
    std::free(kept.blocks.front());
    kept.blocks.erase(kept.blocks.begin());
  }
  if (header->size > most) {
    std::free(header);
    return;
  }
  kept.total += header->size;
  kept.blocks.push_back(header);
}

}  // namespace statewise
