"""Along one sequence: chunks, single steps, and the gradient across a boundary"""

from __future__ import annotations

import numpy as np

from statewise.check.probes.compare import gap, gaps, off, same
from statewise.check.registry import FINE, Means, probe
from statewise.check.subject import Subject, UnavailableError, with_time


@probe(
    "chunks",
    "Does a sequence in chunks, with the state going on, give what the whole gives?",
    "Yes, wherever it is cut.",
    {
        "same": FINE,
        "differs": Means(
            "wrong",
            "look for what is remembered and not in the state, and for layers that read ahead",
        ),
    },
)
def chunks(subject: Subject, _part: str) -> tuple[str, str]:
    x = _long(subject)
    cuts = [[2], [1, 5], [x.shape[1] - 1]]
    worst = max(_against_whole(subject, x, np.split(x, cut, axis=1)) for cut in cuts)
    if worst <= TOO_FAR:
        return "same", f"cut in {len(cuts)} ways, outputs and state are those of the whole"
    return "differs", f"outputs or state are not those of the whole, {off(worst)}"


@probe(
    "steps",
    "Does it give the same step by step?",
    "Yes.",
    {
        "same": FINE,
        "differs": Means("wrong", "compare one step with the first step of a sequence"),
    },
)
def steps(subject: Subject, _part: str) -> tuple[str, str]:
    x = _long(subject)
    if not subject.explicit:
        worst = _against_whole(subject, x, np.split(x, x.shape[1], axis=1))
    else:
        one, state, ys = subject.fresh(), None, []
        for t in range(x.shape[1]):
            y, state = one.step(x[:, t], state)
            ys.append(y)
        whole, end = subject.fresh().run(x)
        last = with_time(whole, x)
        worst = max(
            gap(np.stack(ys, axis=1) if last else ys[-1], whole),
            gaps(subject.by_rows(state), subject.by_rows(end)),
        )
    if worst <= TOO_FAR:
        return "same", f"{x.shape[1]} single steps equal one run over them"
    return "differs", f"single steps do not equal one run, {off(worst)}"


@probe(
    "gradient",
    "Does the gradient cross a boundary over which the state goes on?",
    "A state that is passed on carries it, one that the model holds does not.",
    {
        "crosses": FINE,
        "cut": FINE,
        "lost": Means("wrong", "the state that comes back is detached: return it as it is"),
        "differs": Means("wrong", "compare the chunks' gradients with those of the whole sequence"),
        "kept": Means(
            "surprise",
            "the graph grows with every call, and a second backward raises: detach what is held",
            "{detach}",
        ),
    },
)
def gradient(subject: Subject, _part: str) -> tuple[str, str]:
    if subject.inputs.features is None:
        raise UnavailableError("tokens have no gradient")
    x = _long(subject)
    cut = x.shape[1] // 2
    across = subject.fresh().gradient(x, cut, whole=False)
    whole = subject.fresh().gradient(x, cut, whole=True)
    if same(across, whole) and across.any():
        if subject.explicit:
            return "crosses", "through the boundary it is that of the whole sequence"
        return "kept", "what the model holds still has its graph"
    if not across.any():
        return ("lost" if subject.explicit else "cut"), "no gradient crosses the boundary"
    return "differs", f"through the boundary it is not that of the whole, {off(gap(across, whole))}"


TOO_FAR = 5e-5


def _long(subject: Subject) -> np.ndarray:
    if subject.inputs.steps is not None:
        raise UnavailableError(f"the model takes {subject.inputs.steps} steps and no other number")
    return subject.inputs.draw(steps=8, seed=4)


def _against_whole(subject: Subject, x: np.ndarray, pieces: list[np.ndarray]) -> float:
    whole, end = subject.fresh().chunked([x])
    ys, state = subject.fresh().chunked(pieces)
    if not subject.explicit:
        _must_carry(subject, pieces[-1], ys[-1])
    y = np.concatenate(ys, axis=1) if with_time(whole[0], x) else ys[-1]
    far = gap(y, whole[0])
    return max(far, gaps(subject.by_rows(state), subject.by_rows(end))) if subject.explicit else far


def _must_carry(subject: Subject, last: np.ndarray, y: np.ndarray) -> None:
    """Without a state to pass on, only a model that holds one can be asked."""
    if same(subject.fresh().chunked([last])[0][0], y):
        raise UnavailableError(
            "no state goes on from call to call, so that chunks are sequences apart"
        )
