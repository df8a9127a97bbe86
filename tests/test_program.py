"""Bad input to any call: the error says what came, what was expected and what to do."""

import sys
import types

import numpy as np
import pandas as pd
import pytest
import torch

import statewise as sw

VECTOR = sw.Architecture(sw.Vector(2), [sw.GRU(3)], sw.Linear(1))
SINGLE = sw.Architecture(sw.Vector(1), [sw.GRU(3)], sw.Linear(1))
TOKENS = sw.Architecture(sw.Tokens(5, 2), [sw.GRU(3)], sw.Linear(5))
ROWS, STEPS = 3, 4


def light(arch):
    return sw.runtime.Model(arch, {k: a.astype("float32") for k, a in arch.draw(0).items()})


MODELS = {"torch": sw.nn.Model, "numpy": light}


@pytest.fixture(params=MODELS)
def library(request):
    return request.param


@pytest.fixture
def convert(library):
    return torch.as_tensor if library == "torch" else np.asarray


@pytest.fixture
def model(library):
    return MODELS[library](VECTOR)


@pytest.fixture
def x(convert):
    return convert(np.zeros((ROWS, STEPS, 2), dtype="float32"))


SHAPES = {
    r"got \(3, 4\) float32; add the axis of the batch: x\[None\]": (3, 4),
    r"got \(3,\) float32; inputs are batch first": (3,),
    r"got \(\) float32; inputs are batch first": (),
    r"got \(3, 4, 3\) float32; inputs are batch first": (3, 4, 3),
    r"got \(1, 3, 4, 2\) float32; inputs are batch first": (1, 3, 4, 2),
}


@pytest.mark.parametrize("message", SHAPES)
def test_inputs_of_a_wrong_shape(model, convert, message):
    wrong = convert(np.zeros(SHAPES[message], dtype="float32"))
    for call in (model, model.trace):
        with pytest.raises(sw.InputError, match=message) as caught:
            call(wrong)
        assert "model(x) expects (batch, time, 2) float32, got" in str(caught.value)


def test_a_series_without_its_axis_of_features(library, convert):
    model = MODELS[library](SINGLE)
    with pytest.raises(sw.InputError, match=r"add the axis of features: x\[..., None\]"):
        model(convert(np.zeros((3, 4), dtype="float32")))
    with pytest.raises(
        sw.InputError, match=r"step\(x_t\) expects \(batch, 1\) float32, got \(3,\)"
    ):
        model.step(convert(np.zeros(3, dtype="float32")))


def test_a_step_of_a_wrong_shape(model, x):
    with pytest.raises(
        sw.InputError, match=r"model.step\(x_t\) expects \(batch, 2\) float32, got "
    ):
        model.step(x)
    with pytest.raises(sw.InputError, match=r"got \(4,\) float32; inputs are batch first"):
        model.step(x[0, :, 0])


@pytest.mark.parametrize("dtype", ["float64", "float16", "int64", "bool", "complex64"])
def test_inputs_of_a_wrong_dtype(model, convert, dtype):
    wrong = convert(np.zeros((3, 4, 2), dtype=dtype))
    for call, it in ((model, wrong), (model.step, wrong[:, 0])):
        with pytest.raises(
            sw.InputError, match=f"got .* {dtype}; the model computes in float32: convert the inp"
        ):
            call(it)


def test_inputs_of_another_library():
    array, tensor = np.zeros((3, 4, 2), dtype="float32"), torch.zeros(3, 4, 2)
    cases = [
        (sw.nn.Model(VECTOR), array, r"a torch tensor of .*, got numpy.ndarray; write torch.as_te"),
        (sw.nn.Model(VECTOR), array.tolist(), r"a torch tensor of .*, got list; write torch.as_te"),
        (light(VECTOR), tensor, r"a NumPy array of .*, got torch.Tensor; write np.asarray\(x"),
        (light(VECTOR), pd.DataFrame(array[0]), "a NumPy array of .*, got pandas.*DataFrame"),
        (light(VECTOR), None, "a NumPy array of .*, got None"),
    ]
    for model, wrong, message in cases:
        for call in (model, model.step, model.trace):
            with pytest.raises(sw.InputError, match=message):
                call(wrong)


