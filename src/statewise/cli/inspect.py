"""``statewise inspect``: a page on which to look into a model as it reads"""

from __future__ import annotations

import webbrowser
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from statewise.checkpoint import replace_atomically
from statewise.cli.looking import Reading, Stretch, stretch
from statewise.errors import FileError, InputError, MissingExtraError
from statewise.inspect import Card, explain_units, horizon, record
from statewise.inspect.page import html, payload
from statewise.inspect.page.payload import LARGEST
from statewise.inspect.recording import matching, shapes
from statewise.inspect.subject import memory, suggestion

LAGS, FOLLOWED, NUDGED = 64, 500, 256
"""The memory horizon: how long nudges are followed, in how many first steps, of how many units."""
CANDIDATES = 3
"""How many units are held to see what they do, for each card that is made."""
CLEAR = 0.2
"""By how much a unit follows a label beyond the control task, to be called a unit of that label."""


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
    cards = _cards(look, names, unit, options)
    horizon = _measured(look, unit, options.reading.unknown, notes)
    held = payload(
        trace,
        unit=unit,
        cards=cards,
        horizon=horizon,
        title=Path(options.source).name,
        inputs=look.curves,
        first=look.first,
        total=look.total,
        notes=notes,
    )
    page = html(held)
    with replace_atomically(out) as temporary:
        temporary.write_text(page, encoding="utf-8")
    _summary(out, options.source, held)
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
    names = matching(known, [part.strip() for part in patterns.split(",")])
    each = {name: int(np.prod(known[name][0])) for name in names}
    total = look.steps * sum(each.values())
    if total > LARGEST:
        largest = max(each, key=lambda name: each[name])
        raise InputError(
            f"{look.steps:,} steps of {len(names)} values are {total:,} numbers, more than the "
            f"{LARGEST:,} that a page holds; give --steps {LARGEST // sum(each.values())}, or "
            f"fewer values, such as --names {largest}"
        )
    return names


def _unit(look: Stretch, text: str, names: list[str]) -> tuple[str, int]:
    """``0.c.17`` as a name and a unit."""
    name, _, number = text.rpartition(".")
    if name not in names or not number.isdigit():
        hint = suggestion(name, names) or "."
        raise InputError(
            f"--unit is a value and a unit of it, such as {names[0]}.0, got {text!r}{hint} "
            f"The page has {', '.join(names)}"
        )
    width = int(np.prod(shapes(look.model)[name][0]))
    if int(number) >= width:
        raise InputError(f"{name!r} has units 0 to {width - 1}, got {number}")
    return name, int(number)


def _cards(
    look: Stretch, names: list[str], unit: tuple[str, int] | None, options: Options
) -> list[Card]:
    """Cards of the units that follow something most closely: first the one that is asked for, then
    those that the model uses for what they follow.
    """
    layers = dict.fromkeys(name.partition(".")[0] for name in names)
    memories = [name for layer in layers if (name := _memory(names, layer)) is not None]
    if options.cards < 1 or not memories:
        return []

    def explained(name: str, units: list[int] | None, effects: bool) -> list[Card]:
        return explain_units(
            look.model,
            look.data,
            units,
            name,
            effects=effects,
            state=look.before,
            unknown=options.reading.unknown,
        )

    every = [card for name in memories for card in explained(name, None, False)]
    asked = [] if unit is None else [unit]
    telling = [(one.name, one.unit) for one in _telling(every)[: CANDIDATES * options.cards]]
    wanted = list(dict.fromkeys([*asked, *telling]))
    found = {
        (card.name, card.unit): card
        for name in dict.fromkeys(name for name, _ in wanted)
        for card in explained(name, [number for own, number in wanted if own == name], True)
    }
    wanted.sort(key=lambda one: (one != unit, not _used(found[one])))
    return [found[one] for one in wanted[: options.cards]]


def _used(card: Card) -> bool:
    """Whether ablating the unit is felt where the label is that it clearly follows."""
    effect = card.effects[:1]
    felt = [one["label"] for own in effect for one in own.where if one["change"] > 0]
    return any(
        one["label"] in felt and one["score"] > one["control"] + CLEAR for one in card.labels[:1]
    )


def _memory(names: list[str], layer: str) -> str | None:
    own = [name for name in names if name.partition(".")[0] == layer]
    with suppress(InputError):
        return memory(own)
    return None


def _telling(cards: list[Card]) -> list[Card]:
    """Those that follow a label closest beyond the control task, each label's best before any
    label's second.
    """
    following = [card for card in cards if card.labels]
    ranked = sorted(following, key=lambda card: card.labels[0]["control"] - card.labels[0]["score"])
    seen: dict[str, int] = {}
    places = []
    for card in ranked:
        label = card.labels[0]["label"]
        seen[label] = seen.get(label, 0) + 1
        places.append(seen[label])
    order = sorted(range(len(ranked)), key=lambda k: places[k])
    return [ranked[k] for k in order]


def _measured(look: Stretch, unit: tuple[str, int] | None, unknown: str, notes: list[str]) -> Any:
    """The memory horizon of the layer that is looked at, or None and a note that says why."""
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


def _summary(out: Path, source: str, held: dict[str, Any]) -> None:
    """What the page holds, in a few lines."""
    first, steps, values = held["first"], held["steps"], len(held["values"])
    layers = ", ".join(layer["label"] for layer in held["layers"])
    print(f"{out}: steps {first:,} to {first + steps - 1:,} of {held['total']:,} of {source}")
    print(f"{layers}: {values} values at each; {out.stat().st_size / 1e6:.1f} MB")
    for note in held["notes"]:
        print(note)
    for card in held["cards"]:
        print(f"  {card['name']}.{card['unit']}: {_said(card)}")


def _said(card: dict[str, Any]) -> str:
    measure = card["measure"]
    follows = [
        f"follows {label['label']} {_short(label['score'])}, control {_short(label['control'])}"
        for label in card["labels"][:1]
    ]
    does = [f"ablated {effect['change']:+.3g} {measure}" for effect in card["effects"][:1]]
    return "; ".join(follows + does)


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
