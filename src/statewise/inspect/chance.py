"""What labels reach by chance: the same labels with their steps in another order, block by block"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

BLOCKS = 16
DRAWS = 200
CLEAR = 0.02
"""A card names a label if chance does as well with so small a probability at most."""


def permute_blocks(steps: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Orders of the steps, (T,) each, in which a label is as frequent and as slow as before, and
    says nothing of the steps at which it stands.

    The steps, in a circle, are cut into blocks of about the same length, and the blocks are
    shuffled. To turn the circle alone would not do: a label that is periodic would meet itself
    again. Fewer blocks keep labels slower, more make periodic ones meet themselves more rarely.
    """
    rng = np.random.default_rng(seed)
    blocks = min(BLOCKS, steps)
    for _ in range(draws):
        circle = np.roll(np.arange(steps), rng.integers(steps))
        cuts = (np.arange(1, blocks) + rng.uniform(-0.5, 0.5, blocks - 1)) * steps / blocks
        parts = np.split(circle, cuts.astype(int))
        yield np.concatenate([parts[block] for block in rng.permutation(blocks)])


def corrected_chance(found: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """The probability that chance does as well as what was found anywhere in a row, (rows, looks).

    Each look is measured by the mean and deviation of its own draws. The largest of a row's draws
    is what counts, so that many looks find no more by chance than one does.

    Arguments:
        found: a statistic, (rows, looks); the higher the better.
        drawn: the same of labels in other orders, (draws, rows, looks).

    Source: the single-step maxT procedure of Westfall and Young, Resampling-based multiple testing,
    1993.
    """
    mean, deviation = drawn.mean(axis=0), drawn.std(axis=0)
    scale = np.where(deviation > 1e-12 * np.abs(drawn).max(axis=0, initial=0.0), deviation, np.inf)
    most = ((drawn - mean) / scale).max(axis=2, initial=0.0)  # (draws, rows)
    exceeded = (most[:, :, None] >= ((found - mean) / scale)).sum(axis=0)
    return np.asarray((1 + exceeded) / (1 + len(drawn)))
