"""`find`: which units are on throughout a span and off beside it, and where else they fire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from statewise.errors import InputError
from statewise.inspect.scoring import Score, kind_of, score_of
from statewise.inspect.trace import Trace


@dataclass(frozen=True)
class Found:
    """What `find` found.

    Attributes:
        units: on throughout the span and off just before or after it, most decisive first.
        always: all that are on throughout the span.
        matches: (start, stop, units on) of other stretches in which those units are on together,
            those nearest to the span's length and fullest first.
        score: of `units` on held-out steps, None where none were given or no unit was found.
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
    """The units that a selected span has in common, and where else the same units fire.

    Arguments:
        trace: holds `name`.
        span: steps, as `Trace.span` takes them: ``(10, 20)``, or a passage of the text.
        threshold: a unit is on where its value is at least this.
        name, row: of the values looked at.
        held_out: another trace, in whose first row what was found is scored, see `Score`.
        kind: at which of its steps: the name of a ready-made label, or (T,) bool. Where not given,
            the rarest ready-made label that is on throughout the span and off just before or after
            it; all steps where there is none.
        draws, seed: of the shuffled baseline.

    Raises:
        InputError: a span outside the trace, an unknown name, row or label.

    Example::

        found = inspect.find(trace, '"some string"', held_out=inspect.record(model, another))
        found.units, found.score.kind, found.score.together, found.score.shuffled

    Source: Strobelt et al., LSTMVis: a tool for visual analysis of hidden state dynamics in
    recurrent neural networks, 2018.
    """
    values = trace[name]
    if values.ndim != 3 or not -trace.rows <= row < trace.rows:
        raise InputError(f"find looks at rows 0 to {trace.rows - 1} of (B, T, units), got {row}")
    given: Any = held_out
    if given is not None and not isinstance(given, Trace):
        raise InputError(f"held_out is a trace, of record, got {type(given).__name__}")
    start, stop = trace.span(span)
    valid = trace.steps if trace.mask is None else int(trace.mask[row].sum())
    if stop > valid:
        raise InputError(f"row {row} ends at step {valid}; the span {start} to {stop} does not")
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
    matches = _matches(on[:, units], start, stop) if units else []
    score = None
    if held_out is not None and units:
        kind = kind_of(trace, row, start, stop, held_out) if kind is None else kind
        score = score_of(held_out, name, units, threshold, kind, draws, seed)
    return Found(units, [int(unit) for unit in always], matches, score)


def _matches(on: np.ndarray, start: int, stop: int) -> list[tuple[int, int, int]]:
    """Stretches outside the span in which most of these units are on, (T, units) bool."""
    count = on.sum(axis=1)
    fires = count >= max(1, -(-on.shape[1] // 2))
    edges = np.flatnonzero(np.diff(np.r_[False, fires, False].astype(np.int8)))
    found = []
    for first, last in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if last > start and first < stop:
            continue
        together = int(on[first:last].all(axis=0).sum())
        found.append((first, last, together))
    length = stop - start
    return sorted(found, key=lambda m: (-m[2], abs(m[1] - m[0] - length), m[0]))
