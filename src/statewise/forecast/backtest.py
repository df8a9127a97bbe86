"""Rolling-origin evaluation in one pass over the series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from statewise.errors import DataError
from statewise.forecast.frames import Columns, Panel, build
from statewise.forecast.learning import Settings, learn
from statewise.forecast.walk import columns, consume
from statewise.state import State


def cross_validate(
    settings: Settings,
    panel: Panel,
    names: Columns,
    h: int,
    n_windows: int,
    step_size: int | None,
    levels: Sequence[float],
) -> Any:
    """Train before the first cutoff, then walk: a snapshot at each cutoff, a fork that forecasts.

    Returns:
        a frame as `Forecaster.cross_validation` describes it.
    """
    step = h if step_size is None else step_size
    for name, value in {"h": h, "n_windows": n_windows, "step_size": step}.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise DataError(f"{name} must be a whole number of at least 1, got {value!r}")
    held_out = h + (n_windows - 1) * step
    for one in panel.series:
        if len(one.values) - held_out < settings.shortest:
            raise DataError(
                f"series {one.id!r} has {len(one.values)} steps; {n_windows} windows of {h} steps, "
                f"{step} apart, leave {len(one.values) - held_out} to learn from, and at least "
                f"{settings.shortest} are needed"
            )
    learned = learn(settings, [one.part(None, -held_out) for one in panel.series])
    tracks = list(learned.tracks.values())
    pieces = []
    for window in range(n_windows):
        cutoffs = [len(one.values) - held_out + window * step for one in panel.series]
        ahead = list(zip(panel.series, cutoffs, strict=True))
        named = {} if names.id is None else {names.id: np.repeat([one.id for one, _ in ahead], h)}
        named |= {
            names.time: np.concatenate([one.times[at : at + h] for one, at in ahead]),
            "cutoff": np.repeat([one.times[at - 1] for one, at in ahead], h),
            names.target: np.concatenate([one.values[at : at + h] for one, at in ahead]),
            **columns(learned.model, tracks, h, levels, settings.seed),
        }
        pieces.append(named)
        passed = [one.part(at, at + step) for one, at in ahead]
        before = State.cat([track.state for track in tracks])
        forecasts, after = consume(learned.model, [one.values for one in passed], before)
        tracks = [
            track.advanced(
                after.rows(index),
                one.times[-1],
                one.values - np.r_[track.outlook, forecasts[index][:-1]],
            )
            for index, (track, one) in enumerate(zip(tracks, passed, strict=True))
        ]
    joined = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    return build(panel.backend, joined)
