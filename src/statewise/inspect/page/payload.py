"""`build_payload`: one row of a trace as plain JSON, with its losses, cards and horizon"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from statewise.arrays import to_numpy
from statewise.errors import InputError
from statewise.inspect.losses import get_next_loss
from statewise.inspect.page.layers import describe_layers
from statewise.inspect.page.packing import pack
from statewise.inspect.subject import find_memory, pick_unit

if TYPE_CHECKING:
    from statewise.inspect.trace_values import TraceValues

LARGEST = 48 * 2**20
"""How many numbers a page holds at most: about 100 MB, more than browsers open readily."""


def build_payload(
    trace: TraceValues,
    row: int = 0,
    unit: tuple[str, int] | None = None,
    cards: Iterable[Any] = (),
    horizon: Any = None,
    title: str = "statewise inspect",
    *,
    steps: Any = None,
    inputs: Sequence[str] = (),
    first: int | None = None,
    total: int | None = None,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """One row of a trace as plain JSON: what the page and the notebook's widget read.

    Arguments:
        trace: what is shown, with losses if its model predicts its own next input.
        row: which row, up to its end.
        unit: (name, unit) to show first; by default that of the first card, else a unit of the
            first layer's memory that varies much and slowly.
        cards: of `explain_units`; their contexts are linked to steps of the trace.
        horizon: of `horizon`.
        title: of the page.
        steps: which steps, as `Trace.span` takes them; all where not given.
        inputs: names of the features that the model reads.
        first: the number of the first step; by default the position of the state before it.
        total: how many steps the whole input has.
        notes: sentences to show, such as what was left out and why.

    Raises:
        InputError: an unknown name, unit or row, no steps, or too many values for a page.
    """
    start, stop = trace.extent(row, steps)
    values = {name: _rows_of_units(trace[name][row, start:stop]) for name in trace}
    _check_size(values)
    held = [_as_dict(card) for card in cards]
    chosen = _first_unit(trace, values, unit, held)
    called = int(trace.before.position[row]) + start if first is None else first
    before = {name: _state_before(trace, name, row, start) for name in _fields(trace)}
    return {
        "title": title,
        "kind": "text" if trace.inputs.ndim == 2 else "series",
        "steps": stop - start,
        "first": called,
        "total": total,
        "labels": _labels(trace, row, start, stop, called),
        "layers": describe_layers(trace),
        "values": {name: pack(value) for name, value in values.items()},
        "before": {name: pack(value) for name, value in before.items()},
        "initial": {name: pack(value) for name, value in _initial(trace).items()},
        "resets": _resets(trace, row, start, stop),
        "curves": _curves(trace, row, start, stop, inputs),
        "loss": _loss(trace, row, start, stop),
        "unit": {"name": chosen[0], "unit": chosen[1]},
        "cards": _without_nan([_place_card(card, values, start) for card in held]),
        "horizon": _without_nan(horizon if horizon is None else _as_dict(horizon)),
        "notes": list(notes),
    }


def _rows_of_units(values: np.ndarray) -> np.ndarray:
    """(T, ...) -> (units, T)."""
    return np.ascontiguousarray(values.reshape(len(values), -1).T)


def _check_size(values: Mapping[str, np.ndarray]) -> None:
    total = sum(value.size for value in values.values())
    if total > LARGEST:
        steps = next(iter(values.values())).shape[1]
        raise InputError(
            f"a page of {total:,} values would be too large to open; give steps=, such as the "
            f"first {steps * LARGEST // total:,} of {steps:,}, or record fewer names"
        )


def _first_unit(
    trace: TraceValues,
    values: Mapping[str, np.ndarray],
    unit: tuple[str, int] | None,
    cards: Sequence[Mapping[str, Any]],
) -> tuple[str, int]:
    if unit is not None:
        name, number = unit
        trace.unit(name, number)
        return name, int(number)
    if cards and cards[0]["name"] in values:
        return str(cards[0]["name"]), int(cards[0]["unit"])
    try:
        name = find_memory(values)
    except InputError:
        name = next(iter(values))
    return name, pick_unit(values[name])


def _labels(trace: TraceValues, row: int, start: int, stop: int, called: int) -> list[str]:
    if trace.labels is not None:
        return [str(label) for label in trace.labels[start:stop]]
    if trace.inputs.ndim == 2:
        return [str(token) for token in trace.inputs[row, start:stop]]
    return [str(called + k) for k in range(stop - start)]


def _fields(trace: TraceValues) -> list[str]:
    """The recorded names that are fields of the state."""
    return [name for name in trace if name in trace.before]


def _state_before(trace: TraceValues, name: str, row: int, start: int) -> np.ndarray:
    """The value before the first step that is shown, (units, 1)."""
    value = trace[name][row, start - 1] if start else trace.before[name][row]
    return np.asarray(value, np.float64).reshape(-1, 1)


def _initial(trace: TraceValues) -> dict[str, np.ndarray]:
    """The initial values, (units, 1) by name, if the trace has a reset."""
    if trace.model is None or trace.reset is None:
        return {}
    state = trace.model.initial_state(1).detach().numpy()
    return {name: np.asarray(state[name], np.float64).reshape(-1, 1) for name in _fields(trace)}


def _resets(trace: TraceValues, row: int, start: int, stop: int) -> list[int]:
    if trace.reset is None:
        return []
    return [int(step) for step in np.flatnonzero(trace.reset[row, start:stop])]


def _curves(
    trace: TraceValues, row: int, start: int, stop: int, names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """The features that the model read by name; none for tokens, which are the labels."""
    if trace.inputs.ndim == 2:
        return {}
    inputs = _rows_of_units(trace.inputs[row, start:stop])
    known = list(names) or (
        ["input"] if len(inputs) == 1 else [f"input {k}" for k in range(len(inputs))]
    )
    return {name: pack(values[None]) for name, values in zip(known, inputs, strict=True)}


def _loss(trace: TraceValues, row: int, start: int, stop: int) -> dict[str, Any] | None:
    """How badly the step before predicted each input; NaN where there is no step before."""
    found = None if trace.model is None else get_next_loss(trace.model.architecture)
    if found is None:
        return None
    measure, loss = found
    outputs, _ = trace.run_again(stop)
    each = np.asarray(loss(trace.inputs[row : row + 1, :stop], to_numpy(outputs)[row : row + 1]))
    predicted = np.r_[np.nan, each[0].astype(np.float64)]
    return {"unit": measure, "values": pack(predicted[None, start:])}


def _place_card(
    card: Mapping[str, Any], values: Mapping[str, np.ndarray], start: int
) -> dict[str, Any]:
    """A card with the shown step of each context: None outside the shown steps, and for all
    contexts of a card of other data, most of whose values differ from those shown.
    """
    grid = values.get(card["name"], np.zeros((0, 0)))
    ends = {word: card.get(word, []) for word in ("top", "bottom")}
    found = [
        abs(grid[card["unit"], at] - one["value"]) <= 0.01 * (1 + abs(one["value"]))
        for one in (*ends["top"], *ends["bottom"])
        if 0 <= (at := one["step"] - start) < grid.shape[1]
    ]
    same = sum(found) > len(found) / 2

    def place(contexts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        here = [one["step"] - start for one in contexts]
        return [
            {**one, "step": at if same and 0 <= at < grid.shape[1] else None}
            for one, at in zip(contexts, here, strict=True)
        ]

    effects = [{**one, "contexts": place(one["contexts"])} for one in card.get("effects", [])]
    return {**card, "effects": effects, **{word: place(own) for word, own in ends.items()}}


def _as_dict(found: Any) -> Mapping[str, Any]:
    return found if isinstance(found, Mapping) else found.as_dict()


def _without_nan(value: Any) -> Any:
    """None in place of NaN and infinity, which JSON does not have."""
    if isinstance(value, Mapping):
        return {key: _without_nan(own) for key, own in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(own) for own in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
