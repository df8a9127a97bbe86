"""Tasks of memory: something is seen early and asked for late, with nothing to tell in between.

Sources: Hochreiter and Schmidhuber, Long Short-Term Memory, 1997 (recall, temporal order, adding);
Arjovsky, Shah and Bengio, Unitary evolution recurrent neural networks, 2016 (copy).
"""

from __future__ import annotations

import numpy as np

from statewise.inspect.exam.drawing import Drawn, sets

COPIED = 5
"""How many symbols are to be copied."""


def recall(rng: np.random.Generator, delay: int) -> Drawn:
    """A or B, so many others, then the question which it was."""
    key = "AB"[rng.integers(2)]
    between = list(rng.choice(list("wxyz"), size=delay))
    return sets("ABwxyz?", [key, *between, "?"], [""] * (delay + 1) + [key])


def temporal_order(rng: np.random.Generator, steps: int) -> Drawn:
    """Two of X and Y among others, in the second tenth and the sixth; which were they, in order?"""
    given = list(rng.choice(list("abcd"), size=steps))
    pair = [str(one) for one in rng.choice(list("XY"), size=2)]
    tenth = steps / 10
    given[int(rng.integers(int(tenth), int(2 * tenth)))] = pair[0]
    given[int(rng.integers(int(5 * tenth), int(6 * tenth)))] = pair[1]
    answer = {"XX": "a", "XY": "b", "YX": "c", "YY": "d"}["".join(pair)]
    return sets("abcdXY?", [*given, "?"], [""] * steps + [answer])


def adding(rng: np.random.Generator, steps: int) -> Drawn:
    """Numbers in [-1, 1], one in each half marked; the answer is 0.5 and a quarter of their sum."""
    inputs = np.zeros((steps, 2), np.float32)
    inputs[:, 0] = rng.uniform(-1, 1, size=steps)
    half = steps // 2
    marked = [int(rng.integers(half)), int(rng.integers(half, steps))]
    inputs[marked, 1] = 1
    targets = np.zeros((steps, 1), np.float32)
    targets[-1] = 0.5 + inputs[marked, 0].sum() / 4
    return Drawn(inputs, targets, np.arange(steps) == steps - 1)


def copy(rng: np.random.Generator, delay: int) -> Drawn:
    """Some symbols, a delay, then as many marks, at each of which one is asked for in order."""
    seen = [str(one) for one in rng.choice(list("abcd"), size=COPIED)]
    given = [*seen, *" " * delay, *"?" * COPIED]
    return sets("abcd ?", given, [""] * (COPIED + delay) + seen)


def parity(rng: np.random.Generator, bits: int) -> Drawn:
    """Zeros and ones, and at the end: were the ones odd?"""
    drawn = [str(one) for one in rng.integers(2, size=bits)]
    odd = "01"[drawn.count("1") % 2]
    return sets("01?", [*drawn, "?"], [""] * bits + [odd])
