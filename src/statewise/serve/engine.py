"""`Engine`: the sessions of a server, whatever protocol they are asked for by."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from statewise.errors import StatewiseError
from statewise.serve.batching import CROWD
from statewise.serve.errors import (
    BadInput,
    Exists,
    ServeError,
    Stopping,
    TooBusy,
    Unprocessable,
)
from statewise.serve.models import ModelInfo, Served
from statewise.serve.records import Key, Record, Snapshot, encoded, packed, snapshot, unpacked
from statewise.serve.residence import Limits, Residence
from statewise.serve.session import Group, Job, Session, StepRequest, StepResult
from statewise.serve.stats import Stats
from statewise.serve.stores.base import Store, Taken, Write
from statewise.state import State

LONGEST_ID = 128


@dataclass(frozen=True)
class SessionInfo:
    """What a client may know of a session.

    Arguments:
        id: its name. model, version: the weights it is pinned to.
        step: time steps consumed.
        created, used, expires: Unix times; `expires` is None for a session that does not.
        durability: ``"step"``, ``"interval"`` or ``"none"``.
        resident: whether it is in memory here, rather than at rest in the store.
        snapshots: names of its snapshots, oldest first; None in a list of sessions.
    """

    id: str
    model: str
    version: str
    step: int
    created: float
    used: float
    expires: float | None
    durability: str
    resident: bool
    snapshots: list[str] | None = None


class Engine:
    """Sessions of models, stepped together, each exactly once, kept as durably as asked.

    Every method takes the namespace whose sessions it may see. All run in one event loop.

    Arguments:
        models: what is served, see `Served.read`.
        store: where sessions rest.
        limits: of tables, batches, queues and leases.

    Raises:
        ServeError: from every method, one of its subclasses.

    Example::

        async with Engine([Served.read("m", "m.safetensors", 1000)], MemoryStore()) as engine:
            await engine.create("me", "m", id="a")
            result = await engine.step("me", "a", [0.5])
    """

    def __init__(
        self, models: Iterable[Served], store: Store, limits: Limits | None = None
    ) -> None:
        self.limits = limits or Limits()
        self.stats = Stats()
        self._home = Residence(store, self.limits, self.stats, self._again)
        for served in models:
            self._home.add(served)
        self.stopping = False

    async def __aenter__(self) -> Engine:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Take the lease and begin to look after it."""
        await self._home.start()

    async def close(self) -> None:
        """Finish what is in flight, save every session, give the lease back."""
        if not self.stopping:
            self.stopping = True
            await self._home.close()

    @property
    def ready(self) -> bool:
        """Whether it takes requests and its store answers."""
        return not (self.stopping or self._home.keeper.failing)

    @property
    def waiting(self) -> int:
        """How many steps wait."""
        return self._home.waiting

    # Models

    def models(self) -> list[ModelInfo]:
        """What is served, the newest version of each name last."""
        return [served.info for served in self._home.all()]

    def model(self, name: str, version: str | None = None) -> Served:
        """A model by name, the version that was loaded last unless one is named."""
        return self._home.model(name, version)

    def load_model(self, served: Served) -> ModelInfo:
        """Serve weights beside those of the same name; new sessions get them."""
        return self._home.add(served).info

    # Stepping

    async def step(
        self,
        namespace: str,
        id: str,
        inputs: Any,
        step: int | None = None,
        request_id: str | None = None,
    ) -> StepResult:
        """Give a session one time step or a chunk, exactly once.

        Arguments:
            inputs: (features,) or a token; (T, features) or (T,) for a chunk.
            step: where the session is expected to stand.
            request_id: a repeat of the same id gets the first answer and steps nothing.

        Returns:
            outputs (O,) or (T, O), and where the session stands now.
        """
        request = StepRequest(id, inputs, step, request_id)
        result = (await self.step_many(namespace, [request]))[0]
        if isinstance(result, ServeError):
            raise result
        return result

    async def step_many(
        self, namespace: str, requests: Sequence[StepRequest]
    ) -> list[StepResult | ServeError]:
        """Steps of many sessions; results and errors one by one, in the order of the requests."""
        if not requests:
            return []
        self._check_going(len(requests))
        began = time.perf_counter()
        crowd = None
        if CROWD <= len(requests) <= self.limits.max_batch:
            crowd = self._home.crowd(namespace, requests)
        if crowd is not None:
            results = await self._home.batcher(crowd[0][0]).crowd(*crowd)
        else:
            results = await self._one_by_one(namespace, requests)
        self.stats.requests += len(results)
        self.stats.refused += sum(isinstance(result, ServeError) for result in results)
        self.stats.latency.see(time.perf_counter() - began, len(results))
        return results

    async def _one_by_one(
        self, namespace: str, requests: Sequence[StepRequest]
    ) -> list[StepResult | ServeError]:
        group = Group(len(requests), asyncio.get_running_loop())
        absent: dict[Key, list[tuple[int, StepRequest]]] = {}
        here: list[tuple[int, StepRequest, Session]] = []
        for index, request in enumerate(requests):
            key = (namespace, request.session)
            session = None if key in absent else self._home.here(key)
            if session is None:
                absent.setdefault(key, []).append((index, request))
            else:
                here.append((index, request, session))
        self._enqueue(here, group)
        for key, asked in absent.items():
            self._home.spawn(self._enqueue_absent(key, asked, group))
        await group.future
        results: list[StepResult | ServeError] = group.results
        return results

    def _check_going(self, more: int = 0) -> None:
        if self.stopping:
            raise Stopping("the server is stopping; ask again in a moment", retry_after=1)
        if more and self._home.waiting + more > self.limits.queue:
            raise TooBusy(
                f"{self._home.waiting} steps are waiting and at most {self.limits.queue} may; "
                "ask again in a moment",
                retry_after=1,
            )

    def _enqueue(self, here: list[tuple[int, StepRequest, Session]], group: Group) -> None:
        """Steps of sessions in memory. Single steps of one model are read all at once."""
        together = None
        served = here[0][2].served if len(here) > 1 else None
        if served is not None and all(session.served is served for _, _, session in here):
            together = served.inputs_together([request.inputs for _, request, _ in here])
        for place, (index, request, session) in enumerate(here):
            if together is not None:
                x, single = together[place : place + 1], True
            else:
                try:
                    x, single = session.served.inputs(request.inputs)
                except ServeError as error:
                    group.done(index, error)
                    continue
            job = Job(session, x, single, request, group, index)
            self._home.batcher(session).enqueue(session, job)

    async def _enqueue_absent(
        self, key: Key, asked: list[tuple[int, StepRequest]], group: Group
    ) -> None:
        try:
            session = await self._home.fetch(key)
        except ServeError as error:
            for index, _ in asked:
                group.done(index, error)
            return
        self._enqueue([(index, request, session) for index, request in asked], group)

    def _again(self, key: Key, jobs: list[Job]) -> None:
        """Steps that waited for a session which has left the table: find it once more."""
        for job in jobs:
            work = self._enqueue_absent(key, [(job.index, job.asked)], job.group)
            self._home.spawn(work)

    # Sessions

    async def create(
        self,
        namespace: str,
        model: str,
        id: str | None = None,
        seed: dict[str, Any] | None = None,
        ttl: float | None = None,
        durability: str | None = None,
    ) -> SessionInfo:
        """A new session.

        Arguments:
            model: a name, or ``NAME@VERSION``.
            id: 1 to 128 characters; one is made if None.
            seed: where its state comes from: ``{"inputs": ...}`` consumed, ``{"state": State}``,
                ``{"snapshot": name}``, or ``{"series": id}`` of a forecaster's series.
            ttl: seconds of rest after which it expires.
            durability: ``"step"``, ``"interval"`` or ``"none"``; the server's if None.
        """
        self._check_going()
        served = self._home.model(*_named(model))
        state = await self._seeded(namespace, served, seed or {})
        return await self._make(namespace, id, served, state, ttl, durability)

    async def _seeded(self, namespace: str, served: Served, seed: dict[str, Any]) -> State:
        if len(seed) > 1:
            raise Unprocessable(
                f"a seed is one of inputs, state, snapshot and series, got {sorted(seed)}"
            )
        for kind, given in seed.items():
            if kind == "inputs":
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(None, served.seeded, given)
            if kind == "state":
                return served.admitted(given)
            if kind == "series":
                return served.series(given)
            if kind == "snapshot":
                kept = await self._snapshot(namespace, given)
                return self._opened(served, kept.architecture, kept.state, kept.position)
            raise Unprocessable(f"a seed is inputs, state, snapshot or series, got {kind!r}")
        return served.start()

    async def _make(
        self,
        namespace: str,
        id: str | None,
        served: Served,
        state: State,
        ttl: float | None,
        durability: str | None,
    ) -> SessionInfo:
        name = secrets.token_hex(8) if id is None else _checked_id(id)
        ttl = self.limits.ttl if ttl is None else ttl
        durability = durability or self.limits.durability
        if durability not in ("step", "interval", "none"):
            raise Unprocessable(f"durability is step, interval or none, got {durability!r}")
        if ttl is not None and not 0 < ttl < float("inf"):
            raise Unprocessable(f"ttl is a number of seconds above 0, got {ttl!r}")
        now, key = time.time(), (namespace, name)
        record = Record(
            served.name,
            served.version,
            served.model.architecture.fingerprint,
            int(state.position[0]),
            packed(state),
            None,
            b"",
            b"",
            now,
            now,
            ttl,
            durability,
        )
        write = Write(key, self._home.owner, 0, encoded(record), record.expires)
        try:
            fence = await self._home.keeper.call(
                self._home.keeper.store.create, write, self.limits.quota, durability == "step"
            )
        except Taken:
            raise Exists(
                f"a session {name!r} lives already; choose another id, or delete that one"
            ) from None
        if fence is None:
            raise TooBusy(
                f"there are {self.limits.quota} sessions already, the most that may be; delete "
                "some, or let them expire",
                retry_after=60,
            )
        await self._home.settle(key, served, state, record, fence)
        self.stats.created += 1
        return _info(key, record, True, [])

    async def info(self, namespace: str, id: str) -> SessionInfo:
        """What is known of a session, wherever it is."""
        key = (namespace, id)
        session = self._home.here(key)
        names = await self._home.keeper.call(self._home.keeper.store.names, key)
        if session is not None and session.slot is not None:
            return self._info_of(session, names)
        return _info(key, await self._home.look(key), False, names)

    def _info_of(self, session: Session, names: list[str] | None) -> SessionInfo:
        info = _info(session.key, session.record(b""), True, names)
        return replace(info, used=session.used, expires=session.expires)

    async def list(
        self, namespace: str, cursor: str = "", limit: int = 100
    ) -> tuple[list[SessionInfo], str | None]:
        """Living sessions in the order of their ids, above a cursor; and the next cursor."""
        limit = min(max(int(limit), 1), 1000)
        found = await self._home.page(namespace, cursor, limit)
        infos = []
        for key, record in found:
            session = self._home.here(key)
            infos.append(
                _info(key, record, False, None) if session is None else self._info_of(session, None)
            )
        return infos, infos[-1].id if len(infos) == limit else None

    async def read(self, namespace: str, id: str) -> State:
        """The state of a session, one row."""
        async with self._holding(namespace, id) as session:
            return session.served.table.read(_slot(session))

    async def write(self, namespace: str, id: str, state: State) -> SessionInfo:
        """Set a session to a state; its position comes with it."""
        async with self._holding(namespace, id) as session:
            await self._set(session, session.served.admitted(state))
            return self._info_of(session, None)

    async def snapshot(self, namespace: str, id: str) -> str:
        """Keep the state of a session; returns the snapshot's name."""
        async with self._holding(namespace, id) as session:
            state = session.served.table.read(_slot(session))
            return await self._home.keep(session, packed(state))

    async def fork(
        self, namespace: str, id: str, snapshot: str | None = None, new_id: str | None = None
    ) -> SessionInfo:
        """A new session in the state of another, or of a snapshot of it."""
        self._check_going()
        async with self._holding(namespace, id) as session:
            served, ttl, durability = session.served, session.ttl, session.durability
            state = served.table.read(_slot(session))
        if snapshot is not None:
            kept = await self._snapshot(namespace, snapshot)
            served = self._home.model(kept.model, kept.version)
            state = self._opened(served, kept.architecture, kept.state, kept.position)
        return await self._make(namespace, new_id, served, state, ttl, durability)

    async def rollback(self, namespace: str, id: str, snapshot: str) -> SessionInfo:
        """Return a session to one of its snapshots."""
        kept = await self._snapshot(namespace, snapshot)
        if kept.session != id:
            raise Unprocessable(
                f"snapshot {snapshot!r} is of session {kept.session!r}, not of {id!r}; fork it, or "
                "create a session from it"
            )
        async with self._holding(namespace, id) as session:
            state = self._opened(session.served, kept.architecture, kept.state, kept.position)
            await self._set(session, state)
            return self._info_of(session, None)

    async def delete(self, namespace: str, id: str) -> str:
        """End a session. Its last state stays as a snapshot, whose name is returned."""
        async with self._holding(namespace, id) as session:
            name = await self._home.end(session, "deleted")
        self.stats.deleted += 1
        return name

    async def migrate(
        self,
        namespace: str,
        id: str,
        how: Literal["keep", "replay"] = "keep",
        version: str | None = None,
    ) -> SessionInfo:
        """Move a session to other weights of its model.

        Arguments:
            how: ``"keep"`` the state, where the architectures agree; or ``"replay"`` the last
                inputs, which the server keeps if it was told to.
            version: the newest if None.
        """
        async with self._holding(namespace, id) as session:
            target = self._home.model(session.served.name, version)
            old = session.served.table.read(_slot(session))
            if how == "replay":
                state = target.replayed(session.inputs, session.position)
            else:
                architecture = session.served.model.architecture.fingerprint
                state = self._opened(target, architecture, packed(old), session.position)
            await self._home.move(session, target, state)
        return await self.info(namespace, id)

    # Within

    @asynccontextmanager
    async def _holding(self, namespace: str, id: str) -> AsyncIterator[Session]:
        """A session that nothing steps meanwhile."""
        self._check_going()
        session = await self._home.hold((namespace, id))
        try:
            yield session
        finally:
            self._home.free(session)

    async def _set(self, session: Session, state: State) -> None:
        slot, table = _slot(session), session.served.table
        mark, before = session.mark(), table.read(slot)
        table.write(slot, state)
        session.position, session.answer, session.dirty = int(state.position[0]), None, True
        if session.durability != "step":
            return
        try:
            await self._home.save([(session, packed(state))])
        except BaseException:
            if session.slot is not None:
                table.write(slot, before)
                session.back(mark)
            raise

    async def _snapshot(self, namespace: str, name: Any) -> Snapshot:
        store = self._home.keeper.store
        data = await self._home.keeper.call(store.kept, namespace, str(name))
        if data is None:
            raise self._home.unknown(f"there is no snapshot {name!r}")
        return snapshot(data)

    @staticmethod
    def _opened(served: Served, architecture: str, data: bytes, position: int) -> State:
        """A kept state as one of this model's."""
        if architecture != served.model.architecture.fingerprint:
            raise Unprocessable(
                f"the state belongs to architecture {architecture}, and {served.name} is of "
                f"{served.model.architecture.fingerprint}; only replay can move it"
            )
        try:
            model = served.model
            return unpacked(data, position, model.architecture, served.dtype.name, model.origin)
        except StatewiseError as error:
            raise BadInput(str(error)) from None


def _info(key: Key, record: Record, resident: bool, names: list[str] | None) -> SessionInfo:
    return SessionInfo(
        key[1],
        record.model,
        record.version,
        record.position,
        record.created,
        record.used,
        record.expires,
        record.durability,
        resident,
        names,
    )


def _named(model: str) -> tuple[str, str | None]:
    name, _, version = model.partition("@")
    return name, version or None


def _checked_id(id: str) -> str:
    if not (0 < len(id) <= LONGEST_ID and id.isprintable() and "/" not in id):
        raise Unprocessable(
            f"an id has 1 to {LONGEST_ID} printable characters and no slash, got {id[:140]!r}"
        )
    return id


def _slot(session: Session) -> int:
    assert session.slot is not None
    return session.slot