def test_another_array_library_is_not_taken_for_numpy(monkeypatch):
    class Tensor:
        shape, ndim, dtype = (3, 4, 2), 3, np.dtype("float32")

        def __array_namespace__(self, api_version=None):
            return np

    monkeypatch.setitem(sys.modules, "jax", types.ModuleType("jax"))
    with pytest.raises(sw.InputError, match="takes a NumPy array"):
        light(VECTOR)(Tensor())


RESETS = {
    "shape": (np.zeros((STEPS, ROWS), dtype=bool), r"got \(4, 3\) bool$"),
    "one for all": (np.zeros(STEPS, dtype=bool), r"got \(4,\) bool"),
    "batch": (np.zeros((1, STEPS), dtype=bool), r"got \(1, 4\) bool"),
    "dtype": (np.zeros((ROWS, STEPS), dtype=int), r"got \(3, 4\) int64; write reset != 0"),
    "bool": (True, r"got \(\) bool"),
    "ragged": ([[True], [True, False]], "reset must be an array, got"),
}


@pytest.mark.parametrize("name", RESETS)
def test_resets_that_do_not_fit(model, x, name):
    reset, message = RESETS[name]
    with pytest.raises(sw.InputError, match=message) as caught:
        model(x, reset=reset)
    assert "reset must be" in str(caught.value)


LENGTHS = {
    "shape": (np.zeros((ROWS, 1), dtype=int), r"one for every row, got \(3, 1\) int64"),
    "count": ([1, 2], r"lengths must be \(3,\) whole numbers, one for every row, got \(2,\)"),
    "number": (2, r"got \(\) int64"),
    "floats": ([1.0, 2.0, 3.0], r"got \(3,\) float64"),
    "flags": ([True, True, False], r"got \(3,\) bool"),
    "long": ([1, 2, STEPS + 1], r"lie in \[0, 4\], the steps of the inputs, got 1 to 5"),
    "negative": ([1, -1, 2], r"lie in \[0, 4\], the steps of the inputs, got -1 to 2"),
    "ragged": ([[1], [2, 3], [4]], "lengths must be an array, got"),
}


@pytest.mark.parametrize("name", LENGTHS)
def test_lengths_that_do_not_fit(model, x, name):
    lengths, message = LENGTHS[name]
    with pytest.raises(sw.InputError, match=message):
        model(x, lengths=lengths)


def test_masks_of_any_library(model, x):
    reset, lengths = np.eye(ROWS, STEPS, dtype=bool), np.array([1, 2, 3], dtype=np.uint8)
    _, expected = model(x, reset=reset, lengths=lengths)
    for masks in (
        {"reset": torch.from_numpy(reset), "lengths": torch.from_numpy(lengths)},
        {"reset": reset.tolist(), "lengths": lengths.tolist()},
    ):
        assert model(x, **masks)[1] == expected


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "int64", "uint16", "uint32"])
def test_tokens_of_any_integers(library, convert, dtype):
    model = MODELS[library](TOKENS)
    expected, _ = model(convert(np.array([[1, 2, 4]])))
    y, state = model(convert(np.array([[1, 2, 4]], dtype=dtype)))
    assert y.tolist() == expected.tolist()
    model.step(convert(np.array([3], dtype=dtype)), state)


