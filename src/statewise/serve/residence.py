"""`Residence`: the sessions in memory, and how they are loaded, saved and moved out.

This server owns a session in memory under the store's fencing number. It renews its lease on all of
them at intervals. If a renewal is late, every session is claimed again before it is stepped, and
one that another server has taken over meanwhile leaves memory here.
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

from statewise.serve.batching import Batcher, explain_takeover
from statewise.serve.errors import (
    Gone,
    NotFound,
    OwnedElsewhere,
    ServeError,
    TooBusy,
    Unserved,
)
from statewise.serve.keeper import Keeper
from statewise.serve.models import ServedModel
from statewise.serve.records import (
    Key,
    Record,
    Snapshot,
    decode_record,
    encode_record,
    pack_state,
    unpack_state,
)
from statewise.serve.session import Job, Session, StepRequest, join_key
from statewise.serve.stats import Stats
from statewise.serve.stores.base import OwnedByOther, Row, Store, StoredSnapshot, Write
from statewise.state import State

PATIENCE = 5.0
"""Seconds to wait for a free slot while all sessions of a table are being stepped."""


@dataclass(frozen=True)
class Limits:
    """Limits and defaults of a server.

    Arguments:
        durability, ttl: defaults of new sessions.
        max_batch: how many sessions to step together at most.
        max_wait: seconds to wait to form a batch.
        queue: how many steps may wait.
        quota: how many sessions a namespace may have; None for any number.
        interval: seconds between writes of sessions with durability ``"interval"``.
        lease: seconds for which a server owns its sessions after it last renewed its lease.
        keep_inputs: how many inputs of every session to save, for a replay by other weights.
        retention: seconds for which ended sessions and their snapshots are kept.
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
        store: where all sessions are saved.
        limits: see `Limits`.
        stats: counters.
        requeue: called with a key and the steps that waited for a session that left memory.
    """

    def __init__(
        self,
        store: Store,
        limits: Limits,
        stats: Stats,
        requeue: Callable[[Key, list[Job]], None],
    ) -> None:
        self.owner = secrets.token_hex(8)
        self.keeper = Keeper(store, self.owner)
        self.limits, self.stats, self._requeue = limits, stats, requeue
        self._batchers: dict[tuple[str, str], Batcher] = {}
        self._latest: dict[str, str] = {}
        self._live: dict[str, Session] = {}  # by `join_key`
        self._coming: dict[Key, asyncio.Task[Session]] = {}
        self._rooms: dict[tuple[str, str], asyncio.Lock] = {}
        self._epoch, self._beaten = 0, float("-inf")
        self._tasks: set[asyncio.Task[Any]] = set()
        self._background: list[asyncio.Task[None]] = []

    # Models

    def add_model(self, served: ServedModel) -> ServedModel:
        """Serve a model, unless it is served."""
        at = (served.name, served.version)
        if at not in self._batchers:
            self._batchers[at] = Batcher(
                served,
                self.keeper,
                self.stats,
                max_batch=self.limits.max_batch,
                max_wait=self.limits.max_wait,
                keep=self.limits.keep_inputs,
                on_takeover=self.drop,
            )
            self._rooms[at] = asyncio.Lock()
        self._latest[served.name] = served.version
        return self._batchers[at].served

    def list_models(self) -> list[ServedModel]:
        """List every version of every model, those loaded last at the end."""
        return [batcher.served for batcher in self._batchers.values()]

    def find_model(self, name: str, version: str | None = None) -> ServedModel:
        """Find a model by name and version, the newest unless one is named.

        Raises:
            NotFound: none of this name or version.
        """
        at = (name, version or self._latest.get(name, ""))
        if at not in self._batchers:
            some = ", ".join(f"{name}@{version}" for name, version in self._batchers)
            wanted = name if version is None else f"{name}@{version}"
            raise NotFound(f"there is no model {wanted!r}; the server has {some}")
        return self._batchers[at].served

    def find_batcher(self, session: Session) -> Batcher:
        """Find the batcher of a session's model."""
        served = session.served
        return self._batchers[served.name, served.version]

    @property
    def waiting(self) -> int:
        """How many steps are waiting."""
        return sum(batcher.waiting for batcher in self._batchers.values())

    # Into memory

    def find_resident(self, key: Key) -> Session | None:
        """Find a session in memory that this server certainly owns."""
        session = self._live.get(join_key(key))
        if session is None or session.epoch != self._epoch or self._has_lapsed:
            return None
        return session

    def find_batch(
        self, namespace: str, requests: Sequence[StepRequest]
    ) -> tuple[list[Session], np.ndarray] | None:
        """Find the sessions of plain steps, mark them as busy, and read their inputs (N, ...): all
        in memory, free, of one model, named once, without a position, a request id or a write
        before the answer. None if one of them is otherwise.
        """
        if self._has_lapsed:
            return None
        found: list[Session] = []
        for request in requests:
            session = self._live.get(join_key((namespace, request.session)))
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
            x = found[0].served.read_batch([request.inputs for request in requests])
            if x is not None:
                return found, x
        for session in found:
            session.busy = False
        return None

    @property
    def _has_lapsed(self) -> bool:
        return time.monotonic() - self._beaten > self.limits.lease

    async def fetch(self, key: Key) -> Session:
        """Find a session in memory, or load it from the store.

        Raises:
            NotFound, Gone, OwnedElsewhere, Unserved, StoreFailed, TooBusy
        """
        session = self.find_resident(key)
        if session is not None:
            return session
        while True:
            coming = self._coming.get(key)
            if coming is None:
                coming = self._coming[key] = self.spawn(self._load(key))
                coming.add_done_callback(lambda _: self._coming.pop(key, None))
            session = await asyncio.shield(coming)
            if session.slot is not None:  # it has not left memory again meanwhile
                return session

    async def _load(self, key: Key) -> Session:
        if self._has_lapsed:
            await self._renew_lease()
        mine = self._live.get(join_key(key))
        fence = None if mine is None else mine.fence
        row = await self._claim(key, fence)
        if mine is not None and mine.slot is not None:
            if row.fence == fence:
                mine.epoch = self._epoch
                return mine
            self.drop(mine)
        kept = decode_record(row.data)
        await self._check_living(key, kept, row)
        served = self._find_pinned(kept)
        architecture = served.model.architecture
        state = unpack_state(
            kept.state, kept.position, architecture, served.dtype.name, served.model.origin
        )
        self.stats.loads += 1
        return await self.admit(key, served, state, kept, row.fence)

    async def _claim(self, key: Key, fence: int | None) -> Row:
        try:
            row = await self.keeper.call(self.keeper.store.claim, key, self.owner, fence)
        except OwnedByOther:
            raise OwnedElsewhere(
                f"another server owns session {key[1]!r}; ask that server, or try again later",
                retry_after=1,
            ) from None
        if row is None:
            raise self.explain_unknown(f"there is no session {key[1]!r}")
        return row

    def _find_pinned(self, kept: Record) -> ServedModel:
        try:
            return self.find_model(kept.model, kept.version)
        except NotFound:
            raise Unserved(
                f"the session needs version {kept.version} of {kept.model}, which is not served "
                "here; start the server with those weights too"
            ) from None

    async def admit(
        self, key: Key, served: ServedModel, state: State, kept: Record, fence: int
    ) -> Session:
        """Put a session that this server owns into memory."""
        await self._make_room(served)
        slot = served.table.open(state)
        session = Session(key, served, slot, kept, fence, self._epoch)
        self._live[session.place] = session
        served.enter(session, kept.created, time.time())
        return session

    async def _make_room(self, served: ServedModel) -> None:
        """Move the longest unused sessions to the store until a slot is free."""
        until = time.monotonic() + PATIENCE
        async with self._rooms[served.name, served.version]:
            while len(served.table) == served.table.capacity:
                resting = served.find_resting(max(1, served.table.capacity // 64))
                if not resting and time.monotonic() < until:
                    await asyncio.sleep(0.001)
                elif not resting:
                    raise TooBusy(
                        f"all {served.table.capacity} sessions in memory are being stepped; try "
                        "again, or start the server with a larger --capacity",
                        retry_after=1,
                    )
                else:
                    await self._spill(resting)

    async def _spill(self, sessions: Sequence[Session]) -> None:
        for session in sessions:
            session.busy = True
        try:
            kept = [(session, self._pack(session)) for session in sessions if session.dirty]
            done = await self.keeper.save(kept, sync=False) if kept else []
        except BaseException:
            for session in sessions:
                self.find_batcher(session).release(session)
            raise
        stale = {session.place for (session, _), ok in zip(kept, done, strict=True) if not ok}
        for session in sessions:
            if session.waiting and session.place not in stale:
                self.find_batcher(session).release(session)
            else:
                self.stats.spills += 1
                self.drop(session)

    def _pack(self, session: Session) -> bytes:
        assert session.slot is not None
        return pack_state(session.served.table.read(session.slot))

    # Out of memory

    def drop(self, session: Session) -> None:
        """Remove a session from memory; steps that wait for it are enqueued again."""
        if self._live.get(session.place) is session:
            del self._live[session.place]
        if session.slot is not None:
            session.served.leave(session)
        waiting, session.waiting, session.busy = session.waiting, None, False
        jobs = [waiter for waiter in waiting or () if isinstance(waiter, Job)]
        self.find_batcher(session).waiting -= len(jobs)
        for waiter in waiting or ():
            if not isinstance(waiter, Job) and not waiter.done():
                waiter.set_result(None)
        if jobs:
            self._requeue(session.key, jobs)

    async def hold(self, key: Key) -> Session:
        """Hold a session in memory: nothing steps it until `release`."""
        while True:
            session = await self.fetch(key)
            if not session.busy:
                session.busy = True
                return session
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            session.enqueue(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self.release(session)
                raise
            if session.slot is not None:
                return session

    def release(self, session: Session) -> None:
        """Release a held session."""
        if session.slot is not None:
            self.find_batcher(session).release(session)

    async def save(self, kept: Sequence[tuple[Session, bytes]]) -> None:
        """Write held sessions.

        Raises:
            OwnedElsewhere: another server has taken one over; it has left memory here.
        """
        for (session, _), ok in zip(kept, await self.keeper.save(kept), strict=True):
            if not ok:
                self.drop(session)
                raise explain_takeover(session)

    async def save_snapshot(self, session: Session, data: bytes) -> str:
        """Save the state of a held session as a snapshot; return its name."""
        name = secrets.token_hex(8)
        served, of = session.served, session.key[1]
        fingerprint = served.model.architecture.fingerprint
        made = Snapshot(
            of, served.name, served.version, fingerprint, session.position, data, time.time()
        )
        kept = StoredSnapshot(session.key[0], name, of, encode_record(made))
        sync = session.durability == "step"
        await self.keeper.call(self.keeper.store.save_snapshot, kept, sync)
        return name

    async def end_session(self, session: Session, why: str) -> str:
        """End a held session; return the name of the snapshot of its last state."""
        data = self._pack(session)
        name = await self.save_snapshot(session, data)
        kept = session.make_record(data)
        kept = msgspec.structs.replace(kept, gone=why)
        write = Write(session.key, self.owner, session.fence, encode_record(kept), None, gone=True)
        [done] = await self.keeper.write([write])
        self.drop(session)
        if not done:
            raise explain_takeover(session)
        return name

    async def move_session(self, session: Session, target: ServedModel, state: State) -> None:
        """Move a held session to another model."""
        await self._make_room(target)
        kept, fence, used = session.make_record(b""), session.fence, session.used
        slot = target.table.open(state)
        moved = Session(session.key, target, slot, kept, fence, session.epoch)
        moved.answer, moved.dirty, moved.busy = None, True, True
        target.enter(moved, kept.created, used)
        try:
            [done] = await self.keeper.save([(moved, pack_state(state))])
        except BaseException:
            target.leave(moved)
            raise
        if not done:
            target.leave(moved)
            self.drop(session)
            raise explain_takeover(session)
        self._live[session.place] = moved
        self.drop(session)
        self.release(moved)

    # In the store

    async def read_record(self, key: Key) -> Record:
        """Read the record of a session from the store, without claiming it."""
        row = await self.keeper.call(self.keeper.store.get, key)
        if row is None:
            raise self.explain_unknown(f"there is no session {key[1]!r}")
        kept = decode_record(row.data)
        await self._check_living(key, kept)
        return kept

    async def list_page(self, namespace: str, cursor: str, limit: int) -> list[tuple[Key, Record]]:
        """List sessions of a namespace, in the order of their ids."""
        rows = await self.keeper.call(self.keeper.store.page, namespace, cursor, limit)
        return [(row.key, decode_record(row.data)) for row in rows]

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
        """End a session in the store that this server has claimed."""
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
            self.keeper.store.save_snapshot,
            StoredSnapshot(namespace, name, of, encode_record(made)),
            False,
        )
        over = msgspec.structs.replace(kept, gone="expired")
        write = Write(row.key, self.owner, row.fence, encode_record(over), None, gone=True)
        await self.keeper.write([write], sync=False)
        self.stats.expired += 1

    @staticmethod
    def explain_unknown(message: str) -> NotFound:
        """Make the error for a name that never existed."""
        return NotFound(
            f"{message}; check the name, and the token: sessions belong to the token's namespace"
        )

    # Background tasks

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a task in the background; a reference is held until it is done."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget_task)
        return task

    def _forget_task(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits for it has it

    async def start(self) -> None:
        """Take the lease, and start the background tasks."""
        await self._renew_lease()
        every = (
            (self.limits.lease / 3, self._renew_lease),
            (self.limits.interval, self._write_interval_sessions),
        )
        self._background = [
            asyncio.create_task(_repeat(seconds, work))
            for seconds, work in (*every, (1.0, self._expire_due), (3600.0, self._purge))
        ]

    async def _renew_lease(self) -> None:
        lapsed, now = self._has_lapsed, time.monotonic()
        await self.keeper.call(self.keeper.store.beat, self.owner, self.limits.lease)
        self._beaten = now
        self._epoch += lapsed

    async def _write_interval_sessions(self) -> None:
        dirty = [
            session
            for session in list(self._live.values())
            if session.dirty and not session.busy and session.durability == "interval"
        ]
        await self._write_all(dirty)

    async def _write_all(self, sessions: Sequence[Session]) -> None:
        for start in range(0, len(sessions), 1024):
            some = [s for s in sessions[start : start + 1024] if s.slot is not None and s.dirty]
            done = await self.keeper.save([(one, self._pack(one)) for one in some])
            for session, ok in zip(some, done, strict=True):
                if not ok and not session.busy:
                    self.drop(session)

    async def _expire_due(self) -> None:
        for key in await self.keeper.call(self.keeper.store.due, time.time(), 256):
            session = self._live.get(join_key(key))
            if session is not None and session.expires and session.expires > time.time():
                session.dirty = True
                await self._write_all([] if session.busy else [session])
            elif session is not None:
                held = await self.hold(key)
                try:
                    await self.end_session(held, "expired")
                    self.stats.expired += 1
                finally:
                    self.release(held)
            else:
                try:
                    row = await self._claim(key, None)
                    await self._check_living(key, decode_record(row.data), row)
                except ServeError:
                    continue

    async def _purge(self) -> None:
        await self.keeper.call(self.keeper.store.purge, time.time() - self.limits.retention)

    async def close(self) -> None:
        """Finish all steps, save all sessions, give up the lease."""
        for task in self._background:
            task.cancel()
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
        with suppress(ServeError):  # the store works again later, or another server has the session
            await work()
        await asyncio.sleep(seconds)
