"""`Residence`: which sessions are in memory, and how they come and go.

A session in memory is this server's by the store's fencing number. The server's lease on all of
them is renewed by a beat; where the beat came late, every session is claimed again before it is
stepped, and one that another server has taken meanwhile is forgotten here.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from statewise.serve.batching import Batcher, taken
from statewise.serve.errors import (
    Gone,
    NotFound,
    OwnedElsewhere,
    ServeError,
    TooBusy,
    Unserved,
)
from statewise.serve.keeper import Keeper
from statewise.serve.models import Served
from statewise.serve.records import Key, Record, Snapshot, encoded, packed, record, unpacked
from statewise.serve.session import Job, Session, StepRequest, place
from statewise.serve.stats import Stats
from statewise.serve.stores.base import Held, Kept, Row, Store, Write
from statewise.state import State

PATIENCE = 5.0
"""Seconds for which a session waits for a place in a table whose sessions are all being stepped."""


@dataclass(frozen=True)
class Limits:
    """How much, and how long.

    Arguments:
        durability, ttl: of sessions that do not say.
        max_batch: sessions stepped together at most.
        max_wait: seconds that a step may wait for company.
        queue: steps that may wait.
        quota: sessions that a namespace may have; None for any number.
        interval: seconds between writes of sessions with durability ``"interval"``.
        lease: seconds after its last beat for which a server owns its sessions.
        keep_inputs: inputs kept of every session, for a replay by other weights.
        retention: seconds for which sessions that are gone, and their snapshots, are remembered.
    """

    durability: str = "step"
    ttl: float | None = None
    max_batch: int = 256
    max_wait: float = 0.0
    queue: int = 20_000
    quota: int | None = None
    interval: float = 1.0
    lease: float = 15.0
    keep_inputs: int = 0
    retention: float = 7 * 86400.0


class Residence:
    """The sessions in memory.

    Arguments:
        store: where the others rest.
        limits: see `Limits`.
        stats: what is counted.
        again: called with a key and the steps that waited for a session which has left.
    """

    def __init__(
        self,
        store: Store,
        limits: Limits,
        stats: Stats,
        again: Callable[[Key, list[Job]], None],
    ) -> None:
        self.owner = secrets.token_hex(8)
        self.keeper = Keeper(store, self.owner)
        self.limits, self.stats, self._again = limits, stats, again
        self._batchers: dict[tuple[str, str], Batcher] = {}
        self._latest: dict[str, str] = {}
        self._live: dict[str, Session] = {}  # by `place`
        self._coming: dict[Key, asyncio.Task[Session]] = {}
        self._rooms: dict[tuple[str, str], asyncio.Lock] = {}
        self._epoch, self._beaten = 0, float("-inf")
        self._tasks: set[asyncio.Task[Any]] = set()
        self._chores: list[asyncio.Task[None]] = []

    # Models

    def add(self, served: Served) -> Served:
        """Serve a model; one that is served already stays as it is."""
        at = (served.name, served.version)
        if at not in self._batchers:
            self._batchers[at] = Batcher(
                served,
                self.keeper,
                self.stats,
                max_batch=self.limits.max_batch,
                max_wait=self.limits.max_wait,
                keep=self.limits.keep_inputs,
                lost=self.drop,
            )
            self._rooms[at] = asyncio.Lock()
        self._latest[served.name] = served.version
        return self._batchers[at].served

    def all(self) -> list[Served]:
        """Every model in every version, those loaded last at the end."""
        return [batcher.served for batcher in self._batchers.values()]

    def model(self, name: str, version: str | None = None) -> Served:
        """A model by name, and version unless it is the newest.

        Raises:
            NotFound: none of this name or version.
        """
        at = (name, version or self._latest.get(name, ""))
        if at not in self._batchers:
            some = ", ".join(f"{name}@{version}" for name, version in self._batchers)
            wanted = name if version is None else f"{name}@{version}"
            raise NotFound(f"there is no model {wanted!r}; served are {some}")
        return self._batchers[at].served

    def batcher(self, session: Session) -> Batcher:
        """Where the steps of a session wait."""
        served = session.served
        return self._batchers[served.name, served.version]

    @property
    def waiting(self) -> int:
        """How many steps wait."""
        return sum(batcher.waiting for batcher in self._batchers.values())

    # Coming

    def here(self, key: Key) -> Session | None:
        """A session in memory that is certainly this server's."""
        session = self._live.get(place(key))
        if session is None or session.epoch != self._epoch or self._lapsed:
            return None
        return session

    def crowd(
        self, namespace: str, requests: Sequence[StepRequest]
    ) -> tuple[list[Session], np.ndarray] | None:
        """The sessions of single steps that need no look one by one, marked as busy, and their
        inputs (N, ...): all here, free, of one model, asked for once, without a position, a
        request id or a write before the answer. None where one of them is otherwise.
        """
        if self._lapsed:
            return None
        found: list[Session] = []
        for request in requests:
            session = self._live.get(place((namespace, request.session)))
            if (
                session is None
                or session.busy
                or session.epoch != self._epoch
                or session.durability == "step"
                or request.step is not None
                or request.request_id is not None
                or session.served is not (found or [session])[0].served
            ):
                break
            session.busy = True
            found.append(session)
        else:
            x = found[0].served.inputs_together([request.inputs for request in requests])
            if x is not None:
                return found, x
        for session in found:
            session.busy = False
        return None

    @property
    def _lapsed(self) -> bool:
        return time.monotonic() - self._beaten > self.limits.lease

    async def fetch(self, key: Key) -> Session:
        """A session in memory, brought there if it rests.

        Raises:
            NotFound, Gone, OwnedElsewhere, Unserved, StoreFailed, TooBusy
        """
        session = self.here(key)
        if session is not None:
            return session
        while True:
            coming = self._coming.get(key)
            if coming is None:
                coming = self._coming[key] = self.spawn(self._bring(key))
                coming.add_done_callback(lambda _: self._coming.pop(key, None))
            session = await asyncio.shield(coming)
            if session.slot is not None:  # not gone again before its turn came
                return session

    async def _bring(self, key: Key) -> Session:
        if self._lapsed:
            await self._beat()
        mine = self._live.get(place(key))
        fence = None if mine is None else mine.fence
        row = await self._claimed(key, fence)
        if mine is not None and mine.slot is not None:
            if row.fence == fence:
                mine.epoch = self._epoch
                return mine
            self.drop(mine)
        kept = record(row.data)
        await self._check_living(key, kept, row)
        served = self._pinned(kept)
        architecture = served.model.architecture
        state = unpacked(
            kept.state, kept.position, architecture, served.dtype.name, served.model.origin
        )
        self.stats.loads += 1
        return await self.settle(key, served, state, kept, row.fence)

    async def _claimed(self, key: Key, fence: int | None) -> Row:
        try:
            row = await self.keeper.call(self.keeper.store.claim, key, self.owner, fence)
        except Held:
            raise OwnedElsewhere(
                f"another server has session {key[1]!r}; ask that one, or wait until it lets go",
                retry_after=1,
            ) from None
        if row is None:
            raise self.unknown(f"there is no session {key[1]!r}")
        return row

    def _pinned(self, kept: Record) -> Served:
        try:
            return self.model(kept.model, kept.version)
        except NotFound:
            raise Unserved(
                f"the session is pinned to version {kept.version} of {kept.model}, which is not "
                "served here; start the server with those weights as well"
            ) from None

    async def settle(
        self, key: Key, served: Served, state: State, kept: Record, fence: int
    ) -> Session:
        """Put a session of this server's into memory."""
        await self._make_room(served)
        slot = served.table.open(state)
        session = Session(key, served, slot, kept, fence, self._epoch)
        self._live[session.place] = session
        served.enter(session, kept.created, time.time())
        return session

    async def _make_room(self, served: Served) -> None:
        """Spill those that rested longest until a slot is free."""
        until = time.monotonic() + PATIENCE
        async with self._rooms[served.name, served.version]:
            while len(served.table) == served.table.capacity:
                resting = served.resting(max(1, served.table.capacity // 64))
                if not resting and time.monotonic() < until:
                    await asyncio.sleep(0.001)
                elif not resting:
                    raise TooBusy(
                        f"all {served.table.capacity} sessions in memory are being stepped; ask "
                        "again, or start the server with a larger --capacity",
                        retry_after=1,
                    )
                else:
                    await self._spill(resting)

    async def _spill(self, sessions: Sequence[Session]) -> None:
        for session in sessions:
            session.busy = True
        try:
            kept = [(session, self._bytes(session)) for session in sessions if session.dirty]
            done = await self.keeper.save(kept, sync=False) if kept else []
        except BaseException:
            for session in sessions:
                self.batcher(session).release(session)
            raise
        stale = {session.place for (session, _), ok in zip(kept, done, strict=True) if not ok}
        for session in sessions:
            if session.waiting and session.place not in stale:
                self.batcher(session).release(session)
            else:
                self.stats.spills += 1
                self.drop(session)

    def _bytes(self, session: Session) -> bytes:
        assert session.slot is not None
        return packed(session.served.table.read(session.slot))

    # Going

    def drop(self, session: Session) -> None:
        """Take a session out of memory; steps that wait for it look for it again."""
        if self._live.get(session.place) is session:
            del self._live[session.place]
        if session.slot is not None:
            session.served.leave(session)
        waiting, session.waiting, session.busy = session.waiting, None, False
        jobs = [waiter for waiter in waiting or () if isinstance(waiter, Job)]
        self.batcher(session).waiting -= len(jobs)
        for waiter in waiting or ():
            if not isinstance(waiter, Job) and not waiter.done():
                waiter.set_result(None)
        if jobs:
            self._again(session.key, jobs)

    async def hold(self, key: Key) -> Session:
        """A session in memory that nothing steps until `free`."""
        while True:
            session = await self.fetch(key)
            if not session.busy:
                session.busy = True
                return session
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            session.wait(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self.free(session)
                raise
            if session.slot is not None:
                return session

    def free(self, session: Session) -> None:
        """Let the next one have a held session."""
        if session.slot is not None:
            self.batcher(session).release(session)

    async def save(self, kept: Sequence[tuple[Session, bytes]]) -> None:
        """Write held sessions.

        Raises:
            OwnedElsewhere: another server has taken one, which has left memory here.
        """
        for (session, _), ok in zip(kept, await self.keeper.save(kept), strict=True):
            if not ok:
                self.drop(session)
                raise taken(session)

    async def keep(self, session: Session, data: bytes) -> str:
        """Keep a held session's state as a snapshot; its name."""
        name = secrets.token_hex(8)
        served, of = session.served, session.key[1]
        fingerprint = served.model.architecture.fingerprint
        made = Snapshot(
            of, served.name, served.version, fingerprint, session.position, data, time.time()
        )
        kept = Kept(session.key[0], name, of, encoded(made))
        sync = session.durability == "step"
        await self.keeper.call(self.keeper.store.keep, kept, sync)
        return name

    async def end(self, session: Session, why: str) -> str:
        """End a held session; the name of the snapshot of its last state."""
        data = self._bytes(session)
        name = await self.keep(session, data)
        kept = session.record(data)
        kept = msgspec.structs.replace(kept, gone=why)
        write = Write(session.key, self.owner, session.fence, encoded(kept), None, gone=True)
        [done] = await self.keeper.write([write])
        self.drop(session)
        if not done:
            raise taken(session)
        return name

    async def move(self, session: Session, target: Served, state: State) -> None:
        """Give a held session to another model."""
        await self._make_room(target)
        kept, fence, used = session.record(b""), session.fence, session.used
        slot = target.table.open(state)
        moved = Session(session.key, target, slot, kept, fence, session.epoch)
        moved.answer, moved.dirty, moved.busy = None, True, True
        target.enter(moved, kept.created, used)
        try:
            [done] = await self.keeper.save([(moved, packed(state))])
        except BaseException:
            target.leave(moved)
            raise
        if not done:
            target.leave(moved)
            self.drop(session)
            raise taken(session)
        self._live[session.place] = moved
        self.drop(session)
        self.free(moved)

    # Looking

    async def look(self, key: Key) -> Record:
        """What the store has of a living session, without claiming it."""
        row = await self.keeper.call(self.keeper.store.get, key)
        if row is None:
            raise self.unknown(f"there is no session {key[1]!r}")
        kept = record(row.data)
        await self._check_living(key, kept)
        return kept

    async def page(self, namespace: str, cursor: str, limit: int) -> list[tuple[Key, Record]]:
        """Living sessions of a namespace, in the order of their ids."""
        rows = await self.keeper.call(self.keeper.store.page, namespace, cursor, limit)
        return [(row.key, record(row.data)) for row in rows]

    async def _check_living(self, key: Key, kept: Record, row: Row | None = None) -> None:
        why = kept.gone
        if why is None and kept.expires is not None and kept.expires <= time.time():
            why = "expired"
            if row is not None:
                await self._expire(row, kept)
        if why is not None:
            names = await self.keeper.call(self.keeper.store.names, key)
            raise Gone(
                f"session {key[1]!r} has {why if why == 'expired' else 'been ' + why}; create one "
                "from its last snapshot to go on",
                snapshot=names[-1] if names else None,
            )

    async def _expire(self, row: Row, kept: Record) -> None:
        """End a session at rest which this server has claimed."""
        namespace, of = row.key
        made = Snapshot(
            of,
            kept.model,
            kept.version,
            kept.architecture,
            kept.position,
            kept.state,
            time.time(),
        )
        name = secrets.token_hex(8)
        await self.keeper.call(
            self.keeper.store.keep, Kept(namespace, name, of, encoded(made)), False
        )
        over = msgspec.structs.replace(kept, gone="expired")
        write = Write(row.key, self.owner, row.fence, encoded(over), None, gone=True)
        await self.keeper.write([write], sync=False)
        self.stats.expired += 1

    @staticmethod
    def unknown(message: str) -> NotFound:
        """What is said of a name that never was."""
        return NotFound(f"{message}; it may be another token's, or the name is wrong")

    # Chores

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something beside; kept until it is done."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # it has been said to whoever waits

    async def start(self) -> None:
        """The first beat, and the chores."""
        await self._beat()
        every = (self.limits.lease / 3, self._beat), (self.limits.interval, self._write_some)
        self._chores = [
            asyncio.create_task(_repeat(seconds, work))
            for seconds, work in (*every, (1.0, self._expire_due), (3600.0, self._purge))
        ]

    async def _beat(self) -> None:
        lapsed, now = self._lapsed, time.monotonic()
        await self.keeper.call(self.keeper.store.beat, self.owner, self.limits.lease)
        self._beaten = now
        self._epoch += lapsed

    async def _write_some(self) -> None:
        dirty = [
            session
            for session in list(self._live.values())
            if session.dirty and not session.busy and session.durability == "interval"
        ]
        await self._write_all(dirty)

    async def _write_all(self, sessions: Sequence[Session]) -> None:
        for start in range(0, len(sessions), 1024):
            some = [s for s in sessions[start : start + 1024] if s.slot is not None and s.dirty]
            done = await self.keeper.save([(one, self._bytes(one)) for one in some])
            for session, ok in zip(some, done, strict=True):
                if not ok and not session.busy:
                    self.drop(session)

    async def _expire_due(self) -> None:
        for key in await self.keeper.call(self.keeper.store.due, time.time(), 256):
            session = self._live.get(place(key))
            if session is not None and session.expires and session.expires > time.time():
                session.dirty = True
                await self._write_all([] if session.busy else [session])
            elif session is not None:
                held = await self.hold(key)
                try:
                    await self.end(held, "expired")
                    self.stats.expired += 1
                finally:
                    self.free(held)
            else:
                try:
                    row = await self._claimed(key, None)
                    await self._check_living(key, record(row.data), row)
                except ServeError:
                    continue

    async def _purge(self) -> None:
        await self.keeper.call(self.keeper.store.purge, time.time() - self.limits.retention)

    async def close(self) -> None:
        """Finish, save all, give the lease back."""
        for chore in self._chores:
            chore.cancel()
        while self.waiting or self._tasks:
            await asyncio.sleep(0.002)
        try:
            await self._write_all([s for s in self._live.values() if s.dirty])
            await self.keeper.call(self.keeper.store.release, self.owner)
        finally:
            for batcher in self._batchers.values():
                batcher.close()
            await self.keeper.close()


async def _repeat(seconds: float, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    while True:
        with suppress(ServeError):  # the store will be back, or the session is another's
            await work()
        await asyncio.sleep(seconds)
