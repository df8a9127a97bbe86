"""What to do with the state at each forecast: the policies, compared on one-step forecasts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from statewise.errors import DataError
from statewise.forecast.baselines import autoregressive, persistence, seasonal_naive
from statewise.forecast.forecaster import Forecaster, check_length
from statewise.forecast.frames import Columns, Missing, Panel, build, read
from statewise.forecast.prepared import Prepared, carried, cells_reset
from statewise.forecast.walk import consume
from statewise.state import State

POLICIES = ("reset", "window", "seed", "carry")


@dataclass(frozen=True)
class Comparison:
    """One-step forecasts of the test steps under each policy, every repeat, and the baselines.

    Arguments:
        forecasts: policy -> (repeats, series, test).
        baselines: name -> (series, test); NaN where a baseline has no forecast.
        truth: (series, test).
        panel: the series.
        columns: how the frame calls them.
        window: how many steps the window policy reads.
    """

    forecasts: dict[str, np.ndarray]
    baselines: dict[str, np.ndarray]
    truth: np.ndarray
    panel: Panel
    columns: Columns
    window: int

    def frame(self) -> Any:
        """Every forecast in long form: id, time, y, the policies averaged over the repeats, and the
        baselines, as utilsforecast evaluates them.
        """
        test = self.truth.shape[1]
        named: dict[str, Any] = {
            "unique_id": np.repeat([one.id for one in self.panel.series], test),
            "ds": np.concatenate([one.times[-test:] for one in self.panel.series]),
            "y": self.truth.reshape(-1),
        }
        named |= {name: value.mean(axis=0).reshape(-1) for name, value in self.forecasts.items()}
        named |= {name: value.reshape(-1) for name, value in self.baselines.items()}
        return build(self.panel.backend, named)

    def errors(self, metric: str = "rmse") -> dict[str, np.ndarray]:
        """A metric of utilsforecast (``"rmse"``, ``"mae"``, ``"smape"``), averaged over the series:
        one value a repeat for each policy, one value for each baseline.
        """
        return {
            name: np.array([self._error(run, metric) for run in runs])
            for name, runs in {
                **self.forecasts,
                **{name: value[None] for name, value in self.baselines.items()},
            }.items()
        }

    def _error(self, forecast: np.ndarray, metric: str) -> float:
        import pandas as pd
        from utilsforecast import losses

        if np.isnan(forecast).any():
            return float("nan")
        measure = getattr(losses, metric, None)
        if measure is None or metric not in ("rmse", "mae", "mse", "mape", "smape"):
            raise DataError(f"metric must be rmse, mae, mse, mape or smape, got {metric!r}")
        count, test = self.truth.shape
        data = pd.DataFrame(
            {
                "unique_id": np.repeat(np.arange(count), test),
                "y": self.truth.reshape(-1),
                "forecast": forecast.reshape(-1),
            }
        )
        return float(measure(data, models=["forecast"])["forecast"].mean())

    def verdict(self, metric: str = "rmse") -> str:
        """Which policy is best, and whether by more than the repeats differ among themselves.

        Policies are compared on equal repeats, so the spread is that of the paired differences.
        """
        errors = {name: self.errors(metric)[name] for name in self.forecasts}
        means = {name: float(values.mean()) for name, values in errors.items()}
        ranked = sorted(means, key=means.__getitem__)
        best = ranked[0]
        lines = [f"Best policy: {best}, {metric.upper()} {means[best]:.1f}."]
        for other in ranked[1:]:
            difference = errors[other] - errors[best]
            spread = float(difference.std(ddof=1)) if len(difference) > 1 else float("nan")
            gap = float(difference.mean())
            if not np.isfinite(spread):
                judged = "one repeat tells nothing of the spread"
            elif gap > 2 * spread / np.sqrt(len(difference)) and gap > spread:
                judged = f"larger than the spread over repeats ({spread:.1f})"
            else:
                judged = f"within the spread over repeats ({spread:.1f}): no real difference"
            lines.append(f"{other} is {gap:.1f} behind, {judged}.")
        finite = {
            name: values[0]
            for name, values in self.errors(metric).items()
            if name in self.baselines and np.isfinite(values[0])
        }
        leader = min(finite, key=finite.__getitem__)
        relation = "beats" if finite[leader] < means[best] else "does not beat"
        lines.append(
            f"The best baseline, {leader} ({finite[leader]:.1f}), {relation} the best policy."
        )
        return " ".join(lines)


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
    n_jobs: int | None = -1,
    on_repeat: Callable[[int], None] | None = None,
) -> Comparison:
    """Compare what may be done with the state between one-step forecasts, and the baselines.

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
        n_jobs: how many processes, as joblib counts them.
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
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise DataError(f"{name} must be a whole number of at least 1, got {value!r}")
    base = forecaster or Forecaster()
    columns = Columns(id_col, time_col, target_col)
    panel = read(df, columns, missing)
    for one in panel.series:
        if len(one.values) - test < base.shortest + 1:
            raise DataError(
                f"series {one.id!r} has {len(one.values)} steps; a test part of {test} leaves "
                f"{max(0, len(one.values) - test)} to learn from, and at least {base.shortest + 1} "
                "are needed"
            )
        check_length(one.part(None, -test), base.shortest)
    runs = []
    for run in _parallel(base, panel, chosen, test, window, repeats, n_jobs):
        runs.append(run)
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


