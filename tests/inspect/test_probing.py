import json
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.inspect import handmade
from tests.inspect.handmade import DECOY, WORKER

import statewise as sw
from statewise import inspect
from statewise.inspect.linear_map import fold_steps, split_steps
from statewise.inspect.trace import Trace

LABELS = {"quotes": "inside quotes", "brackets": "bracket depth", "lines": "line position"}


@pytest.mark.parametrize("name", LABELS)
def test_the_unit_that_does_the_work_is_leant_on(name):
    model = getattr(handmade, name)()
    trace = inspect.record(model, handmade.written(model, 800), names=["0.c", "0.f"])
    found = inspect.probe(trace, LABELS[name])
    assert found.name == "0.c"
    assert found.score > 0.95
    assert found.selectivity > 0.1
    assert set(found.units[:2]) == {WORKER, DECOY}
    assert found.measure == ("accuracy" if name == "quotes" else "R2")
    assert inspect.probe(trace, LABELS[name]) == found
    assert json.loads(json.dumps(found.as_dict()))["selectivity"] == found.selectivity


def test_a_label_of_ones_own_and_words():
    model = handmade.holder()
    text = handmade.written(model, 600)
    trace = inspect.record(model, text)
    words = np.where(handmade.held(text) > 0, "A was shown", "B was shown")
    found = inspect.probe(trace, words)
    assert (found.label, found.measure, found.score) == ("given", "accuracy", 1)
    assert found.trivial < 0.7
    assert set(found.units[:2]) == {WORKER, DECOY}
    flat = inspect.probe(trace, np.zeros(trace.steps, bool))
    assert (flat.score, flat.control, flat.trivial, flat.selectivity) == (1, 1, 1, 0)
    level = inspect.probe(trace, np.full(trace.steps, 0.5), "0.z")
    assert level.selectivity == 0
    same = inspect.probe(trace, np.r_[np.zeros(300), 0.5, np.ones(trace.steps - 301)])
    assert np.isfinite(same.score)


def test_noise_cannot_be_read_however_slowly_it_changes():
    rng = np.random.default_rng(3)
    walk = np.cumsum(rng.normal(size=(1, 3000, 6)), axis=1)
    trace = Trace({"0.h": walk}, inputs=np.zeros((1, 3000), int), before=None, after=None)
    label = np.repeat(rng.random(150) < 0.5, 20)
    found = inspect.probe(trace, label)
    assert found.score < 0.65
    assert found.selectivity < 0.1
    real = inspect.probe(trace, walk[0, :, 2] > np.median(walk[0, :, 2]))
    assert real.selectivity > 0.1
    assert real.units[0] == 2


def trace_of(values):
    inputs = np.zeros((1, len(values)), int)
    return Trace({"0.h": values[None]}, inputs=inputs, before=None, after=None)


@pytest.fixture(scope="module")
def noise():
    """Values of 256 units, of which every other one is large."""
    values = np.random.default_rng(0).normal(size=(1200, 256))
    return values * np.where(np.arange(256) % 2, 1e4, 1e-2)


def ranks(values, count):
    """Which of so many equally common levels each value is in."""
    return np.digitize(values, np.quantile(values, np.linspace(0, 1, count + 1)[1:-1]))


@pytest.mark.parametrize("count", [2, 6])
@pytest.mark.parametrize("unit", [4, 5])
def test_a_label_that_one_unit_among_many_equals_is_found(noise, count, unit):
    values, label = noise.copy(), ranks(noise[:, unit], count)
    near = inspect.probe(trace_of(values), label, controls=1)
    assert near.score > 0.95
    values[:, unit] = label
    equal = inspect.probe(trace_of(values), label, controls=1)
    assert equal.score > 0.99
    assert near.units[0] == equal.units[0] == unit
    assert max(near.control, equal.control) < 1 / count + 0.1
    fixed = inspect.probe(trace_of(values), label, controls=1, strength=0.1)
    assert fixed.strength == 0.1
    assert fixed.score < 0.6 or count == 2


