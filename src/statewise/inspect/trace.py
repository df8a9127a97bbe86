"""`Trace`: what was seen inside a run, by name, step and unit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from statewise import checkpoint
from statewise.errors import InputError
from statewise.inspect.subject import suggestion
from statewise.state import State


class Trace(Mapping[str, np.ndarray]):
    """What was seen inside a run: name -> (B, T, units), as `record` made it.

    Attributes:
        inputs: what the model read, (B, T, ...).
        before, after: the state before the first step and after each row's last.
        mask: (B, T) bool, true where a step is not padding; None where none is.
        reset: (B, T) bool, true where a row forgot before the step; None where none did.
        labels: one for each step (characters, times), or None; see `align`.
        model: what ran; None for a trace that was read from a file without it.

    Example::

        trace = inspect.record(model, x).align("some text")
        trace["0.c"]                              # (B, T, units)
        trace.select(names="0.c", steps=slice(10, 20), units=[3])
        trace.state_at(9)                         # go on from there
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
        hint = suggestion(name, self._values)
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
        return np.asarray(values[row][:, _units(name, values, [unit])[0]])

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
        chosen = [names] if isinstance(names, str) else list(names or self)
        start, stop = self.span(steps)
        parts = {}
        for name in chosen:
            values = self[name][:, start:stop]
            parts[name] = values if units is None else values[..., _units(name, values, units)]
        return parts

    def span(self, steps: slice | tuple[int, int] | str | None) -> tuple[int, int]:
        """Steps as (start, stop): from a slice, a pair, or the text of a passage, whose first
        occurrence among the labels is meant.

        Raises:
            InputError: a span outside the trace, or a passage that is not in it.
        """
        if steps is None:
            return 0, self.steps
        if isinstance(steps, str):
            return self._passage(steps)
        start, stop = (steps.start, steps.stop) if isinstance(steps, slice) else steps
        start, stop = 0 if start is None else start, self.steps if stop is None else stop
        if not 0 <= start < stop <= self.steps:
            raise InputError(
                f"the span {start} to {stop} is not within the trace's {self.steps} steps; give "
                f"0 <= start < stop <= {self.steps}"
            )
        return int(start), int(stop)

    def extent(self, row: int = 0, steps: Any = None) -> tuple[int, int]:
        """The steps of a row as (start, stop): up to its end, or those of `steps`, see `span`.

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
            raise InputError(f"row {row} ends at step {valid}; the span {start} to {stop} does not")
        return start, stop

    def _passage(self, passage: str) -> tuple[int, int]:
        if self.labels is None:
            raise InputError("steps have no labels yet; write trace.align(text) first")
        joined = "".join(map(str, self.labels))
        at = joined.find(passage) if passage else -1
        if at < 0:
            raise InputError(f"the text of this trace does not hold {passage!r}")
        ends = np.cumsum([len(str(label)) for label in self.labels])
        start = int(np.searchsorted(ends, at, side="right"))
        return start, int(np.searchsorted(ends, at + len(passage), side="left")) + 1

    def align(self, labels: str | Sequence[Any]) -> Trace:
        """This trace with a label for each step: the characters of a text, or times.

        A text of as many UTF-8 bytes as there are steps is aligned byte by byte: a character
        stands at its last byte, and the bytes before it have the empty label.

        Raises:
            InputError: as many labels as steps are needed.
        """
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
                f"a trace of {self.steps} steps takes as many labels, got {len(labels)}"
            )
        return self._with(labels=listed)

    def state_at(self, step: int, model: Any = None) -> State:
        """The state after a step, to go on or fork from: the model run again up to there.

        Arguments:
            step: 0 for the state after the first step; negative numbers count from the end.
            model: needed for a trace that was loaded from a file.
        """
        if not -self.steps <= step < self.steps:
            raise InputError(f"this trace has steps 0 to {self.steps - 1}, got {step}")
        found: State = self.again(step % self.steps + 1, model)[1].detach()
        return found

    def again(self, stop: int, model: Any = None) -> tuple[Any, State]:
        """The run up to a step, once more: the outputs (B, stop, O), and the state at its end."""
        runner = self.model if model is None else model
        if runner is None:
            raise InputError("a trace read from a file has no model; write state_at(step, model)")
        x: Any = self.inputs[:, :stop]
        if runner.device != "cpu":  # a model of torch
            import torch

            x = torch.from_numpy(np.array(x)).to(runner.device)
        reset = None if self.reset is None else self.reset[:, :stop]
        lengths = None if self.mask is None else self.mask[:, :stop].sum(axis=1)
        outputs, state = runner(x, self.before, reset=reset, lengths=lengths)
        return outputs, state

    # Pictures

    def plot(
        self,
        kind: str = "heat",
        name: str | None = None,
        unit: int | None = None,
        *,
        row: int = 0,
        steps: Any = None,
        path: str | Path | None = None,
    ) -> Any:
        """A still of one row by matplotlib.

        Arguments:
            kind: ``"heat"``, all units of a name through time; ``"gates"``, all that was recorded
                of a unit's layer, below what the model read; ``"text"``, the characters coloured by
                a unit.
            name: ``"0.c"``; the memory of the first layer where not given.
            unit: of `name`; the one that moves most where not given.
            row, steps: which row and which of its steps, see `extent`.
            path: also written there, as PNG, SVG or PDF by its ending; whole or not at all.

        Returns:
            a matplotlib ``Figure``; no window is opened.

        Raises:
            InputError: an unknown kind, name, unit, row or span.
            MissingExtraError: matplotlib is not installed.

        Example::

            trace.plot("text", "0.c", 17, path="unit-17.png")
        """
        from statewise.inspect.plotting import plot_trace

        return plot_trace(self, kind, name, unit, row=row, steps=steps, path=path)

    def widget(
        self,
        row: int = 0,
        unit: tuple[str, int] | None = None,
        cards: Iterable[Any] = (),
        horizon: Any = None,
        title: str = "statewise inspect",
        steps: Any = None,
    ) -> Any:
        """The page of `save_html` as a widget for a notebook, which shows it where a cell ends with
        it. Arguments are those of `save_html`.

        Raises:
            InputError: as `save_html`.
            MissingExtraError: anywidget or plotly is not installed.
        """
        from statewise.inspect.widget import widget

        return widget(self, row, unit, cards, horizon, title, steps=steps)

    # Files

    def save_html(
        self,
        path: str | Path,
        row: int = 0,
        unit: tuple[str, int] | None = None,
        cards: Iterable[Any] = (),
        horizon: Any = None,
        title: str = "statewise inspect",
        steps: Any = None,
    ) -> None:
        """Write a page on which to look at one row: a file that needs nothing else, whole or not
        at all.

        Arguments:
            path: of the page.
            row: which row, up to its end.
            unit: (name, unit) to begin with; one that moves much where not given.
            cards: of `explain_units`, to be shown beside.
            horizon: of `horizon`, to be shown beside.
            title: of the page.
            steps: which steps, as `span` takes them; all where not given.

        Raises:
            InputError: an unknown name, unit or row, no steps, or too much for a page.
            MissingExtraError: plotly is not installed.

        Example::

            trace.save_html("page.html", unit=("0.c", 3), horizon=inspect.horizon(model, x))
        """
        from statewise.inspect.page import build_payload, render_page

        written = render_page(build_payload(self, row, unit, cards, horizon, title, steps=steps))
        with checkpoint.replace_atomically(path) as temporary:
            temporary.write_text(written, encoding="utf-8")

    def save(self, path: str | Path) -> None:
        """Write the trace as safetensors, whole or not at all; the model is not written."""
        from statewise.inspect.trace_file import write

        write(self, path)

    @classmethod
    def load(cls, path: str | Path, model: Any = None) -> Trace:
        """Read what `save` wrote; `model` is what `state_at` runs.

        Raises:
            FileError: no trace file, or one that is truncated or altered.
        """
        from statewise.inspect.trace_file import read

        return read(path, model)

    def _with(self, *, labels: Sequence[Any]) -> Trace:
        return Trace(
            self._values,
            inputs=self.inputs,
            before=self.before,
            after=self.after,
            mask=self.mask,
            reset=self.reset,
            labels=labels,
            model=self.model,
        )


Parts = dict[str, np.ndarray]


def _units(name: str, values: np.ndarray, units: Sequence[int]) -> list[int]:
    width = values.shape[-1]
    for unit in units:
        if not 0 <= unit < width:
            raise InputError(f"{name!r} has units 0 to {width - 1}, got {unit}")
    return [int(unit) for unit in units]
