"""`Task`: how a task is drawn and judged, and the tasks by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from statewise.errors import InputError
from statewise.inspect.exam import languages, memory
from statewise.inspect.exam.drawing import Drawn

Draw: TypeAlias = Callable[[np.random.Generator, int], Drawn]

NEAR = 0.04
"""How near a number must come: what Hochreiter and Schmidhuber ask for in the adding problem."""


@dataclass(frozen=True)
class Task:
    """A task with a known answer.

    Arguments:
        name: on the command line.
        what: in a few words.
        draw: a sequence of a size.
        learned: the sizes that are learned, from and to.
        tested: the growing sizes on which a cell is tested; the first ones are among the learned.
        size: what a size counts.
        each: how many sequences of a size are tested; one where a size has just one.
        kind: ``"symbols"``: at each step that counts, the set of symbols; ``"number"``: a number.
        apart: the one answer that takes memory among many that do not, what it is called and at
            which step it is, counted from the end; it is reported apart as well.
        published: what has been reported, with its source; empty where none is known to us.
    """

    name: str
    what: str
    draw: Draw
    learned: tuple[int, int]
    tested: tuple[int, ...]
    size: str
    each: int = 64
    kind: Literal["symbols", "number"] = "symbols"
    apart: tuple[str, int] | None = None
    published: str = ""

    def right(self, outputs: np.ndarray, drawn: Drawn) -> bool:
        """Whether the outputs (T, O) are right at every step of a sequence that counts."""
        return bool(self._hits(outputs, drawn)[drawn.counts].all())

    def right_apart(self, outputs: np.ndarray, drawn: Drawn) -> bool:
        """Whether the answer that is reported apart is right."""
        return self.apart is not None and bool(self._hits(outputs, drawn)[self.apart[1]])

    def _hits(self, outputs: np.ndarray, drawn: Drawn) -> np.ndarray:
        """At which steps the outputs are right, (T,)."""
        if self.kind == "number":
            return np.asarray((np.abs(outputs - drawn.targets) < NEAR).all(axis=1))
        return np.asarray(((outputs > 0) == (drawn.targets > 0.5)).all(axis=1))

    def guess(self, rng: np.random.Generator, count: int = 500) -> float:
        """How often a guess is right throughout: answers drawn at random from those that occur."""
        low, high = self.learned
        some = [self.draw(rng, int(rng.integers(low, high + 1))) for _ in range(count)]
        answers = np.concatenate([one.targets[one.counts] for one in some])
        hits = 0
        for one in some:
            outputs = np.zeros_like(one.targets)
            outputs[one.counts] = answers[rng.integers(len(answers), size=one.counts.sum())]
            hits += self.right(outputs - 0.5 * (self.kind == "symbols"), one)
        return hits / count


def doubled(first: int, times: int) -> tuple[int, ...]:
    """A size, twice that, and so on."""
    return tuple(first * 2**power for power in range(times))


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            "anbn",
            "a^n b^n: the legal next symbols at every step",
            languages.counted("ab"),
            (1, 10),
            tuple(range(1, 257)),
            "n",
            each=1,
            published="best plain RNN of many 99.8% accurate [1]",
        ),
        Task(
            "anbncn",
            "a^n b^n c^n: the legal next symbols at every step",
            languages.counted("abc"),
            (1, 10),
            tuple(range(1, 257)),
            "n",
            each=1,
            published="best plain RNN of many 99.8% accurate [1]",
        ),
        Task(
            "dyck1",
            "balanced brackets: the legal next symbols at every step",
            languages.brackets,
            (1, 16),
            doubled(16, 8),
            "pairs",
            published="best plain RNN of many 10.9% accurate [1]",
        ),
        Task(
            "reber",
            "embedded Reber grammar: the legal next symbols at every step",
            languages.embedded_reber,
            (5, 12),
            doubled(12, 6),
            "inner symbols",
            apart=("outer symbol", -2),
            published="LSTM has the outer symbol right in 100% [2]",
        ),
        Task(
            "recall",
            "A x...x a, B x...x b: the first symbol after a delay",
            memory.recall,
            (20, 20),
            doubled(20, 8),
            "delay",
            published="LSTM 18 of 18 runs at delay 100, BPTT 0 of 18 [2]",
        ),
        Task(
            "order",
            "temporal order: which of X and Y came first and second",
            memory.temporal_order,
            (30, 30),
            doubled(30, 7),
            "steps",
            published="LSTM learns 100-110 steps in 31,390 sequences [2]",
        ),
        Task(
            "adding",
            "the sum of two marked numbers, within 0.04",
            memory.adding,
            (30, 30),
            doubled(30, 6),
            "steps",
            kind="number",
            published="LSTM learns 100 steps in 74,000 sequences [3]",
        ),
        Task(
            "copy",
            "five symbols of four, again after a delay",
            memory.copy,
            (10, 10),
            doubled(10, 7),
            "delay",
        ),
        Task(
            "parity",
            "whether the ones so far are odd, asked at the end",
            memory.parity,
            (1, 12),
            doubled(12, 8),
            "bits",
        ),
    )
}

SOURCES: tuple[str, ...] = (
    "[1] Lan, Geyer, Chemla and Katzir, Minimum Description Length Recurrent Neural Networks, 2022",
    "[2] Hochreiter and Schmidhuber, Long Short-Term Memory, 1997, as quoted by later work",
    "[3] Hochreiter and Schmidhuber, LSTM can solve hard long time lag problems, 1996, quoted too",
)


def find(names: Sequence[str]) -> list[Task]:
    """The tasks of these names; all of them for none.

    Raises:
        InputError: an unknown name.
    """
    for name in names:
        if name not in TASKS:
            raise InputError(f"there is no task {name!r}; there are {', '.join(TASKS)}")
    return [TASKS[name] for name in dict.fromkeys(names)] or list(TASKS.values())
