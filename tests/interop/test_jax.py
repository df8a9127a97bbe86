"""The cells under `jax.numpy` and `lax.scan`, unchanged."""

import numpy as np
import pytest

import statewise as sw

from .conftest import need

CELLS = [
    sw.Elman(4),
    sw.LSTM(4),
    sw.LSTM(4, 3, peepholes=True, coupled=True, layer_norm=True),
    sw.LSTM(4, activation="softsign", recurrent_activation="hard_sigmoid"),
    sw.GRU(4),
    sw.GRU(4, reset="before", activation="relu"),
    sw.Residual(sw.GRU(3)),
]


@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_a_cell_scans_in_jax(cell):
    jax = need("jax")
    arch = sw.Architecture(sw.Vector(3), [cell])
    weights = {name: value.astype(np.float32) for name, value in arch.draw(0).items()}
    model = sw.runtime.Model(arch, weights)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2, 6, 3)).astype(np.float32)
    _, state = model(rng.normal(size=(2, 4, 3)).astype(np.float32))
    expected, end = model(x, state)

    p = {name.removeprefix("0."): jax.numpy.asarray(value) for name, value in weights.items()}
    start = {name.removeprefix("0."): jax.numpy.asarray(value) for name, value in state.items()}

    @jax.jit
    def run(p, s, x):
        def body(s, x_t):
            y, s, _ = cell.step(p, x_t, s)
            return s, y

        s, y = jax.lax.scan(body, s, x.swapaxes(0, 1))
        return y.swapaxes(0, 1), s

    y, after = run(p, start, x)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    for name, value in after.items():
        np.testing.assert_allclose(value, end[f"0.{name}"], atol=1e-5)
    slope = jax.grad(lambda p: run(p, start, x)[0].sum())(p)
    assert all(np.isfinite(value).all() for value in slope.values())
