"""Probes of padding: whether it changes outputs or states, with NaN and length 0 included"""

from __future__ import annotations

from typing import Any

import numpy as np

from statewise.check.probes.compare import (
    TOLERANCE,
    describe_size,
    difference,
    is_same,
    largest_difference,
)
from statewise.check.registry import AS_EXPECTED, Meaning, probe
from statewise.check.subject import Subject, UnavailableError, has_time_axis

PLAIN = "zeros"
_ADVICE = "tell the model where rows end"


def _list_paddings(subject: Subject) -> list[str]:
    return [PLAIN, *subject.find_padding_modes()]


def _list_modes(subject: Subject) -> list[str]:
    return list(subject.find_padding_modes()) or [""]


@probe(
    "padding",
    "Do padded steps ({part}) leave the row's outputs and state alone?",
    "Yes: padding is not data.",
    {
        "ignored": AS_EXPECTED,
        "seen": Meaning("surprise", _ADVICE, "{padding}"),
        "leaks": Meaning("wrong", "the padding reaches the outputs or the state: look at the mask"),
    },
    _list_paddings,
)
def check_padding(subject: Subject, part: str) -> tuple[str, str]:
    x, lengths = _draw_padded(subject)
    valid = np.arange(x.shape[1]) < lengths[:, None]
    if part == PLAIN:
        x = np.where(_expand_mask(valid, x), x, 0).astype(x.dtype)
    worst, where = _compare_with_rows_alone(subject, part, x, lengths)
    if part != PLAIN:
        other = np.where(
            _expand_mask(valid, x),
            x,
            subject.inputs.draw(x.shape[0], x.shape[1], seed=9),
        )
        moved = _compare_runs(
            subject, lengths, _call(subject, part, x, lengths),
            _call(subject, part, other.astype(x.dtype), lengths),
        )  # fmt: skip
        worst, where = max((worst, where), moved)
    if worst <= TOLERANCE:
        what = "outputs and final states" if subject.explicit else "outputs"
        return "ignored", f"valid {what} equal those of each row run alone"
    if part == PLAIN:
        return "seen", f"zeros at the end change the {where}, {describe_size(worst)}"
    return "leaks", f"the padding changes the {where}, {describe_size(worst)}"


@probe(
    "nan",
    "Does NaN in the padding ({part}) stay there?",
    "Yes: padding changes nothing.",
    {
        "stays": AS_EXPECTED,
        "leaks": Meaning("wrong", "select with where() instead of multiplying by the mask"),
    },
    _list_modes,
)
def check_nan(subject: Subject, part: str) -> tuple[str, str]:
    if not part:
        raise UnavailableError("the model does not take lengths or a mask")
    if subject.inputs.features is None:
        raise UnavailableError("tokens cannot be NaN")
    x, lengths = _draw_padded(subject)
    valid = np.arange(x.shape[1]) < lengths[:, None]
    spoiled = np.where(_expand_mask(valid, x), x, np.nan).astype(x.dtype)
    worst, where = _compare_runs(
        subject, lengths, _call(subject, part, spoiled, lengths), _call(subject, part, x, lengths)
    )
    if worst <= TOLERANCE:
        return "stays", "valid outputs and final states are the same as with other padding"
    return "leaks", f"NaN in the padding reaches the {where}"


