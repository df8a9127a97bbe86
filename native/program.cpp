#include "program.h"

#include <cstring>

#include "packing.h"

namespace statewise {

void Program::set_embedding(const float* table, i64 size, i64 columns) {
  embedding_.assign(table, table + size * columns);
  embeds = true;
  inputs = size;
  width = embedded_ = columns;
  widest = columns;
}

void Program::add(Block block) {
  block.inputs = width;
  if (block.layer) width = block.layer->units;
  block.outputs = width;
  if (width > widest) widest = width;
  if (block.inputs > widest) widest = block.inputs;
  blocks.push_back(std::move(block));
}

void Program::add_layer(Cell cell, i64 units, const LayerWeights& given, int residuals, bool bf16) {
  const Options options{.bf16 = bf16};
  Block block;
  block.layer = std::make_unique<Layer>(kernels, cell, width, units, given, options);
  block.residuals = residuals;
  weight_bytes_ += double(block.layer->bytes());
  add(std::move(block));
}

void Program::add_norm(const float* scale, const float* shift, float epsilon, int residuals) {
  Block block;
  block.norm = std::make_unique<Norm>();
  block.norm->scale.assign(scale, scale + width);
  block.norm->shift.assign(shift, shift + width);
  block.norm->epsilon = epsilon;
  block.residuals = residuals;
  add(std::move(block));
}

void Program::add_identity(int residuals) {
  Block block;
  block.residuals = residuals;
  add(std::move(block));
}

void Program::set_linear(const float* W, const float* b, i64 units, bool bf16) {
  last_width_ = width;
  linear_ = pack_plain(kernels, W, units, width, bf16, owned_);
  owned_.emplace_back(std::size_t(plain_columns(kernels, units)) * sizeof(float));
  std::memcpy(owned_.back().floats(), b, std::size_t(units) * sizeof(float));
  linear_bias_ = owned_.back().floats();
  has_linear_ = true;
  weight_bytes_ += double(width * units * 4);
  if (width > widest) widest = width;
  width = units;
}

}  // namespace statewise
