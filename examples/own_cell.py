"""A cell of one's own: it trains, carries, saves, loads, is traced and edited with no further work.

Run with ``python examples/own_cell.py``.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

import statewise as sw
from statewise.types import Array, Fields, Parameters


@dataclass(frozen=True)
class Leaky(sw.Cell):
    """``h' = (1 - leak) h + leak tanh(W x)``."""

    units: int
    leak: float = 0.1

    def state(self, inputs: int) -> Mapping[str, sw.Field]:
        return {"h": sw.Field((self.units,))}

    def parameters(self, inputs: int) -> Mapping[str, sw.Parameter]:
        return {"W": sw.Parameter((self.units, inputs), sw.Glorot())}

    def step(self, p: Parameters, x: Array, s: Fields, capture: sw.Capture) -> tuple[Array, Fields]:
        drive = capture("drive", (x @ p["W"].T).clip(-1, 1))
        h = capture("h", (1 - self.leak) * s["h"] + self.leak * drive)
        return h, {"h": h}


torch.manual_seed(0)
model = sw.nn.Model(sw.Architecture(sw.Vector(1), [Leaky(16)], sw.Linear(1)), seed=0)
noise = torch.randn(4, 500, 1)
average = torch.nn.functional.avg_pool1d(noise.mT, 20, 1).mT  # (4, 481, 1)
streams = sw.Streams(list(noise[:, 19:]), targets=list(average), chunk=100)
history = sw.fit(model, streams, epochs=30, learning_rate=0.01)
print(f"loss of a running mean: {history.loss[0]:.4f} -> {history.loss[-1]:.4f}")

_, state, seen = model.trace(noise[:1, :100])
print("traced:", {name: tuple(value.shape) for name, value in seen.items()})

with tempfile.TemporaryDirectory() as folder:
    model.eval().save(Path(folder) / "leaky.safetensors")
    fast = sw.load(Path(folder) / "leaky.safetensors", cells=[Leaky])  # NumPy, without torch
y, _ = model(noise[:1, 100:], state)
z, _ = fast(noise[:1, 100:].numpy(), state)
print("torch and NumPy agree:", bool(abs(y.detach().numpy() - z).max() < 1e-5))
