"""Whole models in one call against the same model by the reference equations."""

import threading

import numpy as np
import pytest

import statewise as sw
from statewise.runtime import Model

ARCHITECTURES = {
    "lstm": sw.Architecture(sw.Vector(3), [sw.LSTM(17)]),
    "peepholes": sw.Architecture(
        sw.Vector(3),
        [sw.LSTM(17, peepholes=True), sw.Residual(sw.LSTM(17, peepholes=True, learned_state=True))],
        sw.Linear(2),
    ),
    "linear": sw.Architecture(sw.Vector(3), [sw.GRU(17)], sw.Linear(70)),
    "deep": sw.Architecture(
        sw.Tokens(50, 16),
        [
            sw.LSTM(32, learned_state=True),
            sw.Dropout(0.1),
            sw.LayerNorm(),
            sw.Residual(sw.GRU(32)),
            sw.Residual(sw.Residual(sw.GRU(32, reset="before"))),
            sw.Residual(sw.LayerNorm()),
            sw.Residual(sw.Dropout(0.5)),
            sw.Elman(20, learned_state=True),
        ],
        sw.Linear(7),
    ),
    "remembers": sw.Architecture(
        sw.Tokens(9, 4), [sw.GRU(6), sw.Dropout(0.5)], sw.Linear(3, remember=True)
    ),
    "ends in a norm": sw.Architecture(sw.Vector(4), [sw.Elman(9), sw.LayerNorm()]),
    "ends in residual": sw.Architecture(sw.Vector(9), [sw.Residual(sw.LSTM(9))]),
    "nothing but dropout": sw.Architecture(sw.Vector(4), [sw.Dropout(0.5)]),
    "no layers": sw.Architecture(sw.Tokens(5, 6), [], sw.Linear(3)),
    "no layers, no output": sw.Architecture(sw.Vector(5), []),
    "large": sw.Architecture(sw.Vector(64), [sw.LSTM(300), sw.GRU(300, reset="before")]),
}


def pair(architecture, **options):
    """The model in float32, and in float64, where no kernels run."""
    rng = np.random.default_rng(0)
    arrays = {
        name: value + 0.05 * rng.standard_normal(value.shape)
        for name, value in architecture.draw(1).items()
    }
    native = Model(architecture, {k: v.astype(np.float32) for k, v in arrays.items()}, **options)
    return native, Model(architecture, arrays)


def inputs(architecture, rows, steps, seed=0):
    rng = np.random.default_rng(seed)
    if isinstance(architecture.inputs, sw.Tokens):
        x = rng.integers(0, architecture.inputs.size, (rows, steps))
        return x, x
    x = rng.standard_normal((rows, steps, architecture.inputs.features))
    narrow = x.astype(np.float32)
    return narrow, x if architecture.parameters else narrow  # without weights all is float32


def agree(found, expected, atol=2e-5):
    (y, state), (expected_y, expected_state) = found, expected
    assert y.dtype in (np.float32, np.int64)
    np.testing.assert_allclose(y, expected_y, atol=atol)
    assert list(state) == list(expected_state)
    np.testing.assert_array_equal(state.position, expected_state.position)
    for name in state:
        np.testing.assert_allclose(state[name], expected_state[name], atol=atol, err_msg=name)
        assert not state[name].flags.writeable


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("shape", [(0, 3), (1, 0), (1, 1), (1, 7), (5, 9), (40, 4)])
def test_agrees_with_the_reference(isa, threads, name, shape):
    architecture = ARCHITECTURES[name]
    native, reference = pair(architecture)
    if "no layers" not in name or architecture.outputs is not None:
        assert native.executor == "native"
    rng = np.random.default_rng(2)
    reset, lengths = rng.random(shape) < 0.2, rng.integers(0, shape[1] + 1, shape[0])
    x, wide = inputs(architecture, *shape)
    found, expected = native(x), reference(wide)
    agree(found, expected)
    _y, after = found
    masks = {"reset": reset, "lengths": lengths}
    agree(native(x, after, **masks), reference(wide, expected[1], **masks))
    given = native(x)[1].rows([0]) if shape[0] else None
    if given is not None:
        start = reference(wide)[1].rows([0])
        agree(
            native(x, after, initial=given, **masks),
            reference(wide, expected[1], initial=start, **masks),
        )


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("rows", [0, 1, 5, 40])
def test_steps_agree_with_one_call(isa, threads, name, rows):
    native, reference = pair(ARCHITECTURES[name])
    x, wide = inputs(ARCHITECTURES[name], rows, 6)
    state = expected_state = None
    for t in range(6):
        before = None if state is None else state.clone()
        kept = state
        y, state = native.step(x[:, t], state)
        expected, expected_state = reference.step(wide[:, t], expected_state)
        agree((y, state), (expected, expected_state))
        assert kept == before, "a step changed the state it was given"
    whole, end = native(x)
    np.testing.assert_allclose(whole[:, -1], y, atol=1e-5)
    assert end.allclose(state, rtol=1e-4, atol=1e-5)


