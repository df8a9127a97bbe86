"""Rolling-origin evaluation in one pass over the series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from statewise.errors import DataError
from statewise.forecast.frames import Columns, Panel, build
from statewise.forecast.learning import Settings, learn
from statewise.forecast.rollout import advance, build_columns
from statewise.progress import Progress
from statewise.validation import check_whole_number
from statewise.wording import format_count


def cross_validate(
    settings: Settings,
    panel: Panel,
    names: Columns,
    h: int,
    n_windows: int,
    step_size: int | None,
    levels: Sequence[float],
) -> Any:
    """Train before the first cutoff, then go on: at each cutoff a fork of the states forecasts.

    Returns:
        a frame as `Forecaster.cross_validation` describes it.
    """
    step = h if step_size is None else step_size
    for name, value in {"h": h, "n_windows": n_windows, "step_size": step}.items():
        check_whole_number(name, value, error=DataError)
    held_out = h + (n_windows - 1) * step
    for one in panel.series:
        left = max(0, len(one.values) - held_out)
        if left < settings.shortest:
            raise DataError(
                f"{one} has {format_count(len(one.values), 'step')}; "
                f"{format_count(n_windows, 'window')} of {format_count(h, 'step')}, {step} apart, "
                f"leave {left} to learn from, and at least {settings.shortest} are needed"
            )
    with Progress("backtesting", n_windows + 1) as progress:
        learned = learn(settings, [one.slice(None, -held_out) for one in panel.series])
        tracks = list(learned.tracks.values())
        pieces = []
        for window in range(n_windows):
            progress.update(window + 1)
            cutoffs = [len(one.values) - held_out + window * step for one in panel.series]
            pairs = list(zip(panel.series, cutoffs, strict=True))
            ids = np.repeat([one.id for one in panel.series], h)
            pieces.append(
                ({} if names.id is None else {names.id: ids})
                | {
                    names.time: np.concatenate([one.times[at : at + h] for one, at in pairs]),
                    "cutoff": np.repeat([one.times[at - 1] for one, at in pairs], h),
                    names.target: np.concatenate([one.values[at : at + h] for one, at in pairs]),
                    **build_columns(learned.model, tracks, h, levels, settings.seed),
                }
            )
            if window + 1 < n_windows:
                passed = [one.slice(at, at + step) for one, at in pairs]
                tracks = advance(learned.model, tracks, passed)
    joined = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    return build(panel.backend, joined)
