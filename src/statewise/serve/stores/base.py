"""`Store`: the contract of a place where sessions rest.

A session's row carries the server that owns it and a fencing number, which grows each time that the
row changes hands. A server owns rows as long as it beats; a row whose owner has stopped beating may
be claimed. Every write names owner and fence, and the store itself refuses one that is stale, so a
server that lost a session can never write over what came after.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from statewise.serve.records import Key


class Held(Exception):
    """Another server owns the row, and lives."""

    def __init__(self, owner: str) -> None:
        super().__init__(owner)
        self.owner = owner


class Taken(Exception):
    """A living session has this key."""


@dataclass(frozen=True)
class Row:
    """A session as the store has it.

    Arguments:
        key: namespace and id.
        owner: who may write it.
        fence: grows whenever the owner changes, or starts anew.
        data: an encoded `Record`.
    """

    key: Key
    owner: str
    fence: int
    data: bytes


@dataclass(frozen=True)
class Write:
    """A session's new data, good only under this fence.

    Arguments:
        expires: when the session expires, Unix time; None for never.
        gone: whether the session is no more, so that its id may be created again.
    """

    key: Key
    owner: str
    fence: int
    data: bytes
    expires: float | None = None
    gone: bool = False


@dataclass(frozen=True)
class Kept:
    """A snapshot as the store has it."""

    namespace: str
    name: str
    session: str
    data: bytes


class Store(Protocol):
    """Sessions and snapshots at rest. Called by one thread of the server."""

    def beat(self, owner: str, seconds: float) -> None:
        """The owner lives for at least this long from now."""

    def release(self, owner: str) -> None:
        """The owner lives no longer: its rows may be claimed at once."""

    def claim(self, key: Key, owner: str, fence: int | None = None) -> Row | None:
        """Own a row; None where there is none.

        Arguments:
            fence: what this owner holds already: if it is still so, nothing changes.

        Raises:
            Held: its owner is another one, and lives.
        """

    def create(self, write: Write, limit: int | None = None, sync: bool = True) -> int | None:
        """A new row, or one in place of a session that is gone; returns its fence. None where the
        namespace has `limit` living sessions already.

        Raises:
            Taken: a living session has the key.
        """

    def save(self, writes: Sequence[Write], sync: bool = True) -> list[bool]:
        """Write rows, in one transaction where the store has such; which of them were written, the
        others being stale.

        Arguments:
            sync: return only when they would survive a loss of power.
        """

    def get(self, key: Key) -> Row | None:
        """A row, whoever owns it."""

    def page(self, namespace: str, after: str, limit: int) -> list[Row]:
        """Rows of a namespace with ids above `after`, in their order."""

    def due(self, now: float, limit: int) -> list[Key]:
        """Living sessions that expired before now."""

    def keep(self, kept: Kept, sync: bool = True) -> None:
        """Keep a snapshot."""

    def kept(self, namespace: str, name: str) -> bytes | None:
        """A snapshot's data."""

    def names(self, key: Key) -> list[str]:
        """The snapshots of a session, oldest first."""

    def purge(self, before: float) -> int:
        """Forget sessions that are gone since before this Unix time, and their snapshots; how
        many.
        """

    def close(self) -> None:
        """Let go of files and connections."""


def process_lives(host: str, pid: int) -> bool:
    """Whether the process of an owner may live: one of another host may."""
    if os.name != "posix" or host != socket.gethostname():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's, and alive
    return True
