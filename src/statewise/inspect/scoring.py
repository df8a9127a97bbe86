"""`Score`: whether units that were found belong together on steps that were not looked at"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from statewise.errors import InputError
from statewise.inspect.labels import label_of, places, ready_labels
from statewise.inspect.trace import Trace


@dataclass(frozen=True)
class Score:
    """Whether units that a span has in common belong together on steps that were not looked at.

    The baseline moves each unit's series along by a random number of steps of its own, in a circle:
    every unit is on as often and for as long as it was, and what they do together is left to
    chance. One unit alone always does as its baseline unless a kind of step is meant.

    Attributes:
        kind: the label at whose steps they are looked at; None for all steps.
        together: the share of those steps at which all of the units are on.
        elsewhere: their share of the other steps, None without a kind.
        shuffled: `together` of the baseline, the mean over its draws.
        chance: how often the baseline does as well, never below 1 / (draws + 1).
        ratio: `together` to `shuffled`, which counts as one step in all draws at least.
    """

    kind: str | None
    together: float
    elsewhere: float | None
    shuffled: float
    chance: float
    ratio: float


def kind_of(trace: Trace, row: int, start: int, stop: int, held_out: Trace) -> str | None:
    """The rarest ready-made label that is on throughout a span, off just before or after it, and
    tells held-out steps apart.
    """
    known = places(ready_labels(held_out))
    fitting = {}
    for name, on in places(ready_labels(trace, row)).items():
        beside = on[[t for t in (start - 1, stop) if 0 <= t < len(on)]]
        if name in known and on[start:stop].all() and not beside.all():
            fitting[name] = int(on.sum())
    return min(fitting, key=lambda name: fitting[name]) if fitting else None


def score_of(
    trace: Trace, name: str, units: list[int], threshold: float, kind: Any, draws: int, seed: int
) -> Score:
    """The score of units in the first row of a trace, see `find`."""
    if draws < 1:
        raise InputError(f"a baseline takes at least 1 draw, got {draws}")
    values = trace[name]
    valid = np.ones(trace.steps, bool) if trace.mask is None else trace.mask[0]
    if values.shape[-1] <= max(units) or not valid.any():
        raise InputError(f"the held-out trace's {name!r}, {values.shape}, is not of the same model")
    on = values[0, valid][:, units] >= threshold
    there = np.ones(trace.steps, bool) if kind is None else _steps(trace, kind)
    share, elsewhere, shuffled, chance = _measured(on, there[valid], draws, seed)
    return Score(
        kind if kind is None or isinstance(kind, str) else "given",
        share,
        None if kind is None else elsewhere,
        shuffled,
        chance,
        share / max(shuffled, 1 / (int(there[valid].sum()) * draws)),
    )


def _steps(trace: Trace, kind: Any) -> np.ndarray:
    """At which steps of a trace's first row a kind is, (T,) bool."""
    if isinstance(kind, str):
        label = label_of(trace, kind)
        there = places({kind: label}).get(kind, np.zeros(len(label), bool))
    else:
        there = np.asarray(kind)
    if there.shape != (trace.steps,) or there.dtype != bool:
        raise InputError(
            f"kind is the name of a label or ({trace.steps},) bool, got {there.shape} {there.dtype}"
        )
    if not 0 < there.sum() < there.size:
        raise InputError("kind must be met at some of the held-out steps, and not at all of them")
    return there


def _measured(
    on: np.ndarray, there: np.ndarray, draws: int, seed: int
) -> tuple[float, float, float, float]:
    """Of units (T, units) on or not: together, elsewhere, shuffled and chance, see `Score`."""
    steps, units = on.shape
    rng = np.random.default_rng(seed)

    def together(shifts: Any, at: np.ndarray) -> float:
        moved = [np.roll(on[:, unit], by) for unit, by in enumerate(shifts)]
        return float(np.all(moved, axis=0)[at].mean()) if at.any() else 0.0

    still = [0] * units
    share = together(still, there)
    baseline = np.array([together(rng.integers(0, steps, size=units), there) for _ in range(draws)])
    chance = (1 + int((baseline >= share).sum())) / (1 + draws)
    return share, together(still, ~there), float(baseline.mean()), chance
