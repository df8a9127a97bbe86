"""`Subject`: a model under check, with the ways of calling it as data"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from statewise.errors import InputError

Arrays = Mapping[str, np.ndarray]


class UnavailableError(Exception):
    """What a probe asks for does not exist in this framework or model; the message says why."""


@dataclass(frozen=True)
class Way:
    """One way of calling a model without passing it a state.

    Arguments:
        observe: batches and a number of epochs -> what was seen of each batch, in order: its
            outputs where the way returns them, else its loss.
        code: how it is written.
        many: it takes many batches in one call.
        trains: it goes over them in epochs.
        evaluates: people use it to evaluate, and expect nothing to change.
    """

    observe: Callable[[Sequence[np.ndarray], int], list[np.ndarray]]
    code: str
    many: bool = False
    trains: bool = False
    evaluates: bool = False


@dataclass(frozen=True)
class Inputs:
    """What a model reads: (rows, steps, features) floats, or (rows, steps) whole numbers.

    Arguments:
        features: how many at each step; None for tokens.
        tokens: how many there are.
        rows, steps: where the model takes this many and no other.
    """

    features: int | None
    tokens: int = 0
    rows: int | None = None
    steps: int | None = None

    def draw(self, rows: int = 4, steps: int = 6, seed: int = 0) -> np.ndarray:
        """A batch of inputs, float32 or int64."""
        rows, steps = self.rows or rows, self.steps or steps
        generator = np.random.default_rng(seed)
        if self.features is None:
            return generator.integers(1, max(self.tokens, 2), (rows, steps))
        return generator.standard_normal((rows, steps, self.features)).astype(np.float32)


@dataclass
class Subject(ABC):
    """A model of any framework as the probes see it; arrays are NumPy's, rows and steps first.

    Arguments:
        framework: its name and version.
        layers: the recurrent layers found, in words.
        inputs: what it reads.
        explicit: a state goes in and comes out of a call.
        plain, training: the names of the plain call, and of the one used between evaluations.
        known: which ways were seen to carry.
        lines: how things are written in this framework, for the advice.
    """

    framework: str
    layers: tuple[str, ...]
    inputs: Inputs
    explicit: bool = False
    plain: str = "call"
    training: str = "call"
    lines: dict[str, str] = field(default_factory=dict)
    known: dict[str, bool] = field(default_factory=dict)

    @abstractmethod
    def fresh(self) -> Subject:
        """The model as it was before anything was run."""

    @abstractmethod
    def ways(self) -> Mapping[str, Way]:
        """The ways of calling it without a state."""

    def run(self, x: np.ndarray, state: Any = None) -> tuple[np.ndarray, Any]:
        """Run from a state, or from the initial one."""
        raise UnavailableError("the model takes no state and returns none")

    def step(self, x: np.ndarray, state: Any = None) -> tuple[np.ndarray, Any]:
        """Run one step, x (B, features) -> y (B, O)."""
        y, state = self.run(x[:, None], state)
        return (y[:, 0] if y.ndim > 2 else y), state

    def leaves(self, state: Any) -> Arrays:
        """The arrays of a state as the framework lays them out, copied."""
        raise UnavailableError("the model returns no state")

    def rebuilt(self, state: Any, leaves: Arrays) -> Any:
        """The same state with other arrays."""
        raise UnavailableError("the model takes no state")

    def paddings(self) -> Mapping[str, Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, Any]]]:
        """How rows may end early: name -> a run of x (B, T, F) with lengths (B,)."""
        return {}

    def reset(self) -> None:
        """Forget what the model holds, by the model's own method."""
        raise UnavailableError("it offers no method that resets what it holds")

    def held(self) -> Arrays:
        """What the model itself holds of its past, where that can be seen."""
        return {}

    def reloaded(self) -> Subject:
        """The model saved to a file and loaded again."""
        raise UnavailableError("this kind of model is not saved by the check")

    def gradient(self, x: np.ndarray, cut: int, whole: bool) -> np.ndarray:
        """Of a fixed sum of the outputs from step `cut` on, in the steps before (B, cut, F).

        The steps before and after run in one call, or in two with the state going on.
        """
        raise UnavailableError("gradients are not looked at here")

    def half(self) -> Mapping[str, str]:
        """The dtype of every array of the carry under mixed precision."""
        raise UnavailableError("it returns no state whose dtype could be seen")

    def by_rows(self, state: Any) -> dict[str, np.ndarray]:
        """The arrays of a state with their rows first, float64."""
        axes = self.row_axes()
        return {
            name: np.moveaxis(np.asarray(leaf, np.float64), axes[name], 0)
            for name, leaf in self.leaves(state).items()
            if name in axes
        }

    def row_axes(self) -> dict[str, int]:
        """The axis along which an array of the state has its rows: the one that grows with them."""
        if self.inputs.rows is not None:
            return {
                name: leaf.shape.index(self.inputs.rows)
                for name, leaf in self.leaves(self.run(self.inputs.draw())[1]).items()
                if self.inputs.rows in leaf.shape
            }
        few, many = (
            self.leaves(self.run(self.inputs.draw(rows=rows, steps=2))[1]) for rows in (2, 3)
        )
        axes = {}
        for name, leaf in few.items():
            grown = [
                axis
                for axis, (a, b) in enumerate(zip(leaf.shape, many[name].shape, strict=True))
                if (a, b) == (2, 3)
            ]
            if grown:
                axes[name] = grown[0]
        return axes

    def chunked(self, chunks: Sequence[np.ndarray]) -> tuple[list[np.ndarray], Any]:
        """Chunks in turn: passing the state on, or relying on the one the model holds."""
        if not self.explicit:
            return self.ways()[self.plain].observe(chunks, 1), None
        ys, state = [], None
        for chunk in chunks:
            y, state = self.run(chunk, state)
            ys.append(y)
        return ys, state


def with_time(y: np.ndarray, x: np.ndarray) -> bool:
    """Outputs for every step, rather than after the last one."""
    return y.ndim > 2 and y.shape[:2] == x.shape[:2]


def parse_shape(text: str) -> tuple[int | None, ...]:
    """``"4,20,3"`` or ``"4,?,3"`` as a shape; ``?`` stands for any size."""
    try:
        shape = tuple(None if part.strip() in ("?", "*") else int(part) for part in text.split(","))
    except ValueError:
        shape = ()
    if len(shape) not in (2, 3) or any(size is not None and size < 1 for size in shape):
        raise InputError(
            f"--inputs {text!r} is not a shape; write rows,steps,features such as 4,20,3, with ? "
            "for any size, or rows,steps for tokens"
        )
    return shape
