#include "arrays.h"

#include <stdexcept>

#include "memory.h"

namespace statewise {

std::string described(PyObject* object) {
  if (!PyArray_Check(object)) return Py_TYPE(object)->tp_name;
  PyArrayObject* array = reinterpret_cast<PyArrayObject*>(object);
  std::string text = "(";
  for (int axis = 0; axis < PyArray_NDIM(array); ++axis)
    text += (axis ? ", " : "") + std::to_string(PyArray_DIM(array, axis));
  text += ") " + std::string(nb::str(nb::handle((PyObject*)PyArray_DESCR(array))).c_str());
  if (!PyArray_IS_C_CONTIGUOUS(array)) text += ", not contiguous";
  if (!PyArray_ISALIGNED(array)) text += ", not aligned";
  if (!PyArray_ISWRITEABLE(array)) text += ", read-only";
  return text;
}

namespace {

[[noreturn]] void misfit(nb::handle object, const char* name, const char* word, Shape shape,
                         bool writable) {
  std::string text = std::string(name) + " must be a contiguous array (";
  int axis = 0;
  for (i64 length : shape) {
    if (axis++) text += ", ";
    text += length < 0 ? "any" : std::to_string(length);
  }
  text += std::string(") ") + word + (writable ? ", writable" : "") + ", got " +
          described(object.ptr());
  throw std::invalid_argument(text);
}

void* checked(nb::handle object, const char* name, int type, const char* word, Shape shape,
              bool writable) {
  if (!fits(object.ptr(), type, shape, writable)) misfit(object, name, word, shape, writable);
  return data<void>(object.ptr());
}

nb::object made(Shape shape, bool zero) {
  npy_intp lengths[4];
  int axes = 0;
  for (i64 length : shape) lengths[axes++] = npy_intp(length);
  PyObject* array = zero ? PyArray_ZEROS(axes, lengths, NPY_FLOAT32, 0)
                         : PyArray_SimpleNew(axes, lengths, NPY_FLOAT32);
  if (!array) throw nb::python_error();
  return nb::steal(array);
}

}  // namespace

const float* floats(nb::handle object, const char* name, Shape shape) {
  return static_cast<float*>(checked(object, name, NPY_FLOAT32, "float32", shape, false));
}

const float* optional_floats(nb::handle object, const char* name, Shape shape) {
  return object.is_none() ? nullptr : floats(object, name, shape);
}

Vectors optional_vectors(nb::handle object, const char* name, i64 rows, i64 steps, i64 width) {
  if (object.is_none()) return {};
  if (fits(object.ptr(), NPY_FLOAT32, {rows, steps, width}))
    return {data<float>(object.ptr()), steps * width, width};
  PyArrayObject* array = reinterpret_cast<PyArrayObject*>(object.ptr());
  constexpr i64 size = sizeof(float);
  if (PyArray_Check(array) && PyArray_TYPE(array) == NPY_FLOAT32 && PyArray_NDIM(array) == 3 &&
      length(object, 0) == rows && length(object, 1) == steps && length(object, 2) == width &&
      PyArray_ISALIGNED(array) && PyArray_ISNOTSWAPPED(array)) {
    const npy_intp* strides = PyArray_STRIDES(array);
    if (strides[2] == size)
      return {data<float>(object.ptr()), strides[0] / size, strides[1] / size};
    if (!strides[0] && !strides[1] && !strides[2]) {
      Vectors one;
      one.same.assign(std::size_t(width), *data<float>(object.ptr()));
      one.data = one.same.data();
      return one;
    }
  }
  misfit(object, name, "float32", {rows, steps, width}, false);
}

const i64* integers(nb::handle object, const char* name, Shape shape) {
  return object.is_none() ? nullptr
                          : static_cast<i64*>(checked(object, name, NPY_INT64, "int64", shape, false));
}

const uint8_t* flags(nb::handle object, const char* name, Shape shape) {
  return object.is_none() ? nullptr
                          : static_cast<uint8_t*>(checked(object, name, NPY_BOOL, "bool", shape, false));
}

float* writable_floats(nb::handle object, const char* name, Shape shape) {
  return static_cast<float*>(checked(object, name, NPY_FLOAT32, "float32", shape, true));
}

nb::object new_floats(Shape shape) { return made(shape, false); }
nb::object zero_floats(Shape shape) { return made(shape, true); }

nb::object kept_floats(Shape shape) {
  npy_intp lengths[4];
  int axes = 0;
  std::size_t count = 1;
  for (i64 length : shape) {
    lengths[axes++] = npy_intp(length);
    count *= std::size_t(length);
  }
  void* block = take_block(count * sizeof(float));
  nb::capsule owner(block, [](void* held) noexcept { give_block(held); });
  nb::object array = nb::steal(PyArray_SimpleNewFromData(axes, lengths, NPY_FLOAT32, block));
  if (!array) throw nb::python_error();
  if (PyArray_SetBaseObject(reinterpret_cast<PyArrayObject*>(array.ptr()), owner.release().ptr()))
    throw nb::python_error();
  return array;
}

}  // namespace statewise
