"""``statewise inspect``: a page on which to look into a model as it reads"""

from __future__ import annotations

import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from statewise.checkpoint import replacing
from statewise.cli.looking import Reading, Stretch, stretch
from statewise.errors import FileError, InputError, MissingExtraError
from statewise.inspect import Trace, record
from statewise.inspect.page import html, payload
from statewise.inspect.page.payload import LARGEST
from statewise.inspect.recording import matching, shapes
from statewise.inspect.subject import memory, runner, suggestion

LAGS, FOLLOWED, NUDGED = 64, 500, 256
"""The memory horizon: how long nudges are followed, in how many first steps, of how many units."""


@dataclass(frozen=True)
class Options:
    """What the command was asked; the fields are its options."""

    model: str
    source: str
    out: str | None
    open: bool
    names: str
    unit: str | None
    cards: int
    reading: Reading


def run(options: Options) -> None:
    """The command."""
    out = Path(options.out or f"{Path(options.source).stem}.html")
    _check_place(out)
    look = stretch(options.model, options.source, options.reading)
    names = _names(look, options.names)
    unit = None if options.unit is None else _unit(look, options.unit, names)
    trace = record(look.model, look.data, look.before, names, unknown=options.reading.unknown)
    if look.labels is not None:
        trace = trace.align(look.labels)
    notes = list(look.notes)
    horizon = _horizon(look, unit, options.reading.unknown, notes)
    page = html(
        payload(
            trace,
            unit=unit,
            horizon=horizon,
            title=Path(options.source).name,
            inputs=look.curves,
            first=look.first,
            total=look.total,
            notes=notes,
        )
    )
    with replacing(out) as temporary:
        temporary.write_text(page, encoding="utf-8")
    _summary(out, options, look, trace)
    if options.open:
        webbrowser.open(out.resolve().as_uri())


def _check_place(out: Path) -> None:
    if out.is_dir():
        raise FileError(f"{out} is a folder; name a file in it with --out")
    if not out.parent.is_dir():
        raise FileError(f"there is no folder {out.parent} to write {out.name} in")


def _names(look: Stretch, patterns: str) -> list[str]:
    """The names that are meant, if a page can hold them."""
    known = shapes(look.model)
    names = matching(known, [part.strip() for part in patterns.split(",") if part.strip()])
    steps = len(look.data) if isinstance(look.data, str) else look.data.shape[1]
    each = {name: int(np.prod(known[name][0])) for name in names}
    total = steps * sum(each.values())
    if total > LARGEST:
        largest = max(each, key=lambda name: each[name])
        raise InputError(
            f"{steps:,} steps of {len(names)} values are {total:,} numbers, more than the "
            f"{LARGEST:,} that a page holds; give --steps {LARGEST // sum(each.values())}, or "
            f"fewer values, such as --names {largest}"
        )
    return names


def _unit(look: Stretch, text: str, names: list[str]) -> tuple[str, int]:
    """``0.c.17`` as a name and a unit."""
    name, _, number = text.rpartition(".")
    if name not in names or not number.isdigit():
        raise InputError(
            f"--unit is a value and a unit of it, such as {names[0]}.0, got {text!r}"
            f"{suggestion(name, names)} The page has {', '.join(names)}"
        )
    width = int(np.prod(shapes(look.model)[name][0]))
    if int(number) >= width:
        raise InputError(f"{name!r} has units 0 to {width - 1}, got {number}")
    return name, int(number)


def _horizon(look: Stretch, unit: tuple[str, int] | None, unknown: str, notes: list[str]) -> Any:
    """The memory horizon of the layer that is looked at, or None and a note that says why."""
    from statewise.inspect import horizon

    known = shapes(look.model)
    try:
        layer = None if unit is None else unit[0].partition(".")[0]
        name = memory([one for one in known if layer in (None, one.partition(".")[0])])
        width = known[name][0][0]
        units = np.unique(np.linspace(0, width - 1, min(width, NUDGED)).round().astype(int))
        return horizon(
            look.model,
            look.data[:FOLLOWED] if isinstance(look.data, str) else look.data[:, :FOLLOWED],
            name,
            lags=LAGS,
            starts=2,
            units=units.tolist(),
            state=look.before,
            unknown=unknown,
        )
    except MissingExtraError:
        notes.append(
            "The memory horizon is left out: it takes torch, which is not installed "
            "(pip install 'statewise[train]')."
        )
    except InputError as error:
        notes.append(f"The memory horizon is left out: {error}.")
    return None


def _summary(out: Path, options: Options, look: Stretch, trace: Trace) -> None:
    architecture = runner(look.model).architecture
    layers = ", ".join(type(cell).__name__ for cell in architecture.layers)
    last = look.first + trace.steps - 1
    size = out.stat().st_size / 1e6
    print(
        f"{out}: steps {look.first:,} to {last:,} of {look.total:,} of {options.source}; {layers}"
    )
    print(f"{len(trace)} values, {trace.steps:,} steps; {size:.1f} MB")
    for note in look.notes:
        print(note)
