"""A line that shows how far training is, on a terminal and nowhere else."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from statewise.train.run import Sums

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_PAUSE = 0.1
"""Seconds between two drawings: the eye needs no more, and training is not slowed."""


class Bar:
    """Shows chunks done, the epoch and its losses.

    Arguments:
        shown: draw, or stay quiet; None draws where standard error is a terminal.
        epochs: how many epochs there will be at most.
        chunks: how many chunks an epoch has.
    """

    def __init__(self, shown: bool | None, epochs: int, chunks: int) -> None:
        self._shown = sys.stderr.isatty() if shown is None else bool(shown)
        self._epochs, self._chunks = epochs, chunks
        self._next = 0.0
        self._losses = ""
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Bar:
        if not self._shown:
            return self
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task("epoch", total=self._epochs * self._chunks, losses="")
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def chunk(self, epoch: int, chunks: int, sums: Sums) -> None:
        """So many chunks of the epoch are done."""
        if self._progress is None or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _PAUSE
        self._draw(epoch, chunks, f"loss {sums.mean_loss:.4g}{self._losses}")

    def epoch(self, epoch: int, loss: float, validation: float | None) -> None:
        """An epoch is done."""
        if self._progress is None:
            return
        held = "" if validation is None else f"  validation {validation:.4g}"
        self._losses = held
        self._draw(epoch, self._chunks, f"loss {loss:.4g}{held}")

    def _draw(self, epoch: int, chunks: int, losses: str) -> None:
        assert self._progress is not None
        assert self._task is not None
        self._progress.update(
            self._task,
            completed=epoch * self._chunks + chunks,
            description=f"epoch {epoch + 1}/{self._epochs}",
            losses=losses,
        )
