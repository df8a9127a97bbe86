"""The picture of a forecast: series with what comes next, and the policies side by side."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from statewise.figures import (
    INK,
    LINE,
    SOFT,
    label_times,
    make_figure,
    scale_times,
    shorten,
    style_axes,
    write_figure,
)
from statewise.forecast.comparison import Comparison
from statewise.forecast.rollout import NAME

PANELS = 12
"""How many series are drawn where none is chosen."""

_ACCENT = "#0b6e99"
_COLOURS = {"reset": "#c4453a", "window": "#c98a1b", "seed": "#2f8f5b", "carry": "#5a4fb0"}
_STEPS = 72
"""How many steps of a history are drawn, unless twice the test part is longer."""
_SERIES_WIDTH, _POLICIES_WIDTH, _POLICIES_HEIGHT = 7.4, 3.6, 4.2
"""Of the figure's parts, in inches."""


def draw_forecast(
    path: str | Path,
    comparison: Comparison,
    forecast: Any,
    levels: Sequence[float],
    metric: str = "rmse",
    ids: Sequence[Hashable] | None = None,
) -> None:
    """Draw a PNG: a panel for each series, and one that compares the policies.

    Arguments:
        path: where to; the file appears whole or not at all.
        comparison: the policies and baselines.
        forecast: the frame of `Forecaster.predict` for the same series.
        levels: the prediction intervals to draw.
        metric: what the policies are compared by.
        ids: the series to draw; None draws the first `PANELS`.
    """
    every = [one.id for one in comparison.panel.series]
    shown = every[:PANELS] if ids is None else list(ids)
    errors = comparison.errors(metric)
    best = min(comparison.forecasts, key=lambda name: float(errors[name].mean()))
    columns = min(3, int(np.ceil(np.sqrt(len(shown)))))
    rows = -(-len(shown) // columns)
    height = 4.8 if rows == 1 else 1.0 + (2.4 if columns == 2 else 1.8) * rows
    figure = make_figure(_SERIES_WIDTH + _POLICIES_WIDTH, height, "forecast")
    left, right = figure.add_gridspec(1, 2, width_ratios=[_SERIES_WIDTH, _POLICIES_WIDTH])
    panels = left.subgridspec(rows, columns)
    for place, key in enumerate(shown):
        axes = figure.add_subplot(panels[divmod(place, columns)])
        curves = _Curves.read(comparison, forecast, levels, best, every.index(key))
        _draw_series(axes, curves, best)
        alone = "The series and its forecast" if len(every) == 1 else str(key)
        width = _SERIES_WIDTH / columns
        style_axes(axes, shorten(alone, int(10 * width)))
        label_times(axes, curves.times, width - 0.7)
        size = 8 if columns > 1 else 9
        axes.tick_params(labelsize=size)
        axes.xaxis.get_offset_text().set_fontsize(size)
        if columns == 1:
            axes.set_ylabel(comparison.columns.target, color=INK, parse_math=False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower left", ncols=len(labels), frameon=False, fontsize=9
    )
    if len(shown) < len(every):
        title = f"{len(shown)} of {len(every)} series"
        figure.suptitle(title, x=0.01, ha="left", fontsize=10, color=SOFT)
    share = min(1.0, _POLICIES_HEIGHT / height)
    beside = right.subgridspec(2, 1, height_ratios=[share, 1 - share])[0] if share < 0.7 else right
    axes = figure.add_subplot(beside)
    _draw_policies(axes, comparison, errors, metric)
    style_axes(axes, "Ways to handle the state")
    axes.tick_params(labelsize=9)
    write_figure(figure, path)


@dataclass(frozen=True)
class _Curves:
    """What is drawn of a series.

    Arguments:
        times: of the steps shown and those that are forecast, (T + horizon,).
        observed: (T,).
        predicted: one step ahead, for the last steps of the history, (test,).
        forecast: (horizon,).
        intervals: level -> low and high, each (horizon,).
    """

    times: np.ndarray
    observed: np.ndarray
    predicted: np.ndarray
    forecast: np.ndarray
    intervals: dict[float, tuple[np.ndarray, np.ndarray]]

    @classmethod
    def read(
        cls,
        comparison: Comparison,
        forecast: Any,
        levels: Sequence[float],
        policy: str,
        index: int,
    ) -> _Curves:
        """Those of the series of this index."""
        one = comparison.panel.series[index]
        steps = len(forecast) // len(comparison.panel.series)

        def ahead(name: str) -> np.ndarray:
            return np.asarray(forecast[name])[index * steps : (index + 1) * steps]

        predicted = comparison.forecasts[policy][:, index].mean(axis=0)
        shown = max(_STEPS, 2 * len(predicted))
        return cls(
            np.r_[one.times[-shown:], comparison.panel.calendar.next_times(one.times[-1], steps)],
            one.values[-shown:],
            predicted,
            ahead(NAME),
            {
                level: (ahead(f"{NAME}-lo-{level:g}"), ahead(f"{NAME}-hi-{level:g}"))
                for level in levels
            },
        )


def _draw_series(axes: Any, curves: _Curves, policy: str) -> None:
    x = scale_times(curves.times)
    last, test = len(curves.observed) - 1, len(curves.predicted)
    edge = (x[last - test] + x[last - test + 1]) / 2 if test <= last else x[0]
    axes.axvspan(edge, x[last], color="#f0f2f4", lw=0, zorder=0, label="test part")
    axes.plot(x[: last + 1], curves.observed, color=INK, lw=1.4, label="observed")
    axes.plot(
        x[last - test + 1 : last + 1],
        curves.predicted,
        color=_COLOURS[policy],
        lw=1.4,
        ls="--",
        label=f"one step ahead, {policy}",
    )
    value = curves.observed[last]
    for shade, level in enumerate(sorted(curves.intervals, reverse=True), start=1):
        low, high = curves.intervals[level]
        axes.fill_between(
            x[last:],
            np.r_[value, low],
            np.r_[value, high],
            color=_mix_with_white(_ACCENT, 0.16 * shade),
            lw=0,
            label=f"{level:g}% interval",
        )
    axes.plot(x[last:], np.r_[value, curves.forecast], color=_ACCENT, lw=2, label="forecast")
    axes.set_xlim(x[0], x[-1])


def _draw_policies(
    axes: Any, comparison: Comparison, errors: dict[str, np.ndarray], metric: str
) -> None:
    policies = list(comparison.forecasts)
    rng = np.random.default_rng(0)
    for row, name in enumerate(policies):
        values = errors[name]
        spread = rng.uniform(-0.18, 0.18, len(values))
        axes.scatter(values, row + spread, s=18, color=_COLOURS[name], alpha=0.45, lw=0)
        axes.plot([values.mean()] * 2, [row - 0.3, row + 0.3], color=_COLOURS[name], lw=2.5)
    baselines = {name: float(errors[name][0]) for name in comparison.baselines}
    shown = {name: value for name, value in baselines.items() if np.isfinite(value)}
    for row, value in enumerate(shown.values(), start=len(policies)):
        axes.plot([value] * 2, [row - 0.3, row + 0.3], color=SOFT, lw=2.5)
    names = [*policies, *shown]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    label = f"{metric.upper()} one step ahead; each dot is a repeat"
    axes.set_xlabel(label, loc="right", color=INK, fontsize=9)
    axes.locator_params(axis="x", nbins=4)
    axes.grid(axis="x", color=LINE, lw=0.8)
    axes.set_axisbelow(True)


def _mix_with_white(colour: str, share: float) -> tuple[float, ...]:
    from matplotlib.colors import to_rgb

    share = min(share, 0.8)
    return tuple(1 - share * (1 - part) for part in to_rgb(colour))
