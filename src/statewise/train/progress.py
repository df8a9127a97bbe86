"""How far training is: the epoch, its share that is done, and the losses."""

from __future__ import annotations

import sys

from statewise.progress import Progress
from statewise.train.run import Sums


class Bar(Progress):
    """Shows chunks done, the epoch and its losses; on a terminal, or if asked to, from the start.

    Arguments:
        shown: as for `Progress`.
        epochs: how many epochs there will be at most.
        chunks: how many chunks an epoch has.
    """

    def __init__(self, shown: bool | None, epochs: int, chunks: int) -> None:
        delay = 0.0 if shown or sys.stderr.isatty() else None
        super().__init__(f"epoch 1/{epochs}", epochs * chunks, shown=shown, delay=delay, keep=True)
        self._epochs, self._chunks = epochs, chunks
        self._validation = ""

    def show_chunk(self, epoch: int, chunks: int, sums: Sums) -> None:
        """Show that so many chunks of the epoch are done."""
        self._show_losses(epoch, chunks, sums.mean_loss)

    def show_epoch(self, epoch: int, loss: float, validation: float | None) -> None:
        """Show that an epoch is done."""
        self._validation = "" if validation is None else f"  validation {validation:.4g}"
        self._show_losses(epoch, self._chunks, loss)

    def _show_losses(self, epoch: int, chunks: int, loss: float) -> None:
        self.update(
            epoch * self._chunks + chunks,
            note=f"loss {loss:.4g}{self._validation}",
            description=f"epoch {epoch + 1}/{self._epochs}",
        )
