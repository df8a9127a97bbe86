import numpy as np
import pytest
from tests.inspect import handmade
from tests.inspect.handmade import DECOY, WORKER

import statewise as sw
from statewise import inspect
from statewise.inspect.trace import Trace

TEXT = 'cab"xy"ba"zzyxy"bb"x"cc'


@pytest.fixture
def model():
    return handmade.quotes()


@pytest.fixture
def trace(model):
    return inspect.record(model, TEXT)


def test_the_unit_that_does_the_work_is_named(trace):
    found = inspect.find(trace, (3, 6), threshold=0.5)
    assert found.units == [WORKER, DECOY]
    assert found.always == [WORKER, DECOY, 3]
    assert [TEXT[start:stop] for start, stop, _ in found.matches] == ['"x', '"zzyxy']
    assert found.score is None


def spans(text):
    """A span throughout which the worker is on, for each of the other models."""
    nested, line, shown = (text.find(part) for part in ("(())", "\n", "bA"))
    return {
        "brackets": (nested, nested + 3),
        "lines": (line - 4, line),
        "holder": (shown + 1, text.find("B", shown)),
    }


@pytest.mark.parametrize(
    ("name", "threshold"), [("brackets", 0.05), ("lines", 0.45), ("holder", 0.5)]
)
def test_the_worker_of_every_handmade_model_is_named(name, threshold):
    model = getattr(handmade, name)()
    text = handmade.written(model, 900, seed=3)
    trace = inspect.record(model, text, names="0.h")
    found = inspect.find(trace, spans(text)[name], threshold)
    assert set(found.units) == {WORKER, DECOY}
    assert len(found.matches) > 5


def test_what_was_found_holds_on_held_out_text(model, trace):
    text = handmade.written(model, 800, seed=5).replace('""', "")  # three are a mark of their own
    held_out = inspect.record(model, text, names="0.h")
    score = inspect.find(trace, (3, 6), 0.5, held_out=held_out).score
    assert score.kind == "inside quotes"
    assert score.together == 1
    assert score.elsewhere == 0
    assert score.shuffled < 0.3
    assert score.ratio > 4
    assert score.chance < 0.02
    again = inspect.find(trace, (3, 6), 0.5, held_out=held_out).score
    assert again == score
    other = inspect.find(trace, (3, 6), 0.5, held_out=held_out, kind="letter").score
    assert other.together < other.elsewhere
    marks = np.array([character == "a" for character in text])
    given = inspect.find(trace, (3, 6), 0.5, held_out=held_out, kind=marks).score
    assert (given.kind, given.together) == ("given", 0)
    assert given.chance == 1


def made(on):
    """A trace whose units are on or off like this, (T, units), and of which no label is known."""
    values = on[None].astype(np.float32)
    return Trace({"0.h": values}, inputs=np.zeros(values.shape[:2], int), before=None, after=None)


def test_units_that_fire_together_score_and_those_that_fire_at_random_do_not():
    rng = np.random.default_rng(0)

    def spells():
        return np.repeat(rng.random(300) < 0.3, 5)

    shared = spells()
    together = np.stack([shared & (rng.random(1500) < 0.95) for _ in range(4)], axis=1)
    apart = np.stack([spells() for _ in range(4)], axis=1)
    for on, whether in ((together, True), (apart, False)):
        span = np.zeros((30, 4), bool)
        span[10:20] = True
        score = inspect.find(made(span), (10, 20), 0.5, held_out=made(on)).score
        assert score.kind is None
        assert score.elsewhere is None
        assert score.together == pytest.approx(on.all(axis=1).mean())
        independent = on.mean(axis=0).prod()
        assert score.shuffled == pytest.approx(independent, abs=0.005)
        if whether:
            assert score.ratio > 10
            assert score.chance == pytest.approx(1 / 201)
        else:
            assert 0.3 < score.ratio < 3
            assert score.chance > 0.05


def test_one_unit_alone_does_as_its_baseline():
    span = np.zeros((30, 1), bool)
    span[10:20] = True
    score = inspect.find(made(span), (10, 20), 0.5, held_out=made(span)).score
    assert (score.together, score.shuffled) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert score.ratio == pytest.approx(1)
    assert score.chance == 1


def test_padded_steps_do_not_count():
    model = handmade.quotes().model
    x = np.array([[7, 4, 4, 7, 0, 0, 0, 0], [7, 4, 4, 4, 7, 0, 0, 0]])
    trace = inspect.record(model, x, lengths=[5, 7])
    kind = np.isin(x[0], [4])
    score = inspect.find(trace, (1, 3), 0.5, row=1, held_out=trace, kind=kind).score
    assert score is None  # nothing is off just before or after
    score = inspect.find(trace, (0, 4), 0.5, row=1, held_out=trace, kind=kind).score
    assert (score.together, score.elsewhere) == (1, pytest.approx(1 / 3))


def test_bad_spans_names_and_kinds(trace):
    held_out = inspect.record(handmade.holder(), "A..?a")
    only = {"held_out": trace, "threshold": 0.5}
    for use, message in (
        (lambda: inspect.find(trace, (4, 99)), "not within"),
        (lambda: inspect.find(trace, 5), "a span of steps is .start, stop., .*got 5"),
        (lambda: inspect.find(trace, (1.5, 3)), r"got \(1.5, 3\)"),
        (lambda: inspect.find(trace, (1, 2, 3)), r"got \(1, 2, 3\)"),
        (lambda: inspect.find(trace["0.h"], (1, 2)), "must be a Trace, got ndarray"),
        (lambda: inspect.find(trace, (1, 2), "high"), "threshold must be a number, got 'high'"),
        (lambda: inspect.find(trace, "three"), "does not contain"),
        (lambda: inspect.find(trace, (1, 2), name="0.x"), "no '0.x'"),
        (lambda: inspect.find(trace, (1, 2), row=4), "rows 0 to 0"),
        (lambda: inspect.find(trace, (3, 6), kind="quotes", **only), "'inside quotes'"),
        (lambda: inspect.find(trace, (3, 6), kind="digit", **only), "at some of the held-out"),
        (lambda: inspect.find(trace, (3, 6), kind=[1, 0], **only), r"\(23,\) bool"),
        (lambda: inspect.find(trace, (3, 6), held_out="text"), "held_out must be a Trace, got str"),
        (
            lambda: inspect.find(trace, (3, 6), draws=0, **only),
            "draws must be a whole number of at least 1",
        ),
        (lambda: inspect.find(trace, (3, 6), 0.5, "0.c", held_out=held_out), "no '0.c'"),
    ):
        with pytest.raises(sw.InputError, match=message):
            use()
    assert inspect.find(trace, (3, 6), threshold=2.0, held_out=trace) == inspect.find(
        trace, (3, 6), threshold=2.0
    )
