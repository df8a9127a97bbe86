"""Probes of the state itself: whether a call changes it, its layout and its precision"""

from __future__ import annotations

import numpy as np

from statewise.check.probes.compare import (
    describe_difference,
    is_same,
)
from statewise.check.registry import AS_EXPECTED, Meaning, probe
from statewise.check.subject import Subject, UnavailableError


@probe(
    "input",
    "Does a call leave the state that it is given unchanged?",
    "Yes: two calls from one state give the same outputs.",
    {
        "unchanged": AS_EXPECTED,
        "changed": Meaning("wrong", "the call writes into the state it was given"),
    },
)
def check_input(subject: Subject, _part: str) -> tuple[str, str]:
    one = subject.restore()
    _, state = one.run(one.inputs.draw(seed=1))
    before = one.read_state(state)
    new = one.inputs.draw(seed=2)
    first, _ = one.run(new, state)
    after = one.read_state(state)
    again, _ = one.run(new, state)
    if any(not np.array_equal(before[name], after[name]) for name in before):
        return "changed", "the arrays of the state have other values after the call"
    if not is_same(again, first):
        far = describe_difference(again, first)
        return "changed", f"a second call from the same state gives other outputs, {far}"
    return "unchanged", "two calls from one state give the same outputs"


@probe(
    "used",
    "Does a call start from the state that it is given?",
    "Yes.",
    {
        "used": AS_EXPECTED,
        "ignored": Meaning("wrong", "the call takes a state and does not use it"),
    },
)
def check_used(subject: Subject, _part: str) -> tuple[str, str]:
    one, new = subject.restore(), subject.inputs.draw(seed=2)
    alone, _ = one.run(new)
    _, state = one.run(one.inputs.draw(seed=1))
    if is_same(one.run(new, state)[0], alone):
        return "ignored", "the outputs with a state equal those without one"
    return "used", "the outputs with a state differ from those without one"


@probe(
    "layout",
    "Are rows on the first axis of the state, as in the inputs?",
    "Yes: batch first.",
    {
        "first": AS_EXPECTED,
        "elsewhere": Meaning("surprise", "select and join rows of the state along that axis"),
    },
)
def check_layout(subject: Subject, _part: str) -> tuple[str, str]:
    one = subject.restore()
    axes = one.find_row_axes()
    if not axes:
        raise UnavailableError("no array of the state grows with the number of rows")
    shapes = one.read_state(one.run(one.inputs.draw())[1])
    shown = ", ".join(f"{name} {shapes[name].shape}" for name in axes)
    if not any(axes.values()):
        return "first", f"rows are on the first axis: {shown}"
    return (
        "elsewhere",
        f"rows are on axis {max(axes.values())}: {shown} for {len(one.inputs.draw())} rows",
    )


@probe(
    "swapped",
    "Is a state in the wrong layout refused?",
    "Yes, with an error.",
    {
        "refused": AS_EXPECTED,
        "accepted": Meaning("surprise", "check the shape of a state yourself before passing it"),
    },
)
def check_swapped(subject: Subject, _part: str) -> tuple[str, str]:
    one = subject.restore()
    axes = one.find_row_axes()
    _, state = one.run(one.inputs.draw(rows=2))
    leaves = one.read_state(state)
    stacked = [name for name in axes if axes[name] == 1]
    rows = leaves[stacked[0]].shape[0] if stacked else 2
    if stacked and one.inputs.rows not in (None, rows):
        raise UnavailableError(
            f"this needs a batch of {rows} rows, and the model takes {one.inputs.rows}"
        )
    x = one.inputs.draw(rows=rows)
    _, state = one.run(x)
    leaves = one.read_state(state)
    right, _ = one.run(x, state)
    wrong = {
        name: np.swapaxes(leaf, 0, 1) if name in stacked else leaf[None]
        for name, leaf in leaves.items()
    }
    if all(np.array_equal(wrong[name], leaf) for name, leaf in leaves.items()):
        x = one.inputs.draw(rows=3)
        _, state = one.run(x)
        leaves = one.read_state(state)
        wrong = {name: np.swapaxes(leaf, 0, 1) for name, leaf in leaves.items()}
    try:
        y, _ = one.run(x, one.rebuild_state(state, wrong))
    except Exception as error:  # a refusal is what is expected
        return "refused", f"{type(error).__name__}: {str(error).splitlines()[0][:160]}"
    if is_same(y, right):
        return "refused", "the layout is corrected: the outputs are the same"
    if not stacked:
        return "accepted", "a state with an axis of layers added in front raises no error"
    far = describe_difference(y, right)
    sizes = f"{rows} rows and {rows} layers"
    return "accepted", f"rows and layers swapped raise no error for {sizes}, {far}"


@probe(
    "precision",
    "Does the state stay in float32 under mixed precision?",
    "Yes: what accumulates stays in full precision.",
    {
        "float32": AS_EXPECTED,
        "lower": Meaning("surprise", "keep long carries in float32", "{precision}"),
    },
)
def check_precision(subject: Subject, _part: str) -> tuple[str, str]:
    dtypes = subject.restore().run_in_bfloat16()
    shown = ", ".join(f"{name} {dtype}" for name, dtype in dtypes.items())
    accumulating = [d for name, d in dtypes.items() if not name.endswith("h")] or [*dtypes.values()]
    full = all(dtype in ("float32", "float64") for dtype in accumulating)
    return ("float32" if full else "lower"), f"the dtypes of the state are {shown}"
