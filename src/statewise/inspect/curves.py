"""Pictures of what goes through time: the horizon of a memory, and gradients on their way back"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from statewise.errors import InputError
from statewise.figures import add_legend, make_figure, style_axes, write_figure

if TYPE_CHECKING:
    from statewise.inspect.backward import Gradients
    from statewise.inspect.remembering import Horizon

_LINES = (("#0b62c4", "-"), ("#d1500f", "--"), ("#14793b", "-."), ("#7b3fa0", ":"))


def plot_horizon(
    horizon: Horizon,
    *,
    path: str | Path | None = None,
    axes: Any = None,
    label: str | None = None,
    only: str | None = None,
) -> Any:
    """What `Horizon.plot` draws."""
    figure, axes = _get_axes(axes)
    each: dict[str, Any] = {"actual": horizon.actual, "claimed": horizon.claimed}
    lags = np.arange(horizon.lags + 1)
    colour, _ = _LINES[len({line.get_color() for line in axes.lines}) % len(_LINES)]
    for word, curve in horizon.curves().items():
        if only not in (None, word):
            continue
        shown = " ".join(filter(None, [label, word]))
        style = "-" if word == "actual" else "--"
        axes.plot(lags, curve, color=colour, ls=style, lw=1.8, label=shown)
        low, high = np.quantile(each[word], [0.25, 0.75], axis=1)
        axes.fill_between(lags, low, high, color=colour, alpha=0.1, lw=0)
    axes.set_yscale("log")
    drawn = np.concatenate([line.get_ydata() for line in axes.lines])
    axes.set_ylim(max(1e-8, float(np.nanmin(drawn)) / 3), 1.5 * float(np.nanmax(drawn)))
    axes.set_xlabel("steps after a nudge")
    axes.set_ylabel(f"share of it left in {horizon.name}", parse_math=False)
    style_axes(
        axes, f"How long {horizon.name} remembers: all units together, and their middle half"
    )
    add_legend(axes)
    return write_figure(figure, path)


def plot_gradients(
    gradients: Gradients,
    names: Sequence[str] | None = None,
    *,
    row: int = 0,
    path: str | Path | None = None,
    axes: Any = None,
    label: str | None = None,
) -> Any:
    """What `Gradients.plot` draws."""
    figure, axes = _get_axes(axes)
    for name in gradients.values if names is None else names:
        norms = gradients.norms(name)
        if not -len(norms) <= row < len(norms):
            raise InputError(f"these gradients have rows 0 to {len(norms) - 1}, got {row}")
        shown = np.where(norms[row] > 0, norms[row], np.nan)
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
