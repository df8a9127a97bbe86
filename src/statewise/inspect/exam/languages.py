"""Languages whose legal next symbols are known: counting, nesting, and a grammar

A sequence begins with ``^`` and may end where ``$`` is among the legal next symbols.

Sources: Gers and Schmidhuber, LSTM recurrent networks learn simple context-free and
context-sensitive languages, 2001; Reber, Implicit learning of artificial grammars, 1967.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from statewise.inspect.exam.example import Example, encode_symbols

REBER: dict[int, tuple[tuple[str, int], ...]] = {
    0: (("T", 1), ("P", 2)),
    1: (("S", 1), ("X", 3)),
    2: (("T", 2), ("V", 4)),
    3: (("X", 2), ("S", 5)),
    4: (("P", 3), ("V", 5)),
}
"""The symbols that may follow in each state, and the state that each leads to; 5 is the end."""


def draw_equal_counts(letters: str) -> Callable[[np.random.Generator, int], Example]:
    """A function that draws n of each letter, one letter after the other: ``"ab"`` is a^n b^n."""

    def draw(_: np.random.Generator, n: int) -> Example:
        sequence, legal = ["^"], [letters[0]]
        for letter, after in zip(letters, letters[1:] + "$", strict=True):
            sequence += [letter] * n
            if letter == letters[0]:
                legal += [letter + after] * n
            else:
                legal += [letter] * (n - 1) + [after]
        return encode_symbols("^$" + letters, sequence, legal)

    return draw


def draw_brackets(rng: np.random.Generator, pairs: int) -> Example:
    """Balanced brackets. Where the next may open or close, both are equally likely."""
    sequence, legal, depth, opened = ["^"], ["($"], 0, 0
    while depth or opened < pairs:
        opens = opened < pairs and (not depth or rng.random() < 0.5)
        depth, opened = depth + (1 if opens else -1), opened + opens
        sequence.append("(" if opens else ")")
        legal.append("()" if depth else "($")
    return encode_symbols("^$()", sequence, legal)


def draw_embedded_reber(rng: np.random.Generator, size: int) -> Example:
    """B, T or P, a Reber string of at least `size` symbols, the same T or P, E."""
    inner, legal = _draw_reber(rng, size)
    outer = "TP"[rng.integers(2)]
    sequence = ["B", outer, *inner, outer]
    return encode_symbols("BETPSXV", sequence, ["TP", "B", *legal, outer, "E"])


def _draw_reber(rng: np.random.Generator, size: int) -> tuple[list[str], list[str]]:
    """The symbols of a Reber string, and the symbols that may follow each but the last."""
    loop = max(0.5, 1 - 4 / size)
    while True:
        sequence, legal, state = ["B"], ["TP"], 0
        while state != 5:
            (first, back), (second, on) = REBER[state]
            stays = rng.random() < (loop if back == state else 0.5)
            symbol, state = (first, back) if stays else (second, on)
            sequence.append(symbol)
            legal.append("E" if state == 5 else "".join(one for one, _ in REBER[state]))
        sequence.append("E")
        if len(sequence) >= size:
            return sequence, legal
