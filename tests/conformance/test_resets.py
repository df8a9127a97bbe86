"""Facts 6 to 9 and 22: a reset forgets, before the step it stands at, by selection."""

import numpy as np
import pytest
import torch

from .executors import EXECUTORS
from .facts import (
    EXACT,
    ROWS,
    STEPS,
    close,
    close_state,
    incoming,
    over,
    resets,
    same,
    same_state,
    x_of,
)
from .zoo import CAUSAL

LENGTHS = np.array([STEPS, 3, 0, 5])


def garbage(state):
    """The same layout with values that no model makes."""
    return state.map(lambda a: a * np.nan if "float" in str(a.dtype) else a * 0 + 12345)


@over()
def test_a_reset_equals_two_sequences(subject):
    x, state = x_of(subject), incoming(subject)
    for edge in (0, 1, STEPS - 1):
        reset = np.zeros((ROWS, STEPS), dtype=bool)
        reset[:, edge] = True
        y, end = subject(x, state, reset=reset)
        first, _ = subject(x[:, :edge], state)
        second, last = subject(x[:, edge:])
        close(subject, y, np.concatenate([first, second], axis=1))
        close_state(subject, end, last)


@over()
def test_resets_and_lengths_equal_separate_sequences(subject):
    x, state, reset = x_of(subject), incoming(subject), resets()
    y, end = subject(x, state, reset=reset, lengths=LENGTHS)
    for row in range(ROWS):
        only, length, last = slice(row, row + 1), int(LENGTHS[row]), state.rows(row)
        starts = [0, *(t for t in range(1, length) if reset[row, t])]
        for start, stop in zip(starts, [*starts[1:], length], strict=True):
            fresh = None if length and reset[row, start] else last
            part, last = subject(x[only, start:stop], fresh)
            close(subject, y[only, start:stop], part)
        close_state(subject, end.rows(row), last)


@over(dtypes=EXACT)
def test_nothing_survives_a_reset(subject):
    x, state, reset = x_of(subject), incoming(subject), resets()
    reset[:, 0] = True
    y, end = subject(x, reset=reset)
    other, last = subject(x, garbage(state), reset=reset)
    same(other, y)
    same_state(last, end)


@over(dtypes=EXACT)
def test_a_reset_returns_to_the_models_own_initial_state(subject):
    x, state = x_of(subject, steps=1), incoming(subject)
    reset = np.ones((ROWS, 1), dtype=bool)
    y, end = subject(x, state, reset=reset)
    first, after = subject(x, subject.initial_state(ROWS))
    same(y, first)
    same_state(end, after)


@over(CAUSAL)
@pytest.mark.parametrize("rows", [1, ROWS])
def test_a_reset_returns_to_the_given_initial_state(subject, rows):
    x, state, given = x_of(subject), incoming(subject), incoming(subject, rows)
    reset = np.zeros((ROWS, STEPS), dtype=bool)
    reset[:, 3] = True
    y, end = subject(x, garbage(state), reset=reset, initial=given)
    start = given.rows([0] * ROWS) if rows == 1 else given
    second, last = subject(x[:, 3:], start.replace({}, position=start.position * 0))
    close(subject, y[:, 3:], second)
    close_state(subject, end, last)
    whole, after = subject(x, initial=given)
    expected, last = subject(x, start.replace({}, position=start.position * 0))
    same(whole, expected)
    same_state(after, last)


@over()
def test_all_true_is_stateless(subject):
    x, state = x_of(subject), incoming(subject)
    y, end = subject(x, state, reset=np.ones((ROWS, STEPS), dtype=bool))
    for t in range(STEPS):
        alone, last = subject(x[:, t : t + 1])
        close(subject, y[:, t : t + 1], alone)
    close_state(subject, end, last)


@over(dtypes=EXACT)
def test_all_false_is_no_mask(subject):
    x, state = x_of(subject), incoming(subject)
    y, end = subject(x, state)
    masks = {"reset": np.zeros((ROWS, STEPS), dtype=bool), "lengths": np.full(ROWS, STEPS)}
    masked, last = subject(x, state, **masks)
    same(masked, y)
    same_state(last, end)


@over(["counter"], dtypes=["float32"])
def test_a_reset_stands_before_its_step(subject):
    x = np.zeros((2, 5, 2), dtype="float32")
    reset = np.array([[0, 0, 1, 0, 0], [1, 0, 0, 1, 1]], dtype=bool)
    y, state = subject(x)
    assert y[..., 0].tolist() == [[8, 9, 10, 11, 12]] * 2
    y, state = subject(x, state, reset=reset, lengths=[4, 5])
    assert y[..., 0].tolist() == [[13, 14, 8, 9, 0], [8, 9, 10, 8, 8]]
    assert np.asarray(state["0.n"]).tolist() == [[9], [8]]
    assert np.asarray(state.position).tolist() == [2, 1]


@over(dtypes=EXACT)
def test_the_position_counts_the_steps_since_the_last_reset(subject):
    state, reset = incoming(subject), resets()
    before = np.asarray(state.position)
    _, end = subject(x_of(subject), state, reset=reset, lengths=LENGTHS)
    for row, length in enumerate(LENGTHS):
        marks = np.flatnonzero(reset[row, :length])
        expected = length - marks[-1] if len(marks) else before[row] + length
        assert end.position[row] == expected
    assert str(end.position.dtype).endswith("int64")
    assert not subject.initial_state(3).position.any()
    if subject.name in CAUSAL:
        _, stepped = subject.step(x_of(subject)[:, 0], state)
        same(np.asarray(stepped.position), before + 1)


@pytest.mark.parametrize("executor", [name for name in EXECUTORS if name != "runtime"])
@pytest.mark.parametrize("name", sorted(CAUSAL - {"counter", "nothing", "tokens alone"}))
def test_the_gradient_across_a_reset_is_exactly_zero(opened, name, executor):
    subject = opened(name, executor, "float32")
    x = torch.from_numpy(x_of(subject))
    state = incoming(subject).map(
        lambda a: a.detach().clone().requires_grad_(a.is_floating_point())
    )
    embedded = x.is_floating_point()
    if embedded:
        x.requires_grad_()
    reset = torch.zeros(ROWS, STEPS, dtype=torch.bool)
    reset[:, 3] = True
    reset[0, 3] = False
    y, _ = subject.model(x, state, reset=reset)
    after = y[:, 3:].square().sum()
    if not after.requires_grad:
        return
    wanted = [v for v in (*state.values(), *([x] if embedded else [])) if v.requires_grad]
    grads = torch.autograd.grad(after, wanted, allow_unused=True)
    for value, grad in zip(wanted, grads, strict=True):
        if grad is not None:
            assert not (grad[1:, :3] if embedded and value is x else grad[1:]).any()
    if embedded and name not in ("layer norm", "difference", "difference 12", "standardize"):
        assert grads[-1][0, :3].any(), "a row that is not reset does feel what came before"
