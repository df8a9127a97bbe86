// A whole model: embedding or vector input, layers, linear output.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "choice.h"
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
  const float *h, *c;
  float *h_out, *c_out;
  i64 stride_h, stride_c;  // in floats
};

struct StepJob {
  i64 rows;
  const float* x;        // (rows, inputs), or null with tokens
  const i64* tokens;     // (rows)
  const i64* slots;      // rows of the state, or null for row i of the batch
  const StepState* states;  // one for each recurrent layer; h_out may be h where there are slots
  float* y;              // (rows, outputs)
};

struct LayerArrays {
  const float *h0, *c0, *h_init, *c_init;
  float *h, *c;
};

struct CallJob {
  i64 rows, steps;
  const float* x;
  const i64* tokens;
  const uint8_t* reset;
  const i64* lengths;
  const LayerArrays* states;
  float* y;  // (rows, steps, outputs)
};

class Program {
 public:
  Program(const Kernels& table, i64 inputs)
      : kernels(table), inputs(inputs), width(inputs), widest(inputs) {}
  Program(const Program&) = delete;

  void set_embedding(const float* table, i64 size, i64 width);
  void add_layer(Cell cell, i64 units, const float* W, const float* R, const float* b,
                 const float* m, int residuals, bool half);
  void add_norm(const float* scale, const float* shift, float epsilon, int residuals);
  void add_identity(int residuals);
  void set_linear(const float* W, const float* b, i64 units, bool half);

  void step(const StepJob& job) const;
  void call(const CallJob& job) const;
  double work() const { return weight_bytes_; }  // bytes of weights, a measure of a step's time

  const Kernels& kernels;
  i64 inputs;   // features, or tokens known
  bool embeds = false;
  i64 width;    // of what the last layer so far puts out
  i64 widest;
  std::vector<Block> blocks;

 private:
  struct StepWork;
  struct CallWork;
  void add(Block block);
  void step_divided(const StepJob& job, const Division& division) const;
  void step_rows(const StepJob& job, StepWork work, Range rows, bool back, Member& me) const;
  void call_rows(const CallJob& job, const CallWork& work, Range rows) const;
  void call_team(const CallJob& job, const CallWork& work, Member& me) const;

  std::vector<float> embedding_;
  std::vector<Buffer> owned_;
  Panels linear_;
  const float* linear_bias_ = nullptr;
  bool has_linear_ = false;
  i64 embedded_ = 0;    // width of a token's vector
  i64 last_width_ = 0;  // of what enters the linear output
  double weight_bytes_ = 0;
  mutable std::atomic<unsigned> steps_{0};
  mutable Choice choice_;
};

}  // namespace statewise
