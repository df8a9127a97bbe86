"""A trained linear map between layers, with an activation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from statewise.capture import Capture
from statewise.cell import Cell
from statewise.cells.activations import ACTIVATIONS, check_activation
from statewise.declarations import Parameter, check_positive
from statewise.initializers import Glorot, Initializer, Zeros
from statewise.types import Array, Fields, Intermediates, Parameters


@dataclass(frozen=True)
class Dense(Cell):
    """Every step's vector through a linear map and an activation, ``y = act(W x + b)``.

    Remembers nothing. At the end of a model, ``outputs=Linear(units)`` is the same without an
    activation.

    Arguments:
        units: the width of the output.
        activation: ``"linear"`` or another of `statewise.cells.activations`.
        kernel: initialiser of W.

    Parameters: ``W`` (units, inputs), ``b`` (units).

    Example::

        sw.Architecture(sw.Vector(3), [sw.LSTM(64), sw.Dense(16, "relu")], sw.Linear(1))
    """

    units: int
    activation: str = "linear"
    kernel: Initializer = Glorot()

    def __post_init__(self) -> None:
        check_positive(self, "units")
        check_activation(self, "activation")

    def parameters(self, inputs: int) -> Mapping[str, Parameter]:
        return {
            "W": Parameter((self.units, inputs), self.kernel),
            "b": Parameter((self.units,), Zeros()),
        }

    def step(
        self, p: Parameters, x: Array, s: Fields, capture: Capture | None = None
    ) -> tuple[Array, Fields, Intermediates]:
        capture = capture or Capture()
        y = capture("y", ACTIVATIONS[self.activation](x @ p["W"].T + p["b"]))
        return y, s, capture.values

    scan = step  # no axis but the last is touched
