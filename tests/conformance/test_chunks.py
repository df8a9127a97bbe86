"""Fact 1: chunked equals whole, for every split."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from .executors import EXECUTORS
from .facts import ROWS, STEPS, close, close_state, incoming, over, resets, x_of
from .zoo import CAUSAL, ZOO, inputs


def in_chunks(subject, x, state, edges, reset=None, lengths=None):
    """Run a call in chunks that end at these edges."""
    outputs = []
    for start, stop in zip([0, *edges], [*edges, x.shape[1]], strict=True):
        masks = {}
        if reset is not None:
            masks["reset"] = reset[:, start:stop]
        if lengths is not None:
            masks["lengths"] = np.clip(lengths - start, 0, stop - start)
        y, state = subject(x[:, start:stop], state, **masks)
        outputs.append(y)
    return np.concatenate(outputs, axis=1), state


@over(CAUSAL)
def test_every_split_in_two(subject):
    x, state = x_of(subject), incoming(subject)
    whole, end = subject(x, state)
    for edge in range(STEPS + 1):
        y, last = in_chunks(subject, x, state, [edge])
        close(subject, y, whole)
        close_state(subject, last, end)


@over(CAUSAL)
def test_chunks_of_one_step_with_masks(subject):
    x, state, reset = x_of(subject), incoming(subject), resets()
    lengths = np.array([STEPS, 3, 0, 5])
    whole, end = subject(x, state, reset=reset, lengths=lengths)
    y, last = in_chunks(subject, x, state, list(range(1, STEPS)), reset, lengths)
    close(subject, y, whole)
    close_state(subject, last, end)


@over(CAUSAL)
def test_single_steps_equal_one_unroll(subject):
    x, state = x_of(subject), incoming(subject)
    whole, end = subject(x, state)
    for t in range(STEPS):
        y, state = subject.step(x[:, t], state)
        close(subject, y, whole[:, t])
    close_state(subject, state, end)


@over(CAUSAL)
def test_a_step_from_nothing_is_the_first_step(subject):
    x = x_of(subject, steps=1)
    y, state = subject(x)
    first, after = subject.step(x[:, 0])
    close(subject, first, y[:, 0])
    close_state(subject, after, state)


@over(CAUSAL)
def test_tracing_equals_calling(subject):
    x, state, reset = x_of(subject), incoming(subject), resets()
    lengths = np.array([STEPS, 3, 0, 5])
    y, end = subject(x, state, reset=reset, lengths=lengths)
    traced, after, seen = subject.trace(x, state, reset=reset, lengths=lengths)
    close(subject, traced, y)
    close_state(subject, after, end)
    for value in seen.values():
        assert value.shape[:2] == (ROWS, STEPS)
        assert not value[2].any(), "what was seen in padding is zero"


LONG = ("counter", "own", "lstm", "gru after", "stack", "inverse", "difference 12", "tokens")


@pytest.mark.parametrize("executor", EXECUTORS)
@given(data=st.data())
def test_any_split_any_resets_any_lengths(opened, executor, data):
    name = data.draw(st.sampled_from(LONG))
    subject = opened(name, executor, "float32" if not ZOO[name].parameters else "float64")
    rows, steps = data.draw(st.integers(1, 4)), data.draw(st.integers(0, 15))
    flags = st.lists(st.booleans(), min_size=rows * steps, max_size=rows * steps)
    reset = np.array(data.draw(flags), dtype=bool).reshape(rows, steps)
    lengths = np.array(data.draw(st.lists(st.integers(0, steps), min_size=rows, max_size=rows)))
    edges = sorted(data.draw(st.lists(st.integers(0, steps), max_size=5)))
    x = inputs(subject.architecture, rows, steps, subject.dtype, seed=data.draw(st.integers(0, 9)))
    state = incoming(subject, rows)
    whole, end = subject(x, state, reset=reset, lengths=lengths)
    y, last = in_chunks(subject, x, state, edges, reset, lengths)
    close(subject, y, whole)
    close_state(subject, last, end)
