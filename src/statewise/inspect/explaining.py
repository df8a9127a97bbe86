"""`explain_unit`: what a unit follows, what the model loses without it, where it is high and low"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from statewise.architecture import Vector
from statewise.arrays import to_numpy
from statewise.errors import DataError, InputError
from statewise.inspect.cards import Card
from statewise.inspect.chance import CLEAR
from statewise.inspect.contexts import Passage
from statewise.inspect.editing import edit
from statewise.inspect.effects import Effect, Kind, find_rises, measure_changes
from statewise.inspect.label_series import check_finite
from statewise.inspect.labels import check_labels, compute_labels, correlate_labels, locate_labels
from statewise.inspect.losses import get_next_loss
from statewise.inspect.recording import record, shapes
from statewise.inspect.subject import check_names, find_memory, get_model, read_inputs
from statewise.inspect.threads import limit_threads
from statewise.inspect.trace import Trace
from statewise.progress import Progress
from statewise.state import State

Ablation = Literal["mean", "zero"]

KINDS: tuple[Kind, ...] = ("ablated", "clamped high", "clamped low")


def explain_unit(
    model: Any,
    data: Any,
    unit: int,
    name: str | None = None,
    *,
    labels: Mapping[str, Any] | None = None,
    ablate: Ablation = "mean",
    effects: bool = True,
    contexts: int = 5,
    state: State | None = None,
    unknown: str = "error",
    seed: int = 0,
) -> Card:
    """What one unit follows, what it does, and where it is high and low.

    The model need not use what a unit follows. So the unit is held at its mean (or zero), high and
    low throughout, and the card says how much worse the next input is predicted then, and where.
    A card names a label only where the unit, or the loss, goes with it by more than with the same
    labels in other orders of their blocks. Takes no torch.

    Arguments:
        model: of `statewise.nn`, of `statewise.load`, or a model of text.
        data: one sequence: a text for a model of text, a series (T,) or (T, F), or (1, T, ...) as
            the model takes it. Some thousand steps are enough.
        unit: which one.
        name: of which value; the memory of the first layer that has one, such as ``"0.c"``.
        labels: name -> (T,) numbers, beside the ready-made ones (see `text_labels` and
            `series_labels`).
        ablate: what a unit is held at to be ablated, its ``"mean"`` or ``"zero"``.
        effects: leave them out to be quicker.
        contexts: how many of each kind to keep.
        state: where to go on from, one row; the initial state where it is not given.
        unknown: ``"error"`` or ``"replace"``: characters that the vocabulary lacks.
        seed: of the orders in which labels are taken to see what chance does.

    Returns:
        the card. It has no effects where the model does not predict its own next input, or of a
        layer that reads in both directions.

    Raises:
        DataError: an empty text, characters that the vocabulary lacks, NaN in a series.
        InputError: unknown names or units, more than one sequence, labels that do not fit, or
            effects of a value that the cell does not pass through `capture`.

    Example::

        print(inspect.explain_unit(model, open("some.py").read(), 17))

    Source: for the control task, Hewitt and Liang, Designing and interpreting probes with control
    tasks, 2019. Their control gives every word a random label. The control here is the same label
    with blocks of its steps in another order: as frequent and as slow, and without a relation to
    what the steps hold.
    """
    return explain_units(
        model,
        data,
        [unit],
        name,
        labels=labels,
        ablate=ablate,
        effects=effects,
        contexts=contexts,
        state=state,
        unknown=unknown,
        seed=seed,
    )[0]


def explain_units(
    model: Any,
    data: Any,
    units: Iterable[int] | None = None,
    name: str | None = None,
    *,
    labels: Mapping[str, Any] | None = None,
    ablate: Ablation = "mean",
    effects: bool = True,
    contexts: int = 5,
    state: State | None = None,
    unknown: str = "error",
    seed: int = 0,
) -> list[Card]:
    """The cards of many units at once: each is held in a row of its own of one batch.

    Arguments are those of `explain_unit`; `units` are all of them where not given.

    Example::

        cards = inspect.explain_units(model, text)
        cards.sort(key=lambda card: -card.effects[0].change)     # what the model relies on most
    """
    if ablate not in ("mean", "zero"):
        raise InputError(f"ablate must be 'mean' or 'zero', got {ablate!r}")
    if contexts < 0:
        raise InputError(f"contexts must be 0 or more, got {contexts}")
    with limit_threads(), Progress("explaining units") as progress:
        trace = _record_value(model, data, name, state, unknown)
        (name,) = trace
        every = trace[name][0].astype(np.float64)
        listed = _list_units(units, name, every.shape[1])
        values = every[:, listed]  # (T, units)
        known = {**compute_labels(trace), **check_labels(labels, trace.steps)}
        passage = Passage(trace)
        mean = values.mean(axis=0)
        low, high = (_quantile(values, share) for share in (0.01, 0.99))
        followed = _find_followed(values, known, seed)
        loss = get_next_loss(get_model(model).architecture)
        measure, found = None, [list[Effect]() for _ in listed]
        if effects and loss is not None and listed and _can_hold(model, name):
            measure, targets = loss[0], (mean if ablate == "mean" else 0 * mean, high, low)
            holds = [(unit, to[k]) for k, unit in enumerate(listed) for to in targets]
            x = read_inputs(model, trace.inputs)[0]
            progress.total = len(holds)
            changed = measure_changes(
                get_model(model), x, name, holds, loss[1], state, progress.update
            ).reshape(len(listed), len(targets), -1)
            found = _describe_effects(targets, changed, known, passage, contexts, seed)
    return [
        Card(
            name,
            unit,
            float(mean[k]),
            float(low[k]),
            float(high[k]),
            followed[k],
            found[k],
            measure,
            passage.find_highest(values[:, k], contexts),
            passage.find_lowest(values[:, k], contexts),
        )
        for k, unit in enumerate(listed)
    ]


def _record_value(
    model: Any, data: Any, name: str | None, state: State | None, unknown: str
) -> Trace:
    """Run the model on one sequence and record one value."""
    known = shapes(model)
    name = find_memory(known) if name is None else name
    check_names([name], known, "value")
    if len(known[name][0]) != 1:
        raise InputError(f"{name!r} has no units: it is of shape {known[name][0]} at each step")
    x, _ = read_inputs(model, data, unknown)
    if x.shape[0] != 1:
        raise InputError(f"a card is made of one sequence, got {x.shape[0]}; give one: x[:1]")
    if x.shape[1] < 2:
        raise DataError(f"a card takes at least 2 steps, got {x.shape[1]}")
    if isinstance(get_model(model).architecture.inputs, Vector):
        check_finite(np.asarray(to_numpy(x))[0])
    return record(model, data, state, name, unknown=unknown)


def _list_units(units: Iterable[int] | None, name: str, width: int) -> list[int]:
    if isinstance(units, (int, np.integer)):
        raise InputError(f"explain_units takes several units, got {units}; write [{units}]")
    listed = list(range(width)) if units is None else list(units)
    for unit in listed:
        whole = isinstance(unit, (int, np.integer)) and not isinstance(unit, bool)
        if not whole or not 0 <= unit < width:
            raise InputError(f"{name!r} has units 0 to {width - 1}, got {unit!r}")
    return [int(unit) for unit in listed]


def _quantile(values: np.ndarray, share: float) -> np.ndarray:
    """The value of each unit that a share of the steps is below, one that occurs, (units,)."""
    return np.asarray(np.quantile(values, share, axis=0, method="closest_observation"))


def _find_followed(
    values: np.ndarray, labels: Mapping[str, np.ndarray], seed: int
) -> list[list[dict[str, Any]]]:
    """For each unit the labels it follows more closely than chance does, best first."""
    if not labels:
        return [[] for _ in values.T]
    names = list(labels)
    scores, controls, chances = correlate_labels(values, list(labels.values()), seed=seed)
    order = np.argsort(controls - np.abs(scores), axis=1, kind="stable")
    return [
        [
            {
                "label": names[k],
                "score": abs(float(score[k])),
                "control": float(control[k]),
                "sign": -1 if score[k] < 0 else 1,
            }
            for k in best
            if chance[k] <= CLEAR
        ]
        for score, control, chance, best in zip(scores, controls, chances, order, strict=True)
    ]


def _can_hold(model: Any, name: str) -> bool:
    """Whether a value can be held: not in a layer that reads in both directions.

    Raises:
        InputError: a cell whose step does not pass the value through `capture`.
    """
    if not get_model(model).architecture.layers[int(name.partition(".")[0])].causal:
        return False
    try:
        with edit(model, {name: lambda value: value}):
            return True
    except InputError as error:
        raise InputError(f"{error}. For a card without effects pass effects=False") from None


def _describe_effects(
    targets: Sequence[np.ndarray],
    changed: np.ndarray,
    labels: Mapping[str, np.ndarray],
    passage: Passage,
    contexts: int,
    seed: int,
) -> list[list[Effect]]:
    """The effects of each unit.

    Arguments:
        targets: for each of `KINDS` what the units are held at, (units,) each.
        changed: of the loss at each step but the last, (units, kinds, T - 1).
        labels, passage, contexts, seed: see `explain_unit`.
    """
    on = locate_labels({name: label[:-1] for name, label in labels.items()}, off=True)
    return [
        [
            Effect(
                kind,
                float(to[unit]),
                float(change.mean()),
                most,
                # the loss at a step is that of predicting the next one's input
                passage.find_highest(np.append(0.0, change), contexts, above=0.0),
            )
            for kind, to, change, most in zip(KINDS, targets, changed[unit], named, strict=True)
        ]
        for unit, named in enumerate(find_rises(changed, on, seed=seed))
    ]
