// The Python module `statewise._native`.

#define STATEWISE_IMPORTS_NUMPY
#include "bindings.h"

#include "threads.h"

namespace nb = nanobind;
using namespace statewise;

namespace {

nb::object function(const std::string& name, nb::handle x) {
  const int which = name == "exp" ? 0 : name == "sigmoid" ? 1 : name == "tanh" ? 2 : -1;
  if (which < 0) throw std::invalid_argument("no function called '" + name + "'");
  const float* from = floats(x, "x", {-1});
  nb::object y = new_floats({length(x, 0)});
  current().function(which, length(x, 0), from, data<float>(y.ptr()));
  return y;
}

}  // namespace

NB_MODULE(_native, module) {
  if (_import_array() < 0) throw nb::python_error();
  // Python gives up what is alive when it ends, a model in a global say, without freeing it.
  nb::set_leak_warnings(false);
  module.def("isas", [] {
    std::vector<std::string> names;
    for (const Kernels* table : available()) names.push_back(table->name);
    return names;
  });
  module.def("isa", [] { return std::string(current().name); });
  module.def("select", [](const std::string& name) { select(name); });
  module.def("threads", [] { return threads(); });
  module.def("set_threads", [](int count) {
    if (count < 0 || count > 1024) throw std::invalid_argument("threads must lie in [0, 1024]");
    set_threads(count);
  });
  module.def("function", function);
  module.def("read", [](nb::handle buffer) {
    const float* from = floats(buffer, "buffer", {-1});
    const i64 count = length(buffer, 0);
    nb::gil_scoped_release free;
    return current().read(from, count);
  });
  module.def("multiply_add", [](i64 rounds) {
    nb::gil_scoped_release free;
    return current().multiply_add(rounds);
  });
  module.def("width", [] { return current().width; });
  current();  // an unknown STATEWISE_ISA is an error at import
  bind_layer(module);
  bind_program(module);
}
