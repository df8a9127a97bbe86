"""`explain_unit`: what a unit follows, what it does, and where it is high and low"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np

from statewise.architecture import Vector
from statewise.arrays import to_numpy
from statewise.errors import DataError, InputError
from statewise.inspect.cards import Card
from statewise.inspect.contexts import Passage
from statewise.inspect.editing import edit
from statewise.inspect.effects import Effect, Kind, changes, where
from statewise.inspect.label_series import finite
from statewise.inspect.labels import follow, own_labels, places, ready_labels
from statewise.inspect.losses import next_loss
from statewise.inspect.recording import record, shapes
from statewise.inspect.subject import chosen, memory, read, runner
from statewise.inspect.trace import Trace
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

    A unit that follows a label need not be what the model reads it from. So the unit is held at its
    mean (or zero), high and low throughout, and the card says how much worse the next input is
    foretold then, and where. Takes no torch.

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
        seed: of the displacements of the control task.

    Returns:
        the card. It has no effects where the model foretells no input of its own (see
        `losses.next_loss`), or where the value cannot be changed from outside.

    Raises:
        DataError: an empty text, characters that the vocabulary lacks, NaN in a series.
        InputError: unknown names or units, more than one sequence, or labels that do not fit.

    Example::

        print(inspect.explain_unit(model, open("some.py").read(), 17))

    Source: for the control task, Hewitt and Liang, Designing and interpreting probes with control
    tasks, 2019, whose random labels are the same label displaced in time here: as frequent and as
    slow, and with no other relation to the steps.
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
    trace = _recorded(model, data, name, state, unknown)
    (name,) = trace
    every = trace[name][0].astype(np.float64)
    listed = _listed(units, name, every.shape[1])
    values = every[:, listed]  # (T, units)
    known = {**ready_labels(trace), **own_labels(labels, trace.steps)}
    passage = Passage(trace)
    mean = values.mean(axis=0)
    low, high = (_reached(values, share) for share in (0.01, 0.99))
    followed = _followed(values, known, seed)
    loss = next_loss(runner(model).architecture) if effects and _editable(model, name) else None
    measure, found = None, [list[Effect]() for _ in listed]
    if loss is not None and listed:
        measure, targets = loss[0], (mean if ablate == "mean" else 0 * mean, high, low)
        holds = [(unit, to[k]) for k, unit in enumerate(listed) for to in targets]
        changed = changes(runner(model), read(model, trace.inputs)[0], name, holds, loss[1], state)
        made = _effects(holds, changed, known, passage, contexts)
        found = [made[3 * k : 3 * k + 3] for k in range(len(listed))]
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
            passage.highest(values[:, k], contexts),
            passage.lowest(values[:, k], contexts),
        )
        for k, unit in enumerate(listed)
    ]


def _recorded(model: Any, data: Any, name: str | None, state: State | None, unknown: str) -> Trace:
    """The run of one sequence, with one value of it."""
    known = shapes(model)
    name = memory(known) if name is None else name
    chosen([name], known, "value")
    if len(known[name][0]) != 1:
        raise InputError(f"{name!r} has no units: it is of shape {known[name][0]} at each step")
    x, _ = read(model, data, unknown)
    if x.shape[0] != 1:
        raise InputError(f"a card is made of one sequence, got {x.shape[0]}; give one: x[:1]")
    if x.shape[1] < 2:
        raise DataError(f"a card takes at least 2 steps, got {x.shape[1]}")
    if isinstance(runner(model).architecture.inputs, Vector):
        finite(np.asarray(to_numpy(x))[0])
    return record(model, data, state, name, unknown=unknown)


def _listed(units: Iterable[int] | None, name: str, width: int) -> list[int]:
    if isinstance(units, (int, np.integer)):
        raise InputError(f"explain_units takes several units, got {units}; write [{units}]")
    listed = list(range(width)) if units is None else list(units)
    for unit in listed:
        whole = isinstance(unit, (int, np.integer)) and not isinstance(unit, bool)
        if not whole or not 0 <= unit < width:
            raise InputError(f"{name!r} has units 0 to {width - 1}, got {unit!r}")
    return [int(unit) for unit in listed]


def _reached(values: np.ndarray, share: float) -> np.ndarray:
    """The values that a share of the steps is below, such that were really met, (units,)."""
    return np.asarray(np.quantile(values, share, axis=0, method="closest_observation"))


def _followed(
    values: np.ndarray, labels: Mapping[str, np.ndarray], seed: int
) -> list[list[dict[str, Any]]]:
    """For each unit the labels it follows, best first."""
    if not labels:
        return [[] for _ in values.T]
    names = list(labels)
    scores, controls = follow(values, list(labels.values()), seed=seed)
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
        ]
        for score, control, best in zip(scores, controls, order, strict=True)
    ]


def _editable(model: Any, name: str) -> bool:
    try:
        with edit(model, {name: lambda value: value}):
            return True
    except InputError:
        return False


def _effects(
    holds: list[tuple[int, float]],
    changed: np.ndarray,
    labels: Mapping[str, np.ndarray],
    passage: Passage,
    contexts: int,
) -> list[Effect]:
    """Holds, and the change of the loss at each step but the last, (holds, T - 1), in words."""
    on = places({name: label[:-1] for name, label in labels.items()}, off=True)
    most = where(changed, on)
    return [
        Effect(
            KINDS[k % 3],
            float(to),
            float(changed[k].mean()),
            most[k],
            # the loss at a step is that of foretelling the next one's input
            passage.highest(np.append(0.0, changed[k]), contexts, above=0.0),
        )
        for k, (_, to) in enumerate(holds)
    ]
