"""Counter-based noise: random numbers that are a function of a seed and of how many were drawn.

Nothing is remembered but two whole numbers, so the place of the draws can be part of a state: it is
saved, forked and gone on from like any other. The bits are the same in every array library.

With h the hash of `mix`, draw number ``count`` of a seed has at place i the 32 bits
``h(h(h(seed + offset) + count) + i 0x1e3779b9)``.

Source of the hash: Wellons, Prospecting for hash functions, 2018, in its improved version.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from statewise.types import Array, array_namespace

_MASK = 0xFFFFFFFF
_OFFSET = 0x9E3779B9
"""Added to seeds: `mix` of 0 is 0."""
_STRIDE = 0x1E3779B9
"""Between the hashed numbers of two neighbouring places."""
_ROWS = 0x5851F42D
"""Sets the seeds of rows apart from the draws of the seed they come from."""


def mix(x: Array) -> Array:
    """A hash of whole numbers below 2**32: one to one, and every bit depends on every other.

    Arguments:
        x: int64, or NumPy's uint32.
    """
    x = x ^ (x >> 16)
    x = x * 0x21F0AAAD & _MASK
    x = x ^ (x >> 15)
    x = x * 0x735A2D97 & _MASK
    return x ^ (x >> 15)


def draw_bits(seed: Array, count: Array, size: int) -> Array:
    """The 32 bits of each of some draws, (..., size) int64 below 2**32.

    Arguments:
        seed: int64 of at least 0, one for each row.
        count: how many draws came before, int64 of at least 0, in a shape that goes with the seeds.
        size: how many numbers there are in a draw.
    """
    xp = array_namespace(seed, count)
    return xp.astype(_draw_words(seed, count, size), xp.int64)


def draw_uniform(seed: Array, count: Array, size: int) -> Array:
    """Numbers that are spread evenly between 0 and 1 and are neither, (..., size) float64.

    Arguments are those of `draw_bits`.
    """
    xp = array_namespace(seed, count)
    return (xp.astype(_draw_words(seed, count, size), xp.float64) + 0.5) * 2.0**-32


def seed_rows(seed: int, rows: int) -> np.ndarray:
    """Seeds for rows that draw independently, (rows,) int64: the seed itself, then others."""
    numbers = np.arange(rows, dtype=np.int64)
    seeds: np.ndarray = mix(_start(np.asarray([seed], np.int64)) ^ _ROWS)
    seeds = mix((seeds + numbers) & _MASK)
    seeds[:1] = seed
    return seeds


def _draw_words(seed: Array, count: Array, size: int) -> Array:
    """`draw_bits` in the dtype that computes it fastest: NumPy's uint32 needs half the memory."""
    xp: Any = array_namespace(seed, count)
    keys = mix((_start(seed) + _fold(count)) & _MASK)[..., None]
    places = xp.arange(size, dtype=xp.int64, device=seed.device) * _STRIDE & _MASK
    if xp is np:
        return mix(keys.astype(np.uint32) + places.astype(np.uint32))
    return mix((keys + places) & _MASK)


def _start(seed: Array) -> Array:
    """Where in the one long sequence of hashes the draws of a seed begin."""
    return mix((_fold(seed) + _OFFSET) & _MASK)


def _fold(x: Array) -> Array:
    """Whole numbers below 2**63 as 32 bits, those below 2**32 as they are."""
    return mix(x >> 32 & _MASK) ^ (x & _MASK)
