"""The equations against others written down once more, gate by gate, straight from the papers."""

import math

import numpy as np
import pytest

import statewise as sw

INPUTS, UNITS, ROWS = 3, 4, 2


def sigmoid(a):
    return np.array([1 / (1 + math.exp(-value)) for value in a.ravel()]).reshape(a.shape)


def normed(a):
    return (a - a.mean()) / math.sqrt(a.var() + 1e-5)


def lstm_row(cell, w, x, h, c):
    """One row, one step. `w` holds each gate's own matrices by name."""

    def gate(name, memory):
        from_x, from_h = w["W", name] @ x, w["R", name] @ h
        if cell.layer_norm:
            from_x, from_h = normed(from_x) * w["sx", name], normed(from_h) * w["sh", name]
        total = from_x + from_h + w["b", name]
        if cell.peepholes and memory is not None:
            total = total + w["p", name] * memory
        return total

    forget = sigmoid(gate("f", c))
    write = 1 - forget if cell.coupled else sigmoid(gate("i", c))
    c = forget * c + write * np.tanh(gate("g", None))
    out = sigmoid(gate("o", c))
    shown = normed(c) * w["cs"] + w["ct"] if cell.layer_norm else c
    h = out * np.tanh(shown)
    return (w["P"] @ h if cell.projection else h), c


def gates_of(cell, arrays):
    """The stacked parameters taken apart, gate by gate."""
    order = "fgo" if cell.coupled else "ifgo"
    w = {}
    for index, name in enumerate(order):
        rows = slice(index * UNITS, (index + 1) * UNITS)
        for key in "WRb":
            w[key, name] = arrays[f"0.{key}"][rows]
        if cell.layer_norm:
            w["sx", name], w["sh", name] = arrays["0.scale"][:, rows]
    if cell.peepholes:
        for index, name in enumerate(order.replace("g", "")):
            w["p", name] = arrays["0.p"][index]
    if cell.layer_norm:
        w["cs"], w["ct"] = arrays["0.cell_scale"], arrays["0.cell_shift"]
    if cell.projection:
        w["P"] = arrays["0.P"]
    return w


LSTMS = {
    f"{'peepholes ' * p}{'coupled ' * c}{'norm ' * n}{'projection' * j}" or "plain": sw.LSTM(
        UNITS, 2 if j else None, peepholes=p, coupled=c, layer_norm=n
    )
    for p in (False, True)
    for c in (False, True)
    for n in (False, True)
    for j in (False, True)
}


def prepared(cell):
    rng = np.random.default_rng(0)
    arch = sw.Architecture(sw.Vector(INPUTS), [cell])
    arrays = {key: rng.normal(size=p.shape) for key, p in arch.parameters.items()}
    start = {key: rng.normal(size=(ROWS, *f.shape)) for key, f in arch.fields.items()}
    return sw.runtime.Model(arch, arrays), arrays, start, rng.normal(size=(ROWS, 5, INPUTS))


