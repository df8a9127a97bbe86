"""`Drawn`: one sequence of a task with its answer, and how symbols become numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Drawn:
    """One sequence of a task.

    Arguments:
        inputs: (T, I).
        targets: (T, O): ones for the symbols of a set, or numbers.
        counts: (T,) bool, the steps at which the answer counts.
    """

    inputs: np.ndarray
    targets: np.ndarray
    counts: np.ndarray


def sets(symbols: str, given: Sequence[str], wanted: Sequence[Iterable[str]]) -> Drawn:
    """A sequence of symbols with the set of symbols that may follow each; no set does not count.

    Arguments:
        symbols: all there are.
        given: the symbol at each step.
        wanted: the answer to each, any symbols.
    """
    steps = len(given)
    inputs, targets = (np.zeros((steps, len(symbols)), np.float32) for _ in range(2))
    for step, (symbol, answer) in enumerate(zip(given, wanted, strict=True)):
        inputs[step, symbols.index(symbol)] = 1
        for one in answer:
            targets[step, symbols.index(one)] = 1
    return Drawn(inputs, targets, np.asarray(targets.any(axis=1)))
