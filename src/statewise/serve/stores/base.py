"""`Store`: the contract of a store of sessions.

The row of a session names the server that owns it and a fencing number, which grows whenever the
owner changes. A server owns rows as long as it renews its lease; a row whose owner has stopped
doing so may be claimed. Every write names owner and fence, and the store refuses one that is stale,
so a server that has lost a session can never overwrite what came after.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from statewise.serve.records import Key


class OwnedByOther(Exception):
    """Another server owns the row, and its lease holds."""

    def __init__(self, owner: str) -> None:
        super().__init__(owner)
        self.owner = owner


class IdInUse(Exception):
    """A session with this key exists."""


@dataclass(frozen=True)
class Row:
    """A session in the store.

    Arguments:
        key: namespace and id.
        owner: the server that may write it.
        fence: grows whenever the owner changes, or restarts.
        data: an encoded `Record`.
    """

    key: Key
    owner: str
    fence: int
    data: bytes


@dataclass(frozen=True)
class Write:
    """New data of a session, valid only under this fence.

    Arguments:
        expires: when the session expires, Unix time; None for never.
        gone: whether the session has ended, so that its id may be used again.
    """

    key: Key
    owner: str
    fence: int
    data: bytes
    expires: float | None = None
    gone: bool = False


@dataclass(frozen=True)
class StoredSnapshot:
    """A snapshot in the store."""

    namespace: str
    name: str
    session: str
    data: bytes


class Store(Protocol):
    """Stores sessions and snapshots. Called by one thread of the server."""

    def beat(self, owner: str, seconds: float) -> None:
        """Renew the lease of an owner, for this many seconds from now."""

    def release(self, owner: str) -> None:
        """Give up the lease of an owner: its rows may be claimed at once."""

    def claim(self, key: Key, owner: str, fence: int | None = None) -> Row | None:
        """Claim a row for an owner; None if there is no such row.

        Arguments:
            fence: the fence under which this owner holds the row; nothing changes if it still
                does.

        Raises:
            OwnedByOther: another server owns it, and its lease holds.
        """

    def create(self, write: Write, limit: int | None = None, sync: bool = True) -> int | None:
        """Create a row, or replace that of an ended session; return its fence. None if the
        namespace has `limit` sessions.

        Raises:
            IdInUse: a session with this key exists.
        """

    def save(self, writes: Sequence[Write], sync: bool = True) -> list[bool]:
        """Write rows, in one transaction if the store has transactions; return which were written:
        the others are stale.

        Arguments:
            sync: return only when they would survive a loss of power.
        """

    def get(self, key: Key) -> Row | None:
        """Read a row, whoever owns it."""

    def page(self, namespace: str, after: str, limit: int) -> list[Row]:
        """List rows of a namespace with ids above `after`, in order."""

    def due(self, now: float, limit: int) -> list[Key]:
        """List sessions that expired before now."""

    def save_snapshot(self, snapshot: StoredSnapshot, sync: bool = True) -> None:
        """Save a snapshot."""

    def load_snapshot(self, namespace: str, name: str) -> bytes | None:
        """Read the data of a snapshot."""

    def names(self, key: Key) -> list[str]:
        """List the snapshots of a session, oldest first."""

    def purge(self, before: float) -> int:
        """Delete sessions that ended before this Unix time, with snapshots; return how many."""

    def close(self) -> None:
        """Close files and connections."""


def is_process_running(host: str, pid: int) -> bool:
    """Whether the process of an owner may be running: one on another host may."""
    if os.name != "posix" or host != socket.gethostname():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's, and running
    return True
