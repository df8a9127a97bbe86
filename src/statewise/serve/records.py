"""What a store keeps of a session, and how a state becomes bytes and returns."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from statewise.architecture import Architecture
from statewise.errors import StateError
from statewise.origin import RecordedOrigin
from statewise.state import State

Key = tuple[str, str]
"""A session: its namespace and its id."""


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """The last answer of a session, kept with the state so that a retry finds it.

    Arguments:
        request: the request's id, None where it gave none.
        start, end: where the session stood before and after.
        digest: of the inputs.
        outputs: the answer, as bytes in the model's dtype.
        single: whether it was one time step rather than a chunk.
    """

    request: str | None
    start: int
    end: int
    digest: bytes
    outputs: bytes
    single: bool


class Record(msgspec.Struct, frozen=True, array_like=True):
    """A session at rest.

    Arguments:
        model, version: the weights it is pinned to.
        architecture: the fingerprint of the model's architecture.
        position: steps consumed.
        state: its arrays, see `packed`.
        answer: the last one.
        known: digests of the latest request ids, eight bytes each, oldest first.
        inputs: the last inputs, where they are kept for a replay.
        created, used: Unix times in seconds.
        ttl: seconds of rest after which it expires, None for never.
        durability: "step", "interval" or "none".
        gone: why it is no more: "expired" or "deleted"; None while it lives.
    """

    model: str
    version: str
    architecture: str
    position: int
    state: bytes
    answer: Answer | None
    known: bytes
    inputs: bytes
    created: float
    used: float
    ttl: float | None
    durability: str
    gone: str | None = None

    @property
    def expires(self) -> float | None:
        """When it expires if it rests until then."""
        return None if self.ttl is None or self.gone else self.used + self.ttl


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """A kept state."""

    session: str
    model: str
    version: str
    architecture: str
    position: int
    state: bytes
    created: float


_encoder = msgspec.msgpack.Encoder()
_record = msgspec.msgpack.Decoder(Record)
_snapshot = msgspec.msgpack.Decoder(Snapshot)


def encoded(value: Record | Snapshot) -> bytes:
    """A record or a snapshot as bytes."""
    return _encoder.encode(value)


def record(data: bytes) -> Record:
    """What `encoded` made of a record."""
    return _record.decode(data)


def snapshot(data: bytes) -> Snapshot:
    """What `encoded` made of a snapshot."""
    return _snapshot.decode(data)


def packed(state: State, row: int = 0) -> bytes:
    """One row of a state: its fields' bytes in the architecture's order. What they mean is known
    from the model, which is named beside them.
    """
    return b"".join(np.ascontiguousarray(array[row]).tobytes() for array in state.values())


def packed_rows(state: State) -> list[bytes]:
    """Every row of a state, each as `packed` gives it."""
    rows = len(state.position)
    parts = [np.ascontiguousarray(array).reshape(rows, -1) for array in state.values()]
    whole = np.concatenate([part.view(np.uint8) for part in parts if part.size], axis=1)
    return [row.tobytes() for row in whole]


def unpacked(
    data: bytes, position: int, architecture: Architecture, dtype: str, origin: Any
) -> State:
    """The state of one row that `packed` made bytes of."""
    arrays, offset = {}, 0
    for name, field in architecture.fields.items():
        kind = np.dtype(field.dtype(dtype))
        count = int(np.prod(field.shape, dtype=np.int64))
        if offset + count * kind.itemsize > len(data):
            raise StateError(f"the stored state ends before {name!r}; the store is damaged")
        array = np.frombuffer(data, kind, count, offset)
        arrays[name] = array.reshape(1, *field.shape)
        offset += count * kind.itemsize
    if offset != len(data):
        raise StateError(f"the stored state has {len(data)} bytes, the model's has {offset}")
    origin = RecordedOrigin(origin.architecture, origin.weights())
    return State(arrays, np.array([position], np.int64), origin=origin)
