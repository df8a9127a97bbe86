"""What holding a unit at one value does to the loss: how much it changes, and where it rises"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from statewise.arrays import to_numpy
from statewise.inspect.chance import CLEAR, DRAWS, corrected_chance, permute_blocks
from statewise.inspect.contexts import Context
from statewise.inspect.editing import edit
from statewise.inspect.losses import Loss
from statewise.inspect.subject import without_gradients
from statewise.state import State
from statewise.types import array_namespace

Kind = Literal["ablated", "clamped high", "clamped low"]
Hold = tuple[int, float]
"""A unit, and the value it is held at."""

_ROWS = 128
"""Rows of a batch; more would not be faster."""
_NUMBERS = 2**24
"""Outputs computed at a time; long inputs are run stretch by stretch."""


@dataclass(frozen=True)
class Effect:
    """How the loss changes when a unit is held at one value at every step.

    Attributes:
        kind: ``"ablated"`` (to its mean, or zero), ``"clamped high"`` or ``"clamped low"``.
        to: the value it is held at.
        change: of the mean loss, positive where the model predicts worse.
        where: ``{"label", "change"}``: the mean change at the steps at which a label is on (of a
            label that is a number: in its highest quarter). Only labels at which the loss rises by
            more than chance explains, those that stand out most first.
        contexts: the steps whose inputs are predicted worse by the most, with that change.
    """

    kind: Kind
    to: float
    change: float
    where: list[dict[str, Any]] = field(default_factory=list)
    contexts: list[Context] = field(default_factory=list)


def measure_changes(
    model: Any,
    x: Any,
    name: str,
    holds: Sequence[Hold],
    loss: Loss,
    state: State | None = None,
    report: Callable[[float], None] | None = None,
) -> np.ndarray:
    """The change of the loss at every step by each hold, (holds, T - 1).

    Each is a row of one batch, in which another unit is held. The first row of every batch is as
    the model is, so that a hold without effect shows none.

    Arguments:
        model: of `statewise.nn` or of `statewise.load`.
        x: one row of inputs, (1, T, ...).
        name: a value that can be edited.
        holds: the units and the values they are held at.
        loss: of inputs and outputs.
        state: where to go on from, one row; the initial state where it is not given.
        report: called with how many holds are done.
    """
    found = []
    for first in range(0, len(holds), _ROWS):
        part = holds[first : first + _ROWS]
        rows = len(part) + 1
        several = array_namespace(x).concat([x] * rows, axis=0)
        start = None if state is None else state.rows([0] * rows)
        stretches = []
        with edit(model, {name: _hold_units(part)}), without_gradients(x):
            for share, losses in _run_stretches(model, several, start, loss):
                stretches.append(losses)
                if report is not None:
                    report(first + share * len(part))
        losses = np.concatenate(stretches, axis=1)
        moved = losses[1:] - losses[:1]
        rounding = 1e-5 * np.abs(losses[0]).mean()
        found.append(np.where(np.abs(moved) > rounding, moved, 0.0))
    return np.concatenate(found)


def _run_stretches(
    model: Any, x: Any, state: State | None, loss: Loss
) -> Iterator[tuple[float, np.ndarray]]:
    """The loss at every step but the last, (B, steps) of one stretch after the other, each with the
    share of the steps that have been run; states are carried from stretch to stretch.
    """
    xp, steps = array_namespace(x), int(x.shape[1])
    causal = all(cell.causal for cell in model.architecture.layers)
    length = max(2, _NUMBERS // (x.shape[0] * model.architecture.width)) if causal else steps
    last: tuple[Any, ...] = ()
    for start in range(0, steps, length):
        inputs = x[:, start : start + length]
        outputs, state = model(inputs, state)
        pair = inputs, outputs
        if last:  # the last output predicts the first input of this stretch
            pair = tuple(xp.concat([old, new], axis=1) for old, new in zip(last, pair, strict=True))
        yield min(1.0, (start + length) / steps), np.asarray(to_numpy(loss(*pair)), np.float64)
        last = inputs[:, -1:], outputs[:, -1:]


def _hold_units(holds: Sequence[Hold]) -> Callable[[Any], Any]:
    """A change of a value that holds another unit in each row but the first."""
    rows = list(range(1, len(holds) + 1))
    units, to = [unit for unit, _ in holds], [value for _, value in holds]

    def hold(value: Any) -> Any:
        xp = array_namespace(value)
        new = xp.asarray(value, copy=True)
        new[rows, units] = xp.asarray(to, dtype=value.dtype, device=value.device)
        return new

    return hold


def find_rises(
    changed: np.ndarray, on: dict[str, np.ndarray], count: int = 5, seed: int = 0
) -> list[list[list[dict[str, Any]]]]:
    """For each unit and hold, the labels at which the loss rises most.

    What counts is how far the mean change at a label exceeds that at all steps. It must exceed by
    more than the same labels do anywhere in other orders of their blocks, for any hold of the unit:
    of many labels without a meaning some always have high means.

    Arguments:
        changed: the change of the loss, (units, holds, T).
        on: where each label is on, (T,) bool.
        count: how many labels to name at most.
        seed: of the orders.
    """
    units, holds, steps = changed.shape
    if not on:
        return [[[] for _ in range(holds)] for _ in range(units)]
    names, masks = list(on), np.stack(list(on.values()), axis=1).astype(np.float64)  # (T, labels)
    masks /= masks.sum(axis=0)
    rows = changed.reshape(-1, steps)
    means = (rows @ masks).reshape(units, -1)  # of a unit, all labels of all its holds
    orders = permute_blocks(steps, DRAWS, seed)
    drawn = np.stack([(rows @ masks[order]).reshape(means.shape) for order in orders])
    clear = (corrected_chance(means, drawn) <= CLEAR) & (means > 0)
    excess = (means - drawn.mean(axis=0)) / np.maximum(drawn.std(axis=0), 1e-30)

    def named(means: np.ndarray, clear: np.ndarray, excess: np.ndarray) -> list[dict[str, Any]]:
        best = [k for k in np.argsort(-excess, kind="stable") if clear[k]]
        return [{"label": names[k], "change": float(means[k])} for k in best[:count]]

    parts = (one.reshape(units, holds, -1) for one in (means, clear, excess))
    return [[named(*hold) for hold in zip(*unit, strict=True)] for unit in zip(*parts, strict=True)]
