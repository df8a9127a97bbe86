"""``statewise inspect``: a page that shows what is inside a model as it reads"""

from __future__ import annotations

import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from statewise.checkpoint import replace_atomically
from statewise.cli.inspect_input import Window, WindowOptions, read_window
from statewise.errors import FileError, InputError, MissingExtraError
from statewise.extras import is_installed
from statewise.inspect import Card, explain_units, horizon, record
from statewise.inspect.page import build_payload, render_page
from statewise.inspect.page.payload import LARGEST
from statewise.inspect.recording import matching, shapes
from statewise.inspect.subject import find_memory, get_model, suggest
from statewise.inspect.threads import limit_threads
from statewise.inspect.unit_groups import Shapes, find_companions
from statewise.progress import Progress
from statewise.wording import format_count

LAGS, FOLLOWED, NUDGED = 64, 500, 256
"""The memory horizon: lags, steps at the beginning of the window that are used, units at most."""
CANDIDATES = 3
"""How many units are ablated and clamped for each card that is made."""
CLEAR = 0.2
"""How far the score of a unit's label must be above that of the control."""


@dataclass(frozen=True)
class Options:
    """The options of the command."""

    model: str
    source: str
    out: str | None
    open: bool
    names: str
    unit: str | None
    cards: int
    window: WindowOptions


def run(options: Options) -> None:
    """The command."""
    out = Path(options.out or f"{Path(options.source).stem}.html")
    _check_place(out)
    if options.cards < 0:
        raise InputError(f"--cards must be at least 0, got {options.cards}")
    with Progress(f"opening {options.model} and {options.source}") as progress:
        window = read_window(options.model, options.source, options.window)
        if is_installed("torch"):  # for the horizon; imported later it would not be limited
            progress.update(description="importing torch")
            import torch  # noqa: F401
        with limit_threads():
            found = _look_inside(window, options, progress)
        progress.update(description=f"writing {out}")
        page = render_page(found)
        with replace_atomically(out) as temporary:
            temporary.write_text(page, encoding="utf-8")
    _print_summary(out, options.source, found)
    if options.open:
        webbrowser.open(out.resolve().as_uri())


def _look_inside(window: Window, options: Options, progress: Progress) -> dict[str, Any]:
    """All that the page shows."""
    known = {name: shape for name, (shape, _) in shapes(window.model).items()}
    names = _choose_names(window, options.names, known)
    unit = None if options.unit is None else _parse_unit(options.unit, names, known)
    unknown = options.window.unknown
    progress.update(description="recording the values inside")
    trace = record(window.model, window.data, window.before, names, unknown=unknown)
    if window.labels is not None:
        trace = trace.align(window.labels)
    notes = list(window.notes)
    cards = _make_cards(window, {name: known[name] for name in names}, unit, options, progress)
    progress.update(description="measuring the memory horizon")
    measured = _measure_horizon(window, unit, known, unknown, notes)
    return build_payload(
        trace,
        unit=unit,
        cards=cards,
        horizon=measured,
        title=Path(options.source).name,
        inputs=window.curves,
        first=window.first,
        total=window.total,
        notes=notes,
    )


def _check_place(out: Path) -> None:
    if out.is_dir():
        raise FileError(f"{out} is a folder; name a file in it with --out")
    if not out.parent.is_dir():
        raise FileError(f"there is no folder {out.parent} to write {out.name} in")


def _choose_names(window: Window, patterns: str, known: Shapes) -> list[str]:
    """The names that match, if a page can hold their values."""
    names = matching(shapes(window.model), [part.strip() for part in patterns.split(",")])
    each = {name: int(np.prod(known[name])) for name in names}
    total = window.steps * sum(each.values())
    if total > LARGEST:
        largest = max(each, key=lambda name: each[name])
        raise InputError(
            f"{window.steps:,} steps of {len(names)} values are {total:,} numbers, and a page "
            f"holds at most {LARGEST:,}; give --steps {LARGEST // sum(each.values())}, or fewer "
            f"values, such as --names {largest}"
        )
    return names


def _parse_unit(text: str, names: list[str], known: Shapes) -> tuple[str, int]:
    """``0.c.17`` as a name and a unit."""
    name, _, number = text.rpartition(".")
    if name not in names or not number.isdigit():
        hint = suggest(name, names) or "."
        raise InputError(
            f"--unit must be a value and a unit of it, such as {names[0]}.0, got {text!r}{hint} "
            f"The page has {', '.join(names)}"
        )
    width = int(np.prod(known[name]))
    if int(number) >= width:
        raise InputError(f"{name!r} has units 0 to {width - 1}, got --unit {text}")
    return name, int(number)


def _find_memory(name: str, known: Shapes, model: Any) -> str | None:
    """What remembers in the units of a value: the c of an LSTM, the h of others."""
    own = {one.rpartition(".")[2]: one for one in find_companions(name, known, model)}
    return own.get("c", own.get("h"))


