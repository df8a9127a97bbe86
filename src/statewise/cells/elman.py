"""The plain recurrent cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from statewise.capture import Capture
from statewise.cell import Cell
from statewise.cells.activations import ACTIVATIONS, check_activation
from statewise.cells.learned import declare_learned_state
from statewise.declarations import Field, Parameter, check_positive
from statewise.initializers import Glorot, Initializer, Orthogonal, Zeros
from statewise.types import Array, Fields, Intermediates, Parameters


@dataclass(frozen=True)
class Elman(Cell):
    """The plain recurrent cell, ``h' = act(W x + R h + b)``.

    Arguments:
        units: the width of the state and of the output.
        activation: ``"tanh"`` or another of `statewise.cells.activations` (``"relu"``).
        kernel, recurrent: initialisers of W and R.
        learned_state: train the initial state instead of starting from zeros.

    State: ``h`` (units). Intermediates: ``a`` (the sum before the activation), ``h``.

    Parameters: ``W`` (units, inputs), ``R`` (units, units), ``b`` (units). torch has two biases
    with one sum; here there is the sum.

    Source: Elman, Finding structure in time, Cognitive Science 14, 1990.
    """

    units: int
    activation: str = "tanh"
    kernel: Initializer = Glorot()
    recurrent: Initializer = Orthogonal()
    learned_state: bool = False

    def __post_init__(self) -> None:
        check_positive(self, "units")
        check_activation(self, "activation")

    def state(self, inputs: int) -> Mapping[str, Field]:
        return {"h": Field((self.units,))}

    def parameters(self, inputs: int) -> Mapping[str, Parameter]:
        return {
            "W": Parameter((self.units, inputs), self.kernel),
            "R": Parameter((self.units, self.units), self.recurrent),
            "b": Parameter((self.units,), Zeros()),
            **declare_learned_state(self.learned_state, self.state(inputs)),
        }

    def step(
        self, p: Parameters, x: Array, s: Fields, capture: Capture | None = None
    ) -> tuple[Array, Fields, Intermediates]:
        capture = capture or Capture()
        a = capture("a", x @ p["W"].T + s["h"] @ p["R"].T + p["b"])
        h = capture("h", ACTIVATIONS[self.activation](a))
        return h, {"h": h}, capture.values

    @property
    def native_kernel(self) -> str | None:
        return f"elman_{self.activation}" if self.activation in ("tanh", "relu") else None

    @property
    def replays(self) -> bool:
        return True
