"""The cells beside the recurrences: their numbers, for draws that are given."""

import numpy as np
import pytest

import statewise as sw
from statewise.capture import Capture
from statewise.cells.dropout import fill_noise

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 3))
BIG = 2**32


def step(cell, p=None, x=X, **s):
    """One step: the output, the new state and the values inside."""
    capture = Capture()
    y, after, _ = cell.step(p or {}, x, s, capture)
    return y, after, capture.values


@pytest.mark.parametrize("activation", ["linear", "relu", "softmax"])
def test_dense(activation):
    W, b = RNG.normal(size=(4, 3)), RNG.normal(size=4)
    sums = np.einsum("bi,oi->bo", X, W) + b
    expected = {
        "linear": sums,
        "relu": np.where(sums > 0, sums, 0),
        "softmax": np.exp(sums) / np.exp(sums).sum(axis=1, keepdims=True),
    }[activation]
    y, after, seen = step(sw.Dense(4, activation), {"W": W, "b": b})
    np.testing.assert_allclose(y, expected, rtol=1e-12)
    assert after == {}
    assert seen["y"] is y
    assert sw.Dense(4).outputs(3) == 4
    wide = np.stack([X, 2 * X], axis=1)
    y, _, _ = sw.Dense(4, activation).scan({"W": W, "b": b}, wide, {})
    np.testing.assert_allclose(y[:, 0], expected, rtol=1e-12)


def test_the_weights_of_a_dense_layer():
    named = sw.Dense(4).parameters(3)
    assert {name: p.shape for name, p in named.items()} == {"W": (4, 3), "b": (4,)}
    assert not named["b"].draw(np.random.default_rng(0)).any()


def test_dropout_passes_what_its_noise_says():
    noise = np.array([[0, 1, BIG // 4 - 1], [BIG // 4, BIG // 4 + 1, BIG - 1]])
    y, after, seen = step(sw.Dropout(0.25), noise=noise)
    passes = np.array([[1, 0, 0], [1, 1, 1]])  # zero: nothing was drawn, all passes
    np.testing.assert_allclose(y, X * passes / 0.75, rtol=1e-12)
    assert after["noise"] is noise
    assert seen["y"] is y
    x = np.stack([X, 3 * X], axis=1)
    y, after, _ = sw.Dropout(0.25).scan({}, x, {"noise": noise}, Capture())
    np.testing.assert_allclose(y, x * passes[:, None] / 0.75, rtol=1e-12)
    assert after["noise"] is noise


def test_dropout_of_nothing():
    noise = np.array([[0, 1, BIG - 1], [2, 3, 4]])
    for cell in (sw.Dropout(0.0), sw.Dropout(0.5).evaluating()):
        assert np.array_equal(step(cell, noise=noise)[0], X)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1, "half", None])
@pytest.mark.parametrize("cell", [sw.Dropout, lambda rate: sw.Zoneout(sw.GRU(2), rate)])
def test_rates_are_fractions(cell, rate):
    with pytest.raises(sw.ArchitectureError, match=r"rate must be a number in \[0, 1\)"):
        cell(rate)


def test_noise_is_drawn_once():
    noise = np.array([[0, 5], [7, 0]])
    drawn = fill_noise(noise, lambda shape: np.full(shape, 9))
    assert drawn.tolist() == [[9, 5], [7, 9]]
    assert noise.tolist() == [[0, 5], [7, 0]]


def test_layer_norm():
    scale, shift = RNG.normal(size=3), RNG.normal(size=3)
    cell = sw.LayerNorm()
    y, after, seen = step(cell, {"scale": scale, "shift": shift})
    centred = X - X.mean(axis=1, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=1, keepdims=True) + cell.epsilon)
    np.testing.assert_allclose(y, centred / spread * scale + shift, rtol=1e-12)
    assert after == {}
    assert seen["y"] is y
    named = cell.parameters(3)
    assert {name: p.shape for name, p in named.items()} == {"scale": (3,), "shift": (3,)}
    assert named["scale"].draw(RNG).tolist() == [1, 1, 1]
    assert named["shift"].draw(RNG).tolist() == [0, 0, 0]


def xorshift(value):
    """One number of Marsaglia's generator, in Python's own whole numbers."""
    value ^= (value << 13) % BIG
    value ^= value >> 17
    return value ^ (value << 5) % BIG


def drawn_gru(units=3):
    cell = sw.GRU(units)
    named = cell.parameters(3).items()
    return cell, {name: RNG.normal(size=p.shape) for name, p in named}


