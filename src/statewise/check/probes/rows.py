"""Across rows: whether they are independent of each other, of their order and of their number"""

from __future__ import annotations

import numpy as np

from statewise.check.probes.compare import gap, gaps, off
from statewise.check.registry import FINE, Means, probe
from statewise.check.subject import Subject, UnavailableError

FAR = 5e-5
_MIXES = "something mixes rows: look for statistics over the batch, and for one state for all"


@probe(
    "rows",
    "Is a row's result its own, whatever the other rows are?",
    "Yes: rows are independent.",
    {"independent": FINE, "leaks": Means("wrong", _MIXES)},
)
def independent(subject: Subject, _part: str) -> tuple[str, str]:
    x = subject.inputs.draw(seed=6)
    if len(x) < 2:
        raise UnavailableError("the model takes a single row")
    changed = x.copy()
    changed[0] = subject.inputs.draw(seed=7)[0]
    worst = _far(subject, x, changed, slice(1, None), slice(1, None))
    if worst <= FAR:
        return "independent", "another first row leaves the others as they were"
    return "leaks", f"another first row changes the others, {off(worst)}"


@probe(
    "order",
    "Does the order of rows in a batch matter?",
    "No.",
    {"none": FINE, "matters": Means("wrong", _MIXES)},
)
def order(subject: Subject, _part: str) -> tuple[str, str]:
    x = subject.inputs.draw(seed=6)
    if len(x) < 2:
        raise UnavailableError("the model takes a single row")
    back = np.arange(len(x))[::-1]
    worst = _far(subject, x, x[back], back, slice(None))
    if worst <= FAR:
        return "none", "rows in another order give the same results in that order"
    return "matters", f"rows in another order give other results, {off(worst)}"


@probe(
    "size",
    "Does the number of rows in a batch matter?",
    "No.",
    {"none": FINE, "matters": Means("wrong", _MIXES)},
)
def size(subject: Subject, _part: str) -> tuple[str, str]:
    if subject.inputs.rows is not None:
        raise UnavailableError(f"the model takes {subject.inputs.rows} rows and no other number")
    x = subject.inputs.draw(seed=6)
    worst = max(_far(subject, x, x[:rows], slice(rows), slice(None)) for rows in (1, 3))
    if worst <= FAR:
        return "none", "a row gives the same alone and among others"
    return "matters", f"a row gives something else alone than among others, {off(worst)}"


def _far(
    subject: Subject,
    one: np.ndarray,
    other: np.ndarray,
    mine: slice | np.ndarray,
    theirs: slice | np.ndarray,
) -> float:
    """How far some rows of one run are from some of another."""
    (y, state), (z, end) = _run(subject, one), _run(subject, other)
    apart = gap(y[mine], z[theirs])
    if state is None:
        return apart
    a = {name: leaf[mine] for name, leaf in subject.by_rows(state).items()}
    return max(apart, gaps(a, {k: leaf[theirs] for k, leaf in subject.by_rows(end).items()}))


def _run(subject: Subject, x: np.ndarray) -> tuple[np.ndarray, object]:
    fresh = subject.fresh()
    if fresh.explicit:
        return fresh.run(x)
    return fresh.ways()[fresh.plain].observe([x], 1)[0], None
