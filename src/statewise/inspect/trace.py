"""`Trace`: the values inside a run, with pictures, pages and files of them"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from statewise import checkpoint
from statewise.errors import InputError
from statewise.inspect.trace_values import TraceValues


class Trace(TraceValues):
    """The values inside a run: name -> (B, T, units), as `record` returns them.

    Attributes:
        inputs: what the model read, (B, T, ...).
        before, after: the state before the first step and after each row's last.
        mask: (B, T) bool, true where a step is not padding; None where none is.
        reset: (B, T) bool, true where a row returned to its initial state before the step; None
            where none did.
        labels: one for each step (characters, times), or None; see `align`.
        model: what ran; None for a trace that was read from a file without it.

    Example::

        trace = inspect.record(model, x).align("some text")
        trace["0.c"]                              # (B, T, units)
        trace.select(names="0.c", steps=slice(10, 20), units=[3])
        trace.state_at(9)                         # go on from there
    """

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
        """A picture of one row, by matplotlib.

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
        from statewise.inspect.trace_file import write_trace

        write_trace(self, path)

    @classmethod
    def load(cls, path: str | Path, model: Any = None) -> Self:
        """Read what `save` wrote; `model` is what `state_at` runs.

        Raises:
            FileError: no trace file, or one that is truncated or altered.
        """
        from statewise.inspect.trace_file import read_trace

        return cls(**read_trace(path), model=model)


def check_trace(trace: Any, what: str = "the trace") -> None:
    """Raise unless this is a trace."""
    if not isinstance(trace, Trace):
        raise InputError(
            f"{what} must be a Trace, got {type(trace).__name__}; write inspect.record(model, x)"
        )
