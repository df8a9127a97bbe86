"""Shared figure setup of every still picture: fonts, axes, legends and files.

matplotlib is imported when a figure is made. Figures are apart from pyplot, so none is left open.
"""

from __future__ import annotations

import unicodedata
import warnings
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from statewise import checkpoint
from statewise.errors import FigureWarning, InputError
from statewise.extras import require

INK, SOFT, LINE = "#17202b", "#566273", "#dfe4ea"
DPI = 130

_DATES = {
    "formats": ["%Y", "%b", "%b %d", "%H:%M", "%H:%M", "%S.%f"],
    "zero_formats": ["", "%Y", "%b %d", "%b %d", "%H:%M", "%H:%M"],
    "offset_formats": ["", "%Y", "%Y", "%Y %b %d", "%Y %b %d", "%Y %b %d %H:%M"],
}
"""How dates are written where ticks are years, months, days, hours, minutes and seconds."""

_INTERVALS = {"MONTHLY": 12, "DAILY": 31, "HOURLY": 24, "MINUTELY": 60, "SECONDLY": 60}
"""The largest distance between ticks of each kind, so that a narrow axis has few of them."""

_EAST_ASIAN = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO")
"""How Unicode's names of these characters begin."""
_PREFERRED = ("CJK", "Source Han", "PingFang", "Hiragino", "YaHei", "Yu Gothic", "Malgun", "Sans")
"""Words in the names of fonts that are tried first."""
_reported: set[str] = set()
"""Characters that a warning has named already."""


def make_figure(width: float, height: float, extra: str) -> Any:
    """A figure in inches.

    Arguments:
        extra: the extra of statewise that installs matplotlib, for the message.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figures = require("matplotlib.figure", extra, "a picture")
    canvas = require("matplotlib.backends.backend_agg", extra, "a picture")
    figure = figures.Figure(figsize=(width, height), layout="constrained", facecolor="white")
    canvas.FigureCanvasAgg(figure)
    return figure


def write_figure(figure: Any, path: str | Path | None) -> Any:
    """The figure with fonts that have its characters, written to a path unless that is None.

    The file appears whole or not at all.

    Raises:
        InputError: an ending that is no kind of picture.
        FileError: a place that cannot be written.
    """
    choose_fonts(figure)
    if path is None:
        return figure
    known = figure.canvas.get_supported_filetypes()
    if Path(path).suffix[1:].lower() not in known:
        raise InputError(f"cannot draw {path}; name a file that ends with .png, .svg or .pdf")
    with checkpoint.replace_atomically(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure.savefig(temporary, dpi=DPI, format=Path(path).suffix[1:].lower())
    return figure


def style_axes(axes: Any, title: str) -> None:
    """Give axes the look of every picture, and a title."""
    axes.set_title(title, loc="left", fontsize=11, color=INK, parse_math=False)
    axes.tick_params(colors=SOFT)
    axes.spines[["top", "right"]].set_visible(False)


# Fonts


def choose_fonts(figure: Any) -> None:
    """Give the texts of a figure further fonts for the characters that their own font lacks.

    Characters that no installed font has are named in one `FigureWarning`.
    """
    from matplotlib.font_manager import findfont
    from matplotlib.text import Text

    lacking: dict[Any, frozenset[str]] = {}
    for text in figure.findobj(Text):
        if not text.get_text().isascii():
            own = _read_characters(findfont(text.get_fontproperties()))
            lacking[text] = frozenset(filter(_is_drawn, text.get_text())) - own
    families, unknown = _find_families(frozenset().union(*lacking.values()))
    for text, characters in lacking.items():
        if characters:
            text.set_fontfamily([*text.get_fontfamily(), *families])
    if unknown - _reported:
        _reported.update(unknown)
        _warn_of_characters(sorted(unknown))


def _is_drawn(character: str) -> bool:
    return not character.isspace() and unicodedata.category(character)[0] != "C"


def _find_families(characters: frozenset[str]) -> tuple[list[str], frozenset[str]]:
    """Font families that together have characters, and the characters that none has."""
    families: list[str] = []
    for list_fonts in (_list_fonts, _list_new_fonts):
        for font in list_fonts() if characters else ():
            found = characters & _read_characters(font.fname)
            if found:
                families.append(font.name)
                characters -= found
    return families, characters


def _list_fonts() -> list[Any]:
    """The fonts that matplotlib knows, upright and regular ones of preferred names first."""
    from matplotlib.font_manager import fontManager

    def rank(font: Any) -> tuple[Any, ...]:
        place = [word in font.name for word in _PREFERRED]
        heavy = font.weight not in (400, "regular", "normal")
        return (*(not found for found in place), heavy, font.style != "normal", font.name)

    fonts = [font for font in fontManager.ttflist if "LastResort" not in Path(font.fname).name]
    return sorted(fonts, key=rank)


def _list_new_fonts() -> list[Any]:
    """Fonts installed after matplotlib last listed them."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    known = {font.fname for font in fontManager.ttflist}
    count = len(fontManager.ttflist)
    for path in findSystemFonts():
        if path not in known and _read_characters(path):
            fontManager.addfont(path)
    return fontManager.ttflist[count:]


