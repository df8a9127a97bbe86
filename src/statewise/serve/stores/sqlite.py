"""Sessions in an SQLite file: the store of one machine, which needs no other server.

A write-ahead log; a transaction whose sessions must survive a loss of power is synced, others reach
the operating system only.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from statewise.errors import FileError
from statewise.serve.records import Key
from statewise.serve.stores.base import (
    IdInUse,
    OwnedByOther,
    Row,
    StoredSnapshot,
    Write,
    is_process_running,
)

_VERSION = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS sessions (
    namespace TEXT NOT NULL, id TEXT NOT NULL, owner TEXT NOT NULL, fence INTEGER NOT NULL,
    expires REAL, gone REAL, data BLOB NOT NULL, PRIMARY KEY (namespace, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS expiring ON sessions (expires) WHERE expires IS NOT NULL;
CREATE INDEX IF NOT EXISTS leaving ON sessions (gone) WHERE gone IS NOT NULL;
CREATE TABLE IF NOT EXISTS owners (
    owner TEXT PRIMARY KEY, until REAL NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS snapshots (
    number INTEGER PRIMARY KEY, namespace TEXT NOT NULL, name TEXT NOT NULL, session TEXT NOT NULL,
    data BLOB NOT NULL, UNIQUE (namespace, name)
);
CREATE INDEX IF NOT EXISTS of_session ON snapshots (namespace, session);
"""


