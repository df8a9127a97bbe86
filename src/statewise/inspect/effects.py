"""What holding a unit at one value does to the loss: how much, and where"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from statewise.arrays import to_numpy
from statewise.inspect.contexts import Context
from statewise.inspect.editing import edit
from statewise.inspect.losses import Loss
from statewise.inspect.subject import no_gradients
from statewise.state import State
from statewise.types import array_namespace

Kind = Literal["ablated", "clamped high", "clamped low"]
Hold = tuple[int, float]
"""A unit, and the value it is held at."""

_ROWS = 128
"""Rows side by side: more gain nothing."""
_NUMBERS = 2**24
"""Outputs held at a time; long inputs are run stretch by stretch."""


@dataclass(frozen=True)
class Effect:
    """What happens to the loss when a unit is held at one value throughout.

    Attributes:
        kind: ``"ablated"`` (to its mean, or zero), ``"clamped high"`` or ``"clamped low"``.
        to: the value it is held at.
        change: of the mean loss, positive where the model foretells worse.
        where: ``{"label", "change"}``: the mean change at the steps at which a label is on (of a
            label that is a number: in its highest quarter), those that stand out most first.
        contexts: the steps whose inputs are foretold so much worse.
    """

    kind: Kind
    to: float
    change: float
    where: list[dict[str, Any]] = field(default_factory=list)
    contexts: list[Context] = field(default_factory=list)


def changes(
    model: Any,
    x: Any,
    name: str,
    holds: Sequence[Hold],
    loss: Loss,
    state: State | None = None,
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
    """
    found = []
    for first in range(0, len(holds), _ROWS):
        part = holds[first : first + _ROWS]
        rows = len(part) + 1
        several = array_namespace(x).concat([x] * rows, axis=0)
        start = None if state is None else state.rows([0] * rows)
        with edit(model, {name: _holder(part)}), no_gradients(x):
            losses = _losses(model, several, start, loss)
        moved = losses[1:] - losses[:1]
        rounding = 1e-5 * np.abs(losses[0]).mean()
        found.append(np.where(np.abs(moved) > rounding, moved, 0.0))
    return np.concatenate(found)


def _losses(model: Any, x: Any, state: State | None, loss: Loss) -> np.ndarray:
    """The loss at every step but the last, (B, T - 1), by stretches between which states are
    carried.
    """
    xp, steps = array_namespace(x), int(x.shape[1])
    causal = all(cell.causal for cell in model.architecture.layers)
    length = max(2, _NUMBERS // (x.shape[0] * model.architecture.width)) if causal else steps
    found: list[np.ndarray] = []
    held: tuple[Any, ...] = ()
    for start in range(0, steps, length):
        read = x[:, start : start + length]
        y, state = model(read, state)
        if held:  # the last output foretells what this stretch begins with
            read, y = (
                xp.concat([old, new], axis=1) for old, new in zip(held, (read, y), strict=True)
            )
        found.append(np.asarray(to_numpy(loss(read, y)), np.float64))
        held = read[:, -1:], y[:, -1:]
    return np.concatenate(found, axis=1)


def _holder(holds: Sequence[Hold]) -> Callable[[Any], Any]:
    """An edit that holds another unit in each row but the first."""
    rows = list(range(1, len(holds) + 1))
    units, to = [unit for unit, _ in holds], [value for _, value in holds]

    def hold(value: Any) -> Any:
        xp = array_namespace(value)
        new = xp.asarray(value, copy=True)
        new[rows, units] = xp.asarray(to, dtype=value.dtype, device=value.device)
        return new

    return hold


def where(
    changed: np.ndarray, on: dict[str, np.ndarray], count: int = 5
) -> list[list[dict[str, Any]]]:
    """For each row of changes (rows, T) the labels at which the loss rises most, worst first.

    What counts is the mean at a label beyond that of all steps, in standard errors: a few steps
    that happen to change much do not make a label.
    """
    if not on:
        return [[] for _ in changed]
    names, masks = list(on), np.stack(list(on.values()), axis=1).astype(np.float64)  # (T, labels)
    numbers = masks.sum(axis=0)
    means = changed @ masks / numbers
    beyond = (means - changed.mean(axis=1, keepdims=True)) * np.sqrt(numbers)
    order = np.argsort(-beyond, axis=1, kind="stable")[:, :count]
    return [
        [{"label": names[k], "change": float(row[k])} for k in best if min(excess[k], row[k]) > 0]
        for row, best, excess in zip(means, order, beyond, strict=True)
    ]
