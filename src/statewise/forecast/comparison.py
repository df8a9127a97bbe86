"""`Comparison`: what the policies forecast, how far off they are, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from statewise.errors import DataError
from statewise.forecast.frames import Columns, Panel, build

METRICS = ("rmse", "mae", "mse", "mape", "smape")


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
        if measure is None or metric not in METRICS:
            raise DataError(f"metric must be one of {', '.join(METRICS)}, got {metric!r}")
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

        Policies are compared on equal repeats, so the spread is the standard deviation of the
        paired differences; a gap that is not larger is no real difference.

        Returns:
            a sentence a line.
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
                judged = "one repeat shows no spread"
            elif gap > spread:
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
        return "\n".join(lines)
