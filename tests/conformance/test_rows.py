"""Facts 5 and 10: rows are independent, and so are the branches of a state."""

import numpy as np

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

LENGTHS = np.array([STEPS, 3, 0, 5])


@over()
def test_permuting_rows_permutes_outputs_and_states(subject):
    x, state, reset = x_of(subject), incoming(subject), resets()
    order = np.array([2, 0, 3, 1])
    y, end = subject(x, state, reset=reset, lengths=LENGTHS)
    permuted, last = subject(
        x[order], state.rows(order), reset=reset[order], lengths=LENGTHS[order]
    )
    close(subject, permuted, y[order])
    close_state(subject, last, end.rows(order))


@over()
def test_a_row_is_the_same_alone(subject):
    x, state, reset = x_of(subject), incoming(subject), resets()
    y, end = subject(x, state, reset=reset)
    for row in range(ROWS):
        only = slice(row, row + 1)
        alone, last = subject(x[only], state.rows(only), reset=reset[only])
        close(subject, alone, y[only])
        close_state(subject, last, end.rows(row))


@over(dtypes=EXACT)
def test_nan_in_one_row_stays_there(subject):
    x, state = x_of(subject), incoming(subject)
    y, end = subject(x, state)
    if x.dtype.kind == "f":
        x = x.copy()
        x[1] = np.nan
    spoilt, last = subject(x, state)
    others = [0, 2, 3]
    same(spoilt[others], y[others])
    same_state(last.rows(others), end.rows(others))


@over(dtypes=EXACT)
def test_a_call_leaves_its_state_and_inputs_alone(subject):
    x, state, reset = x_of(subject), incoming(subject), resets()
    before, x_before = state.clone(), x.copy()
    subject(x, state, reset=reset, lengths=LENGTHS)
    subject.trace(x, state, reset=reset, initial=state)
    subject(x, state)
    same_state(state, before)
    same(x, x_before)


@over(dtypes=EXACT)
def test_two_branches_of_one_state_never_meet(subject):
    one, other, state = x_of(subject), x_of(subject, seed=5), incoming(subject)
    y, end = subject(one, state)
    kept, kept_end = y.copy(), end.clone()
    subject(other, state)
    again, last = subject(one, state)
    same(y, kept)
    same_state(end, kept_end)
    same(again, kept)
    same_state(last, kept_end)


@over(dtypes=EXACT)
def test_changing_what_was_returned_changes_no_state(subject):
    x, state = x_of(subject), incoming(subject)
    y, end = subject(x, state)
    kept = end.clone()
    y[...] = 99.0
    same_state(end, kept)
    if all(cell.causal for cell in subject.architecture.layers):
        y, end = subject.step(x[:, 0], state)
        kept = end.clone()
        y[...] = 99.0
        same_state(end, kept)
