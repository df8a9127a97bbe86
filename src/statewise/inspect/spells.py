"""`Life`: when something inside is written, how long it stays, and when it is erased"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from statewise.errors import InputError
from statewise.inspect.contexts import Context, Passage
from statewise.inspect.trace import Trace


@dataclass(frozen=True)
class Life:
    """When a feature is written and erased.

    Attributes:
        feature, threshold: which one, and above which activation it is on.
        spells: (start, stop) of every stretch of steps in which it is on.
        duration: their mean length.
        written: where the strongest spells begin.
        erased: the first step after each of these, where it is off again.
        gates: for every gate that was recorded: its mean ``"written"``, at the steps at which a
            spell begins, ``"erased"``, at those after its end, and ``"usual"``, at all. The units
            count as much as the feature's direction has of them.
    """

    feature: int
    threshold: float
    spells: list[tuple[int, int]]
    duration: float
    written: list[Context]
    erased: list[Context]
    gates: dict[str, dict[str, float]]

    def as_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and texts."""
        return asdict(self)


def life_of(
    trace: Trace,
    name: str,
    row: int,
    feature: int,
    activation: np.ndarray,
    direction: np.ndarray,
    share: float,
    count: int,
) -> Life:
    """The life of a feature in a row of a trace.

    Arguments:
        trace, name, row: what it is a feature of.
        feature: its number.
        activation: at every step that is not padding, (T,).
        direction: what it adds to the units, (units,).
        share: of its highest activation, above which it is on.
        count: how many contexts of each kind to keep.
    """
    if not 0 <= share < 1:
        raise InputError(f"share must lie in [0, 1), got {share}")
    threshold = share * float(activation.max(initial=0.0))
    on = activation > threshold
    edges = np.flatnonzero(np.diff(np.r_[False, on, False].astype(np.int8))).reshape(-1, 2)
    spells = [(int(start), int(stop)) for start, stop in edges]
    strongest = sorted(spells, key=lambda one: -activation[one[0] : one[1]].max())[:count]
    passage = Passage(trace, row)
    begins = edges[:, 0]
    ends = edges[edges[:, 1] < len(activation), 1]
    return Life(
        feature,
        threshold,
        spells,
        float((edges[:, 1] - begins).mean()) if spells else 0.0,
        [passage.around(start, activation[start]) for start, _ in strongest],
        [passage.around(stop, activation[stop]) for _, stop in strongest if stop < len(activation)],
        _gates(trace, name, row, direction, begins, ends, len(activation)),
    )


def _gates(
    trace: Trace,
    name: str,
    row: int,
    direction: np.ndarray,
    begins: np.ndarray,
    ends: np.ndarray,
    steps: int,
) -> dict[str, dict[str, float]]:
    layer = name.rpartition(".")[0]
    counted = direction**2 / max(float((direction**2).sum()), 1e-30)
    found = {}
    for gate in (f"{layer}.{own}" for own in "ifgorzn"):
        if gate not in trace or trace[gate].shape[-1] != len(counted):
            continue
        opened = trace[gate][row, :steps] @ counted  # (T,)
        at = {"written": opened[begins], "erased": opened[ends], "usual": opened}
        found[gate] = {word: float(part.mean()) for word, part in at.items() if part.size}
    return found
