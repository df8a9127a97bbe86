"""`Subject`: a model under check, whatever its framework"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from statewise.errors import InputError

Arrays = Mapping[str, np.ndarray]
PaddedRun = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, Any]]
"""A run of inputs (B, T, F) whose rows end at lengths (B,): the outputs, and the state or None."""


class UnavailableError(Exception):
    """What a probe asks for does not exist in this framework or model; the message says why."""


@dataclass(frozen=True)
class CallMode:
    """One way of calling a model without passing it a state.

    Arguments:
        observe: batches and a number of epochs -> what this mode returns for each batch, in order:
            its outputs, or else its loss.
        code: the line that calls the model this way.
        takes_batches: one call takes many batches.
        trains: one call takes many epochs.
        evaluates: it is meant for evaluating, which should change nothing.
    """

    observe: Callable[[Sequence[np.ndarray], int], list[np.ndarray]]
    code: str
    takes_batches: bool = False
    trains: bool = False
    evaluates: bool = False


def call_each(
    call: Callable[[np.ndarray], np.ndarray], code: str, *, evaluates: bool = False
) -> CallMode:
    """A mode that calls the model once for each batch."""
    return CallMode(lambda batches, _: [call(x) for x in batches], code, evaluates=evaluates)


@dataclass(frozen=True)
class Inputs:
    """The inputs of a model: (rows, steps, features) floats, or (rows, steps) whole numbers.

    Arguments:
        features: their number at each step; None for tokens.
        tokens: the number of different tokens.
        rows, steps: a number that the model requires; None where it takes any.
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
        layers: its recurrent layers, in words.
        inputs: the inputs that it takes.
        explicit: a state goes into a call and comes out of it.
        plain_mode, training_mode: the names of the plain call, and of the one that is used between
            evaluations.
        snippets: code of this framework by name, for the advice.
        carries: for each mode of calling that was tried, whether it carries the state.
    """

    framework: str
    layers: tuple[str, ...]
    inputs: Inputs
    explicit: bool = False
    plain_mode: str = "call"
    training_mode: str = "call"
    snippets: dict[str, str] = field(default_factory=dict)
    carries: dict[str, bool] = field(default_factory=dict)

    @abstractmethod
    def restore(self) -> Subject:
        """The model in the state in which the check found it."""

    @abstractmethod
    def find_call_modes(self) -> Mapping[str, CallMode]:
        """The ways of calling the model without a state, by name."""

    def observe(
        self, mode: str, batches: Sequence[np.ndarray], epochs: int = 1
    ) -> list[np.ndarray]:
        """Restore the model and call it in a mode: what it returns for each batch, in order."""
        return self.restore().find_call_modes()[mode].observe(batches, epochs)

    def run(self, x: np.ndarray, state: Any = None) -> tuple[np.ndarray, Any]:
        """Run from a state, or from the initial one."""
        raise UnavailableError("the model takes no state and returns none")

    def step(self, x: np.ndarray, state: Any = None) -> tuple[np.ndarray, Any]:
        """Run one step, x (B, features) -> y (B, O)."""
        y, state = self.run(x[:, None], state)
        return (y[:, 0] if y.ndim > 2 else y), state

    def read_state(self, state: Any) -> Arrays:
        """The arrays of a state as the framework lays them out, copied."""
        raise UnavailableError("the model returns no state")

    def rebuild_state(self, state: Any, arrays: Arrays) -> Any:
        """A state like this one with other arrays."""
        raise UnavailableError("the model takes no state")

    def find_padding_modes(self) -> Mapping[str, PaddedRun]:
        """The ways of telling the model where rows end, by name."""
        return {}

    def reset(self) -> None:
        """Reset the state that the model holds, by the model's own method."""
        raise UnavailableError("it offers no method that resets what it holds")

    def read_held_state(self) -> Arrays:
        """The state that the model itself holds, where that can be read."""
        return {}

    def save_and_load(self) -> Subject:
        """The model after it was saved to a file and loaded again."""
        raise UnavailableError("this kind of model is not saved by the check")

    def compute_gradient(self, x: np.ndarray, cut: int, whole: bool) -> np.ndarray:
        """The gradient of a fixed sum of the outputs from step `cut` on, with respect to the steps
        before, (B, cut, F).

        The steps before and after run in one call (`whole`), or in two with the state carried.
        """
        raise UnavailableError("the check computes no gradients for this framework")

    def run_in_bfloat16(self) -> Mapping[str, str]:
        """The dtype of every array of the state after a run in bfloat16, by name."""
        raise UnavailableError("the model returns no state")

    def arrange_by_rows(self, state: Any) -> dict[str, np.ndarray]:
        """The arrays of a state with rows on the first axis, float64."""
        axes = self.find_row_axes()
        return {
            name: np.moveaxis(np.asarray(leaf, np.float64), axes[name], 0)
            for name, leaf in self.read_state(state).items()
            if name in axes
        }

    def find_row_axes(self) -> dict[str, int]:
        """The axis of rows of each array of the state: the one that grows with their number."""
        if self.inputs.rows is not None:
            return {
                name: leaf.shape.index(self.inputs.rows)
                for name, leaf in self.read_state(self.run(self.inputs.draw())[1]).items()
                if self.inputs.rows in leaf.shape
            }
        few, many = (
            self.read_state(self.run(self.inputs.draw(rows=rows, steps=2))[1]) for rows in (2, 3)
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

    def run_chunks(self, chunks: Sequence[np.ndarray]) -> tuple[list[np.ndarray], Any]:
        """Run chunks one after the other, with the state passed on or held by the model."""
        if not self.explicit:
            return self.find_call_modes()[self.plain_mode].observe(chunks, 1), None
        ys, state = [], None
        for chunk in chunks:
            y, state = self.run(chunk, state)
            ys.append(y)
        return ys, state


def has_time_axis(y: np.ndarray, x: np.ndarray) -> bool:
    """Whether these are outputs of every step, not of the last one alone."""
    return y.ndim > 2 and y.shape[:2] == x.shape[:2]


def parse_shape(text: str) -> tuple[int | None, ...]:
    """``"4,20,3"`` or ``"4,?,3"`` as a shape; ``?`` stands for any size."""
    try:
        shape = tuple(None if part.strip() in ("?", "*") else int(part) for part in text.split(","))
    except ValueError:
        shape = ()
    if len(shape) not in (2, 3) or any(size is not None and size < 1 for size in shape):
        raise InputError(
            f"{text!r} is not a shape of inputs; write inputs='rows,steps,features' such as "
            "inputs='4,20,3', with ? for any size, or inputs='rows,steps' for tokens"
        )
    return shape
