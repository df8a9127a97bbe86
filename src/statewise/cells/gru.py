"""The gated recurrent unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from statewise.capture import Capture
from statewise.cell import Cell
from statewise.cells.activations import ACTIVATIONS, check_activation
from statewise.cells.learned import declare_learned_state
from statewise.declarations import Field, Parameter, check_positive
from statewise.errors import ArchitectureError
from statewise.initializers import Chrono, GateBias, Glorot, Initializer, Orthogonal, Zeros
from statewise.types import Array, Fields, Intermediates, Parameters


@dataclass(frozen=True)
class GRU(Cell):
    """The gated recurrent unit.

    ::

        r = sigmoid(W_r x + R_r h + b_r)              reset gate
        z = sigmoid(W_z x + R_z h + b_z)              update gate
        n = tanh(W_n x + b_n + r (R_n h + b_m))       candidate, reset="after"
        n = tanh(W_n x + b_n + R_n (r h))             candidate, reset="before"
        h' = (1 - z) n + z h

    Gates are stacked r, z, n (torch's order; ONNX and Keras stack z, r, n).

    Arguments:
        units: the width of the state and of the output.
        reset: apply the reset gate ``"after"`` the recurrent product (torch, cuDNN, Keras's
            default) or ``"before"`` it (the paper, ONNX's default).
        update_bias: first bias of the update gate, a number or `Chrono`; z near 1 keeps h. In the
            paper z and 1 - z change places.
        activation, recurrent_activation: of the candidate and of the gates.
        kernel, recurrent: initialisers of W and R, gate by gate.
        learned_state: train the initial state instead of starting from zeros.

    State: ``h`` (units). Intermediates: ``r z n h``.

    Parameters: ``W`` (3 units, inputs), ``R`` (3 units, units), ``b`` (3 units), and with
    ``reset="after"`` the recurrent bias of the candidate, ``m`` (units). torch's second biases of r
    and z are added into b.

    Source: Cho et al., Learning phrase representations using RNN encoder-decoder for statistical
    machine translation, 2014.
    """

    units: int
    reset: str = "after"
    update_bias: float | Chrono = 0.0
    activation: str = "tanh"
    recurrent_activation: str = "sigmoid"
    kernel: Initializer = Glorot()
    recurrent: Initializer = Orthogonal()
    learned_state: bool = False

    def __post_init__(self) -> None:
        check_positive(self, "units")
        check_activation(self, "activation", "recurrent_activation")
        if self.reset not in ("after", "before"):
            raise ArchitectureError(
                f"GRU: reset must be 'after' or 'before' the recurrent product, got {self.reset!r}"
            )

    def state(self, inputs: int) -> Mapping[str, Field]:
        return {"h": Field((self.units,))}

    def parameters(self, inputs: int) -> Mapping[str, Parameter]:
        units = self.units
        named = {
            "W": Parameter((3 * units, inputs), self.kernel, 3),
            "R": Parameter((3 * units, units), self.recurrent, 3),
            "b": Parameter((3 * units,), GateBias(3, 1, self.update_bias)),
        }
        if self.reset == "after":
            named["m"] = Parameter((units,), Zeros())
        return {**named, **declare_learned_state(self.learned_state, self.state(inputs))}

    def step(
        self, p: Parameters, x: Array, s: Fields, capture: Capture | None = None
    ) -> tuple[Array, Fields, Intermediates]:
        capture = capture or Capture()
        squash, gate = ACTIVATIONS[self.activation], ACTIVATIONS[self.recurrent_activation]
        units, h = self.units, s["h"]
        from_x = x @ p["W"].T + p["b"]  # (B, 3 units)
        gates = from_x[:, : 2 * units] + h @ p["R"][: 2 * units].T
        r = capture("r", gate(gates[:, :units]))
        z = capture("z", gate(gates[:, units:]))
        recurrent = p["R"][2 * units :]
        if self.reset == "after":
            remembered = r * (h @ recurrent.T + p["m"])
        else:
            remembered = (r * h) @ recurrent.T
        n = capture("n", squash(from_x[:, 2 * units :] + remembered))
        h = capture("h", (1 - z) * n + z * h)
        return h, {"h": h}, capture.values

    @property
    def native_kernel(self) -> str | None:
        plain = (self.activation, self.recurrent_activation) == ("tanh", "sigmoid")
        return f"gru_{self.reset}" if plain else None

    @property
    def keep_gates(self) -> Mapping[str, str]:
        return {"h": "z"}

    @property
    def replays(self) -> bool:
        return True
