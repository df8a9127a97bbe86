import numpy as np
import pytest

import statewise as sw
from statewise import inspect

TEXT = 'say "one" and "two words" or "x" now'
LETTERS = sorted(set(TEXT))


def quotes() -> sw.runtime.Model:
    """An LSTM built by hand: unit 1 toggles at each quotation mark, unit 0 follows the letter a,
    unit 2 is always on.
    """
    arch = sw.Architecture(sw.Tokens(len(LETTERS), 3), [sw.LSTM(3)])
    arrays = {name: np.zeros(p.shape, np.float32) for name, p in arch.parameters.items()}
    table = arrays["inputs.E"]  # (letter, feature): a quotation mark, the letter a, anything
    table[LETTERS.index('"'), 0] = 1
    table[LETTERS.index("a"), 1] = 1
    table[:, 2] = 1
    W, R, b = (arrays[f"0.{name}"] for name in "WRb")
    i, f, g, o = (np.arange(3) + 3 * gate for gate in range(4))
    b[o] = 20
    # unit 0: c' = a; unit 2: c' = 1
    b[f[[0, 2]]] = -20
    b[i[[0, 2]]] = 20
    W[g[0], 1] = 20
    W[g[2], 2] = 20
    # unit 1: a quotation mark writes 1 - 2c where c was kept: on if it was off, off if it was on
    b[f[1]] = 20
    b[i[1]], W[i[1], 0] = -20, 40
    b[g[1]], R[g[1], 1] = 20, -52
    return sw.runtime.Model(arch, arrays)


@pytest.fixture
def trace():
    x = np.array([[LETTERS.index(letter) for letter in TEXT]])
    return inspect.record(quotes(), x).align(TEXT)


def test_the_unit_that_does_the_work_is_named(trace):
    found = inspect.find(trace, (4, 8), threshold=0.5)
    assert found.units == [1]
    assert found.always == [1, 2]
    spans = [TEXT[start:stop] for start, stop, _ in found.matches]
    assert spans == ['"x', '"two words']


def test_bad_spans_and_names(trace):
    for use, message in (
        (lambda: inspect.find(trace, (4, 99)), "not within"),
        (lambda: inspect.find(trace, "three"), "does not hold"),
        (lambda: inspect.find(trace, (1, 2), name="0.x"), "no '0.x'"),
        (lambda: inspect.find(trace, (1, 2), row=4), "rows 0 to 0"),
    ):
        with pytest.raises(sw.InputError, match=message):
            use()
    assert inspect.find(trace, (4, 8), threshold=2.0).units == []
