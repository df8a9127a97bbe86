"""The state itself: whether a call alters it, how it is laid out, and in which precision"""

from __future__ import annotations

import numpy as np

from statewise.check.probes.compare import gap, off, same
from statewise.check.registry import FINE, Means, probe
from statewise.check.subject import Subject, UnavailableError


@probe(
    "input",
    "Does a call leave the state it was given as it was?",
    "Yes: going on twice from one state gives the same twice.",
    {"unchanged": FINE, "changed": Means("wrong", "the call writes into the state it was given")},
)
def unchanged(subject: Subject, _part: str) -> tuple[str, str]:
    one = subject.fresh()
    _, state = one.run(one.inputs.draw(seed=1))
    before = one.leaves(state)
    new = one.inputs.draw(seed=2)
    first, _ = one.run(new, state)
    after = one.leaves(state)
    again, _ = one.run(new, state)
    if any(not np.array_equal(before[name], after[name]) for name in before):
        return "changed", "the arrays of the state are other ones after the call"
    if not same(again, first):
        return "changed", f"the same state gives something else again, {off(gap(again, first))}"
    return "unchanged", "the same state goes on twice to the same result"


@probe(
    "used",
    "Does a call go on from the state it is given?",
    "Yes.",
    {"used": FINE, "ignored": Means("wrong", "the call takes a state and does not read it")},
)
def used(subject: Subject, _part: str) -> tuple[str, str]:
    one, new = subject.fresh(), subject.inputs.draw(seed=2)
    alone, _ = one.run(new)
    _, state = one.run(one.inputs.draw(seed=1))
    if same(one.run(new, state)[0], alone):
        return "ignored", "with a state and without one it answers the same"
    return "used", "with a state it answers otherwise than without one"


@probe(
    "layout",
    "Has the state its rows on the first axis, like the inputs?",
    "Yes: batch first.",
    {
        "first": FINE,
        "elsewhere": Means("surprise", "select and join rows of the state along that axis"),
    },
)
def layout(subject: Subject, _part: str) -> tuple[str, str]:
    one = subject.fresh()
    axes = one.row_axes()
    if not axes:
        raise UnavailableError("no array of the state grows with the number of rows")
    shapes = one.leaves(one.run(one.inputs.draw())[1])
    shown = ", ".join(f"{name} {shapes[name].shape}" for name in axes)
    if not any(axes.values()):
        return "first", f"rows come first: {shown}"
    return (
        "elsewhere",
        f"rows are on axis {max(axes.values())}: {shown} for {len(one.inputs.draw())} rows",
    )


@probe(
    "swapped",
    "Is a state in the wrong layout refused?",
    "Yes, with an error.",
    {
        "refused": FINE,
        "accepted": Means("surprise", "check the shape of a state yourself before passing it"),
    },
)
def swapped(subject: Subject, _part: str) -> tuple[str, str]:
    one = subject.fresh()
    axes = one.row_axes()
    _, state = one.run(one.inputs.draw(rows=2))
    leaves = one.leaves(state)
    stacked = [name for name in axes if axes[name] == 1]
    rows = leaves[stacked[0]].shape[0] if stacked else 2
    if stacked and one.inputs.rows not in (None, rows):
        raise UnavailableError(
            f"only {rows} rows would tell, and the model takes {one.inputs.rows}"
        )
    x = one.inputs.draw(rows=rows)
    _, state = one.run(x)
    leaves = one.leaves(state)
    right, _ = one.run(x, state)
    wrong = {
        name: np.swapaxes(leaf, 0, 1) if name in stacked else leaf[None]
        for name, leaf in leaves.items()
    }
    if all(np.array_equal(wrong[name], leaf) for name, leaf in leaves.items()):
        x = one.inputs.draw(rows=3)
        _, state = one.run(x)
        leaves = one.leaves(state)
        wrong = {name: np.swapaxes(leaf, 0, 1) for name, leaf in leaves.items()}
    try:
        y, _ = one.run(x, one.rebuilt(state, wrong))
    except Exception as error:  # the refusal that is hoped for
        return "refused", f"{type(error).__name__}: {str(error).splitlines()[0][:160]}"
    if same(y, right):
        return "refused", "the layout is put right: the results are the same"
    how = "rows and layers swapped" if stacked else "with an axis for layers in front"
    return (
        "accepted",
        f"{how} it is taken in silence where {rows} rows meet {rows} layers, {off(gap(y, right))}"
        if stacked
        else f"{how} it is taken in silence",
    )


@probe(
    "precision",
    "Under mixed precision, does the carry stay float32?",
    "What accumulates stays in full precision.",
    {"float32": FINE, "lower": Means("surprise", "keep long carries in float32", "{precision}")},
)
def precision(subject: Subject, _part: str) -> tuple[str, str]:
    dtypes = subject.fresh().half()
    shown = ", ".join(f"{name} {dtype}" for name, dtype in dtypes.items())
    accumulating = [d for name, d in dtypes.items() if not name.endswith("h")] or [*dtypes.values()]
    full = all(dtype in ("float32", "float64") for dtype in accumulating)
    return ("float32" if full else "lower"), f"the carry is {shown}"
