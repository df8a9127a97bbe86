"""`Keeper`: the store in its own thread; writes that wait together share a transaction."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from statewise.serve.errors import Stopping, StoreFailed
from statewise.serve.records import encode_record
from statewise.serve.session import Session
from statewise.serve.stores.base import Store, Write

T = TypeVar("T")


class Keeper:
    """A store as the engine uses it.

    Arguments:
        store: any `Store`.
        owner: the server's name in leases.
    """

    def __init__(self, store: Store, owner: str) -> None:
        self.store, self.owner = store, owner
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="statewise-store")
        self._pending: list[tuple[Sequence[Write], bool, asyncio.Future[list[bool]]]] = []
        self._pump: asyncio.Task[None] | None = None
        self.failing = self._closed = False

    async def call(self, function: Callable[..., T], *args: Any) -> T:
        """Call the store in its thread.

        Raises:
            StoreFailed: the store cannot be reached or written.
            Stopping: the store is closed.
        """
        if self._closed:
            raise Stopping("the server has stopped, and its store is closed")
        loop = asyncio.get_running_loop()
        try:
            result = await loop.run_in_executor(self._thread, function, *args)
        except _find_store_errors() as error:
            self.failing = True
            raise StoreFailed(
                f"the store of sessions failed ({error}); nothing was changed, try again",
                retry_after=1,
            ) from error
        self.failing = False
        return result

    async def save(self, kept: Sequence[tuple[Session, bytes]], sync: bool = True) -> list[bool]:
        """Write sessions with their packed states; return which of them this server still owns.

        Raises:
            StoreFailed: none of them was written.
        """
        marks = [session.position for session, _ in kept]
        done = await self.write(
            [
                Write(
                    session.key,
                    self.owner,
                    session.fence,
                    encode_record(session.make_record(state)),
                    session.expires,
                )
                for session, state in kept
            ],
            sync,
        )
        for (session, _), position in zip(kept, marks, strict=True):
            if session.position == position:
                session.dirty = False
        return done

    async def write(self, writes: Sequence[Write], sync: bool = True) -> list[bool]:
        """Write sessions, together with all that wait to be written; return which were not stale.

        Raises:
            StoreFailed: none of them was written.
        """
        future: asyncio.Future[list[bool]] = asyncio.get_running_loop().create_future()
        self._pending.append((writes, sync, future))
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._write_pending())
        return await asyncio.shield(future)

    async def _write_pending(self) -> None:
        while self._pending:
            taken, self._pending = self._pending, []
            together = [write for writes, _, _ in taken for write in writes]
            try:
                done = await self.call(self.store.save, together, any(sync for _, sync, _ in taken))
            except StoreFailed as error:
                for _, _, future in taken:
                    future.set_exception(error)
                continue
            start = 0
            for writes, _, future in taken:
                future.set_result(done[start : start + len(writes)])
                start += len(writes)

    async def close(self) -> None:
        """Write what is waiting and close the store."""
        if self._pump is not None:
            await self._pump
        self._closed = True
        await asyncio.get_running_loop().run_in_executor(self._thread, self.store.close)
        self._thread.shutdown()


def _find_store_errors() -> tuple[type[Exception], ...]:
    """Find what stores may raise; Redis's errors if its module has been imported."""
    redis = sys.modules.get("redis")
    return (sqlite3.Error, OSError) + ((redis.RedisError,) if redis else ())
