"""`Context`: a step with what stands around it, and the steps worth showing"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from statewise.inspect.trace import Trace

BEFORE, AFTER = 40, 20
"""Characters shown on both sides; a quarter as many numbers."""
APART = 10
"""Steps between two contexts at least, so that they show different places."""


@dataclass(frozen=True)
class Context:
    """A step with what stands around it.

    Attributes:
        step, value: where, and what was measured there.
        before, at, after: the text (or the numbers) up to the step, of it and behind it.
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
    """What was read, to show parts of: a text, or numbers with spaces between.

    Arguments:
        trace, row: whose inputs, and labels if they are a text.
    """

    def __init__(self, trace: Trace, row: int = 0) -> None:
        inputs = trace.inputs[row]
        labels = trace.labels
        if labels is not None and inputs.dtype.kind != "f":
            self._text: str | None = "".join(map(str, labels))
            self._starts = np.cumsum([0, *(len(str(part)) for part in labels)])
        else:
            self._text = None
            self._parts = [_shown(value) for value in inputs]

    def around(self, step: int, value: float) -> Context:
        """A step with what stands around it."""
        if self._text is None:
            before = self._parts[max(0, step - BEFORE // 4) : step]
            after = self._parts[step + 1 : step + 1 + AFTER // 4]
            return Context(step, float(value), " ".join(before), self._parts[step], " ".join(after))
        start = int(self._starts[step])
        end = max(
            int(self._starts[step + 1]), start + 1
        )  # of a character whose first bytes these are
        text = self._text
        return Context(
            step,
            float(value),
            text[max(0, start - BEFORE) : start],
            text[start:end],
            text[end : end + AFTER],
        )

    def highest(self, values: np.ndarray, count: int, above: float = -np.inf) -> list[Context]:
        """The steps with the highest values (T,), apart from each other, highest first."""
        found: list[Context] = []
        for step in np.argsort(-values, kind="stable").tolist():
            if len(found) == count or not values[step] > above:
                break
            if all(abs(step - other.step) >= APART for other in found):
                found.append(self.around(step, values[step]))
        return found

    def lowest(self, values: np.ndarray, count: int) -> list[Context]:
        """The same of the lowest values."""
        return [self.around(one.step, -one.value) for one in self.highest(-values, count)]


def _shown(value: np.ndarray) -> str:
    return ",".join(f"{number:.4g}" for number in np.ravel(value).tolist())
