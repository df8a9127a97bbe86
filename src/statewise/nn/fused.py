"""Layers in torch by the fastest way there is.

That is the native kernels for float32 on the CPU, and torch's own (cuDNN on CUDA, oneDNN on the
CPU) for whole segments elsewhere. The readable twin is `statewise.unroll.stepwise`; whatever has
no kernel runs there.
"""

from __future__ import annotations

import torch
from torch import Tensor

from statewise.cell import Cell
from statewise.cells import GRU, LSTM, Elman, Residual
from statewise.nn import native
from statewise.timeline import Timeline
from statewise.types import Fields, Intermediates, Parameters
from statewise.unroll import MakeInitial, Scanning


class Fused(Scanning):
    """Runs a segment by torch's kernels where it has them."""

    def __call__(
        self, cell: Cell, p: Parameters, x: Tensor, s: Fields, capturing: bool
    ) -> tuple[Tensor, Fields, Intermediates]:
        if x.shape[0] == 0 or capturing or not has_kernel(cell) or not _is_plain(x):
            return super().__call__(cell, p, x, s, capturing)
        match cell:
            case LSTM():
                y, new = _lstm(cell, p, x, s)
            case GRU():
                y, new = _gru(cell, p, x, s)
            case _:
                y, new = _elman(cell, p, x, s)
        return y, new, {}


class Fastest(Fused):
    """Runs a layer by the fastest way that gives the reference's result."""

    def whole(
        self,
        cell: Cell,
        p: Parameters,
        x: Tensor,
        s: Fields,
        timeline: Timeline,
        make_initial: MakeInitial,
        capturing: bool,
    ) -> tuple[Tensor, Fields, Intermediates] | None:
        if not native.runs(cell, x):
            return None
        return native.whole(cell, p, x, s, timeline, make_initial, capturing)

    def step(
        self, cell: Cell, p: Parameters, x: Tensor, s: Fields
    ) -> tuple[Tensor, Fields, Intermediates]:
        if isinstance(cell, Residual):  # stepped natively inside
            y, new, _ = self.step(cell.inner, p, x, s)
            return x + y, new, {}
        done = native.one_step(cell, p, x, s) if native.runs(cell, x) else None
        return done or super().step(cell, p, x, s)


fused, fastest = Fused(), Fastest()


def has_kernel(cell: Cell) -> bool:
    """Whether torch has a kernel for this cell with its options."""
    match cell:
        case LSTM():
            plain = (cell.activation, cell.recurrent_activation) == ("tanh", "sigmoid")
            return plain and not (cell.peepholes or cell.coupled or cell.layer_norm)
        case GRU():
            plain = (cell.activation, cell.recurrent_activation) == ("tanh", "sigmoid")
            return plain and cell.reset == "after"
        case Elman():
            return cell.activation in ("tanh", "relu")
        case _:
            return False


def _is_plain(x: Tensor) -> bool:
    """One dtype that the kernels keep in every field; autocast would change it on the way."""
    single = x.dtype in (torch.float32, torch.float64)
    return single and not torch.is_autocast_enabled(x.device.type)


def _lstm(cell: LSTM, p: Parameters, x: Tensor, s: Fields) -> tuple[Tensor, Fields]:
    weights = [p["W"], p["R"], p["b"], torch.zeros_like(p["b"])]
    if cell.projection:
        weights.append(p["P"])
    state = (s["h"][None].contiguous(), s["c"][None].contiguous())
    if cell.projection and x.device.type == "cpu" and torch.backends.mkldnn.enabled:
        y, h, c = _around_onednn(x, state, weights)
    else:
        y, h, c = torch.lstm(x, state, weights, *_options())
    return y, {"h": h[0], "c": c[0]}


def _around_onednn(
    x: Tensor, state: tuple[Tensor, Tensor], weights: list[Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Run a projected LSTM on the CPU. oneDNN has none, and torch warns of that at every call, but
    not where it is given packed sequences.
    """
    rows, steps = x.shape[:2]
    packed = x.transpose(0, 1).reshape(steps * rows, -1)
    sizes = torch.full((steps,), rows)
    y, h, c = torch.lstm(packed, sizes, state, weights, *_options()[:-1])
    return y.reshape(steps, rows, -1).transpose(0, 1), h, c


def _gru(cell: GRU, p: Parameters, x: Tensor, s: Fields) -> tuple[Tensor, Fields]:
    second = torch.cat([p["b"].new_zeros(2 * cell.units), p["m"]])
    weights = [p["W"], p["R"], p["b"], second]
    y, h = torch.gru(x, s["h"][None].contiguous(), weights, *_options())
    return y, {"h": h[0]}


def _elman(cell: Cell, p: Parameters, x: Tensor, s: Fields) -> tuple[Tensor, Fields]:
    weights = [p["W"], p["R"], p["b"], torch.zeros_like(p["b"])]
    relu = isinstance(cell, Elman) and cell.activation == "relu"
    kernel = torch.rnn_relu if relu else torch.rnn_tanh
    y, h = kernel(x, s["h"][None].contiguous(), weights, *_options())
    return y, {"h": h[0]}


def _options() -> tuple[bool, int, float, bool, bool, bool]:
    """has_biases, num_layers, dropout, train (cuDNN keeps what backward needs only then),
    bidirectional, batch_first.
    """
    return True, 1, 0.0, torch.is_grad_enabled(), False, True
