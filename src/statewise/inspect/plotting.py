"""Pictures of a trace by matplotlib: heat maps, the gates of a unit, coloured text"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from statewise.cells import GRU, LSTM
from statewise.errors import InputError
from statewise.figures import INK, LINE, SOFT, count_columns, make_figure, style_axes, write_figure
from statewise.inspect.subject import find_memory, get_cell, pick_unit, suggest, unwrap_cell
from statewise.inspect.unit_groups import find_companions, value_shapes
from statewise.wording import format_count

if TYPE_CHECKING:
    from statewise.inspect.trace_values import TraceValues

KINDS = ("heat", "gates", "text")
_LOW, _HIGH = "#0b62c4", "#d1500f"
"""Below and above zero, apart for every kind of colour vision."""
_WORDS: dict[type, dict[str, str]] = {
    LSTM: {"i": "input gate", "f": "forget gate", "g": "candidate", "o": "output gate"},
    GRU: {"r": "reset gate", "z": "update gate", "n": "candidate"},
}
_GLYPHS = {" ": " ", "\n": "↵", "\t": "→", "": "·"}
_MONO = "DejaVu Sans Mono"
_ROW, _ROWS = 80, 40
"""Characters in a line, and lines: what is shown of a text."""
_SPANS = 2000
"""How many spans a long line is cut into; each is drawn by its lowest and highest value."""
_BESIDE = 1.5
"""Inches of a figure beside its axes."""
_COLUMN = 0.62
"""The width of a narrow character, as a share of its size."""
_SMALLEST = 5.0
"""Points: characters below an axis that would have to be smaller are left out."""


def plot_trace(
    trace: TraceValues,
    kind: str = "heat",
    name: str | None = None,
    unit: int | None = None,
    *,
    row: int = 0,
    steps: Any = None,
    path: str | Path | None = None,
) -> Any:
    """What `Trace.plot` draws."""
    if kind not in KINDS:
        raise InputError(
            f"nothing is drawn as {kind!r}{suggest(kind, KINDS)} There are {', '.join(KINDS)}"
        )
    name = find_memory(trace) if name is None else name
    start, stop = trace.extent(row, steps)
    values = trace[name][row, start:stop].reshape(stop - start, -1)  # (T, units)
    if kind == "heat":
        return write_figure(_draw_heat(trace, name, values, start), path)
    unit = pick_unit(values.T) if unit is None else unit
    trace.unit(name, unit, row)
    if kind == "text":
        return write_figure(_draw_text(trace, name, unit, values[:, unit], start), path)
    return write_figure(_draw_gates(trace, name, unit, row, (start, stop)), path)


def _draw_heat(trace: TraceValues, name: str, values: np.ndarray, start: int) -> Any:
    steps, units = values.shape
    size = min(16.0, max(6.0, steps / 12)), min(10.0, max(2.4, 1.2 + units / 12))
    figure = make_figure(*size, "inspect")
    axes = figure.subplots()
    most = float(np.abs(values[np.isfinite(values)]).max(initial=0)) or 1.0
    edges = (start - 0.5, start + steps - 0.5, units - 0.5, -0.5)
    how = {"extent": edges, "aspect": "auto", "interpolation": "nearest" if steps < 2000 else None}
    image = axes.imshow(values.T, cmap=_make_colormap(), vmin=-most, vmax=most, **how)
    bar = figure.colorbar(image, ax=axes, pad=0.01, fraction=0.05)
    bar.outline.set_visible(False)
    axes.set_ylabel("unit")
    axes.yaxis.get_major_locator().set_params(integer=True)
    style_axes(axes, f"{name}: {format_count(units, 'unit')}, step by step")
    _label_steps(axes, trace, start, steps)
    return figure


def _draw_gates(trace: TraceValues, name: str, unit: int, row: int, span: tuple[int, int]) -> Any:
    layer = name.partition(".")[0]
    start, stop = span
    known = find_companions(name, value_shapes(trace), trace.model)
    curve = trace.inputs[row, start:stop] if trace.inputs.ndim == 3 else None
    count = len(known) + (curve is not None)
    figure = make_figure(min(16.0, max(7.0, (stop - start) / 9)), 0.9 + 0.85 * count, "inspect")
    panels = list(np.atleast_1d(figure.subplots(count, 1, sharex=True)))
    t = np.arange(start, stop)
    if curve is not None:
        panel = panels.pop(0)
        for feature in curve.reshape(stop - start, -1).T:
            panel.plot(*_thin_line(t, feature), color=INK, lw=1.3)
        _name_panel(panel, "input")
        first = panel
    words = _WORDS.get(type(unwrap_cell(get_cell(trace.model, layer))), {})
    for panel, one in zip(panels, known, strict=True):
        values = trace.unit(one, unit, row)[start:stop]
        _draw_filled(
            panel, t, values, is_gate="gate" in words.get(own := one.partition(".")[2], "")
        )
        _name_panel(panel, f"{own}\n{words[own]}" if own in words else own)
    first = first if curve is not None else panels[0]
    for step in np.flatnonzero(trace.reset[row, start:stop]) if trace.reset is not None else ():
        for panel in figure.axes:
            panel.axvline(start + step - 0.5, color=INK, lw=0.8, ls=":")
    for panel in figure.axes:
        panel.tick_params(axis="x", bottom=panel is panels[-1])
        panel.margins(x=0.01)
    figure.align_ylabels()
    style_axes(first, f"Unit {unit} of layer {layer} through time")
    _label_steps(panels[-1], trace, start, stop - start)
    return figure


def _draw_text(trace: TraceValues, name: str, unit: int, values: np.ndarray, start: int) -> Any:
    """A line of text a row, each character on the colour of its value."""
    if trace.labels is None:
        raise InputError("steps have no labels to colour; write trace.align(text) first")
    lines = _split_lines([str(one) for one in trace.labels[start : start + len(values)]])
    shown = lines[:_ROWS]
    most = float(np.abs(values[np.isfinite(values)]).max(initial=0)) or 1.0
    grid = np.full((len(shown), _ROW), np.nan)
    for number, (first, characters) in enumerate(shown):
        grid[number, : len(characters)] = values[first : first + len(characters)]
    figure = make_figure(9.5, 0.9 + 0.235 * len(shown), "inspect")
    axes = figure.subplots()
    image = axes.imshow(grid, cmap=_make_colormap(), vmin=-most, vmax=most, aspect="auto")
    plain: dict[str, Any] = {"ha": "center", "va": "center_baseline", "parse_math": False}
    for number, (_, characters) in enumerate(shown):
        for place, character in enumerate(characters):
            glyph = _get_glyph(character)
            size = 7.5 if count_columns(glyph) > 1 else 9
            axes.text(place, number, glyph, family=_MONO, size=size, **plain)
    axes.set_axis_off()
    bar = figure.colorbar(image, ax=axes, pad=0.01, fraction=0.02, aspect=12)
    bar.outline.set_visible(False)
    seen = sum(len(characters) for _, characters in shown)
    part = f", the first {seen:,} of {len(values):,} steps" if len(shown) < len(lines) else ""
    style_axes(axes, f"{name}, unit {unit}{part}")
    return figure


def _split_lines(labels: list[str]) -> list[tuple[int, list[str]]]:
    """The first step and the characters of each line: to a newline, or until the line is full."""
    lines: list[tuple[int, list[str]]] = [(0, [])]
    for step, label in enumerate(labels):
        if len(lines[-1][1]) == _ROW:
            lines.append((step, []))
        lines[-1][1].append(label)
        if label == "\n":
            lines.append((step + 1, []))
    return [line for line in lines if line[1]]


# Parts


def _draw_filled(axes: Any, t: np.ndarray, values: np.ndarray, is_gate: bool) -> None:
    """A line over its colour, on an axis from 0 to 1 for a gate."""
    most = max(1.0, float(np.abs(values).max(initial=0)))
    t, values = _thin_line(t, values)
    axes.plot(t, values, color=INK, lw=1.1)
    for colour, where in ((_LOW, values < 0), (_HIGH, values >= 0)):
        axes.fill_between(
            t,
            0,
            values,
            where=where,
            interpolate=True,
            color=SOFT if is_gate else colour,
            alpha=0.4,
            lw=0,
        )
    axes.set_ylim((-0.03, 1.03) if is_gate else (-1.05 * most, 1.05 * most))
    axes.axhline(0, color=LINE, lw=0.8, zorder=0)


def _thin_line(t: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of many steps, the lowest and the highest value of every short span."""
    every = -(-len(t) // _SPANS)
    if every < 4:
        return t, values
    starts = np.arange(0, len(t), every)
    ends = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
    return t[starts].repeat(2), np.stack(ends, axis=1).ravel()


def _name_panel(axes: Any, name: str) -> None:
    axes.set_ylabel(name, rotation=0, ha="right", va="center", color=INK, parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=SOFT, labelsize=8)


def _label_steps(axes: Any, trace: TraceValues, start: int, steps: int) -> None:
    """Label the steps by single characters, by a few of their times, or by their numbers."""
    axes.set_xlabel("step")
    if trace.labels is None:
        axes.xaxis.get_major_locator().set_params(integer=True)
        return
    labels = [str(one) for one in trace.labels[start : start + steps]]
    letters = all(len(label) <= 1 for label in labels)
    glyphs = [_get_glyph(one) if letters else "".join(map(_get_glyph, one)) for one in labels]
    room = 72 * (axes.get_figure().get_figwidth() - _BESIDE) / steps  # points a step
    widest = max(map(count_columns, glyphs), default=1)
    size = min(9.0, room / (_COLUMN * widest)) if letters else 9.0
    if size < _SMALLEST:
        axes.xaxis.get_major_locator().set_params(integer=True)
        return
    every = 1 if letters else max(1, int(np.ceil(_COLUMN * size * (widest + 1) / room)))
    axes.set_xticks(np.arange(start, start + steps, every), glyphs[::every], parse_math=False)
    axes.tick_params(axis="x", labelsize=size)
    if letters:
        axes.tick_params(axis="x", length=0, labelfontfamily=_MONO)
    axes.set_xlabel("")


def _get_glyph(character: str) -> str:
    """A character as a picture shows it: a sign for what has no shape."""
    sign = _GLYPHS.get(character, character)
    return sign if len(sign) == 1 and (sign == " " or sign.isprintable()) else "\u25a1"


def _make_colormap() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("statewise", ["#4891eb", "#ffffff", "#e86e14"])
