"""`Task`: how examples are drawn and answers judged, and the tasks by name"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from statewise.errors import InputError
from statewise.inspect.exam import languages, memory
from statewise.inspect.exam.example import Example

Draw: TypeAlias = Callable[[np.random.Generator, int], Example]

TOLERANCE = 0.04
"""How far off a number may be, as in Hochreiter and Schmidhuber's adding problem."""


@dataclass(frozen=True)
class Task:
    """A task with a known answer.

    Arguments:
        name: on the command line.
        what: a description in a few words.
        draw: draws an example of a size.
        learned: the smallest and the largest size in training.
        tested: the sizes of the test, growing; the first ones are also learned.
        size: what a size counts, such as ``"pairs"``.
        each: how many examples of a size are tested; 1 where a size has only one.
        kind: the answer at a step that counts: ``"symbols"`` for a set of symbols, ``"number"``.
        key: the one answer that takes memory, among others that do not: what it is called, and its
            step counted from the end. Its share of right answers is reported by itself.
        published: a result from the literature with the number of its source; empty without one.
    """

    name: str
    what: str
    draw: Draw
    learned: tuple[int, int]
    tested: tuple[int, ...]
    size: str
    each: int = 64
    kind: Literal["symbols", "number"] = "symbols"
    key: tuple[str, int] | None = None
    published: str = ""

    def draw_learned(self, rng: np.random.Generator) -> Example:
        """Draw an example of a size that is learned."""
        low, high = self.learned
        return self.draw(rng, int(rng.integers(low, high + 1)))

    def is_right(self, outputs: np.ndarray, example: Example) -> bool:
        """Whether the outputs (T, O) are right at every step that counts."""
        return bool(self._hits(outputs, example)[example.counts].all())

    def is_key_right(self, outputs: np.ndarray, example: Example) -> bool:
        """Whether the key answer is right."""
        return self.key is not None and bool(self._hits(outputs, example)[self.key[1]])

    def _hits(self, outputs: np.ndarray, example: Example) -> np.ndarray:
        """At which steps the outputs are right, (T,)."""
        if self.kind == "number":
            return np.asarray((np.abs(outputs - example.targets) < TOLERANCE).all(axis=1))
        return np.asarray(((outputs > 0) == (example.targets > 0.5)).all(axis=1))

    def guess_rate(self, rng: np.random.Generator, count: int = 500) -> float:
        """The share of examples that guesses have right: answers drawn from those that occur."""
        examples = [self.draw_learned(rng) for _ in range(count)]
        answers = np.concatenate([one.targets[one.counts] for one in examples])
        hits = 0
        for one in examples:
            outputs = np.zeros_like(one.targets)
            outputs[one.counts] = answers[rng.integers(len(answers), size=one.counts.sum())]
            hits += self.is_right(outputs - 0.5 * (self.kind == "symbols"), one)
        return hits / count


def list_doublings(first: int, count: int) -> tuple[int, ...]:
    """A size, twice that, four times that, and so on."""
    return tuple(first * 2**power for power in range(count))


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            "anbn",
            "a^n b^n: the legal next symbols at every step",
            languages.draw_equal_counts("ab"),
            (1, 10),
            tuple(range(1, 1001)),
            "n",
            each=1,
            published="LSTM with peepholes, best net: n to 1,000 [4]; "
            "best plain RNN of many 99.8% accurate [1]",
        ),
        Task(
            "anbncn",
            "a^n b^n c^n: the legal next symbols at every step",
            languages.draw_equal_counts("abc"),
            (1, 10),
            tuple(range(1, 257)),
            "n",
            each=1,
            published="best plain RNN of many 99.8% accurate [1]",
        ),
        Task(
            "dyck1",
            "balanced brackets: the legal next symbols at every step",
            languages.draw_brackets,
            (1, 16),
            list_doublings(16, 8),
            "pairs",
            published="best plain RNN of many 10.9% accurate [1]",
        ),
        Task(
            "reber",
            "embedded Reber grammar: the legal next symbols at every step",
            languages.draw_embedded_reber,
            (5, 12),
            list_doublings(12, 6),
            "inner symbols",
            key=("outer symbol", -2),
            published="LSTM has the outer symbol right in 100% [2]",
        ),
        Task(
            "recall",
            "A x...x a, B x...x b: the first symbol after a delay",
            memory.draw_recall,
            (20, 20),
            list_doublings(20, 8),
            "delay",
            published="LSTM 18 of 18 runs at delay 100, BPTT 0 of 18 [2]",
        ),
        Task(
            "order",
            "temporal order: which of X and Y came first, and which second",
            memory.draw_temporal_order,
            (30, 30),
            list_doublings(30, 7),
            "steps",
            published="LSTM learns 100-110 steps in 31,390 sequences [2]",
        ),
        Task(
            "adding",
            "the sum of two marked numbers, within 0.04",
            memory.draw_adding,
            (30, 30),
            list_doublings(30, 6),
            "steps",
            kind="number",
            published="LSTM learns 100 steps in 74,000 sequences [3]",
        ),
        Task(
            "copy",
            "five symbols, to be repeated after a delay",
            memory.draw_copy,
            (10, 10),
            list_doublings(10, 7),
            "delay",
        ),
        Task(
            "parity",
            "whether the number of ones is odd, asked at the end",
            memory.draw_parity,
            (1, 12),
            list_doublings(12, 8),
            "bits",
        ),
    )
}

SOURCES: tuple[str, ...] = (
    "[1] Lan, Geyer, Chemla and Katzir, Minimum Description Length Recurrent Neural Networks, 2022",
    "[2] Hochreiter and Schmidhuber, Long Short-Term Memory, 1997, as quoted by later work",
    (
        "[3] Hochreiter and Schmidhuber, LSTM can solve hard long time lag problems, 1996, as "
        "quoted by later work"
    ),
    (
        "[4] Gers and Schmidhuber, LSTM recurrent networks learn simple context-free and "
        "context-sensitive languages, 2001; trained on n = 1 to 10"
    ),
)


def find_tasks(names: Sequence[str]) -> list[Task]:
    """The tasks with these names; all tasks for no names.

    Raises:
        InputError: an unknown name.
    """
    for name in names:
        if name not in TASKS:
            raise InputError(f"there is no task {name!r}; there are {', '.join(TASKS)}")
    return [TASKS[name] for name in dict.fromkeys(names)] or list(TASKS.values())
