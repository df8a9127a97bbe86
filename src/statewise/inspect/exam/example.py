"""`Example`: one sequence of a task with its answer, and symbols as numbers"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Example:
    """One sequence of a task with its answer.

    Arguments:
        inputs: (T, I).
        targets: (T, O): ones for the symbols of a set, or numbers.
        counts: (T,) bool, the steps at which the answer counts.
    """

    inputs: np.ndarray
    targets: np.ndarray
    counts: np.ndarray


def encode_symbols(
    symbols: str, sequence: Sequence[str], answers: Sequence[Iterable[str]]
) -> Example:
    """A sequence of symbols, with the set of symbols that is the answer at each step.

    Arguments:
        symbols: all that exist, in the order of their features.
        sequence: the symbol at each step.
        answers: the set at each step; a step with an empty set does not count.
    """
    steps = len(sequence)
    inputs, targets = (np.zeros((steps, len(symbols)), np.float32) for _ in range(2))
    for step, (symbol, answer) in enumerate(zip(sequence, answers, strict=True)):
        inputs[step, symbols.index(symbol)] = 1
        for one in answer:
            targets[step, symbols.index(one)] = 1
    return Example(inputs, targets, np.asarray(targets.any(axis=1)))
