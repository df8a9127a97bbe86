"""`Engine`: the sessions of a server, the same for every protocol."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from statewise.errors import StatewiseError
from statewise.serve.batching import MIN_BATCH
from statewise.serve.errors import (
    BadInput,
    Exists,
    ServeError,
    Stopping,
    TooBusy,
    Unprocessable,
)
from statewise.serve.models import ModelInfo, ServedModel
from statewise.serve.records import (
    Key,
    Record,
    Snapshot,
    decode_snapshot,
    encode_record,
    pack_state,
    unpack_state,
)
from statewise.serve.residence import Limits, Residence
from statewise.serve.session import Group, Job, Session, StepRequest, StepResult
from statewise.serve.stats import Stats
from statewise.serve.stores.base import IdInUse, Store, Write
from statewise.state import State

LONGEST_ID = 128


@dataclass(frozen=True)
class SessionInfo:
    """What a client is told about a session.

    Arguments:
        id: its name. model, version: the weights it is pinned to.
        step: how many time steps it has consumed.
        created, used, expires: Unix times; `expires` is None for a session that does not.
        durability: ``"step"``, ``"interval"`` or ``"none"``.
        resident: whether it is in memory here, or only in the store.
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
    """Sessions of models: stepped in batches, each step applied exactly once, saved as asked.

    Every method takes the namespace whose sessions it may use. All run in one event loop.

    Arguments:
        models: what is served, see `ServedModel.read`.
        store: where sessions are saved.
        limits: of tables, batches, queues and leases.

    Raises:
        ServeError: from every method, one of its subclasses.

    Example::

        async with Engine([ServedModel.read("m", "m.safetensors", 1000)], MemoryStore()) as engine:
            await engine.create("me", "m", id="a")
            result = await engine.step("me", "a", [0.5])
    """

    def __init__(
        self, models: Iterable[ServedModel], store: Store, limits: Limits | None = None
    ) -> None:
        self.limits = limits or Limits()
        self.stats = Stats()
        self._home = Residence(store, self.limits, self.stats, self._requeue)
        for served in models:
            self._home.add_model(served)
        self.stopping = False

    async def __aenter__(self) -> Engine:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Take the lease and start the background tasks."""
        await self._home.start()

    async def close(self) -> None:
        """Finish the steps in flight, save every session, give up the lease."""
        if not self.stopping:
            self.stopping = True
            await self._home.close()

    @property
    def ready(self) -> bool:
        """Whether it takes requests and its store works."""
        return not (self.stopping or self._home.keeper.failing)

    @property
    def waiting(self) -> int:
        """How many steps are waiting."""
        return self._home.waiting

    # Models

    def models(self) -> list[ModelInfo]:
        """List the models served, the newest version of each name last."""
        return [served.info for served in self._home.list_models()]

    def model(self, name: str, version: str | None = None) -> ServedModel:
        """Find a model by name: the version loaded last, unless one is named."""
        return self._home.find_model(name, version)

    def load_model(self, served: ServedModel) -> ModelInfo:
        """Serve weights beside those of the same name; new sessions use them."""
        return self._home.add_model(served).info

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
            step: the position at which the session is expected.
            request_id: a repeat of the same id gets the first answer, and no step is taken.

        Returns:
            outputs (O,) or (T, O), and the position of the session.
        """
        request = StepRequest(id, inputs, step, request_id)
        result = (await self.step_many(namespace, [request]))[0]
        if isinstance(result, ServeError):
            raise result
        return result

    async def step_many(
        self, namespace: str, requests: Sequence[StepRequest]
    ) -> list[StepResult | ServeError]:
        """Step many sessions; results and errors one by one, in the order of the requests."""
        if not requests:
            return []
        self._check_running(len(requests))
        began = time.perf_counter()
        batch = None
        if MIN_BATCH <= len(requests) <= self.limits.max_batch:
            batch = self._home.find_batch(namespace, requests)
        if batch is not None:
            results = await self._home.find_batcher(batch[0][0]).step_batch(*batch)
        else:
            results = await self._one_by_one(namespace, requests)
        self.stats.requests += len(results)
        self.stats.refused += sum(isinstance(result, ServeError) for result in results)
        self.stats.latency.observe(time.perf_counter() - began, len(results))
        return results

    async def _one_by_one(
        self, namespace: str, requests: Sequence[StepRequest]
    ) -> list[StepResult | ServeError]:
        group = Group(len(requests), asyncio.get_running_loop())
        absent: dict[Key, list[tuple[int, StepRequest]]] = {}
        here: list[tuple[int, StepRequest, Session]] = []
        for index, request in enumerate(requests):
            key = (namespace, request.session)
            session = None if key in absent else self._home.find_resident(key)
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

    def _check_running(self, more: int = 0) -> None:
        if self.stopping:
            raise Stopping("the server is stopping; try again in a moment", retry_after=1)
        if more and self._home.waiting + more > self.limits.queue:
            raise TooBusy(
                f"{self._home.waiting} steps are waiting, and at most {self.limits.queue} may; "
                "try again in a moment",
                retry_after=1,
            )

    def _enqueue(self, here: list[tuple[int, StepRequest, Session]], group: Group) -> None:
        """Enqueue steps of sessions in memory. Inputs of one model are read all at once."""
        together = None
        served = here[0][2].served if len(here) > 1 else None
        if served is not None and all(session.served is served for _, _, session in here):
            together = served.read_batch([request.inputs for _, request, _ in here])
        for place, (index, request, session) in enumerate(here):
            if together is not None:
                x, single = together[place : place + 1], True
            else:
                try:
                    x, single = session.served.read_inputs(request.inputs)
                except ServeError as error:
                    group.finish(index, error)
                    continue
            job = Job(session, x, single, request, group, index)
            self._home.find_batcher(session).enqueue(session, job)

    async def _enqueue_absent(
        self, key: Key, asked: list[tuple[int, StepRequest]], group: Group
    ) -> None:
        try:
            session = await self._home.fetch(key)
        except ServeError as error:
            for index, _ in asked:
                group.finish(index, error)
            return
        self._enqueue([(index, request, session) for index, request in asked], group)

    def _requeue(self, key: Key, jobs: list[Job]) -> None:
        """Enqueue steps again whose session has left memory while they waited."""
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
        """Create a session.

        Arguments:
            model: a name, or ``NAME@VERSION``.
            id: 1 to 128 characters; a random one if None.
            seed: where its state comes from: ``{"inputs": ...}`` consumed, ``{"state": State}``,
                ``{"snapshot": name}``, or ``{"series": id}`` of a forecaster's series.
            ttl: seconds without a request after which it expires.
            durability: ``"step"``, ``"interval"`` or ``"none"``; the server's default if None.
        """
        self._check_running()
        served = self._home.find_model(*_split_version(model))
        state = await self._make_seed_state(namespace, served, seed or {})
        return await self._create(namespace, id, served, state, ttl, durability)

    async def _make_seed_state(
        self, namespace: str, served: ServedModel, seed: dict[str, Any]
    ) -> State:
        if len(seed) > 1:
            raise Unprocessable(
                f"a seed must be one of inputs, state, snapshot and series, got {sorted(seed)}"
            )
        for kind, given in seed.items():
            if kind == "inputs":
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(None, served.seed_state, given)
            if kind == "state":
                return served.admit_state(given)
            if kind == "series":
                return served.find_series_state(given)
            if kind == "snapshot":
                kept = await self._load_snapshot(namespace, given)
                return self._restore(served, kept.architecture, kept.state, kept.position)
            raise Unprocessable(f"a seed must be inputs, state, snapshot or series, got {kind!r}")
        return served.make_start_state()

    async def _create(
        self,
        namespace: str,
        id: str | None,
        served: ServedModel,
        state: State,
        ttl: float | None,
        durability: str | None,
    ) -> SessionInfo:
        name = secrets.token_hex(8) if id is None else _check_id(id)
        ttl = self.limits.ttl if ttl is None else ttl
        durability = durability or self.limits.durability
        if durability not in ("step", "interval", "none"):
            raise Unprocessable(f"durability must be step, interval or none, got {durability!r}")
        if ttl is not None and not 0 < ttl < float("inf"):
            raise Unprocessable(f"ttl must be a number of seconds above 0, got {ttl!r}")
        now, key = time.time(), (namespace, name)
        record = Record(
            served.name,
            served.version,
            served.model.architecture.fingerprint,
            int(state.position[0]),
            pack_state(state),
            None,
            b"",
            b"",
            now,
            now,
            ttl,
            durability,
        )
        write = Write(key, self._home.owner, 0, encode_record(record), record.expires)
        try:
            fence = await self._home.keeper.call(
                self._home.keeper.store.create, write, self.limits.quota, durability == "step"
            )
        except IdInUse:
            raise Exists(
                f"a session {name!r} already exists; choose another id, or delete that session"
            ) from None
        if fence is None:
            raise TooBusy(
                f"there are {self.limits.quota} sessions, as many as are allowed; delete some, or "
                "let them expire",
                retry_after=60,
            )
        await self._home.admit(key, served, state, record, fence)
        self.stats.created += 1
        return _describe(key, record, True, [])

    async def info(self, namespace: str, id: str) -> SessionInfo:
        """Describe a session, in memory or in the store."""
        key = (namespace, id)
        session = self._home.find_resident(key)
        names = await self._home.keeper.call(self._home.keeper.store.names, key)
        if session is not None and session.slot is not None:
            return self._describe_session(session, names)
        return _describe(key, await self._home.read_record(key), False, names)

    def _describe_session(self, session: Session, names: list[str] | None) -> SessionInfo:
        info = _describe(session.key, session.make_record(b""), True, names)
        return replace(info, used=session.used, expires=session.expires)

    async def list(
        self, namespace: str, cursor: str = "", limit: int = 100
    ) -> tuple[list[SessionInfo], str | None]:
        """List sessions in the order of their ids, from a cursor on; and the next cursor."""
        limit = min(max(int(limit), 1), 1000)
        found = await self._home.list_page(namespace, cursor, limit)
        infos = []
        for key, record in found:
            session = self._home.find_resident(key)
            infos.append(
                _describe(key, record, False, None)
                if session is None
                else self._describe_session(session, None)
            )
        return infos, infos[-1].id if len(infos) == limit else None

    async def read(self, namespace: str, id: str) -> State:
        """Read the state of a session, one row."""
        async with self._hold(namespace, id) as session:
            return session.served.table.read(_get_slot(session))

    async def write(self, namespace: str, id: str, state: State) -> SessionInfo:
        """Set a session to a state; its position comes with it."""
        async with self._hold(namespace, id) as session:
            await self._set_state(session, session.served.admit_state(state))
            return self._describe_session(session, None)

    async def snapshot(self, namespace: str, id: str) -> str:
        """Save the state of a session as a snapshot; return its name."""
        async with self._hold(namespace, id) as session:
            state = session.served.table.read(_get_slot(session))
            return await self._home.save_snapshot(session, pack_state(state))

    async def fork(
        self, namespace: str, id: str, snapshot: str | None = None, new_id: str | None = None
    ) -> SessionInfo:
        """Create a session in the state of another, or of one of its snapshots."""
        self._check_running()
        async with self._hold(namespace, id) as session:
            served, ttl, durability = session.served, session.ttl, session.durability
            state = served.table.read(_get_slot(session))
        if snapshot is not None:
            kept = await self._load_snapshot(namespace, snapshot)
            served = self._home.find_model(kept.model, kept.version)
            state = self._restore(served, kept.architecture, kept.state, kept.position)
        return await self._create(namespace, new_id, served, state, ttl, durability)

    async def rollback(self, namespace: str, id: str, snapshot: str) -> SessionInfo:
        """Return a session to one of its snapshots."""
        kept = await self._load_snapshot(namespace, snapshot)
        if kept.session != id:
            raise Unprocessable(
                f"snapshot {snapshot!r} belongs to session {kept.session!r}, not to {id!r}; fork "
                "that session, or create one from the snapshot"
            )
        async with self._hold(namespace, id) as session:
            state = self._restore(session.served, kept.architecture, kept.state, kept.position)
            await self._set_state(session, state)
            return self._describe_session(session, None)

    async def delete(self, namespace: str, id: str) -> str:
        """Delete a session. Its last state is saved as a snapshot, whose name is returned."""
        async with self._hold(namespace, id) as session:
            name = await self._home.end_session(session, "deleted")
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
            how: ``"keep"`` the state, if the architectures are equal; or ``"replay"`` the last
                inputs, if the server saves them.
            version: the newest if None.
        """
        async with self._hold(namespace, id) as session:
            target = self._home.find_model(session.served.name, version)
            old = session.served.table.read(_get_slot(session))
            if how == "replay":
                state = target.replay_inputs(session.inputs, session.position)
            else:
                architecture = session.served.model.architecture.fingerprint
                state = self._restore(target, architecture, pack_state(old), session.position)
            await self._home.move_session(session, target, state)
        return await self.info(namespace, id)

    # Helpers

    @asynccontextmanager
    async def _hold(self, namespace: str, id: str) -> AsyncIterator[Session]:
        """Hold a session: nothing else steps it meanwhile."""
        self._check_running()
        session = await self._home.hold((namespace, id))
        try:
            yield session
        finally:
            self._home.release(session)

    async def _set_state(self, session: Session, state: State) -> None:
        slot, table = _get_slot(session), session.served.table
        mark, before = session.save_mark(), table.read(slot)
        table.write(slot, state)
        session.position, session.answer, session.dirty = int(state.position[0]), None, True
        if session.durability != "step":
            return
        try:
            await self._home.save([(session, pack_state(state))])
        except BaseException:
            if session.slot is not None:
                table.write(slot, before)
                session.restore_mark(mark)
            raise

    async def _load_snapshot(self, namespace: str, name: Any) -> Snapshot:
        store = self._home.keeper.store
        data = await self._home.keeper.call(store.load_snapshot, namespace, str(name))
        if data is None:
            raise self._home.explain_unknown(f"there is no snapshot {name!r}")
        return decode_snapshot(data)

    @staticmethod
    def _restore(served: ServedModel, architecture: str, data: bytes, position: int) -> State:
        """Restore a saved state as one of this model's."""
        if architecture != served.model.architecture.fingerprint:
            raise Unprocessable(
                f"the state belongs to architecture {architecture}, and {served.name} has "
                f"{served.model.architecture.fingerprint}; migrate with how='replay'"
            )
        try:
            model = served.model
            return unpack_state(data, position, model.architecture, served.dtype.name, model.origin)
        except StatewiseError as error:
            raise BadInput(str(error)) from None


def _describe(key: Key, record: Record, resident: bool, names: list[str] | None) -> SessionInfo:
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


def _split_version(model: str) -> tuple[str, str | None]:
    name, _, version = model.partition("@")
    return name, version or None


def _check_id(id: str) -> str:
    if not (0 < len(id) <= LONGEST_ID and id.isprintable() and "/" not in id):
        raise Unprocessable(
            f"an id must have 1 to {LONGEST_ID} printable characters and no slash, got {id[:140]!r}"
        )
    return id


def _get_slot(session: Session) -> int:
    assert session.slot is not None
    return session.slot
