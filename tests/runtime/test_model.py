"""The NumPy model: the same calls, without torch."""

import concurrent.futures
import copy
import pickle

import numpy as np
import pytest

import statewise as sw
from statewise import kernels

ARCH = sw.Architecture(sw.Vector(2), [sw.LSTM(3), sw.Dropout(0.5)], sw.Linear(1))


@pytest.fixture
def model():
    return sw.runtime.Model(ARCH, ARCH.draw(0))


def test_weights_are_named_and_kept(model):
    assert list(model.weights()) == list(ARCH.parameters)
    assert model.architecture is ARCH
    model.weights().clear()
    assert model.weights()


def test_weights_that_do_not_fit():
    arrays = ARCH.draw(0)
    for wrong, message in (
        ({}, r"'0.R' is missing, expected \(12, 3\)"),
        ({**arrays, "z": arrays["0.W"]}, "'z' is .*, expected nothing"),
        ({**arrays, "0.b": arrays["0.b"].astype("float32")}, "one floating dtype, got float32, fl"),
    ):
        with pytest.raises(sw.FileError, match=message):
            sw.runtime.Model(ARCH, wrong)


def test_nothing_is_drawn_outside_training(model):
    state = model.initial_state(2)
    assert not state["1.noise"].any()
    y, _ = model(np.ones((2, 3, 2)))
    z, _ = model(np.ones((2, 3, 2)))
    np.testing.assert_array_equal(y, z)


def test_the_fingerprint_and_what_it_looks_like(model):
    assert model.fingerprint() == sw.nn.Model(ARCH, dtype=sw.nn.model.torch.float64).fingerprint()
    assert repr(model).startswith("Model(76 parameters, float64, executor='reference')\n")
    assert ARCH.describe().splitlines()[1] in repr(model)


def test_copies_and_pickles(model):
    x = np.random.default_rng(0).normal(size=(2, 3, 2))
    expected, state = model(x)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        other(x, state.rows([0, 1]))
        assert other.fingerprint() == model.fingerprint()
        np.testing.assert_array_equal(other(x)[0], expected)


def test_threads_share_a_model(model):
    x = np.random.default_rng(0).normal(size=(8, 50, 2))
    expected, end = model(x)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for y, state in pool.map(lambda _: model(x), range(8)):
            np.testing.assert_array_equal(y, expected)
            assert state == end


def test_inputs_that_cannot_be_written_to_or_are_views(model):
    x = np.random.default_rng(0).normal(size=(3, 2, 5)).transpose(1, 2, 0)[:, :, :2]
    frozen = x.copy()
    frozen.flags.writeable = False
    np.testing.assert_allclose(model(x)[0], model(frozen)[0], rtol=1e-12)


def test_outputs_may_be_written_to(model):
    y, state = model(np.ones((2, 3, 2)))
    y *= 2
    one, state = model.step(np.ones((2, 2)), state)
    one *= 2


def test_numpys_own_error_state_is_left_alone(model):
    with np.errstate(all="raise"):
        model(np.full((1, 2, 2), np.inf))
        with pytest.raises(FloatingPointError):
            np.float64(1.0) / np.zeros(1)


def test_each_layer_is_packed_once(monkeypatch):
    arch = sw.Architecture(sw.Vector(2), [sw.Bidirectional(sw.LSTM(3)), sw.Residual(sw.GRU(6))])
    arrays = {name: array.astype(np.float32) for name, array in arch.draw(0).items()}
    model, x = sw.runtime.Model(arch, arrays), np.ones((1, 4, 2), np.float32)
    first, _ = model(x)
    packed = []
    monkeypatch.setattr(kernels, "pack_layer", lambda *given, **options: packed.append(given))
    np.testing.assert_array_equal(model(x)[0], first)
    assert not packed
