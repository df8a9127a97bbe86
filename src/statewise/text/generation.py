"""Writing text: what is drawn next, and the rows that go on from it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from statewise.errors import InputError, StateError
from statewise.runtime import Model
from statewise.state import State

_AHEAD = 256
"""Steps whose random numbers are drawn at once: one call of NumPy for many characters."""


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn from the outputs.

    Arguments:
        temperature: outputs are divided by it: below 1 bolder, above 1 wilder; 0 always takes the
            likeliest.
        top_k: draw among this many likeliest tokens only.
        top_p: draw among the likeliest tokens that together have at least this probability.
        seed: of the draws; None draws differently each time.

    Raises:
        InputError: an option out of range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if not _number(self.temperature) or not 0 <= self.temperature < math.inf:
            raise InputError(
                f"temperature must be a number of at least 0, got {self.temperature!r}; 0 always "
                "takes the likeliest character, 1 draws as the model learned"
            )
        if self.top_k is not None and not (_whole(self.top_k) and self.top_k >= 1):
            raise InputError(f"top_k must be a whole number of at least 1, got {self.top_k!r}")
        if self.top_p is not None and not (_number(self.top_p) and 0 < self.top_p <= 1):
            raise InputError(f"top_p must be above 0 and at most 1, got {self.top_p!r}")
        if self.seed is not None and not (_whole(self.seed) and self.seed >= 0):
            raise InputError(f"seed must be a whole number of at least 0, got {self.seed!r}")


class Sampler:
    """Draws tokens: the largest of outputs and Gumbel noise is a draw from their softmax, which
    needs neither exponentials nor sums at a step.

    Source: Gumbel, Statistical theory of extreme values, 1954.
    """

    def __init__(self, options: Sampling) -> None:
        self._options = options
        self._rng = np.random.default_rng(options.seed)
        self._noise: Iterator[np.ndarray] = iter(())

    def __call__(self, outputs: np.ndarray) -> np.ndarray:
        """Outputs (B, V) -> tokens (B,)."""
        options = self._options
        if options.temperature == 0:
            return np.asarray(outputs.argmax(axis=1))
        scores = outputs * np.float32(1 / max(options.temperature, 1e-6))
        if options.top_k is not None and options.top_k < scores.shape[1]:
            scores = _likeliest(scores, options.top_k)
        if options.top_p is not None and options.top_p < 1:
            scores = _probable(scores, options.top_p)
        noise = next(self._noise, None)
        if noise is None:
            self._noise = self._drawn(outputs.shape)
            noise = next(self._noise)
        return np.asarray((scores + noise).argmax(axis=1))

    def _drawn(self, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
        exponential = self._rng.standard_exponential((_AHEAD, *shape), dtype=np.float32)
        tiny = np.finfo(np.float32).tiny
        return iter(-np.log(np.maximum(exponential, tiny)))


def _likeliest(scores: np.ndarray, count: int) -> np.ndarray:
    """The scores with all but the `count` highest of each row at minus infinity."""
    chosen = np.argpartition(scores, -count, axis=1)[:, -count:]
    kept = np.full_like(scores, -np.inf)
    np.put_along_axis(kept, chosen, np.take_along_axis(scores, chosen, axis=1), axis=1)
    return kept


def _probable(scores: np.ndarray, share: float) -> np.ndarray:
    """The scores of the fewest tokens that together have a share of the probability."""
    order = np.argsort(-scores, axis=1, kind="stable")
    ranked = np.take_along_axis(scores, order, axis=1)
    mass = np.exp(ranked - ranked[:, :1])
    before = np.cumsum(mass, axis=1) - mass
    ranked[before >= share * mass.sum(axis=1, keepdims=True)] = -np.inf
    kept = np.empty_like(scores)
    np.put_along_axis(kept, order, ranked, axis=1)
    return kept


class Generation:
    """Tokens drawn one after the other; going over it is what runs the model.

    The state has always consumed every token that was given out, so it can be kept, saved, and
    gone on from in the middle of a word.

    Arguments:
        model: whose outputs are the scores of the next token, and which remembers them.
        state: from where to go on, one row for each branch.
        length: how many tokens to draw in each row.
        sampling: how.

    Example::

        for tokens in generation:               # (B,) at each step
            ...
        generation.state.save("s.safetensors")
    """

    def __init__(self, model: Model, state: State, length: int, sampling: Sampling) -> None:
        if not _whole(length) or length < 0:
            raise InputError(f"length must be a whole number of at least 0, got {length!r}")
        self._model, self.state, self._left = model, state, int(length)
        self._sampler = Sampler(sampling)

    def __iter__(self) -> Iterator[np.ndarray]:
        while self._left:
            tokens = self._sampler(self.state["outputs.y"])
            _, self.state = self._model.step(tokens, self.state)
            self._left -= 1
            yield tokens


def begun(model: Model, prompt: np.ndarray, state: State | None, branches: int) -> State:
    """The state after a prompt, in as many rows as there are branches.

    Arguments:
        model: the model.
        prompt: its tokens (T,), consumed once; the rows are forks of what comes of it.
        state: from where to go on, one row or one for each branch; None starts anew.
        branches: how many rows.
    """
    if not _whole(branches) or branches < 1:
        raise InputError(f"branches must be a whole number of at least 1, got {branches!r}")
    if state is None:
        state = model.initial_state(1)
    if state.batch not in (1, branches):
        raise StateError(
            f"the state has {state.batch} rows and there are {branches} branches; give a state of "
            f"one row, such as state.rows(0), or branches={state.batch}"
        )
    _, state = model(np.repeat(prompt[None], state.batch, axis=0), state)
    return state if state.batch == branches else state.rows([0] * branches)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float, np.floating)) and not isinstance(value, bool)


def _whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
