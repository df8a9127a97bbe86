"""A layer by the reference equations in torch, float64, with every gradient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

import statewise as sw
from statewise import kernels
from statewise.timeline import build_timeline
from statewise.unroll import stepwise, unroll

CELLS = {
    "elman_tanh": sw.Elman,
    "elman_relu": lambda units: sw.Elman(units, activation="relu"),
    "lstm": sw.LSTM,
    "lstm_peepholes": lambda units: sw.LSTM(units, peepholes=True),
    "gru_after": sw.GRU,
    "gru_before": lambda units: sw.GRU(units, reset="before"),
}
NAMES = ["x", "W", "R", "b", "m", "p", "h", "c", "h_initial", "c_initial"]


@dataclass
class Case:
    """A layer, a call of it, and gradients of what comes out, all random."""

    cell: sw.Cell
    rows: int
    steps: int
    inputs: int
    seed: int = 0
    resets: bool = True
    lengths: bool = True

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        units = self.cell.units
        shapes = self.cell.parameters(self.inputs)
        self.p = {
            name: rng.standard_normal(parameter.shape) / np.sqrt(units)
            for name, parameter in shapes.items()
        }
        self.x = rng.standard_normal((self.rows, self.steps, self.inputs))
        fields = list(self.cell.state(self.inputs))
        self.state = {name: rng.standard_normal((self.rows, units)) for name in fields}
        self.fresh = {name: rng.standard_normal((self.rows, units)) for name in fields}
        self.dy = rng.standard_normal((self.rows, self.steps, units))
        self.dstate = {name: rng.standard_normal((self.rows, units)) for name in fields}
        self.reset = rng.random((self.rows, self.steps)) < 0.2 if self.resets else None
        self.length = rng.integers(0, self.steps + 1, self.rows) if self.lengths else None

    def call(self):
        """The arguments of the native layer's forward and backward."""
        single = [self.x, self.state["h"], self.state.get("c")]
        fresh = [self.fresh["h"], self.fresh.get("c")]
        return [*map(f32, single), self.reset, *map(f32, fresh), self.length]

    def native(self, **options):
        return kernels.pack_layer(self.cell, {k: f32(v) for k, v in self.p.items()}, **options)

    def forward(self, save=True, **options):
        return self.native(**options).forward(*self.call(), save)

    def backward(self, y, gates, cells):
        given = [self.dy, self.dstate["h"], self.dstate.get("c")]
        layer = self.native(backward=True)
        return dict(
            zip(
                NAMES,
                layer.backward(*self.call(), y, gates, cells, *map(f32, given), True),
                strict=True,
            )
        )

    def expected(self, gradients=True):
        """y, the final state and all gradients by the reference."""
        leaf = {}

        def tensor(name, value):
            leaf[name] = torch.tensor(value, requires_grad=gradients)
            return leaf[name]

        x = tensor("x", self.x)
        p = {name: tensor(name, value) for name, value in self.p.items()}
        s = {name: tensor(name, value) for name, value in self.state.items()}
        fresh = {name: tensor(f"{name}_initial", value) for name, value in self.fresh.items()}
        when = build_timeline(self.rows, self.steps, self.reset, self.length, x)
        y, after, _ = unroll(self.cell, p, x, s, when, lambda: fresh, stepwise)
        if when.mask is not None:
            y = torch.where(when.mask[..., None], y, 0.0)
        found = {}
        if gradients:
            loss = (y * torch.tensor(self.dy)).sum()
            for name, value in after.items():
                loss = loss + (value * torch.tensor(self.dstate[name])).sum()
            loss.backward()
            found = {
                name: np.zeros(value.shape) if value.grad is None else value.grad.numpy()
                for name, value in leaf.items()
            }
        return y.detach().numpy(), {k: v.detach().numpy() for k, v in after.items()}, found


def f32(array):
    return None if array is None else np.ascontiguousarray(array, dtype=np.float32)


def close(found, expected, what=""):
    """Within 1e-5 of the largest value: sums of float32 in another order."""
    assert found.shape == expected.shape, what
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected), err_msg=what)
    scale = 1 + np.abs(np.nan_to_num(expected)).max(initial=0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * scale, err_msg=what)
