"""`Batch`, one chunk of every lane, and how chunks are read from the sequences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from statewise.train.packing import Lane, Span
from statewise.train.sequences import Sequences

Carry: TypeAlias = Literal["stream", "never", "epoch"]

_BLOCK = 2**16
"""How many numbers are read at once where chunks are smaller: a thousand steps cost little more
to read than one.
"""


@dataclass(frozen=True, eq=False)
class Batch:
    """One chunk of every lane.

    Arguments:
        inputs: (B, T, F), or (B, T) int64 tokens.
        targets: (B, T, ...), what is to be predicted at each step.
        weights: (B, T) float32, zero where a step does not count: padding and burn-in.
        reset: (B, T) bool, true where the state is forgotten before the step.
        lengths: (B,) int64, the steps that are not padding, or None where there is no padding.
    """

    inputs: Tensor
    targets: Tensor
    weights: Tensor
    reset: Tensor
    lengths: Tensor | None = None

    def to(self, device: torch.device | str) -> Batch:
        """With inputs, targets and weights on a device; the masks stay, models read them on the
        host.
        """
        return Batch(
            self.inputs.to(device),
            self.targets.to(device),
            self.weights.to(device),
            self.reset,
            self.lengths,
        )


class Reader:
    """Reads chunks of lanes from sequences, several at once as a block.

    Blocks begin at the same chunks wherever reading starts: a chunk has the same place in memory,
    and kernels round the same way, in a run that goes on from there.

    Arguments:
        inputs, targets: the sequences.
        shift: how many steps a target lies after its input.
        chunk: T, no longer than the longest lane.
        carry, burn_in, dtype: as for `Streams`.
    """

    def __init__(
        self,
        inputs: Sequences,
        targets: Sequences,
        *,
        shift: int,
        chunk: int,
        carry: Carry,
        burn_in: int,
        dtype: torch.dtype,
    ) -> None:
        self.inputs, self.targets, self.shift = inputs, targets, shift
        self.chunk, self.carry, self.burn_in, self.dtype = chunk, carry, burn_in, dtype
        self.width = int(np.prod(inputs.shape) + np.prod(targets.shape))

    def chunks(self, lanes: Sequence[Lane], start: int) -> Iterator[Batch]:
        """The chunks of an epoch, from the one with the number `start` on."""
        ends = np.array([lane.steps for lane in lanes])
        shortest, longest = int(ends.min()), int(ends.max())
        chunks = -(-longest // self.chunk)
        size = max(_BLOCK // (len(lanes) * self.chunk * self.width), 1)
        for first in range(start - start % size, chunks, size):
            block = self._block(lanes, ends, first * self.chunk, min(size, chunks - first))
            for index in range(max(start - first, 0), len(block.inputs)):
                batch = Batch(
                    block.inputs[index],
                    block.targets[index],
                    block.weights[index],
                    block.reset[index],
                )
                done = (first + index) * self.chunk
                yield batch if done + self.chunk <= shortest else _trim(batch, ends - done)

    def _block(self, lanes: Sequence[Lane], ends: np.ndarray, start: int, count: int) -> Batch:
        """Chunks from step `start` on, stacked: every tensor is (count, B, T, ...)."""
        rows, steps = len(lanes), count * self.chunk
        # torch aligns what it allocates, so kernels round alike in every process
        inputs, targets = (
            self._empty(self.inputs, rows, steps),
            self._empty(self.targets, rows, steps),
        )
        weights, reset = torch.ones(rows, steps), torch.zeros(rows, steps, dtype=torch.bool)
        if ends.min() < start + steps:
            padding = torch.from_numpy(np.arange(steps) >= (ends - start)[:, None])
            for tensor in (inputs, targets, weights):
                tensor[padding] = 0
        spans = [lane.find_spans(start, start + steps) for lane in lanes]
        self._copy(spans, inputs.numpy(), targets.numpy())
        self._mark(spans, weights.numpy(), reset.numpy())
        if start == 0:
            reset[:, 0] = True
        return Batch(
            self._stack(self._cast(inputs), count),
            self._stack(self._cast(targets), count),
            self._stack(weights, count),
            self._stack(reset, count),
        )

    def _stack(self, tensor: Tensor, count: int) -> Tensor:
        """Turn lanes (B, count * T, ...) into chunks (count, B, T, ...)."""
        apart = tensor.reshape(len(tensor), count, self.chunk, *tensor.shape[2:])
        return apart.transpose(0, 1).contiguous()

    def _empty(self, source: Sequences, rows: int, steps: int) -> Tensor:
        if source.tokens:
            return torch.empty(rows, steps, dtype=torch.int64)
        wide = torch.float32 if self.dtype == torch.bfloat16 else self.dtype  # NumPy lacks it
        return torch.empty(rows, steps, *source.shape, dtype=wide)

    def _cast(self, values: Tensor) -> Tensor:
        return values.to(self.dtype) if values.is_floating_point() else values

    def _copy(self, spans: list[list[Span]], inputs: np.ndarray, targets: np.ndarray) -> None:
        sources, answers, shift = self.inputs.arrays, self.targets.arrays, self.shift
        with np.errstate(over="ignore", invalid="ignore"):  # found and named below
            for row, own in enumerate(spans):
                for at, sequence, start, stop, _ in own:
                    end = at + stop - start
                    inputs[row, at:end] = sources[sequence][start:stop]
                    targets[row, at:end] = answers[sequence][start + shift : stop + shift]
            if np.isfinite(inputs.sum()) and np.isfinite(targets.sum()):
                return
        for own in spans:
            for _, sequence, start, stop, _ in own:
                self.inputs.check_finite(sequence, start, stop, self.dtype)
                self.targets.check_finite(sequence, start + shift, stop + shift, self.dtype)

    def _mark(self, spans: list[list[Span]], weights: np.ndarray, reset: np.ndarray) -> None:
        """Mark where state is reset, and the burn-in steps that do not count."""
        if self.carry == "never":
            reset[:, :: self.chunk] = True
            in_burn_in = np.arange(weights.shape[1]) % self.chunk < self.burn_in
            weights[:, in_burn_in] = 0
        for row, own in enumerate(spans):
            for at, _, start, stop, offset in own:
                if offset == 0 and self.carry != "epoch":
                    reset[row, at] = True
                if offset < self.burn_in:
                    weights[row, at : at + min(stop - start, self.burn_in - offset)] = 0


def _trim(batch: Batch, ends: np.ndarray) -> Batch:
    """Cut a chunk where its longest lane ends; `ends` are the steps that lanes still have, (B,)."""
    steps = min(int(ends.max()), batch.inputs.shape[1])
    return Batch(
        batch.inputs[:, :steps].contiguous(),
        batch.targets[:, :steps].contiguous(),
        batch.weights[:, :steps].contiguous(),
        batch.reset[:, :steps].contiguous(),
        torch.from_numpy(ends.clip(0, steps)) if ends.min() < steps else None,
    )
