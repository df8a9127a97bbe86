"""Which step of which sequence stands where: sequences cut into pieces, pieces laid into lanes.

Nothing here reads the data; all of it is counting.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

Span: TypeAlias = tuple[int, int, int, int, int]
"""(at, sequence, start, stop, offset): steps ``start`` to ``stop`` of a sequence stand from step
`at` on, and `offset` steps of the same piece come before them.
"""


class Lane:
    """Pieces that follow one another in one row.

    Arguments:
        pieces: (sequence, start, steps) of each.
    """

    def __init__(self, pieces: Sequence[tuple[int, int, int]]) -> None:
        self.pieces = pieces
        self.ends: list[int] = np.cumsum([steps for _, _, steps in pieces]).tolist()

    @property
    def steps(self) -> int:
        """How many steps the lane has, padding not counted."""
        return self.ends[-1]

    def find_spans(self, start: int, stop: int) -> list[Span]:
        """Find what steps ``start`` to ``stop`` of the lane hold."""
        spans = []
        index, at = bisect_right(self.ends, start), start
        while at < stop and index < len(self.ends):
            sequence, first, steps = self.pieces[index]
            end = self.ends[index]
            offset = at - end + steps
            upto = min(end, stop)
            spans.append((at - start, sequence, first + offset, first + offset + upto - at, offset))
            at, index = upto, index + 1
        return spans


def cut(lengths: Sequence[int], lanes: int | None, shortest: int = 1) -> list[tuple[int, int, int]]:
    """Cut sequences that are longer than an even lane into equal contiguous pieces.

    Arguments:
        lengths: the steps of each sequence.
        lanes: how many lanes there are to fill; None leaves every sequence whole.
        shortest: how many steps a piece of a sequence that is cut has at least.

    Returns:
        (sequence, start, steps) of every piece, in order.
    """
    even = max(lengths) if lanes is None else -(-sum(lengths) // lanes)
    pieces = []
    for sequence, steps in enumerate(lengths):
        count = min(-(-steps // even), max(steps // shortest, 1)) if steps else 0
        for piece in range(count):
            start, stop = piece * steps // count, (piece + 1) * steps // count
            pieces.append((sequence, start, stop - start))
    return pieces


def lay(
    pieces: Sequence[tuple[int, int, int]],
    lanes: int | None,
    rng: np.random.Generator | None = None,
) -> list[Lane]:
    """Lay pieces into lanes, the longest first, each into the lane with the fewest steps.

    The lanes are as long for one order of the pieces as for another, so every epoch has the same
    number of chunks.

    Arguments:
        pieces: what `cut` returned.
        lanes: how many lanes; no more than there are pieces. None is one for each, in order.
        rng: draws another order; the order of the sequences where it is None.
    """
    if lanes is None:
        return [Lane([piece]) for piece in pieces]
    order = list(range(len(pieces))) if rng is None else rng.permutation(len(pieces)).tolist()
    order.sort(key=lambda index: -pieces[index][2])
    laid: list[list[tuple[int, int, int]]] = [[] for _ in range(min(lanes, len(pieces)))]
    shortest = [(0, lane) for lane in range(len(laid))]
    for index in order:
        steps, lane = shortest[0]
        laid[lane].append(pieces[index])
        heapq.heapreplace(shortest, (steps + pieces[index][2], lane))
    if rng is not None:
        laid = [[own[index] for index in rng.permutation(len(own))] for own in laid]
    return [Lane(own) for own in laid]
