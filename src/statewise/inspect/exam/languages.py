"""Languages whose legal next symbols are known: to count, to nest, to follow a grammar.

A sequence begins with ``^`` and may end where ``$`` is among the legal next symbols.

Sources: Gers and Schmidhuber, LSTM recurrent networks learn simple context-free and
context-sensitive languages, 2001; Reber, Implicit learning of artificial grammars, 1967.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from statewise.inspect.exam.drawing import Drawn, sets

REBER: dict[int, tuple[tuple[str, int], ...]] = {
    0: (("T", 1), ("P", 2)),
    1: (("S", 1), ("X", 3)),
    2: (("T", 2), ("V", 4)),
    3: (("X", 2), ("S", 5)),
    4: (("P", 3), ("V", 5)),
}
"""From each state what may come and where it leads; 5 is the end."""


def counted(letters: str) -> Callable[[np.random.Generator, int], Drawn]:
    """As many of each letter, one letter after the other: ``"ab"`` is a^n b^n."""

    def draw(_: np.random.Generator, n: int) -> Drawn:
        given, wanted = ["^"], [letters[0]]
        for letter, after in zip(letters, letters[1:] + "$", strict=True):
            given += [letter] * n
            if letter == letters[0]:
                wanted += [letter + after] * n
            else:
                wanted += [letter] * (n - 1) + [after]
        return sets("^$" + letters, given, wanted)

    return draw


def brackets(rng: np.random.Generator, pairs: int) -> Drawn:
    """So many pairs of balanced brackets, opened or closed with even odds where both may be."""
    given, wanted, depth, opened = ["^"], ["($"], 0, 0
    while depth or opened < pairs:
        opens = opened < pairs and (not depth or rng.random() < 0.5)
        depth, opened = depth + (1 if opens else -1), opened + opens
        given.append("(" if opens else ")")
        wanted.append("()" if depth else "($")
    return sets("^$()", given, wanted)


def embedded_reber(rng: np.random.Generator, size: int) -> Drawn:
    """B, T or P, an inner Reber string of at least so many symbols, the same T or P, E."""
    inner, legal = _reber(rng, size)
    outer = "TP"[rng.integers(2)]
    given = ["B", outer, *inner, outer]
    wanted = ["TP", "B", *legal, outer, "E"]
    return sets("BETPSXV", given, wanted)


def _reber(rng: np.random.Generator, size: int) -> tuple[list[str], list[str]]:
    """The symbols of an inner string, and what may follow each but the last."""
    loop = max(0.5, 1 - 4 / size)
    while True:
        given, wanted, state = ["B"], ["TP"], 0
        while state != 5:
            (first, back), (second, on) = REBER[state]
            stays = rng.random() < (loop if back == state else 0.5)
            symbol, state = (first, back) if stays else (second, on)
            given.append(symbol)
            wanted.append("E" if state == 5 else "".join(one for one, _ in REBER[state]))
        given.append("E")
        if len(given) >= size:
            return given, wanted
