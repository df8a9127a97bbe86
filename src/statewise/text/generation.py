"""`Generation`: tokens drawn one after the other, in rows that go on from a state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from statewise.errors import StateError
from statewise.model import joined_calls
from statewise.runtime import Model
from statewise.state import State
from statewise.text.sampling import Sampler, Sampling
from statewise.validation import check_whole_number

BLOCK = 64
"""Tokens that are drawn at once, of all rows: one call for many, and the first comes soon."""

ENDED = -1
"""Stands for the token of a row that has ended where others go on."""


@dataclass(frozen=True)
class _Block:
    """Tokens that were drawn in one call: after `first` others, up to `last`."""

    first: int
    last: int
    after: Callable[[int], State]

    def state_after(self, count: int) -> State:
        """The state that has consumed the first `count` tokens of the generation."""
        return self.after(count - self.first - 1)


class Generation(Iterator[np.ndarray]):
    """Tokens drawn one after the other; iterating runs the model.

    The state has always consumed every token that was given out, so it can be kept, saved, and
    gone on from in the middle of a word.

    Arguments:
        model: whose outputs are the scores of the next token, and which remembers them.
        state: from where to go on, one row for each branch.
        length: how many tokens to draw in each row, at most.
        sampling: how.
        stop: tokens of strings before which a row ends. Tokens that may be the beginning of one
            are not given out until that is certain.
        unwritable: tokens that are never drawn.
        run: stands for the run that calls of the model belong to, see `joined_calls`.

    Example::

        for tokens in generation:               # (B,) at each step, -1 where a row has ended
            ...
        generation.state.save("s.safetensors")
    """

    def __init__(
        self,
        model: Model,
        state: State,
        length: int,
        sampling: Sampling,
        *,
        stop: Sequence[Sequence[int]] = (),
        unwritable: np.ndarray | None = None,
        run: object | None = None,
    ) -> None:
        self._length = check_whole_number("length", length, 0)
        self._model, self._rows, self._run = model, state.batch, run or object()
        self._sampling = sampling.spread(state.batch)
        self._sampler = Sampler(
            self._sampling, np.array([], np.int64) if unwritable is None else unwritable
        )
        self._stops = ["".join(map(chr, own)) for own in stop]
        self._blocks = [_Block(0, 0, lambda _: state)]  # from the one that the state is in
        self._pending = np.empty((0, state.batch), np.int64)  # tokens after the first `_first`
        self._first = self._given = self._certain = 0  # `_certain`: how many may be given out
        self._ended: dict[int, tuple[int, State]] = {}  # row -> its length and last state

    @property
    def state(self) -> State:
        """The state that has consumed every token given out so far."""
        state = self._state_after(self._given)
        if not any(end < self._given for end, _ in self._ended.values()):
            return state
        rows = range(self._rows)
        own = {row: last for row, (end, last) in self._ended.items() if end < self._given}
        return State.cat([own[row] if row in own else state.rows([row]) for row in rows])

    @property
    def sampling(self) -> Sampling:
        """How to go on from the state: the same options, at the place where the draws stand."""
        seed, count = self._sampling.seed, self._sampling.count
        assert isinstance(seed, tuple)
        assert isinstance(count, tuple)
        ends = [self._ended.get(row, (self._given,))[0] for row in range(self._rows)]
        drawn = tuple(c + min(end, self._given) for c, end in zip(count, ends, strict=True))
        one = self._rows == 1
        return replace(
            self._sampling, seed=seed[0] if one else seed, count=drawn[0] if one else drawn
        )

    def save(self, path: str | Path) -> None:
        """Write the state and the place of the draws, see `Sampling.load`."""
        self.sampling.save(path, self.state)

    def __iter__(self) -> Iterator[np.ndarray]:
        return self

    def __next__(self) -> np.ndarray:
        while self._given == self._certain:
            last = self._blocks[-1].last
            if last == self._length or len(self._ended) == self._rows:
                raise StopIteration
            self._draw(last)
        tokens: np.ndarray = self._pending[self._given - self._first]
        self._given += 1
        return tokens

    def _draw(self, drawn: int) -> None:
        """Draw the next block, and find out how many tokens may be given out."""
        steps = min(self._length - drawn, max(BLOCK // self._rows, 1))
        state = self._blocks[-1].state_after(drawn)
        with joined_calls(self._run):
            tokens, after = self._sampler.draw(self._model, state, drawn, steps)
        self._blocks = [own for own in self._blocks if own.last >= self._given]
        self._blocks.append(_Block(drawn, drawn + steps, after))
        if self._stops:
            self._certain = self._look_for_stops(tokens)
        else:
            self._pending, self._first, self._certain = tokens, drawn, drawn + steps

    def _look_for_stops(self, tokens: np.ndarray) -> int:
        """End the rows in which a stop string is complete; how many tokens may be given out."""
        rest = self._pending[self._given - self._first :]
        self._pending, self._first = np.concatenate([rest, tokens]), self._given
        drawn = self._first + len(self._pending)
        certain = []
        for row in range(self._rows):
            if row not in self._ended:
                text = "".join(map(chr, self._pending[:, row]))
                place = _find_first(text, self._stops)
                if place is None:
                    open_end = 0 if drawn == self._length else _count_open(text, self._stops)
                    certain.append(drawn - open_end)
                    continue
                end = self._first + place
                self._ended[row] = (end, self._state_after(end).rows([row]))
            self._pending[max(self._ended[row][0] - self._first, 0) :, row] = ENDED
        return min(certain, default=max((end for end, _ in self._ended.values()), default=0))

    def _state_after(self, count: int) -> State:
        """The state after so many tokens, which is in one of the blocks."""
        block = next(own for own in self._blocks if own.last >= count)
        return block.state_after(count)


def _find_first(text: str, stops: Sequence[str]) -> int | None:
    """Where the stop string begins that is complete first, the longest of several; None: none."""
    places = [(text.find(stop), stop) for stop in stops]
    found = [(place + len(stop), place) for place, stop in places if place >= 0]
    return min(found)[1] if found else None


def _count_open(text: str, stops: Sequence[str]) -> int:
    """How many of the last tokens may be the beginning of a stop string."""
    longest = min(max(map(len, stops)) - 1, len(text))
    return next(
        (n for n in range(longest, 0, -1) if any(stop.startswith(text[-n:]) for stop in stops)), 0
    )


def begin_rows(model: Model, prompt: np.ndarray, state: State | None, branches: int) -> State:
    """The state after a prompt, in as many rows as there are branches.

    Arguments:
        model: the model.
        prompt: its tokens (T,), consumed once; the rows are forks of the state after it.
        state: from where to go on, one row or one for each branch; None starts anew.
        branches: how many rows.
    """
    check_whole_number("branches", branches)
    if state is None:
        state = model.initial_state(1)
    if state.batch not in (1, branches):
        raise StateError(
            f"the state has {state.batch} rows and there are {branches} branches; give a state of "
            f"one row, or branches={state.batch}"
        )
    _, state = model(np.repeat(prompt[None], state.batch, axis=0), state)
    return state if state.batch == branches else state.rows([0] * branches)
