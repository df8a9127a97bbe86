"""The loop: what a cell's own scan may do, and what is seen."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from array_api_compat import array_namespace

import statewise as sw
from statewise.unroll import scanning, stepwise


@dataclass(frozen=True)
class Sum(sw.Cell):
    """A running sum with a parallel scan."""

    def state(self, inputs):
        return {"s": sw.Field((inputs,), "accumulator")}

    def step(self, p, x, s):
        total = s["s"] + x
        return array_namespace(x).astype(total, x.dtype), {"s": total}, {"s": total}

    def scan(self, p, x, s):
        xp = array_namespace(x)
        total = s["s"][:, None] + xp.cumulative_sum(x, axis=1)
        return xp.astype(total, x.dtype), {"s": total[:, -1]}, {"s": total}


def light(*layers, outputs=None, features=2):
    arch = sw.Architecture(sw.Vector(features), layers, outputs)
    return sw.runtime.Model(arch, {k: a.astype("float32") for k, a in arch.draw(0).items()})


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(3, 6, 2)).astype("float32")


def test_a_scan_is_used_and_agrees(x, monkeypatch):
    y, state = light(Sum())(x)
    np.testing.assert_allclose(y, x.cumsum(axis=1), rtol=1e-6)
    reset = np.zeros((3, 6), dtype=bool)
    reset[1, 2] = True
    y, state = light(Sum())(x, state, reset=reset, lengths=[6, 5, 0])
    model = sw.nn.Model(sw.Architecture(sw.Vector(2), [Sum()]), executor="reference")
    _, before = model(torch.from_numpy(x))
    z, other = model(torch.from_numpy(x), before, reset=reset, lengths=[6, 5, 0])
    np.testing.assert_allclose(y, z.numpy(), rtol=1e-5)
    assert state.allclose(other)
    monkeypatch.setattr(Sum, "step", None)
    light(Sum())(x)


def test_a_scan_that_returns_another_state_is_told(x, monkeypatch):
    monkeypatch.setattr(Sum, "scan", lambda self, p, x, s: (x, {"t": s["s"]}, {}))
    with pytest.raises(sw.CellError, match=r"must return a state of the names and shapes"):
        light(Sum())(x)


@pytest.mark.parametrize(
    "cell",
    [
        sw.Dropout(0.5),
        sw.LayerNorm(),
        sw.Difference(),
        sw.Difference(3),
        sw.Lags((1, 4)),
        sw.Standardize((1.0, 2.0), 3.0),
    ],
)
def test_every_scan_equals_its_steps(cell, x):
    arch = sw.Architecture(sw.Vector(2), [cell])
    model = light(cell)
    p = {k.removeprefix("0."): a for k, a in model.weights().items()}
    s = {k.removeprefix("0."): a for k, a in model.initial_state(3).items()}
    if "noise" in s:
        s["noise"] = np.random.default_rng(1).integers(1, 2**32, s["noise"].shape)
    _, s, _ = stepwise(cell, p, x, s, capturing=False)
    y, end, seen = stepwise(cell, p, x, s, capturing=True)
    z, last, views = scanning(cell, p, x, s, capturing=True)
    np.testing.assert_allclose(z, y, rtol=1e-6)
    assert end.keys() == last.keys() == {k.removeprefix("0.") for k in arch.fields}
    assert all(np.allclose(end[k], last[k]) for k in end)
    assert seen.keys() == views.keys()
    assert all(np.allclose(seen[k], views[k]) for k in seen)


def test_what_is_seen_has_the_layers_place_in_its_name(x):
    model = light(sw.GRU(3), sw.Elman(2), outputs=sw.Linear(1))
    y, state, seen = model.trace(x)
    assert list(seen) == ["0.r", "0.z", "0.n", "0.h", "1.a", "1.h"]
    assert seen["0.h"].shape == (3, 6, 3)
    np.testing.assert_array_equal(seen["1.h"][:, -1], state["1.h"])
    W, b = model.weights()["outputs.W"], model.weights()["outputs.b"]
    np.testing.assert_allclose(y, seen["1.h"] @ W.T + b, rtol=1e-6)


def test_without_steps_nothing_is_seen(x):
    assert light(sw.GRU(3)).trace(x[:, :0])[2] == {}


def test_many_layers_are_told_apart(x):
    model = light(*[sw.Elman(2) for _ in range(12)])
    _, state = model(x)
    assert list(state) == [f"{index}.h" for index in range(12)]
    again, _ = model(x, state)
    rebuilt = sw.State(dict(reversed(list(state.items()))), state.position)
    np.testing.assert_array_equal(model(x, rebuilt)[0], again)


def test_a_remembered_output_is_the_last_one_that_is_not_padding(x):
    arch = sw.Architecture(sw.Vector(2), [sw.GRU(3)], sw.Linear(2, remember=True))
    for model, into in (
        (light(sw.GRU(3), outputs=arch.outputs), np.asarray),
        (sw.nn.Model(arch), torch.from_numpy),
    ):
        assert not np.asarray(model.initial_state(3)["outputs.y"]).any()
        y, state = model(into(x), lengths=[6, 2, 0])
        assert state["outputs.y"].tolist() == [y[0, 5].tolist(), y[1, 1].tolist(), [0.0, 0.0]]
        one, after = model.step(into(x[:, 0]), state)
        assert after["outputs.y"].tolist() == one.tolist()
        _, same = model(into(x[:, :0]), state)
        assert same["outputs.y"].tolist() == state["outputs.y"].tolist()


def test_a_forecast_goes_on_from_the_state_alone():
    arch = sw.Architecture(sw.Vector(2), [sw.LSTM(3)], sw.Linear(2, remember=True))
    model = sw.nn.Model(arch).eval()
    with torch.no_grad():
        _, state = model(torch.randn(2, 5, 2))
        x, expected = state["outputs.y"], []
        other = state
        for _ in range(3):
            x, other = model.step(x, other)
            expected.append(x)
        for y in expected:
            _, state = model.step(state["outputs.y"], state)
            assert torch.equal(state["outputs.y"], y)
