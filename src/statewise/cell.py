"""`Cell`: the contract that every layer obeys, built in or a user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np

from statewise.declarations import Field, Parameter
from statewise.errors import CellError
from statewise.initializers import Initializer
from statewise.spec import Spec
from statewise.types import Array, Fields, Integers, Intermediates, Parameters


class LayerCall(Protocol):
    """One call of a model as a layer meets it, see `Cell.unroll`."""

    capturing: bool
    """Whether the intermediates are asked for."""

    def run_cell(
        self, cell: Cell, p: Parameters, x: Array, s: Fields
    ) -> tuple[Array, Fields, Intermediates]:
        """Run one cell over the call, resets and lengths included, by the fastest way there is."""

    def select_initial(self, select: Callable[[Fields], Fields]) -> LayerCall:
        """The same call for an inner cell, whose initial state is a part of the layer's."""

    def reverse_sequences(self, array: Array) -> Array:
        """(B, T, ...) with every sequence read from its end to its start, in its own place."""


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

            def step(self, p, x, s, capture):
                h = (1 - self.leak) * s["h"] + self.leak * (x @ p["W"].T)
                h = capture("h", h)
                return h, {"h": h}
    """

    causal: ClassVar[bool] = True
    """False for a layer whose output at t depends on steps after t."""

    # What it is

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

    # How it runs

    def step(self, p: Parameters, x: Array, s: Fields) -> Any:
        """One time step.

        Declared as ``step(self, p, x, s, capture)``, it passes each value inside it through
        `capture` and goes on with what comes back: ``h = capture("h", h)``. Such values can be
        recorded and edited in the middle of a step. Declared as ``step(self, p, x, s)``, it returns
        them, and they can only be recorded.

        Arguments:
            p: the parameters by name.
            x: the inputs of this step, (B, inputs).
            s: the state before this step by field name, each (B, ...).
            capture: see `statewise.capture.Capture`.

        Returns:
            the output (B, outputs), and the new state with the same names and shapes; without
            `capture` a third thing, the intermediates by name (gates, candidates).
        """
        raise CellError(f"{type(self).__name__} has no step(p, x, s)")

    def scan(self, p: Parameters, x: Array, s: Fields) -> Any:
        """A whole run of steps at once, x (B, T, inputs) -> y (B, T, outputs), with the same values
        as `step` by step; None, as here, where the cell has no such form. It may take `capture`,
        like `step`, and passes values of (B, T, ...) through it.
        """
        return None

    def unroll(
        self, p: Parameters, x: Array, s: Fields, call: LayerCall
    ) -> tuple[Array, Fields, Intermediates]:
        """Run over a whole call, x (B, T, inputs). A cell that is made of others may run each of
        them over the whole call instead of step by step.
        """
        if not self.causal:
            raise CellError(
                f"{type(self).__name__} says it is not causal, so it cannot be run step by step; "
                "wrap a causal cell in Bidirectional, or override unroll"
            )
        return call.run_cell(self, p, x, s)

    def evaluating(self) -> Cell:
        """The cell to run outside training: itself, unless it draws at random."""
        return self

    def draw(self, s: Fields, integers: Integers) -> Fields:
        """Fill what a cell draws at random once per sequence; called in training only, on the
        state before a call and on the initial state at every reset.
        """
        return s

    # What is known of its equations

    def declares(self, name: str) -> bool:
        """Whether this class itself defines an attribute: what is known of the equations of a class
        does not hold for its subclasses, which may have others.
        """
        return name in vars(type(self))

    @property
    def native_kernel(self) -> str | None:
        """The name of the native kernel that computes this cell with its options, or None. Only
        counts where the class itself declares it.
        """
        return None

    @property
    def keep_gates(self) -> Mapping[str, str]:
        """Field -> the intermediate that says, unit by unit, how much of its old value stays."""
        return {}

    @property
    def replays(self) -> bool:
        """Whether all intermediates follow from the outputs of a run: the output is the field
        ``h``, and any other field is its keep gate times its old value, plus what does not depend
        on the old value. Only counts where the class itself declares it.
        """
        return False


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


def declared_fields(cell: Cell, inputs: int) -> dict[str, Field]:
    """The state fields of a cell, shapes given bare turned into `Field`."""
    return {
        name: value if isinstance(value, Field) else Field(_shape(cell, name, value))
        for name, value in cell.state(inputs).items()
    }


def declared_parameters(cell: Cell, inputs: int) -> dict[str, Parameter]:
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
