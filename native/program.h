// A whole model: embedding or vector input, layers, linear output.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "team_choice.h"
#include "layer.h"

namespace statewise {

struct Norm {
  std::vector<float> scale, shift;
  float epsilon;
};

// One layer of the model. Neither a recurrent layer nor a norm: the input itself.
struct Block {
  std::unique_ptr<Layer> layer;
  std::unique_ptr<Norm> norm;
  int residuals = 0;  // how many times the input is added to the output
  i64 inputs = 0, outputs = 0;
};

// The state of one recurrent layer in a step: the first row, and how far apart rows are.
struct StepState {
  const float *h = nullptr, *c = nullptr;
  float *h_out = nullptr, *c_out = nullptr;
  i64 stride_h = 0, stride_c = 0;  // in floats
};

struct StepJob {
  i64 rows = 0;
  const float* x = nullptr;     // (rows, inputs), or null with tokens
  const i64* tokens = nullptr;  // (rows)
  const i64* slots = nullptr;   // rows of the state, or null for row i of the batch
  const StepState* states =
      nullptr;         // of each recurrent layer; h_out may be h where there are slots
  float* y = nullptr;  // (rows, outputs)
};

struct LayerArrays {
  const float *h0 = nullptr, *c0 = nullptr, *h_init = nullptr, *c_init = nullptr;
  float *h = nullptr, *c = nullptr;
};

struct CallJob {
  i64 rows = 0, steps = 0;
  const float* x = nullptr;
  const i64* tokens = nullptr;
  const uint8_t* reset = nullptr;
  const i64* lengths = nullptr;
  const LayerArrays* states = nullptr;
  float* y = nullptr;  // (rows, steps, outputs)
};

class Program {
 public:
  Program(const Kernels& table, i64 inputs)
      : kernels(table), inputs(inputs), width(inputs), widest(inputs) {}
  Program(const Program&) = delete;

  void set_embedding(const float* table, i64 size, i64 width);
  void add_layer(Cell cell, i64 units, const LayerWeights& given, int residuals, bool bf16);
  void add_norm(const float* scale, const float* shift, float epsilon, int residuals);
  void add_identity(int residuals);
  void set_linear(const float* W, const float* b, i64 units, bool bf16);

  void step(const StepJob& job) const;
  void call(const CallJob& job) const;
  double weight_bytes() const { return weight_bytes_; }  // a measure of a step's time

  const Kernels& kernels;
  i64 inputs;  // features, or tokens known
  bool embeds = false;
  i64 width;  // of what the last layer so far puts out
  i64 widest;
  std::vector<Block> blocks;

 private:
  struct StepWork;
  struct CallWork;
  void add(Block block);

  void step_divided(const StepJob& job, const Division& division) const;
  void step_rows(const StepJob& job, StepWork work, Range rows, bool reverse, Member& me) const;
  void step_layer(const StepJob& job, StepWork& work, Range rows, const Block& block,
                  const StepState& state, float* out, bool last, bool reverse, Member& me) const;
  void step_other(StepWork& work, i64 count, const Block& block, float* out, Member& me) const;
  void step_output(const StepJob& job, StepWork& work, Range rows, Member& me) const;

  void call_rows(const CallJob& job, const CallWork& work, Range rows) const;
  void call_team(const CallJob& job, const CallWork& work, Member& me) const;
  void embed(const CallJob& job, const CallWork& work, Member& me) const;
  void call_block(const CallJob& job, const CallWork& work, const Block& block,
                  const LayerArrays* state, const float* x, float* out, Member& me) const;
  void call_output(const CallJob& job, const CallWork& work, const float* x, Member& me) const;

  std::vector<float> embedding_;
  std::vector<Buffer> owned_;
  Panels linear_;
  const float* linear_bias_ = nullptr;
  bool has_linear_ = false;
  i64 embedded_ = 0;    // width of a token's vector
  i64 last_width_ = 0;  // of what enters the linear output
  double weight_bytes_ = 0;
  mutable std::atomic<unsigned> steps_{0};
  mutable TeamChoice choice_;
};

}  // namespace statewise
