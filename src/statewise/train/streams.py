"""`Streams`: sequences of any lengths as chunks of lanes, with the mask that ends their state."""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count, islice
from typing import Any, Literal, get_args

import numpy as np
import torch

from statewise.errors import InputError, SequenceCutWarning, TrainingError
from statewise.train.batches import Batch, Carry, Reader
from statewise.train.packing import Lane, cut, lay
from statewise.train.sequences import Sequences
from statewise.types import Array
from statewise.validation import check_whole_number

__all__ = ["Batch", "Carry", "Streams"]

_LANES = 16
"""How many lanes there are at most where nobody says."""

_CHUNKS_OF_A_PIECE = 4
"""How many chunks a piece has at least where nobody says how many lanes there are: state is carried
over three cuts of the gradient before it is lost.
"""


class Streams:
    """Sequences of any lengths, packed end to end into lanes and cut into chunks.

    Sequences longer than an even lane are cut into equal pieces, so that lanes are balanced. The
    state is not carried from one piece to the next, and a `SequenceCutWarning` says so: give fewer
    `lanes`, or None, where a sequence is to stay whole. The sequences are not copied; memory grows
    with the chunk and not with them.

    Arguments:
        sequences: one array for each sequence, (T, F) numbers or (T,) integer tokens, of NumPy or
            torch. Memory-mapped arrays are read some chunks at a time. One array is one sequence.
        targets: one array (T, ...) for each sequence; the next step of the inputs where None.
        lanes: how many rows run side by side, at most; no more than there are pieces. ``"auto"``:
            16, or as few as it takes for every piece to have four chunks or more; None gives every
            sequence that has a step a lane of its own, in order and whole.
        chunk: steps of a chunk, the reach of the gradient in truncated BPTT.
        carry: how far state is carried. ``"stream"``: along each piece, reset where one starts;
            ``"never"``: within a chunk only; ``"epoch"``: on across pieces, reset where an epoch
            starts. The first chunk of an epoch resets every row in each of them.
        shuffle: lay the pieces in another order each epoch.
        seed: of the orders; an epoch's order depends on the seed and its number alone.
        burn_in: steps after each start of a piece, and each reset, that are read but not learned
            from: there the state knows too little.
        dtype: of inputs and targets that are not integers.

    Raises:
        InputError: sequences or targets that cannot be used; also while iterating, where a value
            is not finite.
        TrainingError: an option out of range.

    Example::

        streams = sw.Streams([a, b, c], lanes=16, chunk=100)    # a (Ta, F), b (Tb, F), ...
        state = None
        for batch in streams:
            y, state = model(batch.inputs, state, reset=batch.reset, lengths=batch.lengths)
            state = state.detach()
    """

    def __init__(
        self,
        sequences: Sequence[Array] | Array,
        *,
        targets: Sequence[Array] | Array | None = None,
        lanes: int | Literal["auto"] | None = "auto",
        chunk: int = 100,
        carry: Carry = "stream",
        shuffle: bool = False,
        seed: int = 0,
        burn_in: int = 0,
        per_epoch: int | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        for name, value, at_least in (
            ("lanes", 1 if lanes in (None, "auto") else lanes, 1),
            ("chunk", chunk, 1),
            ("seed", seed, 0),
            ("burn_in", burn_in, 0),
            ("per_epoch", 1 if per_epoch is None else per_epoch, 1),
        ):
            check_whole_number(name, value, at_least, TrainingError)
        if carry not in get_args(Carry):
            raise TrainingError(
                f"carry must be one of {', '.join(get_args(Carry))}, got {carry!r}: the scope over "
                "which state is carried"
            )
        if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
            raise TrainingError(f"dtype must be a floating dtype of torch, got {dtype!r}")
        self.chunk, self.carry, self.shuffle, self.seed = (
            int(chunk),
            carry,
            bool(shuffle),
            int(seed),
        )
        self.burn_in, self.dtype = int(burn_in), dtype
        self.per_epoch = None if per_epoch is None else int(per_epoch)
        self._inputs = Sequences(sequences, "sequences")
        self._shift = targets is None
        self._targets = self._inputs if targets is None else _pair_targets(self._inputs, targets)
        self._lengths = [max(length - self._shift, 0) for length in self._inputs.lengths]
        self.steps = sum(self._lengths)
        if not self.steps:
            raise InputError(
                "every sequence is too short: to predict the next step it needs two of them"
                if self._shift
                else "every sequence is empty"
            )
        wanted = _LANES if lanes == "auto" else lanes
        shortest = _CHUNKS_OF_A_PIECE * self.chunk if lanes == "auto" else 1
        self._pieces = cut(self._lengths, wanted, shortest)
        self._has_fewer_cuts = self._pieces != cut(self._lengths, wanted)
        self._plan = lay(self._pieces, wanted)
        self.lanes = len(self._plan)
        self.longest = max(lane.steps for lane in self._plan)
        self._check_burn_in()
        if self.carry != "never":
            self._warn_of_cuts()
        self._reader = Reader(
            self._inputs,
            self._targets,
            shift=int(self._shift),
            chunk=min(self.chunk, self.longest),
            carry=self.carry,
            burn_in=self.burn_in,
            dtype=self.dtype,
        )

    def _check_burn_in(self) -> None:
        longest = max(steps for _, _, steps in self._pieces)
        if self.carry == "never":
            longest = min(longest, self.chunk)
        if self.burn_in >= longest:
            raise TrainingError(
                f"burn_in={self.burn_in} leaves nothing to learn from: no stretch between resets "
                f"is longer than {longest} steps"
            )

    def _warn_of_cuts(self) -> None:
        counts = Counter(sequence for sequence, _, _ in self._pieces)
        lengths = [steps for sequence, _, steps in self._pieces if counts[sequence] > 1]
        if not lengths:
            return
        sequences = sum(count > 1 for count in counts.values())
        warnings.warn(
            f"{_count(sequences, 'sequence')} {'is' if sequences == 1 else 'are'} cut into "
            f"{len(lengths):,} pieces of {min(lengths):,} steps or more to fill "
            f"{_count(self.lanes, 'lane')}, and the state is not carried from one piece to the "
            "next. Pass lanes=None to keep every sequence whole in a lane of its own, lanes=1 to "
            "lay them one after the other, or carry='never' if no state is to be carried",
            SequenceCutWarning,
            stacklevel=3,
        )

    # What there is

    @property
    def features(self) -> int | None:
        """The width of an input step, None for tokens."""
        return None if self._inputs.tokens else self._inputs.shape[0]

    @property
    def target_shape(self) -> tuple[int, ...] | None:
        """The shape of a target step, None for integers."""
        return None if self._targets.tokens else self._targets.shape

    def __len__(self) -> int:
        """How many chunks an epoch has."""
        return self.per_epoch or self.pass_chunks

    @property
    def pass_chunks(self) -> int:
        """How many chunks a pass has, the same in every order."""
        return (self.longest + self.chunk - 1) // self.chunk

    def __repr__(self) -> str:
        sequences, pieces = len(self._inputs), len(self._pieces)
        short = sum(steps == 0 for steps in self._lengths)
        padding = 1 - self.steps / (self.lanes * self.longest)
        padded = f"{padding:.1%} padding; {_count(self.pass_chunks, 'chunk')} of {self.chunk}"
        lines = [
            f"Streams({_count(sequences, 'sequence')}, {_count(self.steps, 'step')}",
            f"  {_count(self.lanes, 'lane')} of up to {self.longest:,} steps, {padded}",
        ]
        if pieces > sequences - short:
            shortest = min(steps for _, _, steps in self._pieces)
            lines.append(f"  cut into {pieces:,} pieces, the shortest of {shortest:,} steps")
        if short:
            lines.append(f"  {short:,} too short to hold a step")
        tail = f", shuffle (seed {self.seed})" if self.shuffle else ""
        tail += f", burn_in={self.burn_in}" if self.burn_in else ""
        tail += f", per_epoch={self.per_epoch}" if self.per_epoch else ""
        return "\n".join([*lines, f"  carry={self.carry!r}{tail})"])

    def layout(self) -> dict[str, Any]:
        """What decides which step stands where, for telling two setups apart."""
        lengths = np.asarray(self._lengths, dtype=np.int64)
        return {
            "sequences": len(self._inputs),
            "steps": self.steps,
            "lengths": hashlib.sha256(lengths.tobytes()).hexdigest()[:16],
            "features": self.features,
            "targets": "next step" if self._shift else str(self.target_shape),
            "lanes": self.lanes,
            # lengths and lanes alone tell all other cuts
            **({"pieces": len(self._pieces)} if self._has_fewer_cuts else {}),
            "chunk": self.chunk,
            "carry": self.carry,
            "shuffle": self.shuffle,
            "seed": self.seed if self.shuffle else None,
            "burn_in": self.burn_in,
            "per_epoch": self.per_epoch,
            "dtype": str(self.dtype),
        }

    # Chunks

    def __iter__(self) -> Iterator[Batch]:
        return self.batches()

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The chunks of an epoch, counted from 0."""
        return self.batches(epoch)

    def batches(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        """The chunks of an epoch from the one with the number `start` on, both counted from 0."""
        check_whole_number("epoch", epoch, 0, TrainingError)
        check_whole_number("start", start, 0, TrainingError)
        if self.per_epoch is None:
            return self._reader.chunks(self._lanes(epoch), start)
        return islice(self._pass_after_pass(epoch * self.per_epoch + start), self.per_epoch - start)

    def is_continued(self, epoch: int) -> bool:
        """Whether an epoch goes on from the state of the one before."""
        return self.per_epoch is not None and epoch > 0

    def _pass_after_pass(self, chunk: int) -> Iterator[Batch]:
        """Pass after pass, from a chunk counted over all of them."""
        first, start = divmod(chunk, self.pass_chunks)
        for number in count(first):
            yield from self._reader.chunks(self._lanes(number), start if number == first else 0)

    def _lanes(self, number: int) -> list[Lane]:
        """The lanes of a pass."""
        if not self.shuffle:
            return self._plan
        return lay(self._pieces, self.lanes, np.random.default_rng([self.seed, number]))


def pack_quietly(sequences: Sequence[Array], **options: Any) -> Streams:
    """Make `Streams` without a `SequenceCutWarning`, for callers whose own documentation says how
    sequences are cut.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SequenceCutWarning)
        return Streams(sequences, **options)


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"


def _pair_targets(inputs: Sequences, targets: Any) -> Sequences:
    """Check the targets: one array for each sequence, and one step for each of its steps."""
    paired = Sequences(targets, "targets")
    if len(paired) != len(inputs):
        raise InputError(
            f"there are {len(inputs)} sequences and {len(paired)} arrays of targets; give one for "
            "each"
        )
    for index, (steps, came) in enumerate(zip(inputs.lengths, paired.lengths, strict=True)):
        if steps != came:
            raise InputError(
                f"targets[{index}] has {came} steps and sequences[{index}] has {steps}; give one "
                "target for each step, or no targets to predict the next step"
            )
    return paired
