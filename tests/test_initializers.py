"""First values: their distributions, gate by gate, and the same in every executor."""

import numpy as np
import pytest
import torch

import statewise as sw
from statewise.declarations import Parameter
from statewise.initializers import GateBias, Initializer


def draw(initializer, shape, seed=0):
    return initializer(np.random.default_rng(seed), shape)


def test_constants():
    assert (draw(sw.Zeros(), (2, 3)) == 0).all()
    assert (draw(sw.Constant(1.5), (2, 3)) == 1.5).all()


def test_normal():
    a = draw(sw.Normal(0.3), (200, 200))
    assert abs(a.mean()) < 0.01
    assert a.std() == pytest.approx(0.3, rel=0.02)


@pytest.mark.parametrize(
    ("initializer", "bound"),
    [
        (sw.Uniform(), 1 / np.sqrt(100)),
        (sw.Uniform(width=25), 1 / np.sqrt(25)),
        (sw.Glorot(), np.sqrt(6 / 300)),
        (sw.Glorot(gain=2.0), 2 * np.sqrt(6 / 300)),
    ],
)
def test_uniform_within_their_bounds(initializer, bound):
    a = draw(initializer, (200, 100))
    assert np.abs(a).max() <= bound
    assert np.abs(a).max() > 0.99 * bound
    assert a.std() == pytest.approx(bound / np.sqrt(3), rel=0.02)
    assert abs(a.mean()) < 0.02 * bound


@pytest.mark.parametrize("shape", [(6, 6), (8, 3), (3, 8), (1, 1)])
def test_orthogonal(shape):
    a = draw(sw.Orthogonal(gain=2.0), shape) / 2.0
    small = a @ a.T if shape[0] <= shape[1] else a.T @ a
    np.testing.assert_allclose(small, np.eye(min(shape)), atol=1e-12)


def test_orthogonal_is_uniform_over_rotations():
    """Without the signs of R, QR's own would fix a diagonal."""
    corners = [draw(sw.Orthogonal(), (2, 2), seed)[0, 0] for seed in range(400)]
    assert abs(np.mean(corners)) < 0.1
    assert np.std(corners) == pytest.approx(np.sqrt(0.5), rel=0.1)


def test_chrono():
    a = draw(sw.Chrono(100), (2000,))
    assert a.min() >= 0
    assert a.max() <= np.log(99)
    assert np.exp(a).mean() == pytest.approx(50, rel=0.05), "uniform in steps"


def test_gate_biases():
    assert draw(GateBias(4, 1, 1.0), (8,)).tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    bias = draw(GateBias(4, 1, sw.Chrono(50), write=0), (8,))
    np.testing.assert_array_equal(bias[:2], -bias[2:4])
    assert not bias[4:].any()


BIASES = {
    "lstm": (sw.LSTM(2), [0, 0, 1, 1, 0, 0, 0, 0]),
    "lstm coupled": (sw.LSTM(2, coupled=True, forget_bias=3.0), [3, 3, 0, 0, 0, 0]),
    "gru": (sw.GRU(2, update_bias=-1.0), [0, 0, -1, -1, 0, 0]),
    "elman": (sw.Elman(2), [0, 0]),
}


@pytest.mark.parametrize("name", BIASES)
def test_the_keeping_gate_has_its_bias(name):
    cell, expected = BIASES[name]
    assert sw.Architecture(sw.Vector(1), [cell]).draw(0)["0.b"].tolist() == expected


@pytest.mark.parametrize(
    "cell", [sw.LSTM(3, forget_bias=sw.Chrono(9)), sw.GRU(3, "after", sw.Chrono(9))]
)
def test_chrono_in_a_cell(cell):
    b = sw.Architecture(sw.Vector(1), [cell]).draw(0)["0.b"].reshape(-1, 3)
    assert (b[1] > 0).all()
    if isinstance(cell, sw.LSTM):
        np.testing.assert_array_equal(b[0], -b[1])


def test_each_gate_is_drawn_by_itself():
    arch = sw.Architecture(sw.Vector(50), [sw.LSTM(30)])
    drawn = arch.draw(0)
    bound = np.sqrt(6 / (30 + 50))  # of one gate's matrix; the stack's would be half that
    for gate in np.split(drawn["0.W"], 4):
        assert 0.98 * bound < np.abs(gate).max() <= bound
    for gate in np.split(drawn["0.R"], 4):
        np.testing.assert_allclose(gate @ gate.T, np.eye(30), atol=1e-12)


def test_a_seed_gives_every_executor_the_same():
    arch = sw.Architecture(sw.Tokens(5, 2), [sw.LSTM(3, peepholes=True)], sw.Linear(2))
    expected = arch.draw(7)
    model = sw.nn.Model(arch, seed=7, dtype=torch.float64)
    for name, value in model.weights().items():
        np.testing.assert_array_equal(value.detach().numpy(), expected[name])
    assert sw.runtime.Model(arch, expected).fingerprint() == model.fingerprint()
    assert sw.nn.Model(arch, seed=7).fingerprint() != sw.nn.Model(arch, seed=8).fingerprint()


def test_the_draw_is_golden():
    """Another draw for the same seed would change every published result."""
    drawn = sw.Architecture(sw.Vector(1), [sw.GRU(1)], sw.Linear(1)).draw(0)
    found = {name: a.ravel().tolist() for name, a in drawn.items()}
    assert found == {
        "0.W": pytest.approx([0.47444920226224196, -0.797482216676747, -1.5901143571236198]),
        "0.R": [1.0, -1.0, 1.0],
        "0.b": [0.0, 0.0, 0.0],
        "0.m": [0.0],
        "outputs.W": pytest.approx([0.21327155153435973]),
        "outputs.b": [0.0],
    }


def test_initialisers_that_cannot_draw():
    class Empty(Initializer):
        pass

    with pytest.raises(sw.ArchitectureError, match=r"Empty has no __call__\(rng, shape\)"):
        draw(Empty(), (1,))
    with pytest.raises(sw.ArchitectureError, match="needs a matrix"):
        draw(sw.Orthogonal(), (3,))
    with pytest.raises(sw.ArchitectureError, match="needs an initialiser such as"):
        Parameter((2,), 0.0)


def test_parameters_of_any_rank():
    rng = np.random.default_rng(0)
    assert Parameter((), sw.Constant(2.0)).draw(rng).shape == ()
    assert Parameter((4, 2, 3), sw.Normal(), 2).draw(rng).shape == (4, 2, 3)