def test_a_number_and_a_mix_of_units_are_found(noise):
    mix = (noise / noise.std(axis=0))[:, 10:14] @ [1, -1, 2, 1]
    for label in (noise[:, 4], noise[:, 5], mix):
        assert inspect.probe(trace_of(noise), label, controls=1).score > 0.999
    found = inspect.probe(trace_of(noise), mix > 0, controls=1)
    assert found.score > 0.97
    assert set(found.units[:4]) == {10, 11, 12, 13}


def test_more_units_than_steps(noise):
    few = trace_of(noise[:100])
    for label in (noise[:100, 4] > 0, noise[:100, 4]):
        found = inspect.probe(few, label)
        assert found.score > 0.99
        assert found.units[0] == 4
    assert inspect.probe(few, np.random.default_rng(1).random(100)).score < 0.2


def test_a_rare_label_and_a_constant_unit(noise):
    values = noise.copy()
    values[:, 0] = 5
    label = values[:, 7] > np.quantile(values[:, 7], 0.99)
    found = inspect.probe(trace_of(values), label, seed=2)
    assert found.trivial < 0.995
    assert found.score > 0.996
    assert found.units[0] == 7


@pytest.mark.parametrize("classes", [2, 7])
def test_noise_stays_at_chance(noise, classes):
    rng = np.random.default_rng(3)
    found = inspect.probe(trace_of(noise), rng.integers(0, classes, len(noise)))
    assert abs(found.score - 1 / classes) < 0.1
    assert abs(found.control - 1 / classes) < 0.1
    assert inspect.probe(trace_of(noise), rng.normal(size=len(noise))).score < 0.05


@given(st.integers(40, 400), st.floats(0.05, 0.9), st.integers(2, 20), st.integers(0, 9))
def test_what_is_held_out_is_not_learned_from_nor_its_neighbours(steps, share, blocks, seed):
    split = split_steps(steps, share, blocks, np.random.default_rng(seed))
    assert split.out.size
    for part in (split, *fold_steps(split)):
        assert np.isin(part.learned, split.learned).all()
        assert not part.learned.size or np.abs(part.learned[:, None] - part.out).min() > part.gap
    for fold in fold_steps(split):
        between = split.learned[(split.learned > fold.out[0]) & (split.learned < fold.out[-1])]
        assert np.isin(between, fold.out).all()  # one stretch


def test_a_series_and_padding():
    rng = np.random.default_rng(0)
    arch = sw.Architecture(sw.Vector(1), [sw.GRU(8)], sw.Linear(1))
    model = sw.runtime.Model(arch, arch.draw(0))
    x = rng.normal(size=(2, 400, 1)).astype(np.float32)
    x[1, 300:] = np.nan
    trace = inspect.record(model, x, lengths=[400, 300])
    found = inspect.probe(trace, "level", row=1)
    assert found.measure == "R2"
    assert found.score > 0.9
    assert found.control < 0.1


def test_bad_input(monkeypatch):
    model = handmade.quotes()
    trace = inspect.record(model, handmade.written(model, 60))
    hole = np.zeros(61)
    hole[3] = np.nan
    for labels, options, message in (
        ("inside quote", {}, "did you mean 'inside quotes'"),
        (np.zeros(5), {}, r"for each of 61 steps, \(61,\), got \(5,\) float64"),
        (hole, {}, "NaN"),
        ("letter", {"row": 1}, "rows 0 to 0"),
        ("letter", {"name": "0.k"}, "no '0.k'"),
        ("letter", {"blocks": 40}, "80 steps at least, got 61"),
        ("letter", {"blocks": 1}, "at least 2 blocks"),
        ("letter", {"held_out": 1.0}, "held_out=1.0"),
        ("letter", {"held_out": 0.99, "blocks": 30, "seed": 1}, "no steps to learn from"),
    ):
        with pytest.raises(sw.InputError, match=message):
            inspect.probe(trace, labels, **options)
    with pytest.raises(sw.InputError, match=r"must be a Trace, got ndarray; write inspect\.record"):
        inspect.probe(trace["0.c"], "letter")
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(sw.MissingExtraError, match=r"statewise\[inspect\]"):
        inspect.probe(trace, "letter")
