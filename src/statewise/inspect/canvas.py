"""The paper of every still: a figure of its own, away from pyplot, its titles and its file"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from statewise import checkpoint
from statewise.errors import InputError, MissingExtraError

INK, SOFT, LINE = "#17202b", "#566273", "#dfe4ea"


def figure_of(width: float, height: float) -> Any:
    """A figure in inches.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "inspect", "a picture") from None
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def saved(figure: Any, path: str | Path | None) -> Any:
    """The figure, also written to a path where there is one, whole or not at all.

    Raises:
        InputError: an ending that is no kind of picture.
        FileError: a place that cannot be written.
    """
    if path is None:
        return figure
    known = figure.canvas.get_supported_filetypes()
    if Path(path).suffix[1:].lower() not in known:
        raise InputError(f"cannot draw {path}; name a file that ends with .png, .svg or .pdf")
    with checkpoint.replace_atomically(path) as temporary:
        figure.savefig(temporary, dpi=130)
    return figure


def titled(axes: Any, title: str) -> None:
    """Axes as those of every still, with a title, and a legend if anything has a label."""
    axes.set_title(title, loc="left", fontsize=11, color=INK, parse_math=False)
    axes.tick_params(colors=SOFT)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, fontsize=9)