@probe(
    "empty",
    "Does a row of length 0 ({part}) keep the state it came with?",
    "Yes: there was nothing to read.",
    {
        "kept": AS_EXPECTED,
        "changed": Meaning(
            "surprise", "leave rows of length 0 out of the call, and keep their state yourself"
        ),
        "raises": Meaning("surprise", "leave rows of length 0 out of the call"),
    },
    _list_modes,
)
def check_empty(subject: Subject, part: str) -> tuple[str, str]:
    if not part:
        raise UnavailableError("the model does not take lengths or a mask")
    x, lengths = _draw_padded(subject)
    lengths[1] = 0
    _, state = _call(subject, part, x, lengths)
    if state is None:
        raise UnavailableError("the model returns no state")
    one = subject.restore()
    after = one.arrange_by_rows(state)
    shorter = one.arrange_by_rows(one.run(x[:, :1])[1])
    initial = _find_initial_state(subject, x)
    if initial is None:
        raise UnavailableError("the initial state cannot be read")
    size = max((difference(after[name][1], initial[name][1]) for name in after), default=0.0)
    if size <= TOLERANCE:
        return "kept", "its state is the initial one"
    after_a_step = max(
        (difference(after[name][1], shorter[name][1]) for name in after), default=0.0
    )
    much = "one step" if after_a_step <= TOLERANCE else "steps of padding"
    return "changed", f"its state is that after {much}, {describe_size(size)}"


def _find_initial_state(subject: Subject, x: np.ndarray) -> dict[str, np.ndarray] | None:
    """The initial state: zeros, if they give the outputs of a call without a state; else None."""
    one = subject.restore()
    y, state = one.run(x)
    zeros = {name: np.zeros_like(leaf) for name, leaf in one.read_state(state).items()}
    again, _ = one.run(x, one.rebuild_state(state, zeros))
    return one.arrange_by_rows(one.rebuild_state(state, zeros)) if is_same(again, y) else None


def _draw_padded(subject: Subject) -> tuple[np.ndarray, np.ndarray]:
    x = subject.inputs.draw(seed=5)
    lengths = np.array([x.shape[1] - (row % x.shape[1]) for row in range(len(x))])
    return x, lengths


def _call(subject: Subject, part: str, x: np.ndarray, lengths: np.ndarray) -> tuple[Any, Any]:
    one = subject.restore()
    if part != PLAIN:
        return one.find_padding_modes()[part](x, lengths)
    return (
        one.run(x)
        if one.explicit
        else (one.find_call_modes()[one.plain_mode].observe([x], 1)[0], None)
    )


def _compare_runs(
    subject: Subject, lengths: np.ndarray, one: tuple[Any, Any], other: tuple[Any, Any]
) -> tuple[float, str]:
    """The largest difference between two runs of the same rows, and where it is."""
    (y, state), (z, end) = one, other
    outputs = (
        max(
            (difference(y[row, :n], z[row, :n]) for row, n in enumerate(lengths)),
            default=0.0,
        )
        if y.ndim > 2 and y.shape[1] >= lengths.max()
        else difference(y, z)
    )
    states = (
        0.0
        if state is None
        else largest_difference(subject.arrange_by_rows(state), subject.arrange_by_rows(end))
    )
    return max((outputs, "outputs"), (states, "state"))


def _compare_with_rows_alone(
    subject: Subject, part: str, x: np.ndarray, lengths: np.ndarray
) -> tuple[float, str]:
    """The largest difference between rows of a padded batch and each row run alone, and where."""
    if subject.inputs.rows is not None or subject.inputs.steps is not None:
        if part == PLAIN:
            raise UnavailableError(
                "the model requires a fixed size of batch, so that no row can be run alone"
            )
        return 0.0, "outputs"
    y, state = _call(subject, part, x, lengths)
    final = {} if state is None else subject.arrange_by_rows(state)
    worst = (0.0, "outputs")
    for row, n in enumerate(lengths):
        piece = x[row : row + 1, :n]
        z, end = _call(subject, PLAIN, piece, lengths)
        timed = has_time_axis(z, piece)
        worst = max(
            worst,
            (difference(y[row : row + 1, :n] if timed else y[row : row + 1], z), "outputs"),
        )
        if final and end is not None:
            alone = subject.arrange_by_rows(end)
            worst = max(
                worst,
                *((difference(final[name][row], alone[name][0]), "state") for name in final),
            )
    return worst


def _expand_mask(valid: np.ndarray, x: np.ndarray) -> np.ndarray:
    return valid[:, :, None] if x.ndim > 2 else valid
