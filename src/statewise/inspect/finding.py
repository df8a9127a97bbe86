"""`find`: which units are on throughout a span and off beside it, and where else they are on"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from statewise.errors import InputError
from statewise.inspect.scoring import Score, choose_kind, score_units
from statewise.inspect.trace import Trace, check_trace
from statewise.validation import is_number


@dataclass(frozen=True)
class Found:
    """The units that a span has in common, as `find` returns them.

    Attributes:
        units: on throughout the span and off just before or after it, those that change most first.
        always: all that are on throughout the span.
        matches: (start, stop, count) of other stretches in which at least half of `units` are on,
            and how many are on throughout; most units first, then those nearest to the span's
            length.
        score: of `units` on held-out steps; None where none were given or no unit was found.
    """

    units: list[int]
    always: list[int]
    matches: list[tuple[int, int, int]]
    score: Score | None = None


def find(
    trace: Trace,
    span: Any,
    threshold: float = 0.3,
    name: str = "0.h",
    row: int = 0,
    *,
    held_out: Trace | None = None,
    kind: Any = None,
    draws: int = 200,
    seed: int = 0,
) -> Found:
    """The units that are on throughout a span and off beside it, and where else they are on.

    Arguments:
        trace: holds `name`.
        span: steps, as `Trace.span` takes them: ``(10, 20)``, or a passage of the text.
        threshold: a unit is on where its value is at least this.
        name, row: of the values looked at.
        held_out: another trace, in whose first row what was found is scored, see `Score`.
        kind: at which steps of `held_out` the units are scored: the name of a ready-made label, or
            (T,) bool. Where not given, the rarest ready-made label that is on throughout the span
            and off just before or after it; all steps where there is none.
        draws, seed: of the shuffled baseline.

    Raises:
        InputError: a span outside the trace, an unknown name, row or label.

    Example::

        found = inspect.find(trace, '"some string"', held_out=inspect.record(model, another))
        found.units, found.score.kind, found.score.together, found.score.shuffled

    Source: Strobelt et al., LSTMVis: a tool for visual analysis of hidden state dynamics in
    recurrent neural networks, 2018.
    """
    check_trace(trace)
    values = trace[name]
    if values.ndim != 3 or not -trace.rows <= row < trace.rows:
        raise InputError(f"find looks at rows 0 to {trace.rows - 1} of (B, T, units), got {row}")
    if not is_number(threshold):
        raise InputError(f"threshold must be a number, got {threshold!r}")
    if held_out is not None:
        check_trace(held_out, "held_out")
    start, stop = trace.span(span)
    valid = trace.steps if trace.mask is None else int(trace.mask[row].sum())
    if stop > valid:
        raise InputError(
            f"row {row} ends at step {valid}, before the end of the span {start} to {stop}"
        )
    level = values[row, :valid]  # (T, units)
    on: np.ndarray = np.asarray(level >= threshold)
    always = np.flatnonzero(on[start:stop].all(axis=0))
    beside = [t for t in (start - 1, stop) if 0 <= t < valid]
    off: np.ndarray = np.zeros(on.shape[1], bool)
    if beside:
        off = np.any(~on[beside], axis=0)
    inside = level[start:stop, always].mean(axis=0)
    outside = level[beside][:, always].min(axis=0) if beside else inside
    order = always[np.argsort(outside - inside, kind="stable")]
    units = [int(unit) for unit in order if off[unit]]
    matches = _find_matches(on[:, units], start, stop) if units else []
    score = None
    if held_out is not None and units:
        kind = choose_kind(trace, row, start, stop, held_out) if kind is None else kind
        score = score_units(held_out, name, units, threshold, kind, draws, seed)
    return Found(units, [int(unit) for unit in always], matches, score)


def _find_matches(on: np.ndarray, start: int, stop: int) -> list[tuple[int, int, int]]:
    """Stretches outside the span in which at least half of these units are on, (T, units) bool."""
    count = on.sum(axis=1)
    together = count >= max(1, -(-on.shape[1] // 2))
    edges = np.flatnonzero(np.diff(np.r_[False, together, False].astype(np.int8)))
    found = []
    for first, last in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if last > start and first < stop:
            continue
        found.append((first, last, int(on[first:last].all(axis=0).sum())))
    length = stop - start
    return sorted(found, key=lambda m: (-m[2], abs(m[1] - m[0] - length), m[0]))