def _make_cards(
    window: Window,
    known: Shapes,
    unit: tuple[str, int] | None,
    options: Options,
    progress: Progress,
) -> list[Card]:
    """Cards of the unit that is asked for, and of those that follow a label most clearly.

    Units whose label the model also relies on come first.
    """
    model = get_model(window.model)
    found = [_find_memory(name, known, model) for name in known]
    memories = list(dict.fromkeys(name for name in found if name is not None))
    if options.cards < 1 or not memories or window.steps < 2:
        return []

    def explain(name: str, units: list[int] | None, effects: bool) -> list[Card]:
        progress.update(description=f"{'testing' if effects else 'describing'} units of {name}")
        return explain_units(
            window.model,
            window.data,
            units,
            name,
            effects=effects,
            state=window.before,
            unknown=options.window.unknown,
        )

    described = [card for name in memories for card in explain(name, None, False)]
    clearest = _rank_cards(described)[: CANDIDATES * options.cards]
    asked = [] if unit is None else [unit]
    wanted = list(dict.fromkeys([*asked, *((card.name, card.unit) for card in clearest)]))
    tested = {
        (card.name, card.unit): card
        for name in dict.fromkeys(name for name, _ in wanted)
        for card in explain(name, [number for own, number in wanted if own == name], True)
    }
    wanted.sort(key=lambda one: (one != unit, not _is_used(tested[one])))
    return [tested[one] for one in wanted[: options.cards]]


def _is_used(card: Card) -> bool:
    """Whether the loss rises where the unit's label is, and the unit clearly follows that label."""
    effect = card.effects[:1]
    felt = [one["label"] for own in effect for one in own.where if one["change"] > 0]
    return any(
        one["label"] in felt and one["score"] > one["control"] + CLEAR for one in card.labels[:1]
    )


def _rank_cards(cards: list[Card]) -> list[Card]:
    """The cards by how far their label's score is above the control: the best card of each label
    before the second of any.
    """
    following = [card for card in cards if card.labels]
    ranked = sorted(following, key=lambda card: card.labels[0]["control"] - card.labels[0]["score"])
    counts: dict[str, int] = {}
    places = []
    for card in ranked:
        label = card.labels[0]["label"]
        counts[label] = counts.get(label, 0) + 1
        places.append(counts[label])
    order = sorted(range(len(ranked)), key=lambda k: places[k])
    return [ranked[k] for k in order]


def _measure_horizon(
    window: Window, unit: tuple[str, int] | None, known: Shapes, unknown: str, notes: list[str]
) -> Any:
    """The memory horizon of the units that are shown first, or None and a note that says why."""
    model = get_model(window.model)
    try:
        name = None if unit is None else _find_memory(unit[0], known, model)
        if name is None:
            layer = None if unit is None else unit[0].partition(".")[0]
            name = find_memory([one for one in known if layer in (None, one.partition(".")[0])])
        width = known[name][0]
        units = np.unique(np.linspace(0, width - 1, min(width, NUDGED)).round().astype(int))
        return horizon(
            window.model,
            window.data[:FOLLOWED] if isinstance(window.data, str) else window.data[:, :FOLLOWED],
            name,
            lags=LAGS,
            starts=2,
            units=units.tolist(),
            state=window.before,
            unknown=unknown,
        )
    except MissingExtraError:
        notes.append(
            "The memory horizon is left out: it needs torch, which is not installed "
            "(pip install 'statewise[train]')."
        )
    except InputError as error:
        notes.append(f"The memory horizon is left out: {error}.")
    return None


def _print_summary(out: Path, source: str, found: dict[str, Any]) -> None:
    """What the page holds, in a few lines."""
    values = len(found["values"])
    print(f"{out}: {_format_steps(found)} of {source}, {out.stat().st_size / 1e6:.1f} MB")
    layers = ", ".join(layer["label"] for layer in found["layers"])
    print(f"{layers}: {format_count(values, 'value')} at each step")
    for note in found["notes"]:
        print(note)
    for card in found["cards"]:
        print(f"  {card['name']}.{card['unit']}: {_format_card(card)}")


def _format_steps(found: dict[str, Any]) -> str:
    first, steps, total = found["first"], found["steps"], found["total"]
    if steps == 1:
        return f"step {first:,} of {total:,}"
    return f"steps {first:,} to {first + steps - 1:,} of {total:,}"


def _format_card(card: dict[str, Any]) -> str:
    follows = [
        f"follows {label['label']} {_short(label['score'])}, control {_short(label['control'])}"
        for label in card["labels"][:1]
    ]
    measure = card["measure"]
    does = [f"{effect['change']:+.3g} {measure} when ablated" for effect in card["effects"][:1]]
    return "; ".join(follows + does) or "follows no label"


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