@pytest.mark.parametrize("name", LSTMS)
def test_lstm(name):
    cell = LSTMS[name]
    model, arrays, start, x = prepared(cell)
    y, state = model(x, sw.State(start))
    w = gates_of(cell, arrays)
    for row in range(ROWS):
        h, c = start["0.h"][row], start["0.c"][row]
        for t in range(x.shape[1]):
            h, c = lstm_row(cell, w, x[row, t], h, c)
            np.testing.assert_allclose(y[row, t], h, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(state["0.h"][row], h, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(state["0.c"][row], c, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("reset", ["before", "after"])
def test_gru(reset):
    model, arrays, start, x = prepared(sw.GRU(UNITS, reset=reset))
    y, _ = model(x, sw.State(start))
    (wr, wz, wn), (rr, rz, rn), (br, bz, bn) = (np.split(arrays[f"0.{key}"], 3) for key in "WRb")
    for row in range(ROWS):
        h = start["0.h"][row]
        for t in range(x.shape[1]):
            now = x[row, t]
            r = sigmoid(wr @ now + rr @ h + br)
            z = sigmoid(wz @ now + rz @ h + bz)
            carried = rn @ (r * h) if reset == "before" else r * (rn @ h + arrays["0.m"])
            h = z * h + (1 - z) * np.tanh(wn @ now + bn + carried)
            np.testing.assert_allclose(y[row, t], h, rtol=1e-12, atol=1e-13)


def test_what_is_seen_is_what_the_equations_say():
    model, _, start, x = prepared(LSTMS["peepholes "])
    _, _, seen = model.trace(x, sw.State(start))
    assert set(seen) == {f"0.{name}" for name in "ifgoch"}
    before = np.concatenate([start["0.c"][:, None], seen["0.c"][:, :-1]], axis=1)
    c = seen["0.f"] * before + seen["0.i"] * seen["0.g"]
    np.testing.assert_allclose(seen["0.c"], c, rtol=1e-12)
    np.testing.assert_allclose(seen["0.h"], seen["0.o"] * np.tanh(c), rtol=1e-12)


SEEN = {
    "a h": sw.Elman(3),
    "r z n h": sw.GRU(3),
    "i f g o c h": sw.LSTM(3, projection=2),
    "y": sw.LayerNorm(),
    "y ": sw.Dropout(0.5),
    "r z n h y": sw.Residual(sw.GRU(INPUTS)),
    "i f g o c h ": sw.Zoneout(sw.LSTM(3)),
    "forward.a forward.h backward.a backward.h": sw.Bidirectional(sw.Elman(3)),
    "base": sw.Difference(),
    "mean scale": sw.RunningScale(),
    "mean scale ": sw.Standardize(),
    "": sw.Lags((1,)),
}


@pytest.mark.parametrize("names", SEEN)
def test_names_of_what_is_seen(names):
    arch = sw.Architecture(sw.Vector(INPUTS), [SEEN[names]], sw.Linear(1))
    _, _, seen = sw.runtime.Model(arch, arch.draw(0)).trace(np.zeros((1, 2, INPUTS)))
    assert set(seen) == {f"0.{name}" for name in names.split()}


KNOWN = {
    "elman": (sw.Elman(3), "elman_tanh", {}, True),
    "elman relu": (sw.Elman(3, "relu"), "elman_relu", {}, True),
    "elman softsign": (sw.Elman(3, "softsign"), None, {}, True),
    "gru": (sw.GRU(3), "gru_after", {"h": "z"}, True),
    "gru before": (sw.GRU(3, reset="before"), "gru_before", {"h": "z"}, True),
    "gru relu": (sw.GRU(3, activation="relu"), None, {"h": "z"}, True),
    "gru hard": (sw.GRU(3, recurrent_activation="hard_sigmoid"), None, {"h": "z"}, True),
    "lstm": (sw.LSTM(3), "lstm", {"c": "f"}, True),
    "lstm peepholes": (sw.LSTM(3, peepholes=True), "lstm_peepholes", {"c": "f"}, False),
    "lstm coupled": (sw.LSTM(3, coupled=True), None, {"c": "f"}, True),
    "lstm normed": (sw.LSTM(3, layer_norm=True), None, {"c": "f"}, True),
    "lstm projected": (sw.LSTM(3, projection=2), None, {"c": "f"}, True),
    "lstm relu": (sw.LSTM(3, activation="relu"), None, {"c": "f"}, True),
    "lstm hard": (sw.LSTM(3, recurrent_activation="hard_sigmoid"), None, {"c": "f"}, True),
    "residual": (sw.Residual(sw.LSTM(3)), None, {"c": "f"}, False),
    "dropout": (sw.Dropout(0.1), None, {}, False),
}


@pytest.mark.parametrize("name", KNOWN)
def test_what_is_known_of_a_cell(name):
    cell, kernel, gates, replays = KNOWN[name]
    assert cell.native_kernel == kernel
    assert dict(cell.keep_gates) == gates
    assert cell.replays is replays
