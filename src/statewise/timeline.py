"""`Timeline`: where in a call rows are reset, and where they have ended.

The masks of a call are read once on the host and cut into segments: runs of steps in which no row
is reset and no row ends. Every executor then only has to run plain segments.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from statewise.arrays import to_numpy
from statewise.errors import InputError
from statewise.types import Array, array_namespace, dtype_name


@dataclass(frozen=True)
class Segment:
    """Steps ``start`` to ``stop`` of a call.

    Arguments:
        reset: rows that return to their initial state before `start`, (B,) bool, or None.
        active: rows that have not ended, (B,) bool, or None for all.
    """

    start: int
    stop: int
    reset: Array | None = None
    active: Array | None = None


class Timeline:
    """The resets and lengths of one call of B rows and T steps.

    Arguments:
        rows, steps: B and T.
        reset: (B, T) bool on the host, or None.
        valid: (B, T) bool on the host, true where a step is not padding, or None.
        like: an array whose namespace and device the masks go to.
    """

    def __init__(
        self,
        rows: int,
        steps: int,
        reset: np.ndarray | None,
        valid: np.ndarray | None,
        like: Array,
    ) -> None:
        if reset is not None and valid is not None:
            reset = reset & valid
        self.rows, self.steps, self.like = rows, steps, like
        self.reset = reset if reset is not None and reset.any() else None
        self.valid = valid if valid is not None and not valid.all() else None

    @cached_property
    def segments(self) -> list[Segment]:
        """The segments in order; none where there are no steps."""
        if self.reset is None and self.valid is None:
            return [Segment(0, self.steps)] if self.steps else []
        cuts = np.zeros(self.steps + 1, dtype=bool)
        cuts[[0, -1]] = True
        if self.reset is not None:
            cuts[:-1] |= self.reset.any(axis=0)
        if self.valid is not None:
            cuts[1:-1] |= (self.valid[:, 1:] != self.valid[:, :-1]).any(axis=0)
        edges: list[int] = np.flatnonzero(cuts).tolist() if self.steps else []
        return [
            Segment(
                start,
                stop,
                self._rows(self.reset, start, any),
                self._rows(self.valid, start, lambda column: not all(column)),
            )
            for start, stop in pairwise(edges)
        ]

    def _rows(self, mask: np.ndarray | None, t: int, matters: Any) -> Array | None:
        if mask is None or not matters(mask[:, t]):
            return None
        return self.send(np.ascontiguousarray(mask[:, t]))

    @cached_property
    def reset_steps(self) -> np.ndarray | None:
        """(B, T) bool on the host in contiguous memory, or None where nothing is reset."""
        return None if self.reset is None else np.ascontiguousarray(self.reset)

    @cached_property
    def lengths(self) -> np.ndarray | None:
        """How many steps of each row are not padding, (B,) int64 on the host, or None for all."""
        return None if self.valid is None else self.valid.sum(axis=1, dtype=np.int64)

    @cached_property
    def mask(self) -> Array | None:
        """(B, T) bool, true where a step is not padding, or None where no step is."""
        return None if self.valid is None else self.send(self.valid)

    def position(self, before: Array | None) -> Array:
        """The positions after this call: steps consumed since each row's last reset, (B,). None
        before it stands for rows in their initial state.
        """
        xp = array_namespace(self.like)
        if self.reset is None and self.valid is None:
            if before is not None:
                return before + self.steps
            return xp.full((self.rows,), self.steps, dtype=xp.int64, device=self.like.device)
        valid = np.ones((self.rows, self.steps), dtype=bool) if self.valid is None else self.valid
        restarted, counted = self._since_reset(valid)
        consumed = self.send(counted.sum(axis=1))
        if before is None:
            return consumed
        return xp.where(self.send(restarted), consumed, before + consumed)

    def latest(self, y: Array, before: Array) -> Array:
        """Each row's last y that is not padding, (B, T, O) -> (B, O), or what was before it where
        the row has no step. A copy in the dtype of `before`.
        """
        if self.steps == 0:
            return before
        xp = array_namespace(y)
        if self.valid is None:
            return xp.astype(y[:, -1], before.dtype)
        counts = self.valid.sum(axis=1)
        rows = self.send(np.arange(self.rows))
        last = xp.astype(y[rows, self.send(np.maximum(counts - 1, 0))], before.dtype)
        return xp.where(self.send(counts > 0)[:, None], last, before)

    def _since_reset(self, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which rows were reset, (B,), and which of their steps count since then, (B, T)."""
        if self.reset is None:
            return np.zeros(self.rows, dtype=bool), valid
        later = self.steps - 1 - np.argmax(self.reset[:, ::-1], axis=1)
        restarted = np.asarray(self.reset.any(axis=1))
        start = np.where(restarted, later, 0)
        return restarted, valid & (np.arange(self.steps) >= start[:, None])

    def reverse_sequences(self, array: Array) -> Array:
        """(B, T, ...) with every sequence read from its end to its start, in its own place: resets
        and padding stay where they are. Turning twice gives the array back.
        """
        xp = array_namespace(array)
        if self.reset is None and self.valid is None:
            return xp.flip(array, axis=1)
        order = xp.reshape(self._order, (self.rows, self.steps, *(1,) * (array.ndim - 2)))
        return xp.take_along_axis(array, xp.broadcast_to(order, array.shape), axis=1)

    @cached_property
    def _order(self) -> Array:
        """Which step stands at each place once the sequences are turned, (B, T)."""
        starts = np.zeros((self.rows, self.steps), dtype=bool)
        if self.reset is not None:
            starts |= self.reset
        if self.valid is not None:
            starts[:, 1:] |= self.valid[:, 1:] != self.valid[:, :-1]
        starts[:, :1] = True
        steps = np.arange(self.steps)
        first = np.maximum.accumulate(np.where(starts, steps, 0), axis=1)
        ends = np.concatenate([starts[:, 1:], np.ones((self.rows, 1), dtype=bool)], axis=1)
        reversed_ends = np.where(ends, steps, self.steps)[:, ::-1]
        last = np.minimum.accumulate(reversed_ends, axis=1)[:, ::-1]
        return self.send(first + last - steps)

    def starts_fresh(self) -> np.ndarray:
        """Rows that are reset at their first step, or have none, (B,) bool."""
        if self.steps == 0:
            return np.ones(self.rows, dtype=bool)
        fresh = np.zeros(self.rows, dtype=bool) if self.reset is None else self.reset[:, 0].copy()
        return fresh if self.valid is None else fresh | ~self.valid[:, 0]

    def send(self, array: np.ndarray) -> Array:
        """A host array in the namespace and on the device of this call."""
        xp = array_namespace(self.like)
        return xp.asarray(np.ascontiguousarray(array), device=self.like.device)


