"""`Context`: a step with the inputs around it, and the steps with the highest values"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from statewise.inspect.trace import Trace

BEFORE, AFTER = 40, 20
"""Characters shown before and after a step; of numbers, a quarter as many."""
APART = 10
"""The least number of steps between two contexts, so that they show different places."""


@dataclass(frozen=True)
class Context:
    """A step with the inputs around it.

    Attributes:
        step, value: where, and what was measured there.
        before, at, after: the text (or the numbers) before the step, at it and after it.
    """

    step: int
    value: float
    before: str
    at: str
    after: str

    def __str__(self) -> str:
        before, at, after = (repr(part)[1:-1] for part in (self.before, self.at, self.after))
        return f"{self.value:+8.3f}  {before[-34:].rjust(34)}[{at}]{after[:16]}"


class Passage:
    """The inputs of a row, of which contexts are parts: a text, or numbers separated by spaces.

    Arguments:
        trace, row: whose inputs; their labels where they are a text.
    """

    def __init__(self, trace: Trace, row: int = 0) -> None:
        inputs = trace.inputs[row]
        labels = trace.labels
        if labels is not None and inputs.dtype.kind != "f":
            self._text: str | None = "".join(map(str, labels))
            self._starts = np.cumsum([0, *(len(str(part)) for part in labels)])
        else:
            self._text = None
            self._parts = [_format_number(value) for value in inputs]

    def get_context(self, step: int, value: float) -> Context:
        """A step with the inputs around it."""
        if self._text is None:
            before = self._parts[max(0, step - BEFORE // 4) : step]
            after = self._parts[step + 1 : step + 1 + AFTER // 4]
            return Context(step, float(value), " ".join(before), self._parts[step], " ".join(after))
        start = int(self._starts[step])
        end = max(int(self._starts[step + 1]), start + 1)  # a first byte shows its character
        text = self._text
        return Context(
            step,
            float(value),
            text[max(0, start - BEFORE) : start],
            text[start:end],
            text[end : end + AFTER],
        )

    def find_highest(self, values: np.ndarray, count: int, above: float = -np.inf) -> list[Context]:
        """The steps with the highest values (T,), highest first, each away from the others."""
        found: list[Context] = []
        for step in np.argsort(-values, kind="stable").tolist():
            if len(found) == count or not values[step] > above:
                break
            if all(abs(step - other.step) >= APART for other in found):
                found.append(self.get_context(step, values[step]))
        return found

    def find_lowest(self, values: np.ndarray, count: int) -> list[Context]:
        """The steps with the lowest values (T,), lowest first, each away from the others."""
        return [self.get_context(one.step, -one.value) for one in self.find_highest(-values, count)]


def _format_number(value: np.ndarray) -> str:
    return ",".join(f"{number:.4g}" for number in np.ravel(value).tolist())