def test_tokens_that_do_not_fit(library, convert):
    model = MODELS[library](TOKENS)
    for wrong, message in {
        r"tokens must lie in \[0, 5\), got 1 to 5": [[1, 5]],
        r"tokens must lie in \[0, 5\), got -1 to 2": [[-1, 2]],
        r"model\(x\) expects \(batch, time\) integers, got \(1, 2\) float": [[1.0, 2.0]],
        r"expects \(batch, time\) integers, got \(1, 2\) bool": [[True, False]],
        r"expects \(batch, time\) integers, got \(2,\) int64": [1, 2],
    }.items():
        with pytest.raises(sw.InputError, match=wrong):
            model(convert(np.array(message)))
    with pytest.raises(sw.InputError, match=r"got 7 to 7"):
        model.step(convert(np.array([7])))
    with pytest.raises(sw.InputError, match=r"model.step\(x_t\) expects \(batch\) integers, got"):
        model.step(convert(np.array([[1]])))


@pytest.mark.parametrize("rows", [-1, 2.0, "2", True, None])
def test_rows_of_an_initial_state(model, rows):
    with pytest.raises(sw.InputError, match="initial_state takes a number of rows, got"):
        model.initial_state(rows)


def test_numpy_numbers_of_rows(model):
    assert model.initial_state(np.int64(2)).batch == 2
    assert model.initial_state(0).batch == 0


def test_an_initial_state_that_does_not_fit(model, x):
    with pytest.raises(sw.StateError, match="expected a statewise State, got tuple"):
        model(x, initial=(1, 2))
    with pytest.raises(sw.StateError, match="the state has 2 rows and the inputs have 3"):
        model(x, initial=model.initial_state(2))


def test_a_model_without_layers(library, convert, x):
    model = MODELS[library](sw.Architecture(sw.Vector(2), []))
    y, state = model(x)
    assert y.tolist() == x.tolist()
    assert list(state) == []
    assert state.position.tolist() == [STEPS] * ROWS
    y, state = model.step(x[:, 0], state)
    assert state.position.tolist() == [STEPS + 1] * ROWS


def test_states_cross_libraries():
    x = np.random.default_rng(0).normal(size=(2, 3, 2)).astype("float32")
    ours, theirs = light(VECTOR), sw.nn.Model(VECTOR)
    _, state = ours(x)
    _, other = theirs(torch.from_numpy(x), state)
    assert isinstance(other["0.h"], torch.Tensor)
    _, back = ours(x, other)
    assert isinstance(back["0.h"], np.ndarray)
    by_hand = sw.State({"0.h": torch.zeros(2, 3)}, [3, 3])
    assert ours(x, by_hand)[1].position.tolist() == [6, 6]
    assert theirs(torch.from_numpy(x), by_hand)[1].position.tolist() == [6, 6]
    plain = sw.State({"0.h": np.zeros((2, 3), dtype="float32")}, [3, 3])
    assert theirs(torch.from_numpy(x), plain)[1].position.tolist() == [6, 6]


def test_gradients_flow_through_the_state():
    model, x = sw.nn.Model(VECTOR), torch.randn(2, 3, 2)
    _, state = model(x)
    y, _ = model(x, state)
    y.sum().backward()
    through = model.weights()["0.W"].grad.clone()
    model.zero_grad()
    y, _ = model(x, state.detach())
    y.sum().backward()
    assert not torch.allclose(through, model.weights()["0.W"].grad)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no other device")
def test_arrays_on_another_device():
    model, x = sw.nn.Model(VECTOR, device="cuda"), torch.zeros(2, 3, 2)
    with pytest.raises(sw.InputError, match="the inputs are on cpu and the model on cuda:0"):
        model(x)
    with pytest.raises(sw.StateError, match="the state is on cpu and the model on cuda:0; move it"):
        model(x.cuda(), model.initial_state(2).to("cpu"))


def test_a_meta_device_stands_for_another():
    model = sw.nn.Model(VECTOR)
    with pytest.raises(sw.InputError, match="the inputs are on meta and the model on cpu; move on"):
        model(torch.zeros(2, 3, 2, device="meta"))
    with pytest.raises(sw.StateError, match="the state is on meta and the model on cpu; move it w"):
        model(torch.zeros(2, 3, 2), model.initial_state(2).to("meta"))
