"""Ways to handle the state between forecasts: the policies, compared on one-step forecasts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from statewise.errors import DataError
from statewise.forecast.baselines import autoregressive, persistence, seasonal_naive
from statewise.forecast.comparison import Comparison
from statewise.forecast.core import replace_core_state, reset_core_state
from statewise.forecast.forecaster import Forecaster
from statewise.forecast.frames import Columns, Missing, Panel, read
from statewise.forecast.learning import Settings, TrainingResult, check_series, join_states, learn
from statewise.forecast.rollout import consume
from statewise.progress import Progress
from statewise.state import State
from statewise.validation import check_whole_number
from statewise.wording import format_count

POLICIES = ("reset", "window", "seed", "carry")
PARALLEL_SECONDS = 6.0
"""From how many seconds of work on further processes pay: each of them imports torch."""


def compare_state_policies(
    df: Any,
    *,
    test: int,
    policies: Iterable[str] = POLICIES,
    repeats: int = 10,
    forecaster: Forecaster | None = None,
    window: int = 12,
    season: int = 12,
    id_col: str | None = "unique_id",
    time_col: str = "ds",
    target_col: str = "y",
    missing: Missing = "error",
    n_jobs: int | None = None,
    on_repeat: Callable[[int], None] | None = None,
) -> Comparison:
    """Compare ways to handle the state between one-step forecasts, and the baselines.

    The network is trained on all but the last `test` steps; then every test step is forecast from
    the true steps before it. Each repeat trains once, from a seed of its own, and all policies use
    its weights, so they differ in nothing but the state:

    - ``reset``: each forecast starts from the initial state and sees one observation;
    - ``window``: the last `window` observations are read again from the initial state each time;
    - ``seed``: the history is consumed by the final weights once, then the state is carried;
    - ``carry``: the state that training left is carried on.

    Under every policy the transforms keep their state: a difference needs the value before it, and
    without it a policy would be measured by its differencing.

    Arguments:
        df: a long frame.
        test: how many of the last steps to forecast.
        policies: which to compare.
        repeats: trainings, with the seeds `forecaster.seed`, + 1, + 2, ...
        forecaster: the network and its training; the default one if None.
        window: steps that the window policy reads.
        season: of the seasonal naive baseline.
        id_col, time_col, target_col, missing: as for `Forecaster.fit`.
        n_jobs: how many processes, as joblib counts them; None starts one for each core, if the
            first repeat takes long enough for that to pay.
        on_repeat: called after each repeat with how many are done.

    Returns:
        the forecasts of each policy, repeat and baseline.

    Raises:
        DataError: unknown policies, or a series shorter than the test part.
    """
    chosen = _check_policies(policies)
    for name, value in {
        "test": test,
        "repeats": repeats,
        "window": window,
        "season": season,
    }.items():
        check_whole_number(name, value, error=DataError)
    settings = (forecaster or Forecaster()).settings
    columns = Columns(id_col, time_col, target_col)
    panel = read(df, columns, missing)
    for one in panel.series:
        left = max(0, len(one.values) - test)
        if left <= settings.shortest:
            raise DataError(
                f"{one} has {format_count(len(one.values), 'step')}; a test part of "
                f"{test} leaves {left} to learn from, and at least {settings.shortest + 1} are "
                "needed"
            )
        check_series(one.slice(None, -test), settings.shortest)
    runs = []
    with Progress("comparing the policies", repeats) as progress:
        for run in _run_repeats(settings, panel, chosen, test, window, repeats, n_jobs):
            runs.append(run)
            progress.update(len(runs))
            if on_repeat is not None:
                on_repeat(len(runs))
    values = [one.values for one in panel.series]
    return Comparison(
        {name: np.stack([run[name] for run in runs]) for name in chosen},
        {
            "persistence": np.stack([persistence(v, test) for v in values]),
            "seasonal naive": np.stack([seasonal_naive(v, test, season) for v in values]),
            "AR(1) on differences": np.stack([autoregressive(v, test) for v in values]),
        },
        np.stack([v[-test:] for v in values]),
        panel,
        columns,
        window,
    )


def _run_repeats(
    settings: Settings,
    panel: Panel,
    policies: Sequence[str],
    test: int,
    window: int,
    repeats: int,
    n_jobs: int | None,
) -> Iterator[dict[str, np.ndarray]]:
    """The repeats in order, in processes of their own where that pays."""
    from joblib import Parallel, delayed

    each = [replace(settings, seed=settings.seed + index) for index in range(repeats)]
    if n_jobs is None:
        start = time.perf_counter()
        yield run_repeat(each.pop(0), panel, policies, test, window)
        left = (time.perf_counter() - start) * len(each)
        n_jobs = -1 if left > PARALLEL_SECONDS else 1
    jobs = [delayed(run_repeat)(own, panel, policies, test, window) for own in each]
    yield from Parallel(n_jobs=n_jobs, return_as="generator")(jobs)


def run_repeat(
    settings: Settings, panel: Panel, policies: Sequence[str], test: int, window: int
) -> dict[str, np.ndarray]:
    """Train on all but the test part, then forecast it under each policy, (series, test) each."""
    import torch

    # each series ends a lane of its own: there training leaves the state that carry goes on from
    settings = replace(settings, lanes=len(panel.series))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        trained = learn(settings, [one.slice(None, -test) for one in panel.series])
    finally:
        torch.set_num_threads(threads)
    values = [one.values for one in panel.series]
    before = min(window, *(len(v) - test for v in values))
    snapshots = _take_snapshots(trained, values, before + test)
    return {
        policy: _forecast(trained, policy, values, snapshots, test, before) for policy in policies
    }


def _take_snapshots(
    trained: TrainingResult, values: Sequence[np.ndarray], count: int
) -> list[State]:
    """The states of all series before each of the last `count` steps, and after them all."""
    model = trained.model
    early = [v[: len(v) - count] for v in values]
    _, state = consume(model, early, join_states(trained.starts))
    states = [state]
    for back in range(count, 0, -1):
        _, state = model.step(np.array([[v[-back]] for v in values]), state)
        states.append(state)
    return states


def _forecast(
    trained: TrainingResult,
    policy: str,
    values: Sequence[np.ndarray],
    snapshots: Sequence[State],
    test: int,
    window: int,
) -> np.ndarray:
    """(series, test) one-step forecasts under a policy.

    ``snapshots[k]`` stands before step ``T - (window + test) + k`` of each series.
    """
    model = trained.model
    if policy == "seed":
        predicted = [np.asarray(state["outputs.y"]) for state in snapshots[window : window + test]]
        return np.concatenate(predicted, axis=1)
    if policy == "carry":
        assert trained.history.state is not None
        left = trained.history.state.numpy()
        state = replace_core_state(model.architecture, snapshots[window - 1], left)
        forecasts, _ = consume(model, [v[-test - 1 : -1] for v in values], state)
        return np.stack(forecasts)
    steps = 1 if policy == "reset" else window
    initial = model.initial_state(len(values))
    origins = []
    for origin in range(test):
        before = snapshots[window + origin - steps]
        state = reset_core_state(model.architecture, before, initial)
        read = [v[len(v) - test + origin - steps : len(v) - test + origin] for v in values]
        forecasts, _ = consume(model, read, state)
        origins.append([row[-1] for row in forecasts])
    return np.array(origins).T


def _check_policies(policies: Iterable[str]) -> tuple[str, ...]:
    chosen = (policies,) if isinstance(policies, str) else tuple(policies)
    unknown = [name for name in chosen if name not in POLICIES]
    if unknown or not chosen:
        raise DataError(
            f"policies are {', '.join(POLICIES)}; got {', '.join(map(str, unknown)) or 'none'}"
        )
    return chosen
