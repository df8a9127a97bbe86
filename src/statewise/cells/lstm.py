"""The long short-term memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from statewise.capture import Capture
from statewise.cell import Cell
from statewise.cells.activations import ACTIVATIONS, check_activation, normalize
from statewise.cells.learned import declare_learned_state
from statewise.declarations import Field, Parameter, check_positive
from statewise.errors import ArchitectureError
from statewise.initializers import (
    Chrono,
    Constant,
    GateBias,
    Glorot,
    Initializer,
    Orthogonal,
    Uniform,
    Zeros,
)
from statewise.types import Array, Fields, Intermediates, Parameters, array_namespace


@dataclass(frozen=True)
class LSTM(Cell):
    """The long short-term memory.

    ::

        i = sigmoid(W_i x + R_i h + p_i c + b_i)      input gate
        f = sigmoid(W_f x + R_f h + p_f c + b_f)      forget gate
        g = tanh(W_g x + R_g h + b_g)                 candidate
        c' = f c + i g
        o = sigmoid(W_o x + R_o h + p_o c' + b_o)     output gate
        h' = P (o tanh(c'))

    The p terms are there with `peepholes`, P with `projection`. With `coupled`, ``i = 1 - f`` and
    the i rows are left out. With `layer_norm`, W x and R h are each normalised over a gate's units
    and scaled, and so is c' on its way to h'.

    Gates are stacked i, f, g, o (torch's order; Keras names g c, ONNX stacks i, o, f, g).

    Arguments:
        units: the width of the cell state, and of the output where there is no projection.
        projection: the width of h and of the output, if it differs.
        peepholes: let the gates see the cell state.
        coupled: one gate decides both what to forget and what to write.
        layer_norm: normalise inside the cell.
        forget_bias: first bias of the forget gate, a number or `Chrono` for long memories.
        activation, recurrent_activation: of candidate and output, and of the gates.
        kernel, recurrent: initialisers of W and R, gate by gate.
        learned_state: train the initial state instead of starting from zeros.

    State: ``h`` (projection or units), ``c`` (units), which stays float32 in half precision.
    Intermediates: ``i f g o c h``.

    Parameters: ``W`` (gates * units, inputs), ``R`` (gates * units, outputs), ``b`` (gates *
    units), and with their options ``p`` (gates but g, units), ``P`` (projection, units), ``scale``
    (2, gates * units: of W x and of R h), ``cell_scale`` and ``cell_shift`` (units). torch has two
    biases with one sum; here there is the sum.

    Source: Hochreiter and Schmidhuber, Long short-term memory, 1997; forget gate and peepholes:
    Gers, Schmidhuber and Cummins 2000, Gers and Schmidhuber 2000; projection: Sak, Senior and
    Beaufays 2014; coupled gates: Greff et al. 2017; layer norm: Ba, Kiros and Hinton 2016, whose
    shifts of W x and R h are the bias b here.
    """

    units: int
    projection: int | None = None
    peepholes: bool = False
    coupled: bool = False
    layer_norm: bool = False
    forget_bias: float | Chrono = 1.0
    activation: str = "tanh"
    recurrent_activation: str = "sigmoid"
    kernel: Initializer = Glorot()
    recurrent: Initializer = Orthogonal()
    learned_state: bool = False

    def __post_init__(self) -> None:
        check_positive(self, "units")
        check_activation(self, "activation", "recurrent_activation")
        if self.projection is not None:
            check_positive(self, "projection")
            if self.projection >= self.units:
                raise ArchitectureError(
                    f"LSTM: projection ({self.projection}) must be smaller than units "
                    f"({self.units})"
                )

    @property
    def gates(self) -> str:
        """The stacked gates in order."""
        return "fgo" if self.coupled else "ifgo"

    def outputs(self, inputs: int) -> int:
        return self.projection or self.units

    def state(self, inputs: int) -> Mapping[str, Field]:
        return {"h": Field((self.outputs(inputs),)), "c": Field((self.units,), "accumulator")}

    def parameters(self, inputs: int) -> Mapping[str, Parameter]:
        gates, units, outputs = len(self.gates), self.units, self.outputs(inputs)
        bias = GateBias(gates, self.gates.index("f"), self.forget_bias, None if self.coupled else 0)
        named = {
            "W": Parameter((gates * units, inputs), self.kernel, gates),
            "R": Parameter((gates * units, outputs), self.recurrent, gates),
            "b": Parameter((gates * units,), bias),
        }
        if self.peepholes:
            named["p"] = Parameter((gates - 1, units), Uniform())
        if self.projection:
            named["P"] = Parameter((outputs, units), Uniform())
        if self.layer_norm:
            named["scale"] = Parameter((2, gates * units), Constant(1.0))
            named["cell_scale"] = Parameter((units,), Constant(1.0))
            named["cell_shift"] = Parameter((units,), Zeros())
        return {**named, **declare_learned_state(self.learned_state, self.state(inputs))}

    def step(
        self, p: Parameters, x: Array, s: Fields, capture: Capture | None = None
    ) -> tuple[Array, Fields, Intermediates]:
        capture = capture or Capture()
        xp = array_namespace(x)
        squash, gate = ACTIVATIONS[self.activation], ACTIVATIONS[self.recurrent_activation]
        a = self._sums(p, x, s["h"])
        c = s["c"]
        peepholes = self.gates.replace("g", "")

        def compute_gate(name: str, cell: Array) -> Array:
            if self.peepholes:
                return gate(a[name] + p["p"][peepholes.index(name)] * cell)
            return gate(a[name])

        if self.coupled:
            f = capture("f", compute_gate("f", c))
            i = capture("i", 1 - f)
        else:
            i = capture("i", compute_gate("i", c))
            f = capture("f", compute_gate("f", c))
        g = capture("g", squash(a["g"]))
        if not self.peepholes:
            o = capture("o", compute_gate("o", c))
        c = capture("c", f * c + i * g)
        if self.peepholes:  # the output gate sees the new cell state
            o = capture("o", compute_gate("o", c))
        scaled = normalize(c) * p["cell_scale"] + p["cell_shift"] if self.layer_norm else c
        h = xp.astype(o * squash(scaled), s["h"].dtype)
        h = capture("h", h @ p["P"].T if self.projection else h)
        return h, {"h": h, "c": c}, capture.values

    @property
    def native_kernel(self) -> str | None:
        plain = (self.activation, self.recurrent_activation) == ("tanh", "sigmoid")
        special = self.coupled or self.layer_norm or self.projection
        if not plain or special:
            return None
        return "lstm_peepholes" if self.peepholes else "lstm"

    @property
    def keep_gates(self) -> Mapping[str, str]:
        return {"c": "f"}

    @property
    def replays(self) -> bool:
        return not self.peepholes

    def _sums(self, p: Parameters, x: Array, h: Array) -> dict[str, Array]:
        """Each gate's sum before its activation, without peepholes, (B, units)."""
        units, order = self.units, self.gates
        from_x, from_h = x @ p["W"].T, h @ p["R"].T  # (B, gates * units)
        sums = {}
        for index, name in enumerate(order):
            part = slice(index * units, (index + 1) * units)
            if self.layer_norm:
                parts = normalize(from_x[:, part]), normalize(from_h[:, part])
                total = parts[0] * p["scale"][0, part] + parts[1] * p["scale"][1, part]
            else:
                total = from_x[:, part] + from_h[:, part]
            sums[name] = total + p["b"][part]
        return sums
