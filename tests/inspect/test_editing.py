import threading
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from array_api_compat import array_namespace
from tests.conformance.zoo import CAUSAL, ZOO, inputs, weights

import statewise as sw
from statewise import inspect
from statewise.model import joined_calls

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
            if name == "own":
                continue  # what it shows does not pass through `capture`
            with inspect.edit(model, {value: lambda v: v}):
                again, end = model(into(x))
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
    own, _ = next(iter(models(ZOO["own"])))
    bad = [
        (model, {"0.cc": 0.0}, {}, r"'0\.cc'; did you mean '0\.c'"),
        (model, {"0.c": 0.0}, {"units": [9]}, "units 0 to 3"),
        (own, {"0.h": 0.0}, {}, "the step of Leaky does not pass it through capture; declare step"),
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


@dataclass(frozen=True)
class OwnLSTM(sw.Cell):
    """An LSTM as a user writes it, with the parameters of the built-in one."""

    units: int

    def state(self, inputs):
        return sw.LSTM(self.units).state(inputs)

    def parameters(self, inputs):
        return sw.LSTM(self.units).parameters(inputs)

    def step(self, p, x, s, capture):
        xp = array_namespace(x)
        a = x @ p["W"].T + s["h"] @ p["R"].T + p["b"]
        i, f, g, o = (a[:, k * self.units : (k + 1) * self.units] for k in range(4))
        i, f, o = (capture(n, 1 / (1 + xp.exp(-v))) for n, v in (("i", i), ("f", f), ("o", o)))
        g = capture("g", xp.tanh(g))
        c = capture("c", f * s["c"] + i * g)
        h = capture("h", o * xp.tanh(c))
        return h, {"h": h, "c": c}


@pytest.mark.parametrize("executor", [0, 1])
@pytest.mark.parametrize("wrap", [lambda cell: cell, sw.Residual])
@pytest.mark.parametrize("value", ["i", "f", "g", "o", "c", "h"])
def test_an_edit_acts_in_mid_step_on_a_users_cell_as_on_ours(value, wrap, executor):
    ours, own = (sw.Architecture(sw.Vector(4), [wrap(cell(4))]) for cell in (sw.LSTM, OwnLSTM))
    x, arrays = inputs(ours, 2, 6), weights(ours)
    results = []
    for architecture in (ours, own):
        pair = [
            (sw.runtime.Model(architecture, arrays), lambda x: x),
            (sw.nn.Model(architecture, weights=arrays).eval(), torch.from_numpy),
        ]
        model, into = pair[executor]
        with inspect.edit(model, {f"0.{value}": lambda v: v * 0 + 0.3}, at=[2], units=[1]):
            y, state = model(into(x))
        results.append((y.detach().numpy() if executor else y, state.numpy()))
    (y, end), (z, last) = results
    np.testing.assert_allclose(z, y, atol=1e-6)
    assert sw.State(dict(end)).allclose(sw.State(dict(last)), atol=1e-6)


def test_horizon_and_cards_follow_a_users_cell_as_ours():
    ours, own = (
        sw.Architecture(sw.Vector(2), [cell(4)], sw.Linear(2)) for cell in (sw.LSTM, OwnLSTM)
    )
    x, arrays = inputs(ours, 1, 40), weights(ours)
    pair = [sw.runtime.Model(architecture, arrays) for architecture in (ours, own)]
    mine, theirs = (inspect.horizon(model, x, "0.c", lags=8) for model in pair)
    np.testing.assert_allclose(theirs.actual, mine.actual, rtol=1e-9)
    assert mine.actual[0].min() > 0
    plain = sw.runtime.Model(ZOO["own"], weights(ZOO["own"]))
    with pytest.raises(sw.InputError, match="the step of Leaky does not pass it through capture"):
        inspect.horizon(plain, inputs(ZOO["own"], 1, 20), "0.h")


@pytest.mark.parametrize("executor", [0, 1])
def test_other_threads_do_not_see_an_edit(executor):
    model, into = list(models(ZOO["lstm"]))[executor]
    x = into(inputs(ZOO["lstm"], 2, 6))
    plain = model(x)[0]
    seen = []

    def call():
        seen.append(model(x)[0])
        with inspect.edit(model, {"0.h": 0.25}):
            seen.append(model(x)[0])

    with inspect.edit(model, {"0.h": 0.5}):
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        mine = model(x)[0]
    assert np.allclose(
        seen[0].detach() if executor else seen[0], plain.detach() if executor else plain
    )
    assert (seen[1] == 0.25).all()
    assert (mine == 0.5).all()
    assert (model(x)[0] == plain).all()


def test_joined_calls_count_as_one_run():
    model, _ = next(iter(models(ZOO["lstm"])))
    x = inputs(ZOO["lstm"], 1, 8)
    with inspect.edit(model, {"0.h": 0.5}, at=[5]):
        whole, _ = model(x)
        with joined_calls():
            first, state = model(x[:, :3])
            steps = []
            for t in range(3, 8):
                y, state = model.step(x[:, t], state)
                steps.append(y)
        again, _ = model(x)
    assert (whole[:, 5] == 0.5).all()
    np.testing.assert_allclose(np.concatenate([first, np.stack(steps, 1)], 1), whole, atol=1e-6)
    np.testing.assert_allclose(again, whole)


def test_steps_count_over_a_whole_text_that_is_generated():
    text = sw.TextModel([sw.LSTM(4)], width=3)
    text.vocabulary = sw.text.Vocabulary.of(["abcdefgh "])
    arch = text.build_architecture(len(text.vocabulary))
    text.model = sw.runtime.Model(arch, weights(arch))
    at = 3 + 70  # the prompt has 3 characters, and a block of draws is shorter than 70
    plain = text.generate("abc", 100, temperature=0)
    seen = []

    def note(value):
        seen.append(value.copy())
        return value

    with inspect.edit(text, {"0.h": note}, at=[0, at]):
        assert text.generate("abc", 100, temperature=0) == plain
        assert len(seen) == 2
        assert text.generate("abc", 100, temperature=0) == plain
    assert len(seen) == 4
    _, _, values = text.model.trace(text.encode("abc" + plain)[None])
    np.testing.assert_allclose(seen[0][0], values["0.h"][0, 0], atol=1e-6)
    np.testing.assert_allclose(seen[1][0], values["0.h"][0, at], atol=1e-6)
