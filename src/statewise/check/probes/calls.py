"""From call to call: what is carried, what evaluating and saving do, and what a reset returns to"""

from __future__ import annotations

import io

import numpy as np

from statewise.check.probes.compare import gap, off, same
from statewise.check.registry import FINE, Means, probe
from statewise.check.subject import Subject, UnavailableError


def _all(subject: Subject) -> list[str]:
    return list(subject.ways())


def _many(subject: Subject) -> list[str]:
    return [name for name, way in subject.ways().items() if way.many]


def _training(subject: Subject) -> list[str]:
    return [name for name, way in subject.ways().items() if way.trains]


def _evaluating(subject: Subject) -> list[str]:
    return [name for name, way in subject.ways().items() if way.evaluates]


@probe(
    "repeat",
    "Does the same call on the same model give the same numbers?",
    "Yes, outside of training.",
    {"same": FINE, "differs": Means("wrong", "find what is drawn at random in evaluation mode")},
)
def repeats(subject: Subject, _part: str) -> tuple[str, str]:
    x = subject.inputs.draw(seed=1)
    first, again = (subject.fresh().ways()[subject.plain].observe([x], 1)[0] for _ in range(2))
    if same(first, again):
        return "same", "two fresh copies answer alike"
    return "differs", f"two fresh copies answer differently, {off(gap(first, again))}"


@probe(
    "carry",
    "Is the state carried from one {part} to the next, with no state passed?",
    "No: a call that is given no state starts anew.",
    {
        "carried": Means(
            "surprise",
            "reset before a sequence that does not go on from the last one, and say --expect carry "
            "where the carry is meant",
            "{reset}",
        ),
        "reset": FINE,
    },
    _all,
)
def carries(subject: Subject, part: str) -> tuple[str, str]:
    if _carried(subject, part):
        return "carried", f"the second {part} answers otherwise than it would as the first"
    return "reset", f"the second {part} answers as if it were the first"


def _carried(subject: Subject, name: str) -> bool:
    if name in subject.known:
        return subject.known[name]
    past, new = subject.inputs.draw(seed=1), subject.inputs.draw(seed=2)
    alone = subject.fresh().ways()[name].observe([new], 1)[0]
    way = subject.fresh().ways()[name]
    way.observe([past], 1)
    subject.known[name] = not same(way.observe([new], 1)[0], alone)
    return subject.known[name]


@probe(
    "ways",
    "Do all ways of calling agree on whether the state is carried?",
    "Yes: how a model is called does not change what it remembers.",
    {
        "agree": FINE,
        "differ": Means(
            "surprise", "use one way throughout, or pass the state yourself", "{explicit}"
        ),
    },
)
def agree(subject: Subject, _part: str) -> tuple[str, str]:
    found: dict[bool, list[str]] = {True: [], False: []}
    for name in subject.ways():
        try:
            found[_carried(subject, name)].append(name)
        except Exception:  # the row of that way says what it raised
            continue
    if found[True] and found[False]:
        return "differ", f"{_list(found[True])} carry, {_list(found[False])} do not"
    known = found[True] or found[False]
    return "agree", f"{_list(known)}: {'carried' if found[True] else 'reset'}"


@probe(
    "batches",
    "Inside one {part}, is the state carried from batch to batch?",
    "No: batches are independent.",
    {
        "carried": Means(
            "surprise",
            "order the data so that row i of a batch goes on where row i of the last one ended",
        ),
        "reset": FINE,
    },
    _many,
)
def across_batches(subject: Subject, part: str) -> tuple[str, str]:
    past, new = subject.inputs.draw(seed=1), subject.inputs.draw(seed=2)
    alone = subject.fresh().ways()[part].observe([new], 1)[0]
    second = subject.fresh().ways()[part].observe([past, new], 1)[1]
    if same(second, alone):
        return "reset", "the second batch answers as if it were the first"
    return "carried", "the second batch goes on from the first"


@probe(
    "epochs",
    "Does {part} begin every epoch from the same state?",
    "Yes: the second pass over the data begins like the first.",
    {
        "anew": FINE,
        "carried": Means("surprise", "reset at the end of every epoch, in a callback", "{reset}"),
    },
    _training,
)
def epochs(subject: Subject, part: str) -> tuple[str, str]:
    batches = [subject.inputs.draw(seed=1), subject.inputs.draw(seed=2)]
    seen = subject.fresh().ways()[part].observe(batches, 2)
    if same(seen[2], seen[0]):
        return "anew", "the second epoch begins like the first"
    return "carried", "the second epoch begins with what the first one left behind"