def build_timeline(rows: int, steps: int, reset: Any, lengths: Any, like: Array) -> Timeline:
    """Check the masks of a call and read them on the host.

    Arguments:
        rows, steps: B and T of the inputs.
        reset: (B, T) bool or None.
        lengths: (B,) whole numbers in [0, T] or None.
        like: an array whose namespace and device the masks go to.

    Raises:
        InputError: a mask or lengths of another shape, dtype or range.
    """
    host_reset = host_valid = None
    if reset is not None:
        host_reset = _on_host("reset", reset)
        if host_reset.shape != (rows, steps) or host_reset.dtype != np.bool_:
            hint = "; write reset != 0" if host_reset.shape == (rows, steps) else ""
            raise InputError(
                f"reset must be ({rows}, {steps}) bool, one flag for every row and step, got "
                f"{host_reset.shape} {dtype_name(host_reset)}{hint}"
            )
    if lengths is not None:
        host = _on_host("lengths", lengths)
        if host.shape != (rows,) or (host.size and host.dtype.kind not in "iu"):
            raise InputError(
                f"lengths must be ({rows},) whole numbers, one for every row, got {host.shape} "
                f"{dtype_name(host)}"
            )
        if host.size and (host.min() < 0 or host.max() > steps):
            raise InputError(
                f"lengths must lie in [0, {steps}], the steps of the inputs, got "
                f"{int(host.min())} to {int(host.max())}"
            )
        host_valid = np.arange(steps) < host.astype(np.int64)[:, None]
    return Timeline(rows, steps, host_reset, host_valid, like)


def _on_host(name: str, given: Any) -> np.ndarray:
    try:
        return np.asarray(to_numpy(given))
    except ValueError as error:
        raise InputError(f"{name} must be an array, got {given!r}: {error}") from error
