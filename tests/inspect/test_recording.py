import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.conformance.zoo import ZOO, inputs, weights

import statewise as sw
from statewise import inspect, kernels


def both(architecture, dtype="float32"):
    arrays = weights(architecture, dtype)
    kind = getattr(torch, dtype)
    return (
        sw.nn.Model(architecture, weights=arrays, executor="reference", dtype=kind).eval(),
        sw.nn.Model(architecture, weights=arrays, dtype=kind).eval(),
        sw.nn.Model(architecture, weights=arrays, executor="fused", dtype=kind).eval(),
        sw.runtime.Model(architecture, arrays),
    )


def agree(architecture, rows, steps, seed, carried, dtype="float32"):
    rng = np.random.default_rng(seed)
    reference, *fast = both(architecture, dtype)
    x = inputs(architecture, rows, steps, dtype, seed)
    causal = all(cell.causal for cell in architecture.layers)
    state = None
    if carried and causal:
        state = reference(torch.from_numpy(inputs(architecture, rows, 3, dtype, seed + 1)))[1]
        state = state.detach()
    masks = {
        "reset": rng.random((rows, steps)) < 0.2,
        "lengths": rng.integers(0, steps + 1, rows),
    }
    _, end, seen = reference.trace(torch.from_numpy(x), state, **masks)
    close = 1e-5 if dtype == "float32" else 1e-12
    for model in fast:
        given = x if isinstance(model, sw.runtime.Model) else torch.from_numpy(x)
        trace = inspect.record(model, given, state, "*", **masks) if seen else None
        for name, value in seen.items():
            np.testing.assert_allclose(
                trace[name], value.detach().numpy(), rtol=close, atol=close, err_msg=name
            )
        if trace is not None:
            assert trace.after.allclose(end.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in ZOO if name not in ("nothing", "tokens alone")])
def test_a_recording_is_what_the_reference_sees(name):
    agree(ZOO[name], rows=3, steps=11, seed=0, carried=True)


@given(
    st.sampled_from(["lstm", "gru after", "gru before learned", "residual residual", "elman tanh"]),
    st.integers(1, 4),
    st.integers(1, 40),
    st.integers(0, 99),
    st.booleans(),
    st.sampled_from(["float32", "float64"]),
)
def test_whatever_the_masks_and_the_lengths(name, rows, steps, seed, carried, dtype):
    agree(ZOO[name], rows, steps, seed, carried, dtype)


@pytest.mark.skipif(not kernels.is_available(), reason="bfloat16 takes kernels")
@pytest.mark.parametrize("cell", [sw.LSTM(20), sw.GRU(20, reset="before"), sw.Elman(20)])
def test_weights_in_bfloat16_are_recorded_as_they_compute(cell):
    arch = sw.Architecture(sw.Vector(3), [cell, sw.GRU(5)])
    arrays = weights(arch)
    rounded = {
        name: torch.from_numpy(array).bfloat16().float().numpy() if array.ndim == 2 else array
        for name, array in arrays.items()
    }
    x = inputs(arch, 2, 30)
    model = sw.runtime.Model(arch, arrays, weights="bfloat16")
    trace = inspect.record(model, x, names="*")
    _, _, seen = sw.nn.Model(arch, weights=rounded, executor="reference").trace(torch.from_numpy(x))
    for name, value in seen.items():
        np.testing.assert_allclose(trace[name], value.detach(), rtol=1e-4, atol=1e-5)
    assert np.array_equal(trace["1.h"], model(x)[0]), "the very outputs"


@pytest.mark.parametrize("cell", [sw.LSTM(3), sw.GRU(3), sw.GRU(3, reset="before"), sw.Elman(3)])
def test_without_kernels_the_recording_is_the_same(cell, monkeypatch):
    arch = sw.Architecture(sw.Vector(3), [cell, sw.Residual(cell)])
    x, arrays = inputs(arch, 3, 25), weights(arch)
    masks = {"reset": x[..., 0] > 4, "lengths": np.array([25, 9, 0])}
    seen = inspect.record(sw.runtime.Model(arch, arrays), x, names="*", **masks)
    monkeypatch.setattr(kernels, "is_available", lambda: False)
    plain = sw.runtime.Model(arch, arrays)
    replayed = inspect.record(plain, x, names="*", **masks)
    assert plain.executor == "reference"
    assert list(seen) == list(replayed)
    for name, value in seen.items():
        np.testing.assert_allclose(value, replayed[name], rtol=1e-5, atol=1e-5, err_msg=name)
        assert not value[1, 9:].any(), "zero where padded"


