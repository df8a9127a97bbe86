"""The picture of a forecast: the series with what comes next, and the policies side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from statewise.checkpoint import replace_atomically
from statewise.errors import MissingExtraError
from statewise.forecast.calendar import Calendar
from statewise.forecast.comparison import Comparison
from statewise.forecast.walk import NAME

_INK, _ACCENT, _MUTED = "#1b1f24", "#0b6e99", "#8a9199"
_COLOURS = {"reset": "#c4453a", "window": "#c98a1b", "seed": "#2f8f5b", "carry": "#5a4fb0"}
_SHOWN = 72


def picture(
    path: str | Path,
    comparison: Comparison,
    forecast: Any,
    levels: list[float],
    metric: str = "rmse",
) -> None:
    """Draw a PNG.

    Arguments:
        path: where to; it appears whole or not at all.
        comparison: the policies and baselines.
        forecast: the frame of `Forecaster.predict`, its first rows those of the first series.
        levels: the prediction intervals to draw.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "forecast", "a picture") from None
    figure = Figure(figsize=(11, 4.6), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=[2.1, 1])
    _draw_series(left, comparison, forecast, levels, metric)
    _draw_errors(right, comparison, metric)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=_INK, labelsize=9)
    with replace_atomically(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png")


def _draw_series(
    axes: Any, comparison: Comparison, forecast: Any, levels: list[float], metric: str
) -> None:
    one = comparison.panel.series[0]
    test = comparison.truth.shape[1]
    ahead = {name: np.asarray(forecast[name]) for name in forecast.columns}
    steps = len(ahead[NAME]) // len(comparison.panel.series)
    shown = min(len(one.values), max(_SHOWN, 2 * test))
    times = np.r_[one.times[-shown:], comparison.panel.calendar.after(one.times[-1], steps)]
    past, future = np.arange(shown), np.arange(shown, shown + steps)
    axes.axvspan(shown - test - 0.5, shown - 0.5, color="#f0f2f4", zorder=0)
    axes.text(
        shown - test,
        1.0,
        " test",
        transform=axes.get_xaxis_transform(),
        va="top",
        color=_MUTED,
        fontsize=9,
    )
    axes.plot(past, one.values[-shown:], color=_INK, lw=1.4, label="observed")
    errors = comparison.errors(metric)
    best = min(comparison.forecasts, key=lambda name: errors[name].mean())
    axes.plot(
        past[-test:],
        comparison.forecasts[best][:, 0].mean(axis=0),
        color=_COLOURS[best],
        lw=1.4,
        ls="--",
        label=f"one step ahead, policy {best}",
    )
    joined = np.r_[shown - 1, future]
    for level in sorted(levels, reverse=True):
        low, high = (ahead[f"{NAME}-{side}-{level:g}"][:steps] for side in ("lo", "hi"))
        last = one.values[-1]
        axes.fill_between(
            joined,
            np.r_[last, low],
            np.r_[last, high],
            color=_ACCENT,
            lw=0,
            alpha=0.16,
            label=f"{level:g}% interval",
        )
    axes.plot(
        joined,
        np.r_[one.values[-1], ahead[NAME][:steps]],
        color=_ACCENT,
        lw=2,
        label=f"forecast, {steps} ahead",
    )
    ticks = np.arange(0, len(times), _tick_step(len(times), comparison.panel.calendar))
    axes.set_xticks(ticks, [_label(times[tick], comparison) for tick in ticks])
    axes.set_ylabel(comparison.columns.target, color=_INK)
    count = len(comparison.panel.series)
    title = f"{one.id}, the first of {count} series" if count > 1 else "The series and its forecast"
    axes.set_title(title, loc="left", fontsize=11, color=_INK)
    axes.legend(frameon=False, fontsize=8.5, loc="upper left")


def _draw_errors(axes: Any, comparison: Comparison, metric: str) -> None:
    errors = comparison.errors(metric)
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
        axes.plot([value] * 2, [row - 0.3, row + 0.3], color=_MUTED, lw=2.5)
    names = [*policies, *shown]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel(
        f"{metric.upper()} one step ahead, a dot for each repeat", color=_INK, fontsize=9
    )
    axes.grid(axis="x", color="#e3e6e9", lw=0.8)
    axes.set_axisbelow(True)
    axes.set_title("What to do with the state", loc="left", fontsize=11, color=_INK)


def _tick_step(count: int, calendar: Calendar) -> int:
    """At most eight ticks; whole years or halves of them where the steps are months."""
    least = -(-count // 8)
    if not calendar.kind.startswith("month"):
        return least
    return next((step for step in (1, 3, 6, 12, 24, 60, 120) if step >= least), least)


def _label(time: np.generic, comparison: Comparison) -> str:
    if np.asarray(time).dtype.kind != "M":
        return str(time)
    kind, size = comparison.panel.calendar.kind, comparison.panel.calendar.size
    unit: Any = "M" if kind.startswith("month") else "D"
    if kind == "second" and size < 86400 * 10**6:
        unit = "h"
    return str(np.datetime_as_string(np.asarray(time), unit=unit)).lstrip("0").replace("T", " ")
