"""Probes of successive calls: the carry, evaluating, saving and resetting"""

from __future__ import annotations

import io

import numpy as np

from statewise.check.probes.compare import (
    describe_difference,
    is_same,
)
from statewise.check.registry import AS_EXPECTED, Meaning, probe
from statewise.check.subject import Subject, UnavailableError


def _list_modes(subject: Subject) -> list[str]:
    return list(subject.find_call_modes())


def _list_batch_modes(subject: Subject) -> list[str]:
    return [name for name, mode in subject.find_call_modes().items() if mode.takes_batches]


def _list_training_modes(subject: Subject) -> list[str]:
    return [name for name, mode in subject.find_call_modes().items() if mode.trains]


def _list_evaluating_modes(subject: Subject) -> list[str]:
    return [name for name, mode in subject.find_call_modes().items() if mode.evaluates]


@probe(
    "repeat",
    "Does the same call on the same model give the same numbers?",
    "Yes, outside of training.",
    {
        "same": AS_EXPECTED,
        "differs": Meaning("wrong", "find what draws random numbers in evaluation mode"),
    },
)
def check_repeat(subject: Subject, _part: str) -> tuple[str, str]:
    x = subject.inputs.draw(seed=1)
    first, again = (subject.observe(subject.plain_mode, [x])[0] for _ in range(2))
    if is_same(first, again):
        return "same", "two runs of the same model give the same outputs"
    return (
        "differs",
        f"two runs of the same model give different outputs, {describe_difference(first, again)}",
    )


@probe(
    "carry",
    "Is the state carried from one {part} to the next, with no state passed?",
    "No: a call without a state starts from the initial state.",
    {
        "carried": Meaning(
            "surprise",
            "reset before a sequence that does not continue the last one; if you mean the carry, "
            "expect it: --expect carry",
            "{reset}",
        ),
        "reset": AS_EXPECTED,
    },
    _list_modes,
)
def check_carry(subject: Subject, part: str) -> tuple[str, str]:
    if _is_carried(subject, part):
        return "carried", f"the second {part} gives other outputs than it gives as the first"
    return "reset", f"the second {part} gives the same outputs as it gives as the first"


def _is_carried(subject: Subject, name: str) -> bool:
    if name in subject.carries:
        return subject.carries[name]
    past, new = subject.inputs.draw(seed=1), subject.inputs.draw(seed=2)
    initial = subject.observe(name, [new])[0]
    mode = subject.restore().find_call_modes()[name]
    mode.observe([past], 1)
    subject.carries[name] = not is_same(mode.observe([new], 1)[0], initial)
    return subject.carries[name]


@probe(
    "ways",
    "Do all modes of calling agree on whether the state is carried?",
    "Yes: the mode of calling does not change what a model remembers.",
    {
        "agree": AS_EXPECTED,
        "differ": Meaning(
            "surprise", "use one mode throughout, or pass the state yourself", "{explicit}"
        ),
    },
)
def check_modes_agree(subject: Subject, _part: str) -> tuple[str, str]:
    found: dict[bool, list[str]] = {True: [], False: []}
    for name in subject.find_call_modes():
        try:
            found[_is_carried(subject, name)].append(name)
        except Exception:  # the row of that mode says what it raised
            continue
    if found[True] and found[False]:
        return "differ", f"carried: {_list(found[True])}; reset: {_list(found[False])}"
    known = found[True] or found[False]
    return "agree", f"{_list(known)}: {'carried' if found[True] else 'reset'}"


@probe(
    "batches",
    "Inside one {part}, is the state carried from batch to batch?",
    "No: batches are independent.",
    {
        "carried": Meaning(
            "surprise",
            "order the data so that row i of a batch continues row i of the batch before",
        ),
        "reset": AS_EXPECTED,
    },
    _list_batch_modes,
)
def check_batches(subject: Subject, part: str) -> tuple[str, str]:
    past, new = subject.inputs.draw(seed=1), subject.inputs.draw(seed=2)
    alone = subject.observe(part, [new])[0]
    second = subject.observe(part, [past, new])[1]
    if is_same(second, alone):
        return "reset", "the second batch gives the same outputs as it gives as the first"
    return "carried", "the second batch starts from the state after the first"


@probe(
    "epochs",
    "Does {part} begin every epoch from the same state?",
    "Yes: the second epoch starts from the same state as the first.",
    {
        "anew": AS_EXPECTED,
        "carried": Meaning("surprise", "reset at the end of every epoch, in a callback", "{reset}"),
    },
    _list_training_modes,
)
def check_epochs(subject: Subject, part: str) -> tuple[str, str]:
    batches = [subject.inputs.draw(seed=1), subject.inputs.draw(seed=2)]
    seen = subject.observe(part, batches, epochs=2)
    if is_same(seen[2], seen[0]):
        return "anew", "the second epoch starts from the same state as the first"
    return "carried", "the second epoch starts from the state after the first"


