"""Arrays that write an ONNX graph: a cell's own equations, run on them, become nodes.

A `Symbol` has a name in the graph instead of values, and follows as much of the array API standard
as equations of cells use.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

Shape = tuple[int | None, ...]


class Writer:
    """The graph being written: nodes by scope, the outermost first, and the weights.

    Arguments:
        onnx: the module.
        namespace: the array API's functions on symbols.
    """

    def __init__(self, onnx: Any, namespace: Any) -> None:
        self.onnx, self.namespace = onnx, namespace
        self.scopes: list[list[Any]] = [[]]
        self.initializers: list[Any] = []
        self._count = 0
        self._known: dict[Any, Symbol] = {}

    @contextmanager
    def scope(self) -> Iterator[list[Any]]:
        """What is written within goes to the body of a loop."""
        self.scopes.append([])
        try:
            yield self.scopes[-1]
        finally:
            self.scopes.pop()

    def make_name(self, word: str) -> str:
        """A new name."""
        self._count += 1
        return f"{word.lower()}_{self._count}"

    def weight(self, array: np.ndarray, name: str | None = None) -> Symbol:
        """An array as a part of the graph; equal arrays without a name are written once."""
        array = np.asarray(array)
        key = (array.dtype.str, array.shape, array.tobytes()) if name is None else name
        if key not in self._known:
            name = name or self.make_name("constant")
            self.initializers.append(self.onnx.numpy_helper.from_array(array, name))
            self._known[key] = Symbol(self, name, array.shape, array.dtype.name)
        return self._known[key]

    def node(
        self, op: str, inputs: Sequence[Symbol | str], outputs: Sequence[str], **a: Any
    ) -> None:
        """A node in the innermost scope."""
        names = [getattr(given, "name", given) for given in inputs]
        made = self.onnx.helper.make_node(op, names, list(outputs), name=self.make_name(op), **a)
        self.scopes[-1].append(made)

    def apply(
        self, op: str, inputs: Sequence[Symbol], shape: Shape, dtype: str, **attributes: Any
    ) -> Symbol:
        """What an operator gives for these."""
        made = Symbol(self, self.make_name(op), shape, dtype)
        self.node(op, inputs, [made.name], **attributes)
        return made


@dataclass(frozen=True, eq=False)
class Symbol:
    """An array of the graph: its name, its shape (None where it is known only later), its dtype.

    Arguments:
        writer: where operations on it are written.
        name, shape, dtype: what it is.
    """

    writer: Writer
    name: str
    shape: Shape
    dtype: str
    device: str = "cpu"

    def __array_namespace__(self, api_version: str | None = None) -> Any:
        return self.writer.namespace

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def T(self) -> Symbol:  # noqa: N802
        return self.writer.apply("Transpose", [self], self.shape[::-1], self.dtype)

    def __len__(self) -> int:
        raise TypeError("the rows of an ONNX graph are counted when it runs")

    def __bool__(self) -> bool:
        raise TypeError("an equation branches on a value, which a graph cannot")

    def __matmul__(self, other: Symbol) -> Symbol:
        shape = (*self.shape[:-1], other.shape[-1])
        return self.writer.apply("MatMul", [self, other], shape, self.dtype)

    def __getitem__(self, key: Any) -> Symbol:
        keys = list(key) if isinstance(key, tuple) else [key]
        given = sum(part is not None and part is not Ellipsis for part in keys)
        rest = [slice(None)] * (self.ndim - given)
        at = next((index for index, part in enumerate(keys) if part is Ellipsis), len(keys))
        keys = [*keys[:at], *rest, *keys[at + 1 :]]
        cuts: list[tuple[int, int, int]] = []  # axis, start, stop
        shape: list[int | None] = []
        gone: list[int] = []
        new: list[int] = []
        axis = 0
        for part in keys:
            if part is None:
                new.append(len(shape))
                shape.append(1)
                continue
            size = self.shape[axis]
            if isinstance(part, slice):
                cut, left = _find_bounds(part, size)
                shape.append(left)
            else:
                cut = (int(part), int(part) + 1 if part != -1 else 2**31 - 1)
                gone.append(axis)
            if cut is not None:
                cuts.append((axis, *cut))
            axis += 1
        return self._slice(cuts)._squeeze(gone)._expand(new, tuple(shape))

    def _slice(self, cuts: list[tuple[int, int, int]]) -> Symbol:
        if not cuts:
            return self
        axes, starts, stops = (np.array(column, np.int64) for column in zip(*cuts, strict=True))
        parts = [self.writer.weight(column) for column in (starts, stops, axes)]
        shape = list(self.shape)
        for axis, start, stop in cuts:
            size = shape[axis]
            shape[axis] = 1 if size is None else len(range(size)[start:stop])
        return self.writer.apply("Slice", [self, *parts], tuple(shape), self.dtype)

    def _squeeze(self, axes: list[int]) -> Symbol:
        if not axes:
            return self
        shape = tuple(size for axis, size in enumerate(self.shape) if axis not in axes)
        which = self.writer.weight(np.array(axes, np.int64))
        return self.writer.apply("Squeeze", [self, which], shape, self.dtype)

    def _expand(self, axes: list[int], shape: Shape) -> Symbol:
        if not axes:
            return self
        which = self.writer.weight(np.array(axes, np.int64))
        return self.writer.apply("Unsqueeze", [self, which], shape, self.dtype)

    # Arithmetic

    def __neg__(self) -> Symbol:
        return self.writer.apply("Neg", [self], self.shape, self.dtype)

    def __invert__(self) -> Symbol:
        return self.writer.apply("Not", [self], self.shape, self.dtype)

    def __add__(self, other: Any) -> Symbol:
        return self._apply("Add", other)

    def __radd__(self, other: Any) -> Symbol:
        return self._to_symbol(other)._apply("Add", self)

    def __sub__(self, other: Any) -> Symbol:
        return self._apply("Sub", other)

    def __rsub__(self, other: Any) -> Symbol:
        return self._to_symbol(other)._apply("Sub", self)

    def __mul__(self, other: Any) -> Symbol:
        return self._apply("Mul", other)

    def __rmul__(self, other: Any) -> Symbol:
        return self._to_symbol(other)._apply("Mul", self)

    def __truediv__(self, other: Any) -> Symbol:
        return self._apply("Div", other)

    def __rtruediv__(self, other: Any) -> Symbol:
        return self._to_symbol(other)._apply("Div", self)

    def __pow__(self, other: Any) -> Symbol:
        return self._apply("Pow", other)

    def __and__(self, other: Any) -> Symbol:
        return self._apply("And", other, "bool")

    def __or__(self, other: Any) -> Symbol:
        return self._apply("Or", other, "bool")

    def __lt__(self, other: Any) -> Symbol:
        return self._apply("Less", other, "bool")

    def __le__(self, other: Any) -> Symbol:
        return self._apply("LessOrEqual", other, "bool")

    def __gt__(self, other: Any) -> Symbol:
        return self._apply("Greater", other, "bool")

    def __ge__(self, other: Any) -> Symbol:
        return self._apply("GreaterOrEqual", other, "bool")

    def __eq__(self, other: Any) -> Symbol:  # type: ignore[override]
        return self._apply("Equal", other, "bool")

    def __ne__(self, other: Any) -> Symbol:  # type: ignore[override]
        return self._apply("Equal", other, "bool").__invert__()

    __hash__ = None  # type: ignore[assignment]

    def _apply(self, op: str, other: Any, dtype: str | None = None) -> Symbol:
        other = self._to_symbol(other)
        shape = broadcast(self.shape, other.shape)
        return self.writer.apply(op, [self, other], shape, dtype or self.dtype)

    def _to_symbol(self, other: Any) -> Symbol:
        """A plain number or array as a symbol of this dtype."""
        if isinstance(other, Symbol):
            return other
        return self.writer.weight(np.asarray(other, self.dtype))


def broadcast(one: Shape, other: Shape) -> Shape:
    """The shape of two arrays put together."""
    rank = max(len(one), len(other))
    a, b = (1,) * (rank - len(one)) + one, (1,) * (rank - len(other)) + other
    return tuple(y if x == 1 else x if y in (1, None) else y for x, y in zip(a, b, strict=True))


def _find_bounds(part: slice, size: int | None) -> tuple[tuple[int, int] | None, int | None]:
    """Where a slice begins and ends, None for all of it, and how many it leaves."""
    if part.step not in (None, 1):
        raise TypeError("an equation takes every other element, which is not written here")
    if part.start in (None, 0) and part.stop is None:
        return None, size
    start, stop = part.start or 0, 2**31 - 1 if part.stop is None else part.stop
    return (start, stop), None if size is None else len(range(size)[start:stop])