def test_zoneout_keeps_the_units_that_its_noise_says():
    inner, p = drawn_gru()
    h = RNG.normal(size=(2, 3))
    noise = RNG.integers(1, BIG, size=(2, 1, 3))
    noise[0, 0, 0] = 0  # stays zero, below any rate: the unit is kept
    following = np.array([[[xorshift(int(n)) for n in row[0]]] for row in noise])
    rate = (int(following[1, 0, 1]) + 0.5) / BIG  # just above one of them
    y, after, seen = step(sw.Zoneout(inner, rate), p, h=h, noise=noise)
    new = step(inner, p, h=h)[1]["h"]
    expected = np.where(following[:, 0] < int(rate * BIG), h, new)
    np.testing.assert_array_equal(after["noise"], following)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(after["h"], expected)
    np.testing.assert_array_equal(seen["h"], expected)


@pytest.mark.parametrize("evaluating", [True, False])
def test_zoneout_outside_training_is_the_mixture(evaluating):
    inner, p = drawn_gru()
    h, noise = RNG.normal(size=(2, 3)), np.full((2, 1, 3), 5)
    cell = sw.Zoneout(inner, 0.3).evaluating() if evaluating else sw.Zoneout(inner, 0.3, mixed=True)
    y, after, _ = step(cell, p, h=h, noise=noise)
    new = step(inner, p, h=h)[1]["h"]
    np.testing.assert_allclose(y, 0.3 * h + 0.7 * new, rtol=1e-12)
    np.testing.assert_array_equal(after["noise"], noise)


def test_the_noise_of_zoneout_is_as_wide_as_the_widest_field():
    fields = sw.Zoneout(sw.LSTM(4, projection=2)).state(3)
    assert list(fields) == ["h", "c", "noise"]
    assert fields["noise"].shape == (2, 4)
    assert fields["noise"].kind == "integer"


@pytest.mark.parametrize(
    "inner", [sw.LayerNorm(), sw.Dropout(0.1), sw.Bidirectional(sw.GRU(2)), sw.Difference()]
)
def test_zoneout_needs_a_cell_whose_output_is_its_h(inner):
    with pytest.raises(sw.ArchitectureError, match=r"Zoneout|Wrapper|wraps"):
        sw.Architecture(sw.Vector(3), [sw.Zoneout(inner)])


def test_residual_adds_its_input():
    inner, p = drawn_gru()
    h = RNG.normal(size=(2, 3))
    y, after, seen = step(sw.Residual(inner), p, h=h)
    alone, state, values = step(inner, p, h=h)
    np.testing.assert_array_equal(y, X + alone)
    np.testing.assert_array_equal(after["h"], state["h"])
    assert set(seen) == {*values, "y"}
    np.testing.assert_array_equal(seen["y"], y)
    assert sw.Residual(inner).evaluating() == sw.Residual(inner)
    dropping = sw.Residual(sw.Dropout(0.5))
    assert dropping.evaluating() == sw.Residual(sw.Dropout(0.0))


def test_bidirectional_is_two_runs_side_by_side():
    arch = sw.Architecture(sw.Vector(3), [sw.Bidirectional(sw.GRU(2))])
    both = {name: RNG.normal(size=p.shape) for name, p in arch.parameters.items()}
    x = RNG.normal(size=(2, 5, 3))
    lengths = np.array([5, 3])
    y, state, seen = sw.runtime.Model(arch, both).trace(x, lengths=lengths)
    for way in ("forward", "backward"):
        alone = sw.Architecture(sw.Vector(3), [sw.GRU(2)])
        p = {f"0.{name}": both[f"0.{way}.{name}"] for name in alone.layers[0].parameters(3)}
        columns = slice(0, 2) if way == "forward" else slice(2, 4)
        for row, length in enumerate(lengths):
            read = x[row : row + 1, :length]
            read = read if way == "forward" else read[:, ::-1]
            out, after, inside = sw.runtime.Model(alone, p).trace(np.ascontiguousarray(read))
            turn = slice(None) if way == "forward" else slice(None, None, -1)
            np.testing.assert_allclose(y[row, :length, columns], out[0, turn], rtol=1e-12)
            np.testing.assert_allclose(state[f"0.{way}.h"][row], after["0.h"][0], rtol=1e-12)
            np.testing.assert_allclose(
                seen[f"0.{way}.z"][row, :length], inside["0.z"][0, turn], rtol=1e-12
            )
