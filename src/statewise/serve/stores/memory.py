"""Sessions in memory: for tests, and for states that may be lost with the process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from statewise.serve.records import Key
from statewise.serve.stores.base import IdInUse, OwnedByOther, Row, StoredSnapshot, Write


@dataclass
class _Entry:
    owner: str
    fence: int
    data: bytes
    expires: float | None
    gone: float | None = None  # since when
    snapshots: dict[str, bytes] = field(default_factory=dict)


class MemoryStore:
    """Sessions in a dict."""

    def __init__(self) -> None:
        self._entries: dict[Key, _Entry] = {}
        self._owners: dict[str, float] = {}
        self._named: dict[tuple[str, str], Key] = {}

    def beat(self, owner: str, seconds: float) -> None:
        self._owners[owner] = time.time() + seconds

    def release(self, owner: str) -> None:
        self._owners.pop(owner, None)

    def claim(self, key: Key, owner: str, fence: int | None = None) -> Row | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.owner != owner and self._owners.get(entry.owner, 0.0) > time.time():
            raise OwnedByOther(entry.owner)
        if entry.owner != owner or entry.fence != fence:
            entry.owner, entry.fence = owner, entry.fence + 1
        return Row(key, entry.owner, entry.fence, entry.data)

    def create(self, write: Write, limit: int | None = None, sync: bool = True) -> int | None:
        before = self._entries.get(write.key)
        if before is not None and before.gone is None:
            raise IdInUse(write.key)
        if limit is not None and self._count_sessions(write.key[0]) >= limit:
            return None
        fence = 1 if before is None else before.fence + 1
        made = _Entry(write.owner, fence, write.data, write.expires)
        made.snapshots = {} if before is None else before.snapshots
        self._entries[write.key] = made
        return fence

    def _count_sessions(self, namespace: str) -> int:
        return sum(
            key[0] == namespace and entry.gone is None for key, entry in self._entries.items()
        )

    def save(self, writes: Sequence[Write], sync: bool = True) -> list[bool]:
        done = []
        for write in writes:
            entry = self._entries.get(write.key)
            fits = entry is not None and (entry.owner, entry.fence) == (write.owner, write.fence)
            if entry is not None and fits:
                entry.data, entry.expires = write.data, write.expires
                entry.gone = time.time() if write.gone else None
            done.append(fits)
        return done

    def get(self, key: Key) -> Row | None:
        entry = self._entries.get(key)
        return None if entry is None else Row(key, entry.owner, entry.fence, entry.data)

    def page(self, namespace: str, after: str, limit: int) -> list[Row]:
        keys = sorted(
            key
            for key, entry in self._entries.items()
            if key[0] == namespace and key[1] > after and entry.gone is None
        )
        return [row for key in keys[:limit] if (row := self.get(key))]

    def due(self, now: float, limit: int) -> list[Key]:
        found = [
            key
            for key, entry in self._entries.items()
            if entry.gone is None and entry.expires is not None and entry.expires <= now
        ]
        return found[:limit]

    def save_snapshot(self, snapshot: StoredSnapshot, sync: bool = True) -> None:
        key = (snapshot.namespace, snapshot.session)
        self._entries[key].snapshots[snapshot.name] = snapshot.data
        self._named[snapshot.namespace, snapshot.name] = key

    def load_snapshot(self, namespace: str, name: str) -> bytes | None:
        key = self._named.get((namespace, name))
        return None if key is None else self._entries[key].snapshots.get(name)

    def names(self, key: Key) -> list[str]:
        entry = self._entries.get(key)
        return [] if entry is None else list(entry.snapshots)

    def purge(self, before: float) -> int:
        old = [
            key
            for key, entry in self._entries.items()
            if entry.gone is not None and entry.gone < before
        ]
        for key in old:
            for name in self._entries.pop(key).snapshots:
                del self._named[key[0], name]
        return len(old)

    def close(self) -> None:
        pass
