"""`Score`: whether units that a span has in common are on together on held-out steps"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from statewise.errors import InputError
from statewise.inspect.labels import compute_label, compute_labels, locate_labels
from statewise.inspect.trace import Trace
from statewise.validation import check_whole_number


@dataclass(frozen=True)
class Score:
    """Whether units that a span has in common are on together on steps that were held out.

    The baseline shifts each unit by a random number of steps of its own, in a circle: every unit is
    on as often and for as long as before, and they are on together by chance alone. One unit alone
    always scores as its baseline does, unless a kind of step is given.

    Attributes:
        kind: the label at whose steps they are scored; None for all steps.
        together: the share of those steps at which all of the units are on.
        elsewhere: the same share of all other steps; None without a kind.
        shuffled: `together` of the baseline, the mean over its draws.
        chance: the share of draws in which the baseline does as well, at least 1 / (draws + 1).
        ratio: `together` divided by `shuffled`, the latter taken as one step in all draws at least.
    """

    kind: str | None
    together: float
    elsewhere: float | None
    shuffled: float
    chance: float
    ratio: float


def choose_kind(trace: Trace, row: int, start: int, stop: int, held_out: Trace) -> str | None:
    """The rarest ready-made label that is on throughout a span, off just before or after it, and
    both on and off on the held-out steps.
    """
    known = locate_labels(compute_labels(held_out))
    fitting = {}
    for name, on in locate_labels(compute_labels(trace, row)).items():
        beside = on[[t for t in (start - 1, stop) if 0 <= t < len(on)]]
        if name in known and on[start:stop].all() and not beside.all():
            fitting[name] = int(on.sum())
    return min(fitting, key=lambda name: fitting[name]) if fitting else None


def score_units(
    trace: Trace, name: str, units: list[int], threshold: float, kind: Any, draws: int, seed: int
) -> Score:
    """The score of units in the first row of a trace, see `find`."""
    check_whole_number("draws", draws)
    values = trace[name]
    valid = np.ones(trace.steps, bool) if trace.mask is None else trace.mask[0]
    if values.shape[-1] <= max(units) or not valid.any():
        raise InputError(f"the held-out trace's {name!r}, {values.shape}, is not of the same model")
    on = values[0, valid][:, units] >= threshold
    there = np.ones(trace.steps, bool) if kind is None else _mark_steps(trace, kind)
    share, elsewhere, shuffled, chance = _measure(on, there[valid], draws, seed)
    return Score(
        kind if kind is None or isinstance(kind, str) else "given",
        share,
        None if kind is None else elsewhere,
        shuffled,
        chance,
        share / max(shuffled, 1 / (int(there[valid].sum()) * draws)),
    )


def _mark_steps(trace: Trace, kind: Any) -> np.ndarray:
    """The steps of a trace's first row that are of a kind, (T,) bool."""
    if isinstance(kind, str):
        label = compute_label(trace, kind)
        there = locate_labels({kind: label}).get(kind, np.zeros(len(label), bool))
    else:
        there = np.asarray(kind)
    if there.shape != (trace.steps,) or there.dtype != bool:
        raise InputError(
            f"kind is the name of a label or ({trace.steps},) bool, got {there.shape} {there.dtype}"
        )
    if not 0 < there.sum() < there.size:
        raise InputError("kind must be true at some of the held-out steps, and not at all of them")
    return there


def _measure(
    on: np.ndarray, there: np.ndarray, draws: int, seed: int
) -> tuple[float, float, float, float]:
    """together, elsewhere, shuffled and chance of units (T, units), on or off, see `Score`."""
    steps, units = on.shape
    rng = np.random.default_rng(seed)

    def share_together(shifts: Any, at: np.ndarray) -> float:
        moved = [np.roll(on[:, unit], by) for unit, by in enumerate(shifts)]
        return float(np.all(moved, axis=0)[at].mean()) if at.any() else 0.0

    still = [0] * units
    share = share_together(still, there)
    baseline = np.array(
        [share_together(rng.integers(0, steps, size=units), there) for _ in range(draws)]
    )
    chance = (1 + int((baseline >= share).sum())) / (1 + draws)
    return share, share_together(still, ~there), float(baseline.mean()), chance
