"""`TraceValues`: the values inside a run, by name, step and unit"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np

from statewise.errors import InputError
from statewise.inspect.subject import suggest
from statewise.state import State
from statewise.validation import is_whole_number

Parts = dict[str, np.ndarray]


class TraceValues(Mapping[str, np.ndarray]):
    """The values inside a run, name -> (B, T, units), and what the run started from.

    `Trace` adds pictures, pages and files, which are drawn and written from these.
    """

    def __init__(
        self,
        values: Mapping[str, np.ndarray],
        *,
        inputs: np.ndarray,
        before: State,
        after: State,
        mask: np.ndarray | None = None,
        reset: np.ndarray | None = None,
        labels: Sequence[Any] | None = None,
        model: Any = None,
    ) -> None:
        self._values = dict(values)
        self.inputs, self.before, self.after = inputs, before, after
        self.mask, self.reset = mask, reset
        self.labels = None if labels is None else list(labels)
        self.model = model

    def __getitem__(self, name: str) -> np.ndarray:
        if name in self._values:
            return self._values[name]
        hint = suggest(name, self._values)
        raise InputError(f"this trace has no {name!r}{hint} It has {', '.join(self._values)}")

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    @property
    def rows(self) -> int:
        """B."""
        return int(self.inputs.shape[0])

    @property
    def steps(self) -> int:
        """T."""
        return int(self.inputs.shape[1])

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return sum(value.nbytes for value in self._values.values())

    def __repr__(self) -> str:
        lines = [f"Trace({self.rows} rows, {self.steps} steps, {self.nbytes} bytes"]
        lines += [
            f"  {name}: {'x'.join(map(str, value.shape))}" for name, value in self._values.items()
        ]
        return "\n".join([*lines, ")"])

    def unit(self, name: str, unit: int, row: int = 0) -> np.ndarray:
        """One unit of one row through time, (T,)."""
        values = self[name]
        if not -self.rows <= row < self.rows:
            raise InputError(f"this trace has rows 0 to {self.rows - 1}, got {row}")
        return np.asarray(values[row][:, _check_units(name, values, [unit])[0]])

    def select(
        self,
        names: str | Sequence[str] | None = None,
        steps: slice | None = None,
        units: Sequence[int] | None = None,
    ) -> Parts:
        """Some names, a range of steps, some units: name -> (B, steps, units).

        Raises:
            InputError: an unknown name, a unit that is not there, or a span outside the trace.
        """
        listed = [names] if isinstance(names, str) else list(names or self)
        start, stop = self.span(steps)
        parts = {}
        for name in listed:
            values = self[name][:, start:stop]
            parts[name] = (
                values if units is None else values[..., _check_units(name, values, units)]
            )
        return parts

    def span(self, steps: slice | tuple[int, int] | str | None) -> tuple[int, int]:
        """Steps as (start, stop): of a slice, of a pair, or of a passage where it first occurs in
        the text of the labels.

        Raises:
            InputError: a span outside the trace, or a passage that is not in it.
        """
        if steps is None:
            return 0, self.steps
        if isinstance(steps, str):
            return self._find_passage(steps)
        given: Any = (steps.start, steps.stop) if isinstance(steps, slice) else steps
        ends = list(given) if isinstance(given, (tuple, list)) else [given]
        if len(ends) != 2 or not all(one is None or is_whole_number(one) for one in ends):
            raise InputError(
                f"a span of steps is (start, stop), a slice or a passage of the text, got {steps!r}"
            )
        start, stop = ends
        start, stop = 0 if start is None else start, self.steps if stop is None else stop
        if not 0 <= start < stop <= self.steps:
            raise InputError(
                f"the span {start} to {stop} is not within the trace's {self.steps} steps; give "
                f"0 <= start < stop <= {self.steps}"
            )
        return int(start), int(stop)

    def extent(self, row: int = 0, steps: Any = None) -> tuple[int, int]:
        """The steps of a row as (start, stop): all up to its end, or `steps`, see `span`.

        Raises:
            InputError: a row that is not there or has no steps, or a span beyond its end.
        """
        if not 0 <= row < self.rows:
            raise InputError(f"this trace has rows 0 to {self.rows - 1}, got {row}")
        valid = self.steps if self.mask is None else int(self.mask[row].sum())
        if not valid:
            raise InputError(f"row {row} of this trace has no steps, so there is nothing to show")
        start, stop = (0, valid) if steps is None else self.span(steps)
        if stop > valid:
            raise InputError(
                f"row {row} ends at step {valid}, before the end of the span {start} to {stop}"
            )
        return start, stop

    def _find_passage(self, passage: str) -> tuple[int, int]:
        if self.labels is None:
            raise InputError(
                "the steps of this trace have no labels; write trace.align(text) first"
            )
        joined = "".join(map(str, self.labels))
        at = joined.find(passage) if passage else -1
        if at < 0:
            raise InputError(f"the text of this trace does not contain {passage!r}")
        ends = np.cumsum([len(str(label)) for label in self.labels])
        start = int(np.searchsorted(ends, at, side="right"))
        return start, int(np.searchsorted(ends, at + len(passage), side="left")) + 1

    def align(self, labels: str | Sequence[Any]) -> Self:
        """This trace with a label for each step: the characters of a text, or times.

        A text of as many UTF-8 bytes as there are steps is aligned byte by byte: a character
        stands at its last byte, and the bytes before it have the empty label.

        Raises:
            InputError: as many labels as steps are needed.
        """
        if isinstance(labels, bytes) or not isinstance(labels, Iterable):
            raise InputError(f"labels are a text or a list, got {type(labels).__name__}")
        listed = list(labels)
        if isinstance(labels, str) and len(labels) != self.steps:
            encoded = [len(character.encode()) for character in labels]
            listed = [
                part
                for character, count in zip(labels, encoded, strict=True)
                for part in ([""] * (count - 1) + [character])
            ]
        if len(listed) != self.steps:
            raise InputError(
                f"a trace of {self.steps} steps takes as many labels, got {len(listed)}"
            )
        return type(self)(
            self._values,
            inputs=self.inputs,
            before=self.before,
            after=self.after,
            mask=self.mask,
            reset=self.reset,
            labels=listed,
            model=self.model,
        )

    def state_at(self, step: int, model: Any = None) -> State:
        """The state after a step, from which to go on or fork. Runs the model again up to there.

        Arguments:
            step: 0 for the state after the first step; negative numbers count from the end.
            model: needed for a trace that was loaded from a file.
        """
        if not -self.steps <= step < self.steps:
            raise InputError(f"this trace has steps 0 to {self.steps - 1}, got {step}")
        found: State = self.run_again(step % self.steps + 1, model)[1].detach()
        return found

    def run_again(self, stop: int, model: Any = None) -> tuple[Any, State]:
        """Run the model again up to a step: the outputs (B, stop, O), and the state at the end."""
        model = self.model if model is None else model
        if model is None:
            raise InputError("a trace read from a file has no model; write state_at(step, model)")
        x: Any = self.inputs[:, :stop]
        if model.device != "cpu":  # a model of torch
            import torch

            x = torch.from_numpy(np.array(x)).to(model.device)
        reset = None if self.reset is None else self.reset[:, :stop]
        lengths = None if self.mask is None else self.mask[:, :stop].sum(axis=1)
        outputs, state = model(x, self.before, reset=reset, lengths=lengths)
        return outputs, state


def _check_units(name: str, values: np.ndarray, units: Sequence[int]) -> list[int]:
    width = values.shape[-1]
    for unit in units:
        if not is_whole_number(unit) or not 0 <= unit < width:
            raise InputError(f"{name!r} has units 0 to {width - 1}, got {unit!r}")
    return [int(unit) for unit in units]
