"""A cell with its input added to its output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from statewise.capture import Capture
from statewise.cell import Cell, LayerCall, declared_fields, declared_parameters
from statewise.declarations import Field, Parameter
from statewise.errors import ArchitectureError
from statewise.stepping import run_step
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
        return declared_fields(self.inner, inputs)

    def parameters(self, inputs: int) -> Mapping[str, Parameter]:
        return declared_parameters(self.inner, inputs)

    def draw(self, s: Fields, integers: Integers) -> Fields:
        return self.inner.draw(s, integers)

    @property
    def keep_gates(self) -> Mapping[str, str]:
        return self.inner.keep_gates


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

    def step(
        self, p: Parameters, x: Array, s: Fields, capture: Capture | None = None
    ) -> tuple[Array, Fields, Intermediates]:
        capture = capture or Capture()
        y, s, _ = run_step(self.inner, p, x, s, capture.excluding(("y",)))
        y = capture("y", x + y)
        return y, s, capture.values

    def unroll(
        self, p: Parameters, x: Array, s: Fields, call: LayerCall
    ) -> tuple[Array, Fields, Intermediates]:
        y, s, intermediates = self.inner.unroll(p, x, s, call)
        y = x + y
        return y, s, {**intermediates, "y": y} if call.capturing else {}
