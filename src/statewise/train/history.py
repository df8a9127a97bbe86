"""`History`: losses, rates and times of a training run, epoch by epoch."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import Any

from statewise.state import State

_SERIES = ("epoch", "loss", "validation", "learning_rate", "gradient_norm", "seconds", "steps")


@dataclass(eq=False, repr=False)
class History:
    """Losses, rates and times of a training run, one entry for each epoch, counted from 0.

    Arguments:
        epoch: the epochs' numbers.
        loss: the mean training loss over the epoch.
        validation: the validation loss after it, None without validation.
        learning_rate: of the first group of weights during it.
        gradient_norm: the mean norm of the gradient before clipping.
        seconds: its wall time.
        steps: how many steps counted in its loss.
        state: the carried state of the lanes after the last chunk, detached.
        stopped: why training ended: ``"epochs"``, ``"minutes"`` or ``"patience"``; None while it
            runs.

    Example::

        history = sw.fit(model, streams, validation=held_out, patience=5)
        history.validation[history.best_epoch]
    """

    epoch: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    validation: list[float] | None = None
    learning_rate: list[float] = field(default_factory=list)
    gradient_norm: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    state: State | None = None
    stopped: str | None = None

    @property
    def monitored(self) -> list[float]:
        """What early stopping watches: the validation loss, or the training loss without one."""
        return self.loss if self.validation is None else self.validation

    @property
    def best_epoch(self) -> int | None:
        """The first epoch with the lowest monitored loss, None before the first."""
        losses = self.monitored
        return self.epoch[losses.index(min(losses))] if losses else None

    def waited(self, min_delta: float = 0.0) -> int:
        """How many epochs have passed since the monitored loss last fell by more than
        `min_delta`.
        """
        lowest, last = float("inf"), -1
        for index, value in enumerate(self.monitored):
            if value < lowest - min_delta:
                lowest, last = value, index
        return len(self.monitored) - 1 - last

    def to_json(self) -> str:
        """Write everything but the state as JSON."""
        return json.dumps({name: getattr(self, name) for name in (*_SERIES, "stopped")})

    @classmethod
    def from_json(cls, text: str) -> History:
        """Read what `to_json` wrote."""
        saved: dict[str, Any] = json.loads(text)
        return cls(**{own.name: saved[own.name] for own in fields(cls) if own.name in saved})

    def __repr__(self) -> str:
        count, best = len(self.epoch), self.best_epoch
        reason = f", stopped by {self.stopped}" if self.stopped else ""
        if best is None:
            return "History(no epoch yet)"
        place = self.epoch.index(best)
        beside = "" if self.validation is None else f", validation {self.validation[place]:.6g}"
        return (
            f"History({count} epoch{'s' * (count != 1)}{reason}, {sum(self.seconds):.1f} s; "
            f"best epoch {best}: loss {self.loss[place]:.6g}{beside})"
        )
