"""Running a full model along series: seeding states, going on, and sampling future paths."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from statewise.forecast.frames import Series
from statewise.forecast.table import Track
from statewise.progress import Progress
from statewise.runtime import Model
from statewise.state import State

NAME = "statewise"
SAMPLES = 500
"""How many paths are sampled for each series."""
ROWS = 4096
"""How many paths are stepped at once."""


def consume(
    model: Model, values: Sequence[np.ndarray], start: State
) -> tuple[list[np.ndarray], State]:
    """Let each row consume its values.

    Arguments:
        model: a full model.
        values: (T_i,) for each row of `start`; lengths may differ.

    Returns:
        for each row the forecast made after each step, (T_i,), and the state at the end.
    """
    lengths = np.array([len(row) for row in values])
    x = np.zeros((len(values), max(lengths, default=0), 1))
    for index, row in enumerate(values):
        x[index, : len(row), 0] = row
    y, state = model(x, start, lengths=lengths)
    return [y[index, :length, 0] for index, length in enumerate(lengths)], state


def advance(model: Model, tracks: Sequence[Track], series: Sequence[Series]) -> list[Track]:
    """The tracks after each has consumed the further steps of its series."""
    before = State.cat([track.state for track in tracks])
    forecasts, after = consume(model, [one.values for one in series], before)
    return [
        track.advance(after.rows(index), one.times[-1], one.values, forecasts[index])
        for index, (track, one) in enumerate(zip(tracks, series, strict=True))
    ]


def extrapolate(model: Model, state: State, horizon: int) -> np.ndarray:
    """Forecast by taking each forecast as the next value, (B, horizon)."""
    path = [np.asarray(state["outputs.y"])]
    for _ in range(horizon - 1):
        y, state = model.step(path[-1], state)
        path.append(y)
    return np.concatenate(path, axis=1)


def sample_paths(
    model: Model,
    state: State,
    residuals: Sequence[np.ndarray],
    horizon: int,
    samples: int,
    seed: int,
) -> np.ndarray:
    """Possible futures: at every step one of the series' own past errors is added to the forecast,
    and the sum is taken as the next value.

    Arguments:
        state: B rows.
        residuals: the past one-step errors of each row, at least one.

    Returns:
        (B, samples, horizon).
    """
    rng = np.random.default_rng(seed)
    noise = np.stack([rng.choice(own, size=(samples, horizon)) for own in residuals])
    paths = np.empty((state.batch, samples, horizon))
    at_once = max(1, ROWS // samples)
    with Progress("sampling intervals", state.batch * horizon) as progress:
        for start in range(0, state.batch, at_once):
            some = np.arange(start, min(start + at_once, state.batch))
            forks = state.rows(np.repeat(some, samples))
            drawn = noise[some].reshape(-1, horizon)
            for step in range(horizon):
                value = np.asarray(forks["outputs.y"]) + drawn[:, step, None]
                paths[some, :, step] = value.reshape(len(some), samples)
                if step + 1 < horizon:
                    _, forks = model.step(value, forks)
                progress.update(start * horizon + (step + 1) * len(some))
    return paths


def build_columns(
    model: Model, tracks: Sequence[Track], horizon: int, levels: Sequence[float], seed: int
) -> dict[str, np.ndarray]:
    """The columns of a forecast: (B * horizon,) each, the point forecast and its intervals."""
    state = State.cat([track.state for track in tracks])
    named = {NAME: extrapolate(model, state, horizon).reshape(-1)}
    if levels:
        residuals = [track.residuals for track in tracks]
        paths = sample_paths(model, state, residuals, horizon, SAMPLES, seed)
        for level in levels:
            low, high = np.quantile(paths, [0.5 - level / 200, 0.5 + level / 200], axis=1)
            named[f"{NAME}-lo-{level:g}"] = low.reshape(-1)
            named[f"{NAME}-hi-{level:g}"] = high.reshape(-1)
    return named
