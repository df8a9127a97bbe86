"""Writing text: what is drawn next, and the rows that go on from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from statewise.errors import InputError, StateError
from statewise.runtime import Model
from statewise.state import State

AHEAD = 64
"""Tokens that are drawn at once: one call for many, and the first comes soon."""

_HOTTEST, _TINY = 1e30, np.finfo(np.float32).tiny
"""Temperatures above draw evenly; what is drawn from is nowhere zero."""


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
        self._ahead: Iterator[np.ndarray] = iter(())
        self.among_all = options.top_k is None and options.top_p is None

    def noise(self, shape: tuple[int, ...]) -> np.ndarray:
        """What is to be added to outputs, the next so many numbers of it."""
        temperature = np.float32(min(self._options.temperature, _HOTTEST))
        if temperature == 0:
            return np.zeros(shape, np.float32)
        exponential = self._rng.standard_exponential(shape, dtype=np.float32)
        return np.asarray(np.log(np.maximum(exponential, _TINY)) * -temperature)

    def __call__(self, outputs: np.ndarray) -> np.ndarray:
        """Outputs (B, V) -> tokens (B,)."""
        options = self._options
        if options.top_k is not None and options.top_k < outputs.shape[1]:
            outputs = _likeliest(outputs, options.top_k)
        if options.top_p is not None and options.top_p < 1 and options.temperature > 0:
            outputs = _probable(outputs, options.top_p, options.temperature)
        noise = next(self._ahead, None)
        if noise is None:
            self._ahead = iter(self.noise((AHEAD, *outputs.shape)))
            noise = next(self._ahead)
        return np.asarray((outputs + noise).argmax(axis=1))


def _likeliest(scores: np.ndarray, count: int) -> np.ndarray:
    """The scores with all but the `count` highest of each row at minus infinity."""
    chosen = np.argpartition(scores, -count, axis=1)[:, -count:]
    kept = np.full_like(scores, -np.inf)
    np.put_along_axis(kept, chosen, np.take_along_axis(scores, chosen, axis=1), axis=1)
    return kept


def _probable(scores: np.ndarray, share: float, temperature: float) -> np.ndarray:
    """The scores of the fewest tokens that together have a share of the probability."""
    order = np.argsort(-scores, axis=1, kind="stable")
    ranked = np.take_along_axis(scores, order, axis=1)
    mass = np.exp((ranked - ranked[:, :1]) / max(temperature, 1e-6))
    before = np.cumsum(mass, axis=1) - mass
    ranked[before >= share * mass.sum(axis=1, keepdims=True)] = -np.inf
    kept = np.empty_like(scores)
    np.put_along_axis(kept, order, ranked, axis=1)
    return kept


class Generation(Iterator[np.ndarray]):
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
        self._model, self._left = model, int(length)
        self._sampler = Sampler(sampling)
        self._tokens = np.empty((0, 0), np.int64)  # drawn ahead, the first `_given` given out
        self._given = 0
        self._after: Callable[[int], State] = lambda _: state

    @property
    def state(self) -> State:
        """The state that has consumed every token given out so far."""
        return self._after(self._given - 1)

    def __iter__(self) -> Iterator[np.ndarray]:
        return self

    def __next__(self) -> np.ndarray:
        if not self._left:
            raise StopIteration
        if self._given == len(self._tokens):
            self._draw()
        tokens: np.ndarray = self._tokens[self._given]
        self._given += 1
        self._left -= 1
        return tokens

    def _draw(self) -> None:
        state = self.state
        outputs = np.asarray(state["outputs.y"])
        if self._sampler.among_all:
            steps = min(self._left, max(AHEAD // len(outputs), 1))
            noise = self._sampler.noise((steps, *outputs.shape))
            self._tokens, self._after = self._model.sample(noise, state)
        else:
            tokens = self._sampler(outputs)
            _, state = self._model.step(tokens, state)
            self._tokens, self._after = tokens[None], lambda _: state
        self._given = 0


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
