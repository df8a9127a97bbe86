"""Vanishing and exploding gradients, and how long a state remembers: Elman, LSTM, GRU.

Run with ``python examples/how_long_it_remembers.py``; writes how-long-it-remembers.png.
"""

from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

import statewise as sw
from statewise import inspect

STEPS = 100
x = np.random.default_rng(0).normal(0, 0.1, (1, STEPS, 1))


def model(cell: sw.Cell, gain: float = 1.0) -> sw.nn.Model:
    """An untrained model, its recurrent weights orthogonal times a gain."""
    cell = replace(cell, recurrent=sw.Orthogonal(gain))
    return sw.nn.Model(sw.Architecture(sw.Vector(1), [cell], sw.Linear(1)), seed=0)


models = {
    "Elman, R small": model(sw.Elman(16), 0.8),
    "Elman, R large": model(sw.Elman(16, activation="relu"), 1.7),  # tanh would level off
    "GRU": model(sw.GRU(16)),
    "LSTM": model(sw.LSTM(16, forget_bias=sw.Chrono(100))),
}

figure = Figure(figsize=(12, 4.6), layout="constrained")
left, right = figure.subplots(1, 2)
for label, one in models.items():
    found = inspect.gradients(one, x)  # of the loss at the last step
    memory = "0.c" if "0.c" in found.values else "0.h"
    norms = found.norms(memory)[0]
    print(f"{label:16} a gradient {norms[0] / norms[STEPS - 2]:.1e} times as large 98 steps back")
    found.plot([memory], axes=left, label=label)

for label in ("Elman, R small", "GRU", "LSTM"):
    horizon = inspect.horizon(models[label], x, lags=60, starts=2)
    half = horizon.steps(0.5)
    print(f"{label:16} half of a nudge is left for {np.median(half['actual']):.0f} steps, and the "
          f"gates claim {np.median(half['claimed']):.0f}")  # fmt: skip
    horizon.plot(axes=right, label=label)
right.set_ylabel("what is left of a nudge")
right.set_title("How long a memory lasts", loc="left")
figure.savefig("how-long-it-remembers.png", dpi=130)