@probe(
    "evaluating",
    "Does {part} on other data leave the carried state alone?",
    "Yes: evaluating changes nothing.",
    {
        "alone": FINE,
        "disturbs": Means("surprise", "save what the model holds before, and put it back after"),
    },
    _evaluating,
)
def evaluating(subject: Subject, part: str) -> tuple[str, str]:
    past, new, other = (subject.inputs.draw(seed=seed) for seed in (1, 2, 3))
    undisturbed = subject.fresh().ways()[subject.training].observe([past, new], 1)[1]
    ways = subject.fresh().ways()
    ways[subject.training].observe([past], 1)
    ways[part].observe([other], 1)
    after = ways[subject.training].observe([new], 1)[0]
    if same(after, undisturbed):
        return "alone", "the next call goes on as if nothing had been evaluated"
    return "disturbs", f"the next call answers differently after it, {off(gap(after, undisturbed))}"


@probe(
    "saving",
    "Does the state survive saving and loading?",
    "Yes: a loaded model goes on where the saved one stood.",
    {
        "kept": FINE,
        "nothing held": FINE,
        "lost": Means("surprise", "save the state beside the model, and put it back", "{held}"),
        "neither": Means("wrong", "the loaded model answers like neither: compare the weights"),
    },
)
def saving(subject: Subject, _part: str) -> tuple[str, str]:
    past, new = subject.inputs.draw(seed=1), subject.inputs.draw(seed=2)
    if subject.explicit:
        return _saved_state(subject.fresh(), past, new)
    alone = subject.fresh().ways()[subject.plain].observe([new], 1)[0]
    kept = subject.fresh().ways()[subject.plain].observe([past, new], 1)[1]
    one = subject.fresh()
    one.ways()[subject.plain].observe([past], 1)
    loaded = one.reloaded().ways()[subject.plain].observe([new], 1)[0]
    if same(kept, alone):
        return (
            ("nothing held", "the loaded model answers alike, and holds nothing to lose")
            if (same(loaded, alone))
            else ("neither", f"the loaded model answers differently, {off(gap(loaded, alone))}")
        )
    if same(loaded, kept):
        return "kept", "the loaded model goes on where the saved one stood"
    if same(loaded, alone):
        return "lost", "the loaded model has forgotten everything it held"
    return "neither", "the loaded model answers neither as carried nor as fresh"


def _saved_state(subject: Subject, past: np.ndarray, new: np.ndarray) -> tuple[str, str]:
    _, state = subject.run(past)
    expected, _ = subject.run(new, state)
    file = io.BytesIO()
    np.savez(file, **dict(subject.leaves(state)))  # type: ignore[arg-type]
    file.seek(0)
    with np.load(file) as loaded:
        restored = subject.rebuilt(state, dict(loaded))
    y, _ = subject.run(new, restored)
    if same(y, expected):
        return "kept", "the state is a value: its arrays, saved and put back, go on as before"
    return "lost", f"the arrays of the state are not all of it, {off(gap(y, expected))}"


@probe(
    "reset",
    "Does a reset exist, and does it return to the state the model began in?",
    "Yes, to the initial state.",
    {
        "initial": FINE,
        "none needed": FINE,
        "elsewhere": Means("surprise", "set what the model holds yourself after resetting"),
        "zeros": Means(
            "surprise", "the model's own initial state is lost: set it again after each reset"
        ),
        "none": Means(
            "wrong", "give the model a method that resets what it holds, or pass a state"
        ),
    },
)
def reset(subject: Subject, _part: str) -> tuple[str, str]:
    past, new = subject.inputs.draw(seed=1), subject.inputs.draw(seed=2)
    one, fresh = subject.fresh(), subject.fresh().ways()[subject.plain].observe([new], 1)[0]
    way = one.ways()[subject.plain]
    way.observe([past], 1)
    try:
        one.reset()
    except UnavailableError as reason:
        if _carried(subject, subject.plain):
            return "none", f"the state is carried from call to call, and {reason}"
        return "none needed", "a call without a state starts from the initial one"
    held = one.held()
    after = way.observe([new], 1)[0]
    if same(after, fresh):
        return "initial", "after the reset it answers as at the beginning"
    if held and all(not leaf.any() for leaf in held.values()):
        return "zeros", "the reset gives zeros, and the model does not begin with zeros"
    return (
        "elsewhere",
        f"after the reset it answers otherwise than at the beginning, {off(gap(after, fresh))}",
    )


def _list(names: list[str]) -> str:
    return ", ".join(names)
