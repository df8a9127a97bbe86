// The Python module `statewise._native`.

#define STATEWISE_IMPORTS_NUMPY
#include "bindings.h"

#include "threads.h"

namespace nb = nanobind;
using namespace statewise;

namespace {

std::vector<std::string> list_isas() {
  std::vector<std::string> names;
  for (const Kernels* table : available_kernels()) names.push_back(table->name);
  return names;
}

void set_threads(int count) {
  if (count < 0 || count > 1024) throw std::invalid_argument("threads must lie in [0, 1024]");
  set_thread_count(count);
}

Floats apply_function(const std::string& name, Floats x) {
  const int which = name == "exp" ? 0 : name == "sigmoid" ? 1 : name == "tanh" ? 2 : -1;
  if (which < 0) throw std::invalid_argument("no function called '" + name + "'");
  const float* from = get_floats(x, "x", {-1});
  Floats y = make_floats({length(x, 0)});
  current_kernels().function(which, length(x, 0), from, data<float>(y.ptr()));
  return y;
}

float sum_buffer(Floats buffer) {
  const float* from = get_floats(buffer, "buffer", {-1});
  const i64 count = length(buffer, 0);
  nb::gil_scoped_release free;
  return current_kernels().read(from, count);
}

float multiply_add(i64 rounds) {
  nb::gil_scoped_release free;
  return current_kernels().multiply_add(rounds);
}

}  // namespace

NB_MODULE(_native, module) {
  if (_import_array() < 0) throw nb::python_error();
  // Python gives up what is alive when it ends, a model in a global say, without freeing it.
  nb::set_leak_warnings(false);
  current_kernels();  // an unknown STATEWISE_ISA is an error at import
  module.def("list_isas", list_isas, "The instruction sets that this machine runs, slowest first.");
  module.def(
      "get_isa", [] { return std::string(current_kernels().name); },
      "The instruction set that packs and runs from now on.");
  module.def("select_isa", select_kernels, nb::arg("name"),
             "Use another instruction set for what is packed from now on.");
  module.def("get_vector_width", [] { return current_kernels().width; }, "Floats in a vector.");
  module.def("get_threads", thread_count, "How many threads a call may use.");
  module.def("set_threads", set_threads, nb::arg("count"),
             "Let a call use so many threads, 0 for the default.");
  module.def("apply_function", apply_function, nb::arg("name"), nb::arg("x"),
             "exp, sigmoid or tanh of x (N,), as the kernels compute it.");
  module.def("sum_buffer", sum_buffer, nb::arg("buffer"),
             "The sum of a buffer (N,): how quickly memory is read.");
  module.def("multiply_add", multiply_add, nb::arg("rounds"),
             "Rounds of twelve independent multiply-adds of a vector: the peak of a core.");
  bind_layer(module);
  bind_program(module);
}
