// NumPy arrays as pointers, checked: what the kernels are given has the shape and dtype they
// assume.
#pragma once

#include <nanobind/nanobind.h>

#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels.h"

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL statewise_numpy
#ifndef STATEWISE_IMPORTS_NUMPY
#define NO_IMPORT_ARRAY
#endif
#include <numpy/arrayobject.h>

namespace statewise {

namespace nb = nanobind;

// Python objects whose C++ type says in a signature what they should be. Any object is taken here:
// the checks below say in their own words what is wrong with it.
inline bool is_anything(PyObject*) { return true; }
#define STATEWISE_OBJECT(Type, text)                           \
  class Type : public nb::object {                             \
    NB_OBJECT_DEFAULT(Type, nb::object, text, is_anything)     \
    Type(nb::object object) : nb::object(std::move(object)) {} \
  };
#define STATEWISE_ARRAY(dtype) "numpy.typing.NDArray[numpy." dtype "]"

STATEWISE_OBJECT(Floats, STATEWISE_ARRAY("float32"))
STATEWISE_OBJECT(Integers, STATEWISE_ARRAY("int64"))
STATEWISE_OBJECT(Flags, STATEWISE_ARRAY("bool"))

using Shape = std::initializer_list<i64>;

// Whether this is a plain C-contiguous, aligned array of a dtype and shape (-1: any length).
inline bool is_array(PyObject* object, int type, Shape shape, bool writable = false) {
  if (!PyArray_Check(object)) return false;
  PyArrayObject* array = reinterpret_cast<PyArrayObject*>(object);
  if (PyArray_TYPE(array) != type || PyArray_NDIM(array) != int(shape.size())) return false;
  int axis = 0;
  for (i64 length : shape) {
    if (length >= 0 && PyArray_DIM(array, axis) != length) return false;
    ++axis;
  }
  return PyArray_IS_C_CONTIGUOUS(array) && PyArray_ISALIGNED(array) &&
         PyArray_ISNOTSWAPPED(array) && (!writable || PyArray_ISWRITEABLE(array));
}

std::string describe(PyObject* object);

template <class T>
T* data(PyObject* object) {
  return static_cast<T*>(PyArray_DATA(reinterpret_cast<PyArrayObject*>(object)));
}

inline i64 length(nb::handle object, int axis) {
  return PyArray_DIM(reinterpret_cast<PyArrayObject*>(object.ptr()), axis);
}

// The data of an array, or ValueError that says what was expected. What is optional may be missing.
const float* get_floats(nb::handle object, const char* name, Shape shape);
const float* get_optional_floats(const std::optional<Floats>& object, const char* name,
                                 Shape shape);
const float* get_required_floats(const std::optional<Floats>& object, const char* name,
                                 Shape shape);
float* get_writable_floats(nb::handle object, const char* name, Shape shape);
const i64* get_integers(const std::optional<Integers>& object, const char* name, Shape shape);
const uint8_t* get_flags(const std::optional<Flags>& object, const char* name, Shape shape);
// Vectors of `width` floats for rows and steps, in any order of them, or one number for all.
struct Vectors {
  const float* data = nullptr;
  i64 row = 0, step = 0;  // floats from one to the next
  std::vector<float> same{};
};
Vectors get_optional_vectors(const std::optional<Floats>& object, const char* name, i64 rows,
                             i64 steps, i64 width);

// A new array; its memory is not cleared.
Floats make_floats(Shape shape);
Floats make_zero_floats(Shape shape);
// The same from blocks that are kept for the next call: what is saved for backward.
Floats make_pooled_floats(Shape shape);
inline void make_read_only(PyObject* array) {
  PyArray_CLEARFLAGS(reinterpret_cast<PyArrayObject*>(array), NPY_ARRAY_WRITEABLE);
}

}  // namespace statewise
