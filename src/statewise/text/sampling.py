"""`Sampling`: how the next token is drawn from the outputs, and at which place the draws stand."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from statewise import checkpoint
from statewise.errors import FileError, InputError
from statewise.noise import draw_uniform, seed_rows
from statewise.runtime import Model
from statewise.state import State
from statewise.state_file import KIND
from statewise.validation import is_number, is_whole_number

METADATA = "draws"
"""What the place of the draws is called in the metadata of a state file."""

_HOTTEST = 1e30
"""Temperatures above draw as this one does: evenly."""


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn from the outputs.

    The same seed draws the same text. Draws are counted: those of a seed from `count` on are the
    same whether the draws before it were made just now or long ago.

    Arguments:
        temperature: outputs are divided by it: below 1 more predictable, above 1 more varied; 0
            always takes the most likely token.
        top_k: sample from the k most likely tokens only.
        top_p: sample from the most likely tokens that together have at least this probability.
        seed: of the draws, below 2**63; None draws differently each time. Rows that are written
            side by side draw independently, each with a seed that follows from this one; a tuple
            gives each row its own.
        count: how many draws of the seed came before; a tuple gives each row its own.

    Raises:
        InputError: an option out of range.

    Example::

        text = model.stream("Once", 50, Sampling(0.8, seed=1))
        begin = model.decode([tokens[0] for tokens in text])
        text.save("place.safetensors")      # the state, and the place of the draws

        state = sw.State.load("place.safetensors")
        sampling = Sampling.load("place.safetensors", temperature=0.8)
        rest = model.stream("", 50, sampling, state)
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int | tuple[int, ...] | None = None
    count: int | tuple[int, ...] = 0

    def __post_init__(self) -> None:
        if not is_number(self.temperature) or not 0 <= self.temperature < math.inf:
            raise InputError(
                f"temperature must be a number of at least 0, got {self.temperature!r}; 0 always "
                "takes the most likely character, 1 draws as the model learned"
            )
        if self.top_k is not None and not is_whole_number(self.top_k, 1):
            raise InputError(f"top_k must be a whole number of at least 1, got {self.top_k!r}")
        if self.top_p is not None and not (is_number(self.top_p) and 0 < self.top_p <= 1):
            raise InputError(f"top_p must be above 0 and at most 1, got {self.top_p!r}")
        for name in ("seed", "count"):
            given = getattr(self, name)
            numbers = given if isinstance(given, tuple) else (given,)
            if given is not None and not all(
                is_whole_number(one, 0) and one < 2**63 for one in numbers
            ):
                raise InputError(
                    f"{name} must be a whole number of at least 0 and below 2**63, got {given!r}"
                )

    def spread(self, rows: int) -> Sampling:
        """The same with a seed and a count for each of some rows.

        Raises:
            InputError: seeds or counts for another number of rows.
        """
        seed, count = self.seed, self.count
        if seed is None:
            seed = secrets.randbits(32)
        if not isinstance(seed, tuple):
            seed = tuple(seed_rows(seed, rows).tolist())
        if not isinstance(count, tuple):
            count = (count,) * rows
        if not len(seed) == len(count) == rows:
            raise InputError(
                f"this sampling is of {len(seed)} seeds and {len(count)} counts, and there are "
                f"{rows} rows; give one seed and count, or as many as there are rows"
            )
        return replace(self, seed=seed, count=count)

    def save(self, path: str | Path, state: State) -> None:
        """Write a state file that also holds the place of the draws: a seed and a count a row."""
        own = self.spread(state.batch)
        state.save(path, extra={METADATA: json.dumps({"seed": own.seed, "count": own.count})})

    @classmethod
    def load(cls, path: str | Path, **options: Any) -> Sampling:
        """The sampling that goes on at the place of the draws in a state file.

        Arguments:
            path: what `save` wrote; any other state file gives draws without a seed.
            options: temperature, top_k and top_p.

        Raises:
            FileError: no state file, or one whose place of the draws cannot be read.
        """
        written = checkpoint.read_metadata(path, KIND).get(METADATA)
        if written is None:
            return cls(**options)
        try:
            draws = json.loads(written)
            seed, count = tuple(draws["seed"]), tuple(draws["count"])
            if len(seed) == len(count) == 1:  # a row that may be forked
                seed, count = seed[0], count[0]
            return cls(seed=seed, count=count, **options)
        except (ValueError, TypeError, KeyError, InputError) as error:
            raise FileError(f"the place of the draws in {path} cannot be read: {error}") from None


class Sampler:
    """Draws tokens: the largest of outputs and Gumbel noise is a draw from their softmax, which
    needs neither exponentials nor sums at a step.

    Arguments:
        options: how, with seeds of the rows.
        unwritable: tokens that are never drawn.

    Source: Gumbel, Statistical theory of extreme values, 1954.
    """

    def __init__(self, options: Sampling, unwritable: np.ndarray) -> None:
        self._options, self._unwritable = options, unwritable
        self._seed = np.array(options.seed, np.int64)
        self._count = np.array(options.count, np.int64)
        self._among_all = options.top_k is None and options.top_p is None

    def draw(
        self, model: Model, state: State, first: int, steps: int
    ) -> tuple[np.ndarray, Callable[[int], State]]:
        """Some steps in which the model reads what is drawn.

        Arguments:
            model: whose outputs are the scores of the next token.
            state: from where to go on.
            first: how many draws came before these.
            steps: how many tokens to draw in each row.

        Returns:
            tokens (steps, B), and a function that gives the state after step t.
        """
        noise = self._draw_noise(first, steps, state["outputs.y"].shape[-1])
        if self._among_all:
            return model.sample(noise, state)
        tokens, states = np.empty(noise.shape[:2], np.int64), []
        for t, own in enumerate(noise):
            tokens[t] = (self._restrict(np.asarray(state["outputs.y"])) + own).argmax(axis=1)
            _, state = model.step(tokens[t], state)
            states.append(state)
        return tokens, states.__getitem__

    def _draw_noise(self, first: int, steps: int, size: int) -> np.ndarray:
        """What is added to the outputs of some steps, (steps, B, size) float32."""
        temperature = np.float32(min(self._options.temperature, _HOTTEST))
        if temperature == 0:
            noise = np.zeros((steps, len(self._seed), size), np.float32)
        else:
            count = self._count + np.arange(first, first + steps)[:, None]  # (steps, B)
            exponential = np.log(draw_uniform(self._seed, count, size)).astype(np.float32)
            np.negative(exponential, out=exponential)
            noise = np.log(exponential, out=exponential)
            noise *= -temperature
        noise[..., self._unwritable] = -np.inf
        return noise

    def _restrict(self, scores: np.ndarray) -> np.ndarray:
        """The scores (B, V) with those of tokens that may not be drawn at minus infinity."""
        options = self._options
        if len(self._unwritable):
            scores = scores.copy()
            scores[:, self._unwritable] = -np.inf
        if options.top_k is not None and options.top_k < scores.shape[1]:
            scores = _keep_most_likely(scores, options.top_k)
        if options.top_p is not None and options.top_p < 1 and options.temperature > 0:
            scores = _keep_probable(scores, options.top_p, options.temperature)
        return scores


def _keep_most_likely(scores: np.ndarray, count: int) -> np.ndarray:
    """The scores with all but the `count` highest of each row at minus infinity."""
    chosen = np.argpartition(scores, -count, axis=1)[:, -count:]
    restricted = np.full_like(scores, -np.inf)
    np.put_along_axis(restricted, chosen, np.take_along_axis(scores, chosen, axis=1), axis=1)
    return restricted


def _keep_probable(scores: np.ndarray, share: float, temperature: float) -> np.ndarray:
    """The scores of the fewest tokens that together have a share of the probability."""
    order = np.argsort(-scores, axis=1, kind="stable")
    ranked = np.take_along_axis(scores, order, axis=1)
    mass = np.exp((ranked - ranked[:, :1]) / max(temperature, 1e-6))
    before = np.cumsum(mass, axis=1) - mass
    ranked[before >= share * mass.sum(axis=1, keepdims=True)] = -np.inf
    restricted = np.empty_like(scores)
    np.put_along_axis(restricted, order, ranked, axis=1)
    return restricted