@probe(
    "evaluating",
    "Does {part} on other data leave the carried state alone?",
    "Yes: evaluating changes nothing.",
    {
        "alone": AS_EXPECTED,
        "disturbs": Meaning(
            "surprise", "save the state that the model holds before it, and restore it afterwards"
        ),
    },
    _list_evaluating_modes,
)
def check_evaluating(subject: Subject, part: str) -> tuple[str, str]:
    past, new, other = (subject.inputs.draw(seed=seed) for seed in (1, 2, 3))
    undisturbed = subject.observe(subject.training_mode, [past, new])[1]
    modes = subject.restore().find_call_modes()
    modes[subject.training_mode].observe([past], 1)
    modes[part].observe([other], 1)
    after = modes[subject.training_mode].observe([new], 1)[0]
    if is_same(after, undisturbed):
        return "alone", "the next call gives the same outputs as without evaluating"
    return (
        "disturbs",
        f"the next call gives other outputs after it, {describe_difference(after, undisturbed)}",
    )


@probe(
    "saving",
    "Does the state survive saving and loading?",
    "Yes: a loaded model continues from the state of the saved one.",
    {
        "kept": AS_EXPECTED,
        "nothing held": AS_EXPECTED,
        "lost": Meaning(
            "surprise", "save the state beside the model, and restore it after loading", "{held}"
        ),
        "neither": Meaning(
            "wrong",
            "the loaded model matches neither the saved state nor the initial one: compare weights",
        ),
    },
)
def check_saving(subject: Subject, _part: str) -> tuple[str, str]:
    past, new = subject.inputs.draw(seed=1), subject.inputs.draw(seed=2)
    if subject.explicit:
        return _check_saving_state(subject.restore(), past, new)
    initial = subject.observe(subject.plain_mode, [new])[0]
    carried = subject.observe(subject.plain_mode, [past, new])[1]
    one = subject.restore()
    one.find_call_modes()[subject.plain_mode].observe([past], 1)
    loaded = one.save_and_load().find_call_modes()[subject.plain_mode].observe([new], 1)[0]
    if is_same(carried, initial):
        if is_same(loaded, initial):
            return "nothing held", "the loaded model gives the same outputs, and holds no state"
        far = describe_difference(loaded, initial)
        return "neither", f"the loaded model gives other outputs, {far}"
    if is_same(loaded, carried):
        return "kept", "the loaded model continues from the state of the saved one"
    if is_same(loaded, initial):
        return "lost", "the loaded model starts from the initial state"
    return (
        "neither",
        "the loaded model continues neither from the saved state nor from the initial one",
    )


def _check_saving_state(subject: Subject, past: np.ndarray, new: np.ndarray) -> tuple[str, str]:
    _, state = subject.run(past)
    expected, _ = subject.run(new, state)
    file = io.BytesIO()
    np.savez(file, **dict(subject.read_state(state)))  # type: ignore[arg-type]
    file.seek(0)
    with np.load(file) as loaded:
        restored = subject.rebuild_state(state, dict(loaded))
    y, _ = subject.run(new, restored)
    if is_same(y, expected):
        return "kept", "the state is a value: its arrays, saved and loaded, continue as before"
    far = describe_difference(y, expected)
    return "lost", f"the arrays of the state are not all that the model remembers, {far}"


@probe(
    "reset",
    "Is there a reset, and does it return to the initial state of the model?",
    "Yes.",
    {
        "initial": AS_EXPECTED,
        "none needed": AS_EXPECTED,
        "elsewhere": Meaning(
            "surprise", "set the state that the model holds yourself after resetting"
        ),
        "zeros": Meaning(
            "surprise", "the model's own initial state is lost: set it again after each reset"
        ),
        "none": Meaning(
            "wrong", "give the model a method that resets its state, or pass the state yourself"
        ),
    },
)
def check_reset(subject: Subject, _part: str) -> tuple[str, str]:
    past, new = subject.inputs.draw(seed=1), subject.inputs.draw(seed=2)
    initial = subject.observe(subject.plain_mode, [new])[0]
    one = subject.restore()
    mode = one.find_call_modes()[subject.plain_mode]
    mode.observe([past], 1)
    try:
        one.reset()
    except UnavailableError as reason:
        if _is_carried(subject, subject.plain_mode):
            return "none", f"the state is carried from call to call, and {reason}"
        return "none needed", "a call without a state starts from the initial state"
    held = one.read_held_state()
    after = mode.observe([new], 1)[0]
    if is_same(after, initial):
        return "initial", "after the reset the outputs are those from the initial state"
    if held and all(not leaf.any() for leaf in held.values()):
        return "zeros", "the reset sets the state to zeros, which is not its initial state"
    far = describe_difference(after, initial)
    return "elsewhere", f"after the reset the outputs are not those from the initial state, {far}"


def _list(names: list[str]) -> str:
    return ", ".join(names)
