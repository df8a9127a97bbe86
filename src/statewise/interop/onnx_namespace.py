"""The array API's functions on `Symbol`: each writes its ONNX operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from statewise.interop.onnx_symbols import Shape, Symbol, broadcast

bool = "bool"  # noqa: A001
int32, int64 = "int32", "int64"
float16, float32, float64 = "float16", "float32", "float64"


def finfo(dtype: str) -> Any:
    return np.finfo(dtype)


def arange(stop: int, *, device: Any = None) -> np.ndarray:  # noqa: ARG001
    return np.arange(stop)  # becomes a constant where it meets a symbol


def _make_elementwise(op: str) -> Any:
    def function(x: Symbol) -> Symbol:
        return x.writer.apply(op, [x], x.shape, x.dtype)

    function.__doc__ = f"ONNX {op}."
    return function


abs = _make_elementwise("Abs")  # noqa: A001
exp = _make_elementwise("Exp")
log = _make_elementwise("Log")
sigmoid = _make_elementwise("Sigmoid")
sqrt = _make_elementwise("Sqrt")
tanh = _make_elementwise("Tanh")


def _make_reduction(op: str) -> Any:
    def function(x: Symbol, *, axis: int, keepdims: Any = False) -> Symbol:
        axis %= x.ndim
        shape: list[int | None] = list(x.shape)
        shape[axis : axis + 1] = [1] if keepdims else []
        axes = x.writer.weight(np.array([axis], np.int64))
        return x.writer.apply(op, [x, axes], tuple(shape), x.dtype, keepdims=int(keepdims))

    function.__doc__ = f"ONNX {op}."
    return function


max = _make_reduction("ReduceMax")  # noqa: A001
mean = _make_reduction("ReduceMean")
sum = _make_reduction("ReduceSum")  # noqa: A001


def minimum(x: Symbol, y: Symbol) -> Symbol:
    return x.writer.apply("Min", [x, y], broadcast(x.shape, y.shape), x.dtype)


def maximum(x: Symbol, y: Symbol) -> Symbol:
    return x.writer.apply("Max", [x, y], broadcast(x.shape, y.shape), x.dtype)


def clip(x: Symbol, low: float, high: float) -> Symbol:
    bounds = [x.writer.weight(np.asarray(value, x.dtype)) for value in (low, high)]
    return x.writer.apply("Clip", [x, *bounds], x.shape, x.dtype)


def where(condition: Symbol, x: Symbol, y: Symbol) -> Symbol:
    shape = broadcast(condition.shape, broadcast(x.shape, y.shape))
    return x.writer.apply("Where", [condition, x, y], shape, x.dtype)


def zeros_like(x: Symbol) -> Symbol:
    return x.writer.weight(np.zeros((1,) * x.ndim, x.dtype))


def ones_like(x: Symbol) -> Symbol:
    return x.writer.weight(np.ones((1,) * x.ndim, x.dtype))


def astype(x: Symbol, dtype: str) -> Symbol:
    if x.dtype == dtype:
        return x
    kind = x.writer.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return x.writer.apply("Cast", [x], x.shape, dtype, to=int(kind))


def concat(arrays: Sequence[Symbol], *, axis: int = 0) -> Symbol:
    first = arrays[0]
    axis %= first.ndim
    sizes = [x.shape[axis] for x in arrays]
    total = None if None in sizes else int(np.sum([size for size in sizes if size is not None]))
    shape: Shape = (*first.shape[:axis], total, *first.shape[axis + 1 :])
    return first.writer.apply("Concat", list(arrays), shape, first.dtype, axis=axis)


def stack(arrays: Sequence[Symbol], *, axis: int = 0) -> Symbol:
    axis %= arrays[0].ndim + 1
    key = (slice(None),) * axis + (None,)
    return concat([x[key] for x in arrays], axis=axis)