def test_a_trace_in_torch_has_gradients_where_they_are_followed():
    arch = sw.Architecture(sw.Vector(2), [sw.LSTM(3)])
    model, x = sw.nn.Model(arch), torch.randn(2, 5, 2)
    _, _, seen = model.trace(x)
    seen["0.f"].sum().backward()
    assert model.weights()["0.W"].grad[3:6].abs().sum() > 0
    with torch.no_grad():
        quick = model.trace(x)[2]
    for name, value in seen.items():
        torch.testing.assert_close(quick[name], value.detach())


@pytest.fixture
def model():
    arch = sw.Architecture(sw.Tokens(9, 4), [sw.LSTM(5), sw.GRU(3)], sw.Linear(9))
    return sw.runtime.Model(arch, weights(arch))


X = np.random.default_rng(0).integers(0, 9, (2, 12))


def test_names_choose(model):
    assert inspect.names(model) == [f"0.{n}" for n in "ifgoch"] + [f"1.{n}" for n in "rznh"]
    assert list(inspect.record(model, X)) == [f"0.{n}" for n in "ifgoch"]
    assert list(inspect.record(model, X, names=["1.z", "0.c"])) == ["0.c", "1.z"]
    with pytest.raises(sw.InputError, match=r"'0\.ff'; did you mean '0\.f'"):
        inspect.record(model, X, names="0.ff")
    with pytest.raises(sw.InputError, match="expected a statewise model"):
        inspect.record(torch.nn.Linear(1, 1), X)


def test_a_trace_larger_than_its_budget_says_how_much_and_how_to_narrow(model):
    with pytest.raises(sw.InputError) as caught:
        inspect.record(model, X, budget=1000)
    message = str(caught.value)
    assert "2.812 KiB" in message
    assert "at most 4 steps at a time" in message
    inspect.record(model, X[:, :4], budget=1000)
    assert inspect.record(model, X, budget=2880).nbytes == 2880


def test_no_steps_and_no_rows(model):
    assert inspect.record(model, X[:, :0])["0.c"].shape == (2, 0, 5)
    assert inspect.record(model, X[:0])["0.c"].shape == (0, 12, 5)


def test_recording_leaves_the_model_as_it_was(model):
    before = vars(model).copy()
    inspect.record(model, X)
    assert vars(model).keys() == before.keys()
    assert vars(model) == before
    assert type(model.make_executor().run).__name__ == "LayerByLayer"


def test_a_text_is_read_by_the_models_own_vocabulary():
    text = sw.TextModel([sw.LSTM(4)], width=3)
    text.vocabulary = sw.text.Vocabulary.of(["abc "])
    arch = text.build_architecture(len(text.vocabulary))
    text.model = sw.runtime.Model(arch, weights(arch))
    trace = inspect.record(text, "cab a", names="0.c")
    assert (trace["0.c"].shape, "".join(trace.labels)) == ((1, 5, 4), "cab a")
    assert inspect.names(text) == [f"0.{n}" for n in "ifgoch"]
    for bad, message in (("", "empty"), ("caf\u00e9", "lacks 'f'")):
        with pytest.raises(sw.DataError, match=message):
            inspect.record(text, bad)
    assert inspect.record(text, "caf", unknown="replace").labels == list("caf")
    decomposed = inspect.record(text, "b\r\nae\u0301", unknown="replace")
    assert (decomposed.steps, decomposed.labels) == (4, ["b", "\n", "a", "\u00e9"])
    with pytest.raises(sw.DataError, match="no vocabulary"):
        inspect.record(text.model, "cab")
