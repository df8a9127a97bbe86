import numpy as np
import pytest
from tests.inspect import handmade
from tests.inspect.handmade import DECOY, WORKER

from statewise import inspect


def expected(name, text):
    """What the worker ought to hold at each step, told from the text."""
    marks = np.array([letter == '"' for letter in text])
    position = inspect.text_labels(text)["line position"]
    depth = np.cumsum([{"(": 0.1, ")": -0.1}.get(letter, 0) for letter in text])
    return {
        "quotes": np.cumsum(marks) % 2,
        "brackets": depth,
        "lines": 0.1 * position,
        "holder": handmade.held(text),
    }[name]


@pytest.mark.parametrize("name", ["quotes", "brackets", "lines", "holder"])
def test_the_worker_works_and_remembers_longest(name):
    model = getattr(handmade, name)()
    text = handmade.written(model, 300)
    trace = inspect.record(model, text)
    memory = "0.h" if name == "holder" else "0.c"
    for unit in (WORKER, DECOY):
        held = trace.unit(memory, unit)
        np.testing.assert_allclose(held, expected(name, text), atol=1e-3)
    assert model.score(text) < 0.8 * np.log2(len(model.vocabulary.characters))
    passage = {"lines": "\na a  a a", "holder": "A......."}.get(name, text[:8])
    horizon = inspect.horizon(model, passage, memory, lags=5, starts=3)
    for steps in horizon.steps().values():
        assert steps[WORKER] == steps[DECOY] > 5, horizon
        assert (np.delete(steps, [WORKER, DECOY]) <= 1).all()
