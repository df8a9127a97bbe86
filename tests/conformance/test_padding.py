"""Facts 2, 3 and 4: what is padded is never seen, and no steps change nothing."""

import numpy as np
import pytest
import torch

import statewise as sw

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
from .zoo import CAUSAL, ZOO

LENGTHS = np.array([STEPS, 3, 0, 5])


def poisoned(subject, x, lengths=LENGTHS):
    """The inputs with what must not be seen in their padding: NaN, or no token at all."""
    x = x.copy()
    padding = np.arange(x.shape[1]) >= lengths[:, None]
    x[padding] = -100 if x.dtype.kind == "i" else np.nan
    return x


@over(dtypes=EXACT)
def test_padding_is_never_seen(subject):
    x, state = x_of(subject), incoming(subject)
    y, end = subject(x, state, lengths=LENGTHS)
    unseen, after = subject(poisoned(subject, x), state, lengths=LENGTHS)
    same(unseen, y)
    same_state(after, end)
    padding = np.arange(STEPS) >= LENGTHS[:, None]
    assert not y[padding].any(), "outputs are zero where padded"


@over()
def test_padding_changes_neither_the_outputs_nor_the_final_state(subject):
    x, state = x_of(subject), incoming(subject)
    y, end = subject(poisoned(subject, x), state, lengths=LENGTHS)
    for row, length in enumerate(LENGTHS):
        alone, last = subject(x[row : row + 1, :length], state.rows(row))
        close(subject, y[row : row + 1, :length], alone)
        close_state(subject, end.rows(row), last)


@over(dtypes=EXACT)
def test_resets_in_the_padding_are_not_seen(subject):
    x, state, reset = x_of(subject), incoming(subject), resets()
    padding = np.arange(STEPS) >= LENGTHS[:, None]
    y, end = subject(x, state, reset=reset | padding, lengths=LENGTHS)
    expected, last = subject(x, state, reset=reset & ~padding, lengths=LENGTHS)
    same(y, expected)
    same_state(end, last)


@over(dtypes=EXACT)
def test_a_row_without_steps_returns_its_state_exactly(subject):
    x, state = x_of(subject), incoming(subject)
    reset = np.ones((ROWS, STEPS), dtype=bool)
    lengths = np.array([0, STEPS, 0, 0])
    _, end = subject(poisoned(subject, x, lengths), state, reset=reset, lengths=lengths)
    same_state(end.rows([0, 2, 3]), state.rows([0, 2, 3]))


@over(dtypes=EXACT)
def test_no_steps_return_the_state_exactly(subject):
    state, none = incoming(subject), np.zeros((ROWS, 0), dtype=bool)
    x = x_of(subject, steps=0)
    for masks in ({}, {"reset": none}, {"lengths": np.zeros(ROWS, dtype=int)}):
        y, end = subject(x, state, **masks)
        assert y.shape == (ROWS, 0, subject.architecture.width)
        same_state(end, state)


@over(dtypes=EXACT)
def test_no_rows(subject):
    for steps in (STEPS, 0):
        y, end = subject(x_of(subject, rows=0, steps=steps))
        assert y.shape == (0, steps, subject.architecture.width)
        same_state(end, subject.initial_state(0))
    _, end = subject(
        x_of(subject, rows=0),
        end,
        reset=np.zeros((0, STEPS), dtype=bool),
        lengths=np.zeros(0, dtype=int),
    )
    assert end.batch == 0
    if subject.name in CAUSAL:
        y, end = subject.step(x_of(subject, rows=0)[:, 0], end)
        assert y.shape == (0, subject.architecture.width)
        assert end.batch == 0


@pytest.mark.parametrize("executor", [name for name in EXECUTORS if name != "runtime"])
@pytest.mark.parametrize("name", ZOO)
def test_gradients_stay_finite_with_nan_in_the_padding(opened, name, executor):
    subject = opened(name, executor, "float32")
    model = subject.model
    state = incoming(subject).map(
        lambda a: a.detach().clone().requires_grad_(a.is_floating_point())
    )
    x = torch.from_numpy(poisoned(subject, x_of(subject)))
    if x.is_floating_point():
        x.requires_grad_()
    y, end = model(x, state, lengths=LENGTHS)
    floats = [value for value in end.values() if value.requires_grad]
    loss = y.square().sum() + sum(value.square().sum() for value in floats)
    if not loss.requires_grad:
        return
    wanted = [value for value in (x, *model.parameters(), *state.values()) if value.requires_grad]
    grads = dict.fromkeys(range(len(wanted)))
    for index, grad in enumerate(torch.autograd.grad(loss, wanted, allow_unused=True)):
        grads[index] = grad
        assert grad is None or grad.isfinite().all()
    if x.requires_grad:
        padding = torch.arange(STEPS) >= torch.from_numpy(LENGTHS)[:, None]
        assert not grads[0][padding].any(), "what is not seen has no gradient"


def test_padding_may_be_any_integer_for_tokens():
    model = sw.nn.Model(ZOO["tokens"])
    y, _ = model(torch.tensor([[1, 2, 255]], dtype=torch.uint8), lengths=[2])
    z, _ = model(torch.tensor([[1, 2, -1]]), lengths=[2])
    assert torch.equal(y, z)
