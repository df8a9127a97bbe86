"""What a store saves of a session, and states as bytes."""

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
    """The last answer of a session, saved with the state for requests that are repeated.

    Arguments:
        request: the request's id, None without one.
        start, end: the positions before and after.
        digest: of the inputs.
        outputs: the answer, as bytes in the model's dtype.
        single: whether it was one time step, not a chunk.
    """

    request: str | None
    start: int
    end: int
    digest: bytes
    outputs: bytes
    single: bool


class Record(msgspec.Struct, frozen=True, array_like=True):
    """A session in the store.

    Arguments:
        model, version: the weights it is pinned to.
        architecture: the fingerprint of the model's architecture.
        position: how many steps it has consumed.
        state: its arrays, see `pack_state`.
        answer: the last one.
        known: digests of the latest request ids, eight bytes each, oldest first.
        inputs: the last inputs, if they are saved for a replay.
        created, used: Unix times in seconds.
        ttl: seconds without a request after which it expires, None for never.
        durability: "step", "interval" or "none".
        gone: why it has ended: "expired" or "deleted"; None while it exists.
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
        """When it expires without further requests."""
        return None if self.ttl is None or self.gone else self.used + self.ttl


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """A saved state of a session."""

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


def encode_record(value: Record | Snapshot) -> bytes:
    """Turn a record or a snapshot into bytes."""
    return _encoder.encode(value)


def decode_record(data: bytes) -> Record:
    """Read a record that `encode_record` wrote."""
    return _record.decode(data)


def decode_snapshot(data: bytes) -> Snapshot:
    """Read a snapshot that `encode_record` wrote."""
    return _snapshot.decode(data)


def pack_state(state: State, row: int = 0) -> bytes:
    """Turn one row of a state into bytes: its fields in the architecture's order. The record names
    the model that can read them.
    """
    return b"".join(np.ascontiguousarray(array[row]).tobytes() for array in state.values())


def pack_rows(state: State) -> list[bytes]:
    """Turn every row of a state into bytes, as `pack_state` does."""
    rows = len(state.position)
    parts = [np.ascontiguousarray(array).reshape(rows, -1) for array in state.values()]
    whole = np.concatenate([part.view(np.uint8) for part in parts if part.size], axis=1)
    return [row.tobytes() for row in whole]


def unpack_state(
    data: bytes, position: int, architecture: Architecture, dtype: str, origin: Any
) -> State:
    """Read the state of one row that `pack_state` wrote."""
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
