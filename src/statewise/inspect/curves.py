"""Pictures of what goes through time: the horizon of a memory, and gradients on their way back"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from statewise.errors import InputError
from statewise.figures import add_legend, make_figure, style_axes, write_figure

_LINES = (("#0b62c4", "-"), ("#d1500f", "--"), ("#14793b", "-."), ("#7b3fa0", ":"))


def plot_horizon(
    name: str,
    curves: Mapping[str, np.ndarray],
    units: Mapping[str, np.ndarray],
    *,
    path: str | Path | None = None,
    axes: Any = None,
    label: str | None = None,
    only: str | None = None,
) -> Any:
    """What is left of a nudge, lag by lag.

    Arguments:
        name: what was nudged.
        curves: ``"actual"`` and ``"claimed"``, of all units together, (lags + 1,).
        units: the same of each unit, (lags + 1, units).
        path, axes, label, only: see `Horizon.plot`.
    """
    figure, axes = _get_axes(axes)
    colour, _ = _LINES[len({line.get_color() for line in axes.lines}) % len(_LINES)]
    for word, curve in curves.items():
        if only not in (None, word):
            continue
        shown = " ".join(filter(None, [label, word]))
        style = "-" if word == "actual" else "--"
        lags = np.arange(len(curve))
        axes.plot(lags, curve, color=colour, ls=style, lw=1.8, label=shown)
        low, high = np.quantile(units[word], [0.25, 0.75], axis=1)
        axes.fill_between(lags, low, high, color=colour, alpha=0.1, lw=0)
    axes.set_yscale("log")
    drawn = np.concatenate([line.get_ydata() for line in axes.lines])
    axes.set_ylim(max(1e-8, float(np.nanmin(drawn)) / 3), 1.5 * float(np.nanmax(drawn)))
    axes.set_xlabel("steps after a nudge")
    axes.set_ylabel(f"share of it left in {name}", parse_math=False)
    style_axes(axes, f"How long {name} remembers: all units together, and their middle half")
    add_legend(axes)
    return write_figure(figure, path)


def plot_gradients(
    norms: Mapping[str, np.ndarray],
    *,
    row: int = 0,
    path: str | Path | None = None,
    axes: Any = None,
    label: str | None = None,
) -> Any:
    """The norms of gradients through time, a curve for each name.

    Arguments:
        norms: name -> (B, T).
        row, path, axes, label: see `Gradients.plot`.
    """
    figure, axes = _get_axes(axes)
    for name, rows in norms.items():
        if not -len(rows) <= row < len(rows):
            raise InputError(f"these gradients have rows 0 to {len(rows) - 1}, got {row}")
        shown = np.where(rows[row] > 0, rows[row], np.nan)
        colour, style = _LINES[len(axes.lines) % len(_LINES)]
        word = " ".join(filter(None, [label, name]))
        axes.plot(np.arange(len(shown)), shown, color=colour, ls=style, lw=1.8, label=word)
    axes.set_yscale("log")
    axes.autoscale(axis="y")
    axes.set_xlabel("step")
    axes.set_ylabel("norm of the gradient")
    style_axes(axes, "How the loss depends on the state, back through time")
    add_legend(axes)
    return write_figure(figure, path)


def _get_axes(axes: Any) -> tuple[Any, Any]:
    """The figure of axes, which are made where there are none."""
    if axes is not None:
        return axes.get_figure(), axes
    figure = make_figure(7.5, 4.2, "inspect")
    return figure, figure.subplots()
