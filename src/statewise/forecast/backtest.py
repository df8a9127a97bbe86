"""Rolling-origin evaluation in one pass over the series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from statewise.errors import DataError
from statewise.forecast.frames import Panel, build
from statewise.forecast.walk import consume
from statewise.state import State

if TYPE_CHECKING:
    from statewise.forecast.forecaster import Forecaster


def cross_validate(
    forecaster: Forecaster,
    panel: Panel,
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
        if len(one.values) - held_out < forecaster.shortest:
            raise DataError(
                f"series {one.id!r} has {len(one.values)} steps; {n_windows} windows of {h} steps, "
                f"{step} apart, leave {len(one.values) - held_out} to learn from, and at least "
                f"{forecaster.shortest} are needed"
            )
    trained = forecaster.copy()
    trained.calendar, trained.backend = panel.calendar, panel.backend
    trained._learn([one.part(None, -held_out) for one in panel.series])
    assert trained.model is not None
    tracks = [trained.states.track(one.id) for one in panel.series]
    state = State.cat([track.state for track in tracks])
    pieces = []
    for window in range(n_windows):
        cutoff = window * step
        here = [len(one.values) - held_out + cutoff for one in panel.series]
        named = {}
        if trained.columns.id is not None:
            named[trained.columns.id] = np.repeat([one.id for one in panel.series], h)
        ahead = list(zip(panel.series, here, strict=True))
        named |= {
            trained.columns.time: np.concatenate([one.times[at : at + h] for one, at in ahead]),
            "cutoff": np.repeat([one.times[at - 1] for one, at in ahead], h),
            trained.columns.target: np.concatenate([one.values[at : at + h] for one, at in ahead]),
            **trained.forecasts(state, tracks, h, levels),
        }
        pieces.append(named)
        if window + 1 < n_windows:
            seen = [one.values[at : at + step] for one, at in ahead]
            said = np.asarray(state["outputs.y"])
            forecasts, state = consume(trained.model, seen, state)
            tracks = [
                replace(
                    track.advanced(track.state, track.last, own - np.r_[said[i], after[:-1]]),
                    state=state.rows(i),
                )
                for i, (track, own, after) in enumerate(zip(tracks, seen, forecasts, strict=True))
            ]
    joined = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    return build(panel.backend, joined)