def test_the_output_of_a_step_is_not_the_state():
    native, _ = pair(ARCHITECTURES["lstm"])
    y, state = native.step(np.ones((2, 3), np.float32))
    before = state["0.h"].copy()
    y[:] = 7
    np.testing.assert_array_equal(state["0.h"], before)


def test_a_layer_without_kernels_runs_beside_native_ones():
    architecture = sw.Architecture(
        sw.Vector(2),
        [sw.Difference(), sw.LSTM(8), sw.LSTM(8, coupled=True), sw.Residual(sw.GRU(8))],
        sw.Linear(2, inverse=True),
    )
    native, reference = pair(architecture)
    assert native.executor == "reference"
    x, wide = inputs(architecture, 4, 9)
    reset = np.random.default_rng(0).random((4, 9)) < 0.3
    masks = {"reset": reset, "lengths": [9, 3, 0, 5]}
    agree(native(x, **masks), reference(wide, **masks))


def test_bidirectional_layers_run():
    architecture = sw.Architecture(sw.Vector(2), [sw.Bidirectional(sw.LSTM(8)), sw.GRU(5)])
    native, reference = pair(architecture)
    x, wide = inputs(architecture, 4, 9)
    agree(native(x, lengths=[9, 3, 0, 5]), reference(wide, lengths=[9, 3, 0, 5]))


@pytest.mark.parametrize("name", ["lstm", "peepholes", "linear", "large"])
def test_bfloat16_weights_stay_within_a_percent(isa, name):
    bf16, reference = pair(ARCHITECTURES[name], weights="bfloat16")
    x, wide = inputs(ARCHITECTURES[name], 3, 20)
    y, expected = bf16(x)[0], reference(wide)[0]
    assert np.abs(y - expected).max() < 0.02 * np.abs(expected).max()


def test_bfloat16_weights_by_name_only():
    with pytest.raises(sw.InputError, match="float32"):
        pair(ARCHITECTURES["lstm"], weights="half")


def test_nan_in_padding_is_never_seen():
    native, _ = pair(ARCHITECTURES["linear"])
    x, _ = inputs(ARCHITECTURES["linear"], 2, 5)
    x[1, 2:] = np.nan
    y, state = native(x, lengths=[5, 2])
    assert np.isfinite(y).all()
    assert not y[1, 2:].any()
    assert np.isfinite(state["0.h"]).all()


def test_many_threads_may_call_one_model():
    native, _ = pair(ARCHITECTURES["large"])
    x, _ = inputs(ARCHITECTURES["large"], 6, 5)
    expected = native(x)
    wrong = []

    def work():
        for _ in range(10):
            y, state = native(x)
            if not (np.allclose(y, expected[0], atol=1e-6) and state.allclose(expected[1])):
                wrong.append(y)
            native.step(x[:, 0], state)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_a_state_of_torch_or_of_a_file_is_taken(tmp_path):
    native, _ = pair(ARCHITECTURES["lstm"])
    x, _ = inputs(ARCHITECTURES["lstm"], 2, 5)
    _y, state = native(x)
    state.save(tmp_path / "s.safetensors")
    expected, _ = native.step(x[:, 0], state)
    found, _ = native.step(x[:, 0], sw.State.load(tmp_path / "s.safetensors"))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("weights", ["float32", "bfloat16"])
@pytest.mark.parametrize("rows", [1, 3, 20])
def test_sampling_is_stepping(isa, threads, rows, weights):
    deep = ARCHITECTURES["deep"]
    arch = sw.Architecture(deep.inputs, deep.layers, sw.Linear(40, remember=True))
    model, _ = pair(arch, weights=weights)
    rng = np.random.default_rng(0)
    noise = rng.gumbel(size=(9, rows, 40)).astype(np.float32)
    noise[3] = 0
    noise[4, 0, [5, 7]] = np.nan
    _, state = model(rng.integers(0, 50, (rows, 4)))
    tokens, after = model.sample(noise, state)
    assert tokens[4, 0] == 5
    expected, steps = model._sample_steps(noise, state)
    np.testing.assert_array_equal(tokens, expected)
    for t in (0, 4, 8):
        assert after(t).position.tolist() == [5 + t] * rows
        assert list(after(t)) == list(state)
        for name, value in steps(t).items():
            np.testing.assert_array_equal(after(t)[name], value)
    assert not after(8)["0.h"].flags.writeable


def test_what_cannot_be_sampled():
    model, exact = pair(ARCHITECTURES["deep"])
    noise = np.zeros((2, 1, 7), np.float32)
    with pytest.raises(sw.InputError, match="remember=True"):
        model.sample(noise, model.initial_state(1))
    model, exact = pair(ARCHITECTURES["remembers"])
    with pytest.raises(sw.InputError, match="noise"):
        model.sample(noise[0], model.initial_state(1))
    with pytest.raises(sw.StateError, match="rows"):
        model.sample(noise[..., :3], model.initial_state(2))
    tokens, after = exact.sample(np.zeros((2, 1, 3)), exact.initial_state(1))
    assert tokens.shape == (2, 1)
    assert after(1).position.tolist() == [2]
    assert model.sample(noise[:0, :, :3], model.initial_state(1))[0].shape == (0, 1)