@cache
def _read_characters(path: str) -> frozenset[str]:
    """The characters that a font has; none if it cannot be read."""
    from matplotlib.font_manager import get_font

    try:
        return frozenset(map(chr, get_font(path).get_charmap()))
    except (OSError, RuntimeError):
        return frozenset()


def _warn_of_characters(characters: list[str]) -> None:
    shown = "".join(characters[:10]) + ("..." if len(characters) > 10 else "")
    east_asian = any(unicodedata.name(one, "").startswith(_EAST_ASIAN) for one in characters)
    font, package = ("Noto Sans CJK", "fonts-noto-cjk") if east_asian else ("Noto", "fonts-noto")
    warnings.warn(
        f"no installed font has the characters {shown}, so the picture shows boxes; install the "
        f"{font} fonts (on Debian and Ubuntu: apt install {package}) and draw it again",
        FigureWarning,
        stacklevel=2,
    )


def count_columns(text: str) -> int:
    """How wide a text is in characters, those of East Asian scripts counted twice."""
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)


def shorten(text: str, columns: int) -> str:
    """A text that is at most so many characters wide, cut with an ellipsis if need be."""
    if count_columns(text) <= columns:
        return text
    while text and count_columns(text) >= columns:
        text = text[:-1]
    return f"{text}\u2026"


# Axes and legends


def scale_times(times: np.ndarray) -> np.ndarray:
    """Times as places on an axis that `label_times` labels."""
    if not _has_dates(times):
        return np.arange(len(times)) if times.dtype.kind == "M" else times.astype(float)
    dates: Any = import_module("matplotlib.dates")
    return np.asarray(dates.date2num(times))


def label_times(axes: Any, times: np.ndarray, width: float) -> None:
    """Label the x axis with dates or whole numbers, so few that no two overlap.

    Arguments:
        axes: whose x values came from `scale_times`.
        times: (T,) int64 or datetime64.
        width: of the axes in inches.
    """
    from matplotlib.ticker import MaxNLocator, ScalarFormatter

    dates: Any = import_module("matplotlib.dates")
    if _has_dates(times):
        locator = dates.AutoDateLocator(minticks=2, maxticks=max(4, int(width / 0.65)))
        for frequency, interval in _INTERVALS.items():
            known = locator.intervald[getattr(dates, frequency)]
            locator.intervald[getattr(dates, frequency)] = [*known, interval]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, **_DATES))
        return
    digits = 4 if times.dtype.kind == "M" else len(str(int(np.abs(times).max())))
    axes.xaxis.set_major_locator(
        MaxNLocator(max(1, int(width / (0.1 * digits + 0.3))), integer=True)
    )
    formatter = ScalarFormatter(useOffset=False)
    formatter.set_scientific(False)
    axes.xaxis.set_major_formatter(formatter)


def _has_dates(times: np.ndarray) -> bool:
    """Whether these are dates that matplotlib can place: of the years 1 to 9999."""
    if times.dtype.kind != "M":
        return False
    first, end = np.datetime64("0001-01-01"), np.datetime64("9999-01-01")
    return bool(first <= times.min() and times.max() < end)


def add_legend(axes: Any) -> None:
    """A legend in a strip above all that is drawn: the y axis grows by the strip's height."""
    handles, labels = axes.get_legend_handles_labels()
    if not labels:
        return
    figure = axes.get_figure()
    for columns in range(len(labels), 0, -1):
        legend = axes.legend(
            handles, labels, loc="upper left", ncols=columns, frameon=False, fontsize=9
        )
        legend.set_in_layout(False)
        figure.draw_without_rendering()
        box, frame = legend.get_window_extent(), axes.get_window_extent()
        if box.width <= frame.width:
            break
    share = min(0.6, 1.05 * box.height / frame.height)
    scale = axes.yaxis.get_transform()
    low, high = scale.transform(np.asarray(axes.get_ylim()))
    raised = low + (high - low) / (1 - share)
    axes.set_ylim(top=float(scale.inverted().transform(np.asarray([raised]))[0]))
