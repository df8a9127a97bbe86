"""Probes along one sequence: chunks, single steps, and the gradient across a boundary"""

from __future__ import annotations

import numpy as np

from statewise.check.probes.compare import (
    describe_difference,
    describe_size,
    difference,
    is_same,
    largest_difference,
)
from statewise.check.registry import AS_EXPECTED, Meaning, probe
from statewise.check.subject import Subject, UnavailableError, has_time_axis


@probe(
    "chunks",
    "Does a sequence in chunks, with the state carried, give the outputs of the whole sequence?",
    "Yes, wherever it is divided.",
    {
        "same": AS_EXPECTED,
        "differs": Meaning(
            "wrong",
            "look for memory that is not in the state, and for layers that read ahead",
        ),
    },
)
def check_chunks(subject: Subject, _part: str) -> tuple[str, str]:
    x = _draw_sequence(subject)
    cuts = [[2], [1, 5], [x.shape[1] - 1]]
    worst = max(_compare_with_whole(subject, x, np.split(x, cut, axis=1)) for cut in cuts)
    if worst <= TOLERANCE:
        return (
            "same",
            f"divided in {len(cuts)} ways, outputs and state equal those of the whole sequence",
        )
    return (
        "differs",
        f"outputs or state differ from those of the whole sequence, {describe_size(worst)}",
    )


@probe(
    "steps",
    "Does a sequence run step by step give the outputs of one run?",
    "Yes.",
    {
        "same": AS_EXPECTED,
        "differs": Meaning("wrong", "compare one step with the first step of a sequence"),
    },
)
def check_steps(subject: Subject, _part: str) -> tuple[str, str]:
    x = _draw_sequence(subject)
    if not subject.explicit:
        worst = _compare_with_whole(subject, x, np.split(x, x.shape[1], axis=1))
    else:
        one, state, ys = subject.restore(), None, []
        for t in range(x.shape[1]):
            y, state = one.step(x[:, t], state)
            ys.append(y)
        whole, end = subject.restore().run(x)
        last = has_time_axis(whole, x)
        worst = max(
            difference(np.stack(ys, axis=1) if last else ys[-1], whole),
            largest_difference(subject.arrange_by_rows(state), subject.arrange_by_rows(end)),
        )
    if worst <= TOLERANCE:
        return "same", f"{x.shape[1]} single steps equal one run"
    return "differs", f"single steps differ from one run, {describe_size(worst)}"


@probe(
    "gradient",
    "Does the gradient cross a boundary over which the state is carried?",
    "Yes if the state is passed, no if the model holds it.",
    {
        "crosses": AS_EXPECTED,
        "cut": AS_EXPECTED,
        "lost": Meaning("wrong", "the call returns a detached state: return it with its graph"),
        "differs": Meaning(
            "wrong", "compare the gradients of chunks with those of the whole sequence"
        ),
        "kept": Meaning(
            "surprise",
            "the graph grows with every call, and a second backward raises: detach the held state",
            "{detach}",
        ),
    },
)
def check_gradient(subject: Subject, _part: str) -> tuple[str, str]:
    if subject.inputs.features is None:
        raise UnavailableError("tokens have no gradient")
    x = _draw_sequence(subject)
    cut = x.shape[1] // 2
    across = subject.restore().compute_gradient(x, cut, whole=False)
    whole = subject.restore().compute_gradient(x, cut, whole=True)
    if is_same(across, whole) and across.any():
        if subject.explicit:
            return "crosses", "across the boundary it equals that of the whole sequence"
        return "kept", "the state that the model holds keeps its graph"
    if not across.any():
        return ("lost" if subject.explicit else "cut"), "no gradient crosses the boundary"
    far = describe_difference(across, whole)
    return "differs", f"across the boundary it differs from that of the whole sequence, {far}"


TOLERANCE = 5e-5


def _draw_sequence(subject: Subject) -> np.ndarray:
    if subject.inputs.steps is not None:
        raise UnavailableError(f"the model takes {subject.inputs.steps} steps and no other number")
    return subject.inputs.draw(steps=8, seed=4)


def _compare_with_whole(subject: Subject, x: np.ndarray, pieces: list[np.ndarray]) -> float:
    whole, end = subject.restore().run_chunks([x])
    ys, state = subject.restore().run_chunks(pieces)
    if not subject.explicit:
        _require_carry(subject, pieces[-1], ys[-1])
    y = np.concatenate(ys, axis=1) if has_time_axis(whole[0], x) else ys[-1]
    outputs = difference(y, whole[0])
    if not subject.explicit:
        return outputs
    ends = subject.arrange_by_rows(state), subject.arrange_by_rows(end)
    return max(outputs, largest_difference(*ends))


def _require_carry(subject: Subject, last: np.ndarray, y: np.ndarray) -> None:
    """Refuse a model that takes no state and carries none: there is nothing to compare."""
    if is_same(subject.restore().run_chunks([last])[0][0], y):
        raise UnavailableError("no state is carried from call to call")
