"""Which cells torch has a kernel for, and that those without one run all the same. Here in float64,
since in float32 the native kernels come first.
"""

import pytest
import torch

import statewise as sw
from statewise.nn import fused


@pytest.mark.parametrize(
    ("cell", "kernel"),
    [
        (sw.LSTM(2), True),
        (sw.LSTM(2, projection=1), True),
        (sw.LSTM(2, learned_state=True), True),
        (sw.LSTM(2, peepholes=True), False),
        (sw.LSTM(2, coupled=True), False),
        (sw.LSTM(2, layer_norm=True), False),
        (sw.LSTM(2, activation="relu"), False),
        (sw.LSTM(2, recurrent_activation="hard_sigmoid"), False),
        (sw.GRU(2), True),
        (sw.GRU(2, reset="before"), False),
        (sw.GRU(2, activation="softsign"), False),
        (sw.Elman(2), True),
        (sw.Elman(2, activation="relu"), True),
        (sw.Elman(2, activation="sigmoid"), False),
        (sw.Residual(sw.GRU(2)), True),
        (sw.Residual(sw.GRU(2, reset="before")), False),
        (sw.Zoneout(sw.GRU(2)), False),
        (sw.Dropout(0.1), False),
    ],
)
def test_kernels(cell, kernel, monkeypatch):
    used = []
    for name in ("_lstm", "_gru", "_elman"):
        own = getattr(fused, name)
        monkeypatch.setattr(fused, name, lambda *a, own=own: used.append(1) or own(*a))
    architecture, x = sw.Architecture(sw.Vector(2), [cell]), torch.randn(2, 3, 2)
    model = sw.nn.Model(architecture, executor="fused")
    model(x)
    assert bool(used) == kernel
    used.clear()
    sw.nn.Model(architecture, executor="reference")(x)
    model.trace(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model(x)
    model.to(torch.bfloat16)(x.bfloat16())
    assert not used, "a kernel shows nothing inside, and knows one dtype"
