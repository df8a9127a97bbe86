#include "arrays.h"

#include <stdexcept>

#include "memory.h"

namespace statewise {

std::string describe(PyObject* object) {
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

[[noreturn]] void throw_misfit(nb::handle object, const char* name, const char* word, Shape shape,
                               bool writable) {
  std::string text = std::string(name) + " must be a contiguous array (";
  int axis = 0;
  for (i64 length : shape) {
    if (axis++) text += ", ";
    text += length < 0 ? "any" : std::to_string(length);
  }
  text +=
      std::string(") ") + word + (writable ? ", writable" : "") + ", got " + describe(object.ptr());
  throw std::invalid_argument(text);
}

void* check_array(nb::handle object, const char* name, int type, const char* word, Shape shape,
                  bool writable) {
  if (!is_array(object.ptr(), type, shape, writable))
    throw_misfit(object, name, word, shape, writable);
  return data<void>(object.ptr());
}

Floats make_array(Shape shape, bool zero) {
  npy_intp lengths[4];
  int axes = 0;
  for (i64 length : shape) lengths[axes++] = npy_intp(length);
  PyObject* array = zero ? PyArray_ZEROS(axes, lengths, NPY_FLOAT32, 0)
                         : PyArray_SimpleNew(axes, lengths, NPY_FLOAT32);
  if (!array) throw nb::python_error();
  return nb::steal<Floats>(array);
}

}  // namespace

const float* get_floats(nb::handle object, const char* name, Shape shape) {
  return static_cast<float*>(check_array(object, name, NPY_FLOAT32, "float32", shape, false));
}

const float* get_optional_floats(const std::optional<Floats>& object, const char* name,
                                 Shape shape) {
  return object ? get_floats(*object, name, shape) : nullptr;
}

const float* get_required_floats(const std::optional<Floats>& object, const char* name,
                                 Shape shape) {
  return get_floats(object ? nb::handle(*object) : nb::none(), name, shape);
}

float* get_writable_floats(nb::handle object, const char* name, Shape shape) {
  return static_cast<float*>(check_array(object, name, NPY_FLOAT32, "float32", shape, true));
}

const i64* get_integers(const std::optional<Integers>& object, const char* name, Shape shape) {
  if (!object) return nullptr;
  return static_cast<i64*>(check_array(*object, name, NPY_INT64, "int64", shape, false));
}

const uint8_t* get_flags(const std::optional<Flags>& object, const char* name, Shape shape) {
  if (!object) return nullptr;
  return static_cast<uint8_t*>(check_array(*object, name, NPY_BOOL, "bool", shape, false));
}

Vectors get_optional_vectors(const std::optional<Floats>& object, const char* name, i64 rows,
                             i64 steps, i64 width) {
  if (!object) return {};
  float* const floats = is_array(object->ptr(), NPY_FLOAT32, {rows, steps, width})
                            ? data<float>(object->ptr())
                            : nullptr;
  if (floats) return {.data = floats, .row = steps * width, .step = width};
  PyArrayObject* array = reinterpret_cast<PyArrayObject*>(object->ptr());
  constexpr i64 size = sizeof(float);
  if (PyArray_Check(array) && PyArray_TYPE(array) == NPY_FLOAT32 && PyArray_NDIM(array) == 3 &&
      length(*object, 0) == rows && length(*object, 1) == steps && length(*object, 2) == width &&
      PyArray_ISALIGNED(array) && PyArray_ISNOTSWAPPED(array)) {
    const npy_intp* strides = PyArray_STRIDES(array);
    if (strides[2] == size)
      return {
          .data = data<float>(object->ptr()), .row = strides[0] / size, .step = strides[1] / size};
    if (!strides[0] && !strides[1] && !strides[2]) {
      Vectors one;
      one.same.assign(std::size_t(width), *data<float>(object->ptr()));
      one.data = one.same.data();
      return one;
    }
  }
  throw_misfit(*object, name, "float32", {rows, steps, width}, false);
}

Floats make_floats(Shape shape) { return make_array(shape, false); }
Floats make_zero_floats(Shape shape) { return make_array(shape, true); }

Floats make_pooled_floats(Shape shape) {
  npy_intp lengths[4];
  int axes = 0;
  std::size_t count = 1;
  for (i64 length : shape) {
    lengths[axes++] = npy_intp(length);
    count *= std::size_t(length);
  }
  void* block = take_block(count * sizeof(float));
  nb::capsule owner(block, [](void* held) noexcept { give_block(held); });
  Floats array = nb::steal<Floats>(PyArray_SimpleNewFromData(axes, lengths, NPY_FLOAT32, block));
  if (!array) throw nb::python_error();
  if (PyArray_SetBaseObject(reinterpret_cast<PyArrayObject*>(array.ptr()), owner.release().ptr()))
    throw nb::python_error();
  return array;
}

}  // namespace statewise
