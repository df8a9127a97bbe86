"""Reading tokens part by part, and how well each is predicted."""

from __future__ import annotations

import math

import numpy as np

from statewise.progress import Progress
from statewise.runtime import Model
from statewise.state import State

_PART = 4096
"""Steps that are read at once: memory does not grow with the text."""


def read_tokens(model: Model, ids: np.ndarray, state: State | None) -> State:
    """The state after tokens (T,), from the initial state or a given one of any rows."""
    state = model.initial_state(1) if state is None else state
    with Progress("reading", len(ids)) as progress:
        for start in range(0, max(len(ids), 1), _PART):
            part = ids[start : start + _PART]
            _, state = model(np.repeat(part[None], state.batch, axis=0), state)
            progress.update(start)
    return state


def score_tokens(model: Model, ids: np.ndarray, state: State | None) -> np.ndarray:
    """Bits of each token, (T,) float64; NaN for the first where there is no state.

    Arguments:
        model: whose outputs are the scores of the next token, and which remembers them.
        ids: tokens, (T,), at least one.
        state: from where to go on, one row.
    """
    bits = np.full(len(ids), np.nan)
    if state is None:
        state = model.initial_state(1)
    else:
        bits[:1] = _measure_bits(np.asarray(state["outputs.y"]), ids[:1])
    with Progress("scoring", len(ids)) as progress:
        for start in range(0, len(ids) - 1, _PART):
            following = ids[start + 1 : start + 1 + _PART]
            scores, state = model(ids[None, start : start + len(following)], state)
            bits[start + 1 : start + 1 + _PART] = _measure_bits(scores[0], following)
            progress.update(start)
    return bits


def _measure_bits(scores: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Minus the binary logarithm of the probability of each token, scores (T, V) -> (T,)."""
    wide = scores.astype(np.float64)
    top = wide.max(axis=1)
    total = np.log(np.exp(wide - top[:, None]).sum(axis=1)) + top
    bits: np.ndarray = (total - wide[np.arange(len(ids)), ids]) / math.log(2)
    return bits