def _parallel(
    base: Forecaster,
    panel: Panel,
    policies: Sequence[str],
    test: int,
    window: int,
    repeats: int,
    n_jobs: int | None,
) -> Iterable[dict[str, np.ndarray]]:
    """The repeats in order, each in a process of its own where there are several."""
    from joblib import Parallel, delayed

    jobs = [
        delayed(one_repeat)(_reseeded(base, base.seed + index), panel, policies, test, window)
        for index in range(repeats)
    ]
    results: Iterable[dict[str, np.ndarray]] = Parallel(
        n_jobs=1 if repeats == 1 else n_jobs, return_as="generator"
    )(jobs)
    return results


def _reseeded(base: Forecaster, seed: int) -> Forecaster:
    other = base.copy()
    other.seed = seed
    return other


def one_repeat(
    forecaster: Forecaster, panel: Panel, policies: Sequence[str], test: int, window: int
) -> dict[str, np.ndarray]:
    """Train on all but the test part, then forecast it under each policy, (series, test) each."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        forecaster.lanes = len(panel.series)  # each series ends its own lane, where carry goes on
        prepared = forecaster._learn([one.part(None, -test) for one in panel.series])
    finally:
        torch.set_num_threads(threads)
    values = [one.values for one in panel.series]
    before = min(window, *(len(v) - test for v in values))
    snapshots = _snapshots(forecaster, prepared, values, before + test)
    return {
        policy: _forecast(forecaster, policy, values, snapshots, test, before)
        for policy in policies
    }


def _snapshots(
    forecaster: Forecaster, prepared: Sequence[Prepared], values: Sequence[np.ndarray], count: int
) -> list[State]:
    """The states of all series before each of the last `count` steps, and after them all."""
    model = forecaster._fitted()
    start = State.cat([one.start for one in prepared])
    _, state = consume(
        model, [v[: len(v) - count] for v in values], State(dict(start), start.position)
    )
    states = [state]
    for back in range(count, 0, -1):
        _, state = model.step(np.array([[v[-back]] for v in values]), state)
        states.append(state)
    return states


def _forecast(
    forecaster: Forecaster,
    policy: str,
    values: Sequence[np.ndarray],
    snapshots: Sequence[State],
    test: int,
    window: int,
) -> np.ndarray:
    """(series, test) one-step forecasts under a policy.

    ``snapshots[k]`` stands before step ``T - (window + test) + k`` of each series.
    """
    model = forecaster._fitted()
    if policy == "seed":
        said = [np.asarray(state["outputs.y"]) for state in snapshots[window : window + test]]
        return np.concatenate(said, axis=1)
    if policy == "carry":
        core = forecaster.history.state.numpy()
        left = carried(forecaster.architecture, snapshots[window - 1], core)
        forecasts, _ = consume(model, [v[-test - 1 : -1] for v in values], left)
        return np.stack(forecasts)
    steps = 1 if policy == "reset" else window
    initial = model.initial_state(len(values))
    columns = []
    for origin in range(test):
        state = snapshots[window + origin - steps]
        state = cells_reset(forecaster.architecture, state, initial)
        read = [v[len(v) - test + origin - steps : len(v) - test + origin] for v in values]
        forecasts, _ = consume(model, read, state)
        columns.append([row[-1] for row in forecasts])
    return np.array(columns).T


def _check_policies(policies: Iterable[str]) -> tuple[str, ...]:
    chosen = (policies,) if isinstance(policies, str) else tuple(policies)
    unknown = [name for name in chosen if name not in POLICIES]
    if unknown or not chosen:
        raise DataError(
            f"policies are {', '.join(POLICIES)}; got {', '.join(map(str, unknown)) or 'none'}"
        )
    return chosen
