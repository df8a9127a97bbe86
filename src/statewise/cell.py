"""`Cell`: the contract that every layer obeys, built in or a user's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from statewise.errors import ArchitectureError, CellError
from statewise.initializers import Initializer
from statewise.spec import Spec
from statewise.types import Array, Fields, Integers, Intermediates, Parameters


@dataclass(frozen=True)
class Field:
    """One array that a cell remembers, for one row.

    Arguments:
        shape: its shape without the batch axis; ``()`` for a number.
        kind: ``"value"`` has the model's dtype; ``"accumulator"`` is summed over many steps and
            never falls below float32; ``"integer"`` is int64.
        initial: the initial value, a number or one number for each element of the last axis.
    """

    shape: tuple[int, ...] = ()
    kind: Literal["value", "accumulator", "integer"] = "value"
    initial: float | tuple[float, ...] = 0.0

    def dtype(self, compute: str) -> str:
        """The declared dtype of this field in a model that computes in `compute`."""
        if self.kind == "integer":
            return "int64"
        if self.kind == "accumulator" and compute in ("float16", "bfloat16"):
            return "float32"
        return compute


@dataclass(frozen=True)
class Parameter:
    """One trained array of a cell.

    Arguments:
        shape: its shape.
        initializer: draws its first value, see `statewise.initializers`.
        blocks: how many gates are stacked along the first axis; each is drawn by itself, so that
            Glorot and orthogonal see one gate's matrix and not the stack.
    """

    shape: tuple[int, ...]
    initializer: Initializer
    blocks: int = 1

    def __post_init__(self) -> None:
        given: Any = self.initializer
        if isinstance(given, type) or not callable(given):
            raise ArchitectureError(
                f"a parameter needs an initialiser such as sw.Glorot(), got {given!r}"
            )

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """The first value, float64."""
        rows, *rest = self.shape or (1,)
        block = (rows // self.blocks, *rest)
        drawn = [self.initializer(rng, block) for _ in range(self.blocks)]
        return np.concatenate(drawn).reshape(self.shape)


class Cell(Spec):
    """One recurrence: ``step(params, x_t, state) -> (y_t, state', intermediates)``.

    A cell is a frozen dataclass of hyperparameters. It must give `step`; what it remembers
    (`state`), what it trains (`parameters`) and how wide its output is (`outputs`) have defaults.
    `step` is written against the array API standard, so that it runs on torch tensors under
    autograd and on NumPy arrays without torch, and must not change the arrays it is given.

    A parameter called ``<field>0`` with the field's shape is that field's learned initial value.

    Example::

        @dataclass(frozen=True)
        class Leaky(sw.Cell):
            units: int
            leak: float = 0.1

            def state(self, inputs):
                return {"h": (self.units,)}

            def parameters(self, inputs):
                return {"W": ((self.units, inputs), sw.Glorot())}

            def step(self, p, x, s):
                h = (1 - self.leak) * s["h"] + self.leak * (x @ p["W"].T)
                return h, {"h": h}, {"h": h}
    """

    causal: ClassVar[bool] = True
    """False for a layer whose output at t depends on steps after t."""

    def outputs(self, inputs: int) -> int:
        """The width of ``y_t`` for inputs of this width; ``units`` where the cell has them."""
        return int(getattr(self, "units", inputs))

    def state(self, inputs: int) -> Mapping[str, Field | tuple[int, ...]]:
        """What the cell remembers: field name -> `Field`, or just its shape without the batch."""
        return {}

    def parameters(
        self, inputs: int
    ) -> Mapping[str, Parameter | tuple[tuple[int, ...], Initializer]]:
        """What the cell trains: name -> `Parameter`, or just (shape, initialiser)."""
        return {}

    def step(self, p: Parameters, x: Array, s: Fields) -> tuple[Array, Fields, Intermediates]:
        """One time step.

        Arguments:
            p: the parameters by name.
            x: the inputs of this step, (B, inputs).
            s: the state before this step by field name, each (B, ...).

        Returns:
            the output (B, outputs), the new state with the same names and shapes, and what was
            intermediates by name (gates, candidates), for tracing.
        """
        raise CellError(f"{type(self).__name__} has no step(p, x, s)")

    def evaluating(self) -> Cell:
        """The cell to run outside training: itself, unless it draws at random."""
        return self

    def draw(self, s: Fields, integers: Integers) -> Fields:
        """Fill what a cell draws at random once per sequence; called in training only, on the
        state before a call and on the fresh state at every reset.
        """
        return s


class Transform(Cell):
    """A cell without parameters that brings series to a scale or form easier to learn, and back.

    `step` remembers what the way back needs and returns it among its intermediates.
    """

    @property
    def warmup(self) -> int:
        """How many steps at the start of a series pass before a prediction is brought back as at
        all later steps; 0 unless a transform says otherwise. Their errors tell nothing of later
        ones, so a forecaster leaves them out.
        """
        return 0

    def fit(self, history: np.ndarray) -> Transform:
        """This transform with what it learns from a history; itself where it learns nothing.

        What is learned must be initial values of the state. Many series can then share one model,
        each with values of its own.

        Arguments:
            history: what enters the transform, (T, inputs).
        """
        return self

    def inverse(self, y: Array, intermediates: Intermediates) -> Array:
        """Bring a prediction of the next step, (B, T, O), back to the units of the inputs.

        Arguments:
            y: predictions of the transformed next step; output j belongs to feature j.
            intermediates: what `step` saw, stacked to (B, T, ...).
        """
        raise CellError(f"{type(self).__name__} has no inverse(y, intermediates)")

    def forward(self, target: Array, intermediates: Intermediates) -> Array:
        """Bring the next step, (B, T, O) in the units of the inputs, to what `inverse` undoes."""
        raise CellError(f"{type(self).__name__} has no forward(target, intermediates)")


def fields(cell: Cell, inputs: int) -> dict[str, Field]:
    """The state fields of a cell, shapes given bare turned into `Field`."""
    return {
        name: value if isinstance(value, Field) else Field(_shape(cell, name, value))
        for name, value in cell.state(inputs).items()
    }


def parameters(cell: Cell, inputs: int) -> dict[str, Parameter]:
    """The parameters of a cell, pairs given bare turned into `Parameter`."""
    return {
        name: value if isinstance(value, Parameter) else _pair(cell, name, value)
        for name, value in cell.parameters(inputs).items()
    }


def _pair(cell: Cell, name: str, value: Any) -> Parameter:
    if not isinstance(value, Sequence) or len(value) != 2:
        raise CellError(
            f"{type(cell).__name__}: parameters gives {name!r} as {value!r}; give a shape and an "
            "initialiser, such as ((8, inputs), sw.Glorot()), or a Parameter"
        )
    return Parameter(_shape(cell, name, value[0]), value[1])


def _shape(cell: Cell, name: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, Sequence) or not all(isinstance(axis, int) for axis in value):
        raise CellError(
            f"{type(cell).__name__} gives {name!r} the shape {value!r}; a shape is a tuple of "
            "whole numbers without the batch, such as (8,)"
        )
    return tuple(value)


def check_positive(spec: Any, *names: str) -> None:
    """Raise unless each of these hyperparameters is a whole number of at least one."""
    for name in names:
        value = getattr(spec, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ArchitectureError(
                f"{type(spec).__name__}: {name} must be a whole number of at least 1, got {value!r}"
            )


def check_fraction(spec: Any, name: str) -> None:
    """Raise unless this hyperparameter is a number in [0, 1)."""
    value = getattr(spec, name)
    if not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise ArchitectureError(
            f"{type(spec).__name__}: {name} must be a number in [0, 1), got {value!r}"
        )
