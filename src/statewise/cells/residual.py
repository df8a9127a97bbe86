"""A cell with its input added to its output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from statewise.cell import Cell, Field, Parameter, fields, parameters
from statewise.errors import ArchitectureError
from statewise.types import Array, Fields, Integers, Intermediates, Parameters


@dataclass(frozen=True)
class Wrapper(Cell):
    """A cell around another: state, parameters and draws are the inner one's, under its names."""

    inner: Cell

    def __post_init__(self) -> None:
        if not isinstance(self.inner, Cell):
            raise ArchitectureError(
                f"{type(self).__name__} wraps a cell, got {self.inner!r}; "
                f"write {type(self).__name__}(sw.GRU(64))"
            )

    @property
    def causal(self) -> bool:  # type: ignore[override]
        return self.inner.causal

    def outputs(self, inputs: int) -> int:
        return self.inner.outputs(inputs)

    def state(self, inputs: int) -> Mapping[str, Field]:
        return fields(self.inner, inputs)

    def parameters(self, inputs: int) -> Mapping[str, Parameter]:
        return parameters(self.inner, inputs)

    def draw(self, s: Fields, integers: Integers) -> Fields:
        return self.inner.draw(s, integers)


@dataclass(frozen=True)
class Residual(Wrapper):
    """A cell with its input added to its output, ``y = x + inner(x)``.

    Arguments:
        inner: a cell whose output is as wide as its input.

    State, parameters and intermediates are the inner cell's, under its names; the intermediate
    ``y`` is the sum.

    Source: He et al., Deep residual learning for image recognition, 2016.
    """

    def outputs(self, inputs: int) -> int:
        width = self.inner.outputs(inputs)
        if width != inputs:
            raise ArchitectureError(
                f"Residual adds its input to its output, so they must be equally wide: the input "
                f"has {inputs}, {type(self.inner).__name__} gives {width}"
            )
        return width

    def evaluating(self) -> Cell:
        inner = self.inner.evaluating()
        return self if inner is self.inner else Residual(inner)

    def step(self, p: Parameters, x: Array, s: Fields) -> tuple[Array, Fields, Intermediates]:
        y, s, intermediates = self.inner.step(p, x, s)
        y = x + y
        return y, s, {**intermediates, "y": y}
