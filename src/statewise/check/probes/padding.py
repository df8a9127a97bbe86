"""Padding: whether rows that end early are seen beyond their end, NaN and length 0 included"""

from __future__ import annotations

from typing import Any

import numpy as np

from statewise.check.probes.compare import TOLERANCE, gap, gaps, off, same
from statewise.check.registry import FINE, Means, probe
from statewise.check.subject import Subject, UnavailableError, with_time

PLAIN = "zeros"
_ADVICE = "say where rows end"


def _kinds(subject: Subject) -> list[str]:
    return [PLAIN, *subject.paddings()]


def _told(subject: Subject) -> list[str]:
    return list(subject.paddings()) or [""]


@probe(
    "padding",
    "Do padded steps ({part}) leave the row's outputs and state alone?",
    "Yes: padding is not data.",
    {
        "ignored": FINE,
        "seen": Means("surprise", _ADVICE, "{padding}"),
        "leaks": Means("wrong", "the padding reaches the outputs or the state: look at the mask"),
    },
    _kinds,
)
def padding(subject: Subject, part: str) -> tuple[str, str]:
    x, lengths = _padded(subject)
    valid = np.arange(x.shape[1]) < lengths[:, None]
    if part == PLAIN:
        x = np.where(_over(valid, x), x, 0).astype(x.dtype)
    worst, where = _against_alone(subject, part, x, lengths)
    if part != PLAIN:
        other = np.where(_over(valid, x), x, subject.inputs.draw(x.shape[0], x.shape[1], seed=9))
        moved = _difference(
            subject, lengths, _call(subject, part, x, lengths),
            _call(subject, part, other.astype(x.dtype), lengths),
        )  # fmt: skip
        worst, where = max((worst, where), moved)
    if worst <= TOLERANCE:
        whole = subject.explicit
        shown = "outputs and final state are" if whole else "outputs are (no state is shown)"
        return "ignored", f"valid {shown} those of the rows alone"
    if part == PLAIN:
        return "seen", f"zeros at the end change the {where}, {off(worst)}"
    return "leaks", f"the padding changes the {where}, {off(worst)}"


@probe(
    "nan",
    "Does NaN in the padding ({part}) stay there?",
    "Yes: padding is never seen.",
    {
        "stays": FINE,
        "leaks": Means("wrong", "select with where() instead of multiplying by the mask"),
    },
    _told,
)
def not_a_number(subject: Subject, part: str) -> tuple[str, str]:
    if not part:
        raise UnavailableError("the model is not told where rows end")
    if subject.inputs.features is None:
        raise UnavailableError("tokens cannot be NaN")
    x, lengths = _padded(subject)
    valid = np.arange(x.shape[1]) < lengths[:, None]
    spoiled = np.where(_over(valid, x), x, np.nan).astype(x.dtype)
    worst, where = _difference(
        subject, lengths, _call(subject, part, spoiled, lengths), _call(subject, part, x, lengths)
    )
    if worst <= TOLERANCE:
        return "stays", "valid outputs and final state are as with any other padding"
    return "leaks", f"NaN in the padding reaches the {where}"


@probe(
    "empty",
    "Does a row of length 0 ({part}) keep the state it came with?",
    "Yes: nothing was read.",
    {
        "kept": FINE,
        "changed": Means("surprise", "leave rows of length 0 out, and put their state back"),
        "raises": Means("surprise", "leave rows of length 0 out of the call"),
    },
    _told,
)
def empty(subject: Subject, part: str) -> tuple[str, str]:
    if not part:
        raise UnavailableError("the model is not told where rows end")
    x, lengths = _padded(subject)
    lengths[1] = 0
    _, state = _call(subject, part, x, lengths)
    if state is None:
        raise UnavailableError("the model returns no state")
    one = subject.fresh()
    after = one.by_rows(state)
    shorter = one.by_rows(one.run(x[:, :1])[1])
    initial = _initial(subject, x)
    if initial is None:
        raise UnavailableError("the state before the first step is not shown")
    size = max((gap(after[name][1], initial[name][1]) for name in after), default=0.0)
    if size <= TOLERANCE:
        return "kept", "its state is the one before the first step"
    read_on = max((gap(after[name][1], shorter[name][1]) for name in after), default=0.0)
    much = "one step" if read_on <= TOLERANCE else "steps of padding"
    return "changed", f"its state is that of having read {much}, {off(size)}"


def _initial(subject: Subject, x: np.ndarray) -> dict[str, np.ndarray] | None:
    """The state that a call without one starts from, as zeros if those answer alike."""
    one = subject.fresh()
    y, state = one.run(x)
    zeros = {name: np.zeros_like(leaf) for name, leaf in one.leaves(state).items()}
    again, _ = one.run(x, one.rebuilt(state, zeros))
    return one.by_rows(one.rebuilt(state, zeros)) if same(again, y) else None


def _padded(subject: Subject) -> tuple[np.ndarray, np.ndarray]:
    x = subject.inputs.draw(seed=5)
    lengths = np.array([x.shape[1] - (row % x.shape[1]) for row in range(len(x))])
    return x, lengths


def _call(subject: Subject, part: str, x: np.ndarray, lengths: np.ndarray) -> tuple[Any, Any]:
    one = subject.fresh()
    if part != PLAIN:
        return one.paddings()[part](x, lengths)
    return one.run(x) if one.explicit else (one.ways()[one.plain].observe([x], 1)[0], None)


def _difference(
    subject: Subject, lengths: np.ndarray, one: tuple[Any, Any], other: tuple[Any, Any]
) -> tuple[float, str]:
    """Between two runs over the same rows: the larger of outputs and state, and which it is."""
    (y, state), (z, end) = one, other
    outputs = (
        max((gap(y[row, :n], z[row, :n]) for row, n in enumerate(lengths)), default=0.0)
        if y.ndim > 2 and y.shape[1] >= lengths.max()
        else gap(y, z)
    )
    states = 0.0 if state is None else gaps(subject.by_rows(state), subject.by_rows(end))
    return max((outputs, "outputs"), (states, "state"))


def _against_alone(
    subject: Subject, part: str, x: np.ndarray, lengths: np.ndarray
) -> tuple[float, str]:
    """Each row in the padded batch against that row run alone, where a batch may have one row."""
    if subject.inputs.rows is not None or subject.inputs.steps is not None:
        if part == PLAIN:
            raise UnavailableError(
                "the sizes of a batch are fixed, so that no row can be run alone"
            )
        return 0.0, "outputs"
    y, state = _call(subject, part, x, lengths)
    final = {} if state is None else subject.by_rows(state)
    worst = (0.0, "outputs")
    for row, n in enumerate(lengths):
        piece = x[row : row + 1, :n]
        z, end = _call(subject, PLAIN, piece, lengths)
        timed = with_time(z, piece)
        worst = max(worst, (gap(y[row : row + 1, :n] if timed else y[row : row + 1], z), "outputs"))
        if final and end is not None:
            alone = subject.by_rows(end)
            worst = max(
                worst, *((gap(final[name][row], alone[name][0]), "state") for name in final)
            )
    return worst


def _over(valid: np.ndarray, x: np.ndarray) -> np.ndarray:
    return valid[:, :, None] if x.ndim > 2 else valid
