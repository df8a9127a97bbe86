"""`Progress`: how far a long task is, on standard error.

Nothing is shown for the first two seconds. After that a terminal gets a bar, and anything else one
line every few seconds. Tasks inside other tasks stay quiet: the outermost one is shown.
"""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    import rich.progress

DELAY = 2.0
"""Seconds before anything is shown."""

INTERVAL = 5.0
"""Seconds between two lines where standard error is no terminal."""


class Progress:
    """Shows how far a task is, from two seconds after its start until the block ends.

    Arguments:
        description: what is being done, such as ``"sampling intervals"``.
        total: how many parts there are; None where that is not known.
        shown: show it or not; None shows it on a terminal, and in the commands everywhere.
        delay: seconds before anything is shown; `DELAY` where None.
        keep: leave the last state on the screen.

    Example::

        with Progress("sampling intervals", total=len(series)) as progress:
            for done, one in enumerate(series, 1):
                sample(one)
                progress.update(done)
    """

    everywhere: ClassVar[bool] = False
    """Whether it is shown where standard error is no terminal too; the commands set it."""

    _outermost: ClassVar[Progress | None] = None

    def __init__(
        self,
        description: str,
        total: float | None = None,
        *,
        shown: bool | None = None,
        delay: float | None = None,
        keep: bool = False,
    ) -> None:
        self.description, self.total = description, total
        self.done, self.note = 0.0, ""
        self._shown, self._keep = shown, keep
        self._delay = DELAY if delay is None else delay
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._began = time.monotonic()

    def update(
        self, done: float | None = None, *, note: str | None = None, description: str | None = None
    ) -> None:
        """Say how far the task is.

        Arguments:
            done: how many parts are done.
            note: a short remark beside it, such as the loss.
            description: what is being done from now on.
        """
        self.done = self.done if done is None else done
        self.note = self.note if note is None else note
        self.description = self.description if description is None else description

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        shown = self._shown
        if shown is None:
            shown = Progress.everywhere or sys.stderr.isatty()
        if shown and Progress._outermost is None:
            Progress._outermost = self
            self._thread = threading.Thread(target=self._show, name="statewise-progress")
            self._thread.daemon = True
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            Progress._outermost = None

    def _show(self) -> None:
        if self._ended.wait(self._delay) and self._delay:
            return
        if sys.stderr.isatty():
            self._draw_bar()
        else:
            self._write_lines()

    def _write_lines(self) -> None:
        self._write_line()
        while not self._ended.wait(INTERVAL):
            self._write_line()
        if self._keep:
            self._write_line()

    def _write_line(self) -> None:
        seconds = time.monotonic() - self._began
        share = f" {100 * self.done / self.total:.0f}%" if self.total else ""
        note = f", {self.note}" if self.note else ""
        print(f"{self.description}:{share} {seconds:.0f} s{note}", file=sys.stderr, flush=True)

    def _draw_bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=Console(stderr=True), transient=not self._keep) as bar:
            task = bar.add_task(self.description, total=self.total, note=self.note)
            while not self._ended.wait(0.1):
                self._redraw(bar, task)
            self._redraw(bar, task)

    def _redraw(self, bar: rich.progress.Progress, task: rich.progress.TaskID) -> None:
        bar.update(
            task,
            completed=self.done,
            total=self.total,
            description=self.description,
            note=self.note,
        )
