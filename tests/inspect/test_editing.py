import numpy as np
import pytest
import torch
from tests.conformance.zoo import CAUSAL, ZOO, inputs, weights

import statewise as sw
from statewise import inspect

RUNNABLE = sorted(CAUSAL - {"nothing", "tokens alone", "counter"})


def models(architecture):
    arrays = weights(architecture)
    yield sw.runtime.Model(architecture, arrays), lambda x: x
    yield sw.nn.Model(architecture, weights=arrays).eval(), torch.from_numpy


@pytest.mark.parametrize("name", RUNNABLE)
def test_an_edit_that_changes_nothing_changes_nothing(name):
    architecture = ZOO[name]
    x = inputs(architecture, 2, 6)
    for model, into in models(architecture):
        y, state = model(into(x))
        for value in inspect.names(model):
            try:
                with inspect.edit(model, {value: lambda v: v}):
                    again, end = model(into(x))
            except sw.InputError:  # a value that a cell computes inside its step
                continue
            np.testing.assert_allclose(
                again.detach() if torch.is_tensor(again) else again,
                y.detach() if torch.is_tensor(y) else y,
                atol=1e-5,
                err_msg=value,
            )
            assert end.numpy().allclose(state.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("executor", [0, 1])
def test_clamping_the_cell_state_shows_in_all_that_follows(executor):
    architecture = ZOO["lstm"]
    model, into = list(models(architecture))[executor]
    x = into(inputs(architecture, 2, 6))
    y, _ = model(x)
    with inspect.edit(model, {"0.c": 0.0}, units=[1], at=[3]):
        edited, _, seen = model.trace(x)
    same = np.isclose(
        np.asarray(edited.detach() if executor else edited), y.detach() if executor else y
    )
    assert same[:, :3].all()
    assert not same[:, 3, 1].any()
    assert same[:, 3, [0, 2, 3]].all()
    assert not same[:, 4:].all()
    assert (np.asarray(seen["0.c"].detach() if executor else seen["0.c"])[:, 3, 1] == 0).all()


def test_without_propagation_only_the_step_itself_shows_it():
    model, _ = next(iter(models(ZOO["gru after"])))
    x = inputs(ZOO["gru after"], 2, 6)
    y, state = model(x)
    with inspect.edit(model, {"0.h": lambda h: h + 1}, at=slice(2, 3), propagate=False):
        edited, end = model(x)
    np.testing.assert_allclose(edited[:, 2], y[:, 2] + 1, atol=1e-5)
    np.testing.assert_allclose(np.delete(edited, 2, 1), np.delete(y, 2, 1), atol=1e-5)
    assert end.allclose(state, atol=1e-5)


def test_a_closed_forget_gate_forgets_the_past():
    model, _ = next(iter(models(ZOO["lstm"])))
    x = inputs(ZOO["lstm"], 2, 6)
    with inspect.edit(model, {"0.f": 0.0, "0.i": 1.0, "0.g": 0.25}, at=[5]):
        _, state = model(x)
    np.testing.assert_allclose(state["0.c"], 0.25)


def test_steps_count_anew_in_every_call_and_single_steps_are_edited():
    model, _ = next(iter(models(ZOO["elman tanh"])))
    x = inputs(ZOO["elman tanh"], 1, 3)
    with inspect.edit(model, {"0.h": 0.5}, at=[0]):
        first, state = model(x)
        second, _ = model(x, state)
        alone, _ = model.step(x[:, 0], state)
    for y in (first[:, 0], second[:, 0], alone):
        np.testing.assert_allclose(y, 0.5)
    assert not np.isclose(first[:, 1], 0.5).any()


@pytest.mark.parametrize("executor", [0, 1])
def test_the_model_is_as_before_exceptions_included(executor):
    model, into = list(models(ZOO["lstm"]))[executor]
    x = into(inputs(ZOO["lstm"], 2, 6))
    y, _ = model(x)
    before = dict(vars(model))
    with pytest.raises(TypeError), inspect.edit(model, {"0.c": 0.0}):
        model(x, reset=model(x), lengths=1, nonsense=2)
    assert vars(model) == before
    assert (model(x)[0] == y).all()


def test_what_cannot_be_edited_says_why():
    model, _ = next(iter(models(ZOO["stack"])))
    bidirectional, _ = next(iter(models(ZOO["bidirectional"])))
    bad = [
        (model, {"0.cc": 0.0}, {}, r"'0\.cc'; did you mean '0\.c'"),
        (model, {"0.c": 0.0}, {"units": [9]}, "units 0 to 3"),
        (model, {"1.y": 0.0}, {}, "cannot be changed from outside"),
        (bidirectional, {"0.forward.c": 0.0}, {}, "both directions"),
    ]
    for subject, changes, options, message in bad:
        with pytest.raises(sw.InputError, match=message), inspect.edit(subject, changes, **options):
            pass
    narrow = inspect.edit(model, {"0.c": lambda c: c[:1]})
    with narrow, pytest.raises(sw.InputError, match=r"must return \(2, 4\)"):
        model(inputs(ZOO["stack"], 2, 3))


def test_edits_nest_and_a_recording_shows_them():
    model, into = list(models(ZOO["lstm"]))[1]
    x = into(inputs(ZOO["lstm"], 2, 6))
    before = dict(vars(model))
    one = inspect.edit(model, {"0.c": 1.0}, at=2)
    other = inspect.edit(model, {"0.c": lambda c: c + 1}, at=slice(2, None, 2), units=[0])
    with one:
        outer = inspect.record(model, x)
        with other:
            trace = inspect.record(model, x)
    assert trace["0.c"][0, 2].tolist() == [2, 1, 1, 1]
    assert outer["0.c"][0, 2].tolist() == [1, 1, 1, 1]
    assert vars(model) == before
    with pytest.raises(sw.InputError, match="count from 0"), inspect.edit(model, {"0.c": 1}, at=-1):
        pass
