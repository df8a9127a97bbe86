"""Running a full model along series: seeding states, going on, sampling what may come."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from statewise.forecast.table import Track
from statewise.runtime import Model
from statewise.state import State

NAME = "statewise"
SAMPLES = 500
ROWS = 4096


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


def errors(values: np.ndarray, forecasts: np.ndarray, skip: int) -> np.ndarray:
    """One-step errors along a series, value minus forecast, without the first `skip` steps."""
    return np.asarray(values[1 + skip :] - forecasts[skip:-1])


def extrapolate(model: Model, state: State, horizon: int) -> np.ndarray:
    """Forecast by taking each forecast as the next value, (B, horizon)."""
    path = [np.asarray(state["outputs.y"])]
    for _ in range(horizon - 1):
        y, state = model.step(path[-1], state)
        path.append(y)
    return np.concatenate(path, axis=1)


def sample(
    model: Model,
    state: State,
    residuals: Sequence[np.ndarray],
    horizon: int,
    samples: int,
    seed: int,
) -> np.ndarray:
    """Paths that may come: at every step one of the series' own past errors is added to the
    forecast, and the sum is taken as the next value.

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
    for start in range(0, state.batch, at_once):
        some = np.arange(start, min(start + at_once, state.batch))
        forks = state.rows(np.repeat(some, samples))
        drawn = noise[some].reshape(-1, horizon)
        for step in range(horizon):
            value = np.asarray(forks["outputs.y"]) + drawn[:, step, None]
            paths[some, :, step] = value.reshape(len(some), samples)
            if step + 1 < horizon:
                _, forks = model.step(value, forks)
    return paths


def columns(
    model: Model, tracks: Sequence[Track], horizon: int, levels: Sequence[float], seed: int
) -> dict[str, np.ndarray]:
    """The columns of a forecast: (B * horizon,) each, the point forecast and its intervals."""
    state = State.cat([track.state for track in tracks])
    named = {NAME: extrapolate(model, state, horizon).reshape(-1)}
    if levels:
        residuals = [track.residuals for track in tracks]
        paths = sample(model, state, residuals, horizon, SAMPLES, seed)
        for level in levels:
            low, high = np.quantile(paths, [0.5 - level / 200, 0.5 + level / 200], axis=1)
            named[f"{NAME}-lo-{level:g}"] = low.reshape(-1)
            named[f"{NAME}-hi-{level:g}"] = high.reshape(-1)
    return named
