import json
import sys

import numpy as np
import pytest
from tests.inspect import handmade
from tests.inspect.handmade import DECOY, WORKER

import statewise as sw
from statewise import inspect
from statewise.inspect.trace import Trace


def trace_of(values, **more):
    inputs = np.zeros(values.shape[:2], int)
    return Trace({"0.h": values}, inputs=inputs, before=None, after=None, **more)


def generated(seed=0, units=16, count=24, steps=3000):
    """Values that are sums of few directions at a time, more directions than units."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(count, units))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    amounts = (rng.random((steps, count)) < 2 / count) * rng.uniform(0.5, 1.5, (steps, count))
    return directions, amounts, (amounts @ directions)[None]


def test_the_directions_that_values_are_made_of_are_found():
    directions, amounts, values = generated()
    trace = trace_of(values)
    found = inspect.features(trace, "0.h", size=48, active=4, steps=1000)
    near = found.directions @ directions.T  # (features, generators)
    assert near.max(axis=0).min() > 0.8
    assert near.max(axis=0).mean() > 0.95
    assert found.explained > 0.85
    assert found.mean_active <= 4
    codes = found.encode(trace)[0]
    for generator, feature in enumerate(near.argmax(axis=0)):
        assert np.corrcoef(codes[:, feature], amounts[:, generator])[0, 1] > 0.6
    np.testing.assert_allclose(np.linalg.norm(found.decoder, axis=1), 1, atol=1e-5)
    assert found.dead == np.flatnonzero(~codes.any(axis=0)).tolist()
    unseen = trace_of((amounts[::-1] * 0.9 @ directions)[None])
    assert found.explains(unseen) > 0.8
    scrambled = np.random.default_rng(1).permuted(values, axis=1)
    assert found.explains(trace_of(scrambled)) < found.explained - 0.1


@pytest.fixture(scope="module")
def quoted():
    model = handmade.quotes()
    text = handmade.written(model, 600)
    trace = inspect.record(model, text, names="0.*")
    return text, trace, inspect.features(trace, size=12, active=2, steps=200)


def test_a_feature_holds_what_the_worker_holds_and_says_when(quoted):
    text, trace, found = quoted
    codes = found.encode(trace)[0]
    inside = inspect.text_labels(text)["inside quotes"]
    with np.errstate(all="raise"):
        near = [np.corrcoef(code, inside)[0, 1] if code.any() else 0 for code in codes.T]
    feature = int(np.argmax(near))
    assert near[feature] > 0.99
    top = set(np.argsort(-found.directions[feature])[:2])
    assert top == {WORKER, DECOY}
    spans = found.find_spans(trace, feature)
    opened = np.flatnonzero(np.diff(np.append(0, inside)) == 1)
    closed = np.flatnonzero(np.diff(inside) == -1) + 1
    assert [start for start, _ in spans.spans] == opened.tolist()
    assert [stop for _, stop in spans.spans if stop < len(text)] == closed.tolist()
    assert {one.at for one in (*spans.written, *spans.erased)} == {'"'}
    assert spans.duration == pytest.approx(inside.sum() / len(opened))
    gate = spans.gates["0.i"]
    assert gate["written"] > 0.95
    assert gate["erased"] > 0.95
    assert gate["usual"] < 0.3
    assert set(spans.gates) == {"0.i", "0.f", "0.g", "0.o"}
    assert len(found.top(trace, feature, 3)) == 3
    assert all(inside[one.step] for one in found.top(trace, feature))
    json.dumps(spans.as_dict(), allow_nan=False)


def test_dead_features_and_constant_units():
    values = np.zeros((1, 300, 5))
    values[0, ::3, 1] = 1
    found = inspect.features(trace_of(values), "0.h", size=8, active=2, steps=50)
    assert np.isfinite(found.explained)
    for feature in range(8):
        spans = found.find_spans(trace_of(values), feature)
        assert (spans.spans == []) == (feature in found.dead)
        assert found.top(trace_of(values), feature) == [] or feature not in found.dead
    flat = inspect.features(trace_of(np.ones((1, 30, 2))), "0.h", steps=5)
    assert flat.explained == 1


def test_padding_is_not_learned_from_and_rows_are_kept_apart():
    _, _, values = generated(steps=300)
    padded = np.concatenate([values, np.where(np.arange(300)[:, None] < 100, values, 1e6)])
    mask = np.arange(300) < np.array([[300], [100]])
    trace = trace_of(padded, mask=mask)
    found = inspect.features(trace, "0.h", size=20, active=3, steps=100)
    codes = found.encode(trace)
    assert codes.shape == (2, 300, 20)
    assert not codes[1, 100:].any()
    assert np.abs(found.mean).max() < 10
    assert all(stop <= 100 for _, stop in found.find_spans(trace, 3, row=1).spans)
    again = inspect.features(trace, "0.h", size=20, active=3, steps=100)
    np.testing.assert_array_equal(again.decoder, found.decoder)


def test_bad_input(quoted, monkeypatch):
    _, trace, found = quoted
    other = trace_of(np.zeros((1, 9, 7)))
    for use, message in (
        (lambda: inspect.features(trace, "0.k"), "no '0.k'"),
        (lambda: inspect.features(trace, size=2, active=3), "active=3, size=2"),
        (lambda: inspect.features(trace_of(np.zeros((1, 1, 3))), "0.h"), "at least 2 steps"),
        (lambda: inspect.features(trace["0.c"]), "must be a Trace, got ndarray"),
        (lambda: inspect.features(trace, size="many"), "size must be a whole number"),
        (lambda: inspect.features(trace, steps=0), "steps must be .* at least 1, got 0"),
        (lambda: found.top(trace, 12), "features 0 to 11, got 12"),
        (lambda: found.find_spans(trace, 0, row=2), "rows 0 to 0, got 2"),
        (lambda: found.find_spans(trace, 0, share=1.0), r"\[0, 1\)"),
        (lambda: found.encode(other), "no '0.c'"),
    ):
        with pytest.raises(sw.InputError, match=message):
            use()
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(sw.MissingExtraError, match=r"statewise\[train\]"):
        inspect.features(trace)
    assert found.encode(trace).shape == (1, trace.steps, 12)