class SqliteStore:
    """Sessions in a file.

    Arguments:
        path: the file, made where it is not there.
        pages: at most this many pages of 4096 bytes; None for no limit.

    Raises:
        FileError: a path that is not such a file, or cannot be written.
    """

    def __init__(self, path: str | Path, pages: int | None = None) -> None:
        self._synced: bool | None = None
        try:
            self._db = sqlite3.connect(
                str(path), isolation_level=None, check_same_thread=False, timeout=5.0
            )
            self._db.execute("PRAGMA journal_mode = WAL")
            found = self._db.execute("PRAGMA user_version").fetchone()[0]
            if found not in (0, _VERSION):
                raise FileError(f"{path} has version {found} of the store; this statewise reads 1")
            self._db.executescript(_TABLES)
            self._db.execute(f"PRAGMA user_version = {_VERSION}")
            if pages is not None:
                self._db.execute(f"PRAGMA max_page_count = {int(pages)}")
        except sqlite3.Error as error:
            raise FileError(f"cannot use {path} as a store of sessions: {error}") from error

    @contextmanager
    def _transaction(self, sync: bool = True) -> Iterator[sqlite3.Connection]:
        if sync != self._synced:
            self._db.execute(f"PRAGMA synchronous = {'FULL' if sync else 'NORMAL'}")
            self._synced = sync
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def beat(self, owner: str, seconds: float) -> None:
        with self._transaction(sync=False) as db:
            row = (owner, time.time() + seconds, socket.gethostname(), os.getpid())
            db.execute("REPLACE INTO owners VALUES (?, ?, ?, ?)", row)
            db.execute("DELETE FROM owners WHERE until < ?", (time.time() - 86400,))

    def release(self, owner: str) -> None:
        with self._transaction(sync=False) as db:
            db.execute("DELETE FROM owners WHERE owner = ?", (owner,))

    def claim(self, key: Key, owner: str, fence: int | None = None) -> Row | None:
        with self._transaction(sync=False) as db:
            row = self.get(key)
            if row is None:
                return None
            if row.owner == owner and row.fence == fence:
                return row
            if row.owner != owner and self._has_lease(row.owner):
                raise OwnedByOther(row.owner)
            db.execute(
                "UPDATE sessions SET owner = ?, fence = fence + 1 WHERE namespace = ? AND id = ?",
                (owner, *key),
            )
            return Row(key, owner, row.fence + 1, row.data)

    def _has_lease(self, owner: str) -> bool:
        """Whether an owner's lease holds. That of a process of this host that has ended does
        not; should it live after all, where it cannot be seen, its fence refuses what it writes.
        """
        found = self._db.execute(
            "SELECT host, pid FROM owners WHERE owner = ? AND until > ?", (owner, time.time())
        ).fetchone()
        return found is not None and is_process_running(*found)

    def create(self, write: Write, limit: int | None = None, sync: bool = True) -> int | None:
        with self._transaction(sync) as db:
            before = db.execute(
                "SELECT fence, gone FROM sessions WHERE namespace = ? AND id = ?", write.key
            ).fetchone()
            if before is not None and before[1] is None:
                raise IdInUse(write.key)
            if limit is not None and self._count_sessions(write.key[0]) >= limit:
                return None
            fence = 1 if before is None else int(before[0]) + 1
            db.execute(
                "REPLACE INTO sessions VALUES (?, ?, ?, ?, ?, NULL, ?)",
                (*write.key, write.owner, fence, write.expires, write.data),
            )
            return fence

    def _count_sessions(self, namespace: str) -> int:
        asked = "SELECT count(*) FROM sessions WHERE namespace = ? AND gone IS NULL"
        return int(self._db.execute(asked, (namespace,)).fetchone()[0])

    def save(self, writes: Sequence[Write], sync: bool = True) -> list[bool]:
        done = []
        with self._transaction(sync) as db:
            now = time.time()
            for write in writes:
                changed = db.execute(
                    "UPDATE sessions SET data = ?, expires = ?, gone = ?"
                    " WHERE namespace = ? AND id = ? AND owner = ? AND fence = ?",
                    (
                        write.data,
                        write.expires,
                        now if write.gone else None,
                        *write.key,
                        write.owner,
                        write.fence,
                    ),
                )
                done.append(changed.rowcount == 1)
        return done

    def get(self, key: Key) -> Row | None:
        found = self._db.execute(
            "SELECT owner, fence, data FROM sessions WHERE namespace = ? AND id = ?", key
        ).fetchone()
        return None if found is None else Row(key, *found)

    def page(self, namespace: str, after: str, limit: int) -> list[Row]:
        found = self._db.execute(
            "SELECT id, owner, fence, data FROM sessions"
            " WHERE namespace = ? AND id > ? AND gone IS NULL ORDER BY id LIMIT ?",
            (namespace, after, limit),
        )
        return [Row((namespace, name), *rest) for name, *rest in found]

    def due(self, now: float, limit: int) -> list[Key]:
        found = self._db.execute(
            "SELECT namespace, id FROM sessions WHERE expires <= ? AND gone IS NULL LIMIT ?",
            (now, limit),
        )
        return [(namespace, name) for namespace, name in found]

    def save_snapshot(self, snapshot: StoredSnapshot, sync: bool = True) -> None:
        with self._transaction(sync) as db:
            db.execute(
                "INSERT INTO snapshots (namespace, name, session, data) VALUES (?, ?, ?, ?)",
                (snapshot.namespace, snapshot.name, snapshot.session, snapshot.data),
            )

    def load_snapshot(self, namespace: str, name: str) -> bytes | None:
        found = self._db.execute(
            "SELECT data FROM snapshots WHERE namespace = ? AND name = ?", (namespace, name)
        ).fetchone()
        return None if found is None else found[0]

    def names(self, key: Key) -> list[str]:
        found = self._db.execute(
            "SELECT name FROM snapshots WHERE namespace = ? AND session = ? ORDER BY number", key
        )
        return [name for (name,) in found]

    def purge(self, before: float) -> int:
        with self._transaction(sync=False) as db:
            db.execute(
                "DELETE FROM snapshots WHERE EXISTS (SELECT 1 FROM sessions AS s WHERE"
                " s.namespace = snapshots.namespace AND s.id = snapshots.session AND s.gone < ?)",
                (before,),
            )
            return db.execute("DELETE FROM sessions WHERE gone < ?", (before,)).rowcount

    def close(self) -> None:
        self._db.close()
