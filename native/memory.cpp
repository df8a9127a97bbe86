#include "memory.h"

#include <cstring>
#include <mutex>
#include <vector>

namespace statewise {

Buffer::Buffer(std::size_t bytes, bool clear) : data_(take_block(bytes)) {
  if (clear) std::memset(data_, 0, bytes);
}

char* get_scratch(std::size_t bytes) {
  constexpr std::size_t max_idle = std::size_t(16) << 20;
  thread_local struct Scratch {
    char* data = nullptr;
    std::size_t size = 0;
    ~Scratch() { std::free(data); }
  } own;
  if (bytes > own.size || (own.size > max_idle && bytes <= max_idle)) {
    std::free(own.data);
    own.data = nullptr;
    own.size = 0;
    const std::size_t size = round_to_alignment(bytes < 65536 ? 65536 : bytes);
    own.data = static_cast<char*>(std::aligned_alloc(alignment, size));
    if (!own.data) throw std::bad_alloc();
    own.size = size;
  }
  return own.data;
}

namespace {

struct Header {
  std::size_t size;
};

struct BlockPool {
  std::mutex mutex;
  std::vector<Header*> blocks;
  std::size_t total = 0;
};

BlockPool& block_pool() {
  static BlockPool* pool = new BlockPool;  // arrays may outlive static objects
  return *pool;
}

}  // namespace

void* take_block(std::size_t bytes) {
  const std::size_t size = round_to_alignment(bytes ? bytes : 1) + alignment;
  BlockPool& pool = block_pool();
  Header* header = nullptr;
  {
    std::lock_guard<std::mutex> lock(pool.mutex);
    for (std::size_t i = pool.blocks.size(); i-- > 0;)
      if (pool.blocks[i]->size == size) {
        header = pool.blocks[i];
        pool.blocks.erase(pool.blocks.begin() + std::ptrdiff_t(i));
        pool.total -= size;
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
  constexpr std::size_t max_bytes = std::size_t(256) << 20, max_blocks = 32;
  Header* header = reinterpret_cast<Header*>(static_cast<char*>(block) - alignment);
  BlockPool& pool = block_pool();
  std::lock_guard<std::mutex> lock(pool.mutex);
  while (!pool.blocks.empty() &&
         (pool.total + header->size > max_bytes || pool.blocks.size() >= max_blocks)) {
    pool.total -= pool.blocks.front()->size;
    std::free(pool.blocks.front());
    pool.blocks.erase(pool.blocks.begin());
  }
  if (header->size > max_bytes) {
    std::free(header);
    return;
  }
  pool.total += header->size;
  pool.blocks.push_back(header);
}

}  // namespace statewise
