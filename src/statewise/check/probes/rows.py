"""Probes across rows: whether they depend on each other, on their order or on their number"""

from __future__ import annotations

import numpy as np

from statewise.check.probes.compare import (
    describe_size,
    difference,
    largest_difference,
)
from statewise.check.registry import AS_EXPECTED, Meaning, probe
from statewise.check.subject import Subject, UnavailableError

TOLERANCE = 5e-5
_MIXES = "rows are mixed: look for statistics over the batch, and for a state that rows share"


@probe(
    "rows",
    "Is the result of a row independent of the other rows?",
    "Yes: rows are independent.",
    {"independent": AS_EXPECTED, "leaks": Meaning("wrong", _MIXES)},
)
def check_rows(subject: Subject, _part: str) -> tuple[str, str]:
    x = subject.inputs.draw(seed=6)
    if len(x) < 2:
        raise UnavailableError("the model takes one row and no more")
    changed = x.copy()
    changed[0] = subject.inputs.draw(seed=7)[0]
    worst = _compare_rows(subject, x, changed, slice(1, None), slice(1, None))
    if worst <= TOLERANCE:
        return "independent", "another first row does not change the others"
    return "leaks", f"another first row changes the others, {describe_size(worst)}"


@probe(
    "order",
    "Does the order of rows in a batch matter?",
    "No.",
    {"none": AS_EXPECTED, "matters": Meaning("wrong", _MIXES)},
)
def check_order(subject: Subject, _part: str) -> tuple[str, str]:
    x = subject.inputs.draw(seed=6)
    if len(x) < 2:
        raise UnavailableError("the model takes one row and no more")
    back = np.arange(len(x))[::-1]
    worst = _compare_rows(subject, x, x[back], back, slice(None))
    if worst <= TOLERANCE:
        return "none", "rows in another order give the same results"
    return "matters", f"rows in another order give other results, {describe_size(worst)}"


@probe(
    "size",
    "Does the number of rows in a batch matter?",
    "No.",
    {"none": AS_EXPECTED, "matters": Meaning("wrong", _MIXES)},
)
def check_size(subject: Subject, _part: str) -> tuple[str, str]:
    if subject.inputs.rows is not None:
        raise UnavailableError(f"the model takes {subject.inputs.rows} rows and no other number")
    x = subject.inputs.draw(seed=6)
    worst = max(_compare_rows(subject, x, x[:rows], slice(rows), slice(None)) for rows in (1, 3))
    if worst <= TOLERANCE:
        return "none", "a row gives the same results alone as among others"
    return (
        "matters",
        f"a row gives other results alone than among others, {describe_size(worst)}",
    )


def _compare_rows(
    subject: Subject,
    one: np.ndarray,
    other: np.ndarray,
    mine: slice | np.ndarray,
    theirs: slice | np.ndarray,
) -> float:
    """The largest difference between some rows of one run and some of another."""
    (y, state), (z, end) = _run(subject, one), _run(subject, other)
    outputs = difference(y[mine], z[theirs])
    if state is None:
        return outputs
    a = {name: leaf[mine] for name, leaf in subject.arrange_by_rows(state).items()}
    return max(
        outputs,
        largest_difference(
            a, {k: leaf[theirs] for k, leaf in subject.arrange_by_rows(end).items()}
        ),
    )


def _run(subject: Subject, x: np.ndarray) -> tuple[np.ndarray, object]:
    fresh = subject.restore()
    if fresh.explicit:
        return fresh.run(x)
    return fresh.find_call_modes()[fresh.plain_mode].observe([x], 1)[0], None
