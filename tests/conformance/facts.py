"""What the state facts are told with: which models, which calls, and how to compare."""

import numpy as np
import pytest

from .executors import EXECUTORS
from .zoo import CAUSAL, PAIRS, ZOO, inputs

DTYPES = ("float32", "float64")
EXACT = ("float32",)  # a fact told bit for bit is one of selection, and that knows no dtype
TOLERANCE = {"float16": 2e-3, "float32": 1e-5, "float64": 1e-12}
ROWS, STEPS = 4, 7


def over(names=ZOO, executors=EXECUTORS, dtypes=DTYPES):
    """Run a test on each of these models, executors and dtypes, as `subject`."""
    chosen = [
        pytest.param((name, executor, dtype), id=f"{name}-{executor}-{dtype}")
        for name in names
        for executor in executors
        for dtype in dtypes
        if dtype == "float32"
        or (ZOO | PAIRS)[name].parameters  # the weights say what to compute in
    ]
    return pytest.mark.parametrize("subject", chosen, indirect=True)


def x_of(subject, rows=ROWS, steps=STEPS, seed=1):
    return inputs(subject.architecture, rows, steps, subject.dtype, seed)


def incoming(subject, rows=ROWS):
    """A state with a history, or where a model refuses those, one without."""
    if subject.name in ZOO and subject.name not in CAUSAL:
        return subject.initial_state(rows)
    _, state = subject(x_of(subject, rows, 5, seed=2), lengths=np.arange(rows) % 3 + 3)
    return state


def resets(rows=ROWS, steps=STEPS, seed=3):
    """A few resets: some rows with none, some with several."""
    return np.random.default_rng(seed).random((rows, steps)) < np.linspace(0, 0.5, rows)[:, None]


def same(a, b):
    """Equal bit for bit, NaN included."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(a, b)


def same_state(a, b):
    """Equal bit for bit in every field and position."""
    a, b = a.numpy(), b.numpy()
    assert list(a) == list(b)
    same(a.position, b.position)
    for name in a:
        same(a[name], b[name])


def close(subject, a, b, tolerance=None):
    """Equal but for rounding, relative to the largest value."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.dtype == b.dtype
    tolerance = tolerance or TOLERANCE[subject.dtype]
    scale = max(1.0, np.abs(b).max(initial=0.0))
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale)


def close_state(subject, a, b, tolerance=None):
    """Equal but for rounding in every float; integers and positions equal."""
    a, b = a.numpy(), b.numpy()
    assert list(a) == list(b)
    same(a.position, b.position)
    for name in a:
        if a[name].dtype.kind == "f":
            close(subject, a[name], b[name], tolerance)
        else:
            same(a[name], b[name])
