"""Tasks of memory: something is shown early and asked for later

Sources: Hochreiter and Schmidhuber, Long Short-Term Memory, 1997 (recall, temporal order, adding);
Arjovsky, Shah and Bengio, Unitary evolution recurrent neural networks, 2016 (copy).
"""

from __future__ import annotations

import numpy as np

from statewise.inspect.exam.example import Example, encode_symbols

COPIED = 5
"""How many symbols are to be copied."""


def draw_recall(rng: np.random.Generator, delay: int) -> Example:
    """A or B, then `delay` other symbols, then the question which of the two it was."""
    key = "AB"[rng.integers(2)]
    between = list(rng.choice(list("wxyz"), size=delay))
    return encode_symbols("ABwxyz?", [key, *between, "?"], [""] * (delay + 1) + [key])


def draw_temporal_order(rng: np.random.Generator, steps: int) -> Example:
    """X or Y in the second tenth and in the sixth, among other symbols: which, and which first?"""
    sequence = list(rng.choice(list("abcd"), size=steps))
    pair = [str(one) for one in rng.choice(list("XY"), size=2)]
    tenth = steps / 10
    sequence[int(rng.integers(int(tenth), int(2 * tenth)))] = pair[0]
    sequence[int(rng.integers(int(5 * tenth), int(6 * tenth)))] = pair[1]
    answer = {"XX": "a", "XY": "b", "YX": "c", "YY": "d"}["".join(pair)]
    return encode_symbols("abcdXY?", [*sequence, "?"], [""] * steps + [answer])


def draw_adding(rng: np.random.Generator, steps: int) -> Example:
    """Numbers in [-1, 1], one in each half marked; the answer is 0.5 and a quarter of their sum."""
    inputs = np.zeros((steps, 2), np.float32)
    inputs[:, 0] = rng.uniform(-1, 1, size=steps)
    half = steps // 2
    marked = [int(rng.integers(half)), int(rng.integers(half, steps))]
    inputs[marked, 1] = 1
    targets = np.zeros((steps, 1), np.float32)
    targets[-1] = 0.5 + inputs[marked, 0].sum() / 4
    return Example(inputs, targets, np.arange(steps) == steps - 1)


def draw_copy(rng: np.random.Generator, delay: int) -> Example:
    """Five symbols, a delay, then five question marks that ask for them in order."""
    shown = [str(one) for one in rng.choice(list("abcd"), size=COPIED)]
    sequence = [*shown, *" " * delay, *"?" * COPIED]
    return encode_symbols("abcd ?", sequence, [""] * (COPIED + delay) + shown)


def draw_parity(rng: np.random.Generator, bits: int) -> Example:
    """Zeros and ones, then the question whether the number of ones is odd."""
    drawn = [str(one) for one in rng.integers(2, size=bits)]
    odd = "01"[drawn.count("1") % 2]
    return encode_symbols("01?", [*drawn, "?"], [""] * bits + [odd])
