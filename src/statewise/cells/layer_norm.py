"""Layer normalisation between layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from statewise.capture import Capture
from statewise.cell import Cell
from statewise.cells.activations import normalize
from statewise.declarations import Parameter
from statewise.initializers import Constant, Zeros
from statewise.types import Array, Fields, Intermediates, Parameters


@dataclass(frozen=True)
class LayerNorm(Cell):
    """Every step's vector brought to zero mean and unit variance, then scaled and shifted.

    Remembers nothing, so it treats a step the same alone and within a sequence. Normalising inside
    the recurrence is ``LSTM(layer_norm=True)``.

    Arguments:
        epsilon: added to the variance.

    Parameters: ``scale`` and ``shift`` (inputs).

    Source: Ba, Kiros and Hinton, Layer normalization, 2016.
    """

    epsilon: float = 1e-5

    def parameters(self, inputs: int) -> Mapping[str, Parameter]:
        return {
            "scale": Parameter((inputs,), Constant(1.0)),
            "shift": Parameter((inputs,), Zeros()),
        }

    def step(
        self, p: Parameters, x: Array, s: Fields, capture: Capture | None = None
    ) -> tuple[Array, Fields, Intermediates]:
        capture = capture or Capture()
        y = capture("y", normalize(x, self.epsilon) * p["scale"] + p["shift"])
        return y, s, capture.values

    scan = step  # no axis but the last is touched
