"""A session in memory, the steps that wait for it, and the rule that applies each exactly once."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from statewise.serve.errors import ServeError, Unprocessable, WrongPosition
from statewise.serve.records import Answer, Key, Record

if TYPE_CHECKING:
    from statewise.serve.models import Served

REMEMBERED = 8
"""How many request ids a session knows beyond the last."""


class StepRequest(msgspec.Struct, frozen=True):
    """One entry of a request for many sessions.

    Arguments:
        session: its id.
        inputs: one time step, (features,) or a token; or a chunk, (T, features) or (T,).
        step: where the session is expected to stand.
        request_id: names this step, so that it is applied once however often it comes.
    """

    session: str
    inputs: Any
    step: int | None = None
    request_id: str | None = None


class StepResult(msgspec.Struct, frozen=True):
    """What a step gives.

    Arguments:
        outputs: (O,) for a time step, (T, O) for a chunk.
        step: where the session stands now.
        replayed: whether this is the first answer to a request that came again.
    """

    outputs: np.ndarray
    step: int
    replayed: bool = False


def place(key: Key) -> str:
    """A key as one string, which takes less memory; a namespace has no slash."""
    return f"{key[0]}/{key[1]}"


class Session:
    """A session in memory. `slot` is None once it has left. There may be very many: what is a
    number lies in columns beside the table.
    """

    __slots__ = (
        "answer",
        "busy",
        "dirty",
        "durability",
        "epoch",
        "fence",
        "inputs",
        "known",
        "place",
        "position",
        "served",
        "slot",
        "ttl",
        "waiting",
    )

    def __init__(
        self, key: Key, served: Served, slot: int, record: Record, fence: int, epoch: int
    ) -> None:
        self.place, self.served, self.fence, self.epoch = place(key), served, fence, epoch
        self.slot: int | None = slot
        self.position, self.answer, self.known = record.position, record.answer, record.known
        self.inputs = record.inputs
        self.ttl = record.ttl
        self.durability = sys.intern(record.durability)
        self.dirty = self.busy = False
        self.waiting: deque[Job | asyncio.Future[None]] | None = None

    @property
    def key(self) -> Key:
        """Its namespace and its id."""
        namespace, _, name = self.place.partition("/")
        return namespace, name

    @property
    def index(self) -> int:
        """Its row in the table."""
        return (self.slot or 0) & 0xFFFFFFFF

    @property
    def used(self) -> float:
        """When it was last stepped, Unix time."""
        return float(self.served.used[self.index])

    @property
    def expires(self) -> float | None:
        """When it expires if it rests until then."""
        return None if self.ttl is None else self.used + self.ttl

    def mark(self) -> tuple[Any, ...]:
        """What `back` returns to, should a step not be kept."""
        return self.position, self.answer, self.known, self.inputs, self.dirty

    def back(self, mark: tuple[Any, ...]) -> None:
        """Stand again where `mark` was taken; the state in the table is the caller's."""
        self.position, self.answer, self.known, self.inputs, self.dirty = mark

    def record(self, state: bytes) -> Record:
        """What to store of it, with its state as bytes."""
        return Record(
            self.served.name,
            self.served.version,
            self.served.model.architecture.fingerprint,
            self.position,
            state,
            self.answer,
            self.known,
            self.inputs,
            float(self.served.created[self.index]),
            self.used,
            self.ttl,
            self.durability,
        )

    def wait(self, waiter: Job | asyncio.Future[None]) -> None:
        """Take a place in the session's queue."""
        if self.waiting is None:
            self.waiting = deque()
        self.waiting.append(waiter)

    def replay(self, job: Job) -> StepResult | None:
        """The first answer if this request came before, None if it is to be applied now.

        Raises:
            WrongPosition: the session stands elsewhere than expected, or the request was applied
                before and its answer is no longer kept.
            Unprocessable: a request id used again with other inputs.
        """
        last = self.answer
        if job.request is not None:
            if last is not None and last.request == job.request:
                if last.digest != job.digest:
                    raise Unprocessable(
                        f"request_id {job.request!r} was used before with other inputs; give each "
                        "step an id of its own"
                    )
                return self._again(last)
            if _short(job.request) in _split(self.known):
                raise WrongPosition(
                    f"request_id {job.request!r} was applied before, and others since; its answer "
                    "is no longer kept",
                    step=self.position,
                    applied=True,
                )
        if job.step is None or job.step == self.position:
            return None
        if (
            job.request is None
            and last is not None
            and (last.start, last.end) == (job.step, self.position)
            and last.digest == job.digest
        ):
            return self._again(last)
        raise WrongPosition(
            f"the request expects the session at step {job.step}, and it stands at "
            f"{self.position}; read its state, or go on from there",
            step=self.position,
        )

    def advance(self, x: np.ndarray, keep: int) -> int:
        """Note that inputs (T, ...) were consumed; returns where the session stands now."""
        self.position += len(x)
        self.dirty = True
        self.answer = None
        if keep:
            self.inputs = (self.inputs + x.tobytes())[-keep * x[0].nbytes :]
        return self.position

    def apply(self, job: Job, outputs: np.ndarray, keep: int) -> StepResult:
        """Note that a job was applied."""
        start = self.position
        self.advance(job.x, keep)
        if job.request is not None:
            self.known = (self.known + _short(job.request))[-8 * REMEMBERED :]
        if job.request is not None or job.step is not None:
            self.answer = Answer(
                job.request, start, self.position, job.digest, outputs.tobytes(), job.single
            )
        return StepResult(outputs[0] if job.single else outputs, self.position)

    def _again(self, answer: Answer) -> StepResult:
        width = self.served.model.architecture.width
        outputs = np.frombuffer(answer.outputs, self.served.dtype).reshape(-1, width)
        return StepResult(outputs[0] if answer.single else outputs, answer.end, replayed=True)


class Group:
    """The steps of one request: their results, and the future that waits for the last of them."""

    __slots__ = ("future", "left", "results")

    def __init__(self, count: int, loop: asyncio.AbstractEventLoop) -> None:
        self.results: list[Any] = [None] * count
        self.left = count
        self.future: asyncio.Future[None] = loop.create_future()

    def done(self, index: int, result: StepResult | ServeError) -> None:
        """One of them has its result."""
        self.results[index] = result
        self.left -= 1
        if not self.left and not self.future.done():
            self.future.set_result(None)


class Job:
    """A step that waits: inputs (T, ...), and where its result goes."""

    __slots__ = (
        "_digest",
        "asked",
        "group",
        "index",
        "request",
        "session",
        "single",
        "step",
        "steps",
        "x",
    )

    def __init__(
        self,
        session: Session,
        x: np.ndarray,
        single: bool,
        request: StepRequest,
        group: Group,
        index: int,
    ) -> None:
        self.session, self.x, self.single, self.steps = session, x, single, len(x)
        self.step, self.request, self.asked = request.step, request.request_id, request
        self.group, self.index = group, index
        self._digest: bytes | None = None

    @property
    def digest(self) -> bytes:
        """Of the inputs."""
        if self._digest is None:
            self._digest = hashlib.blake2b(self.x.tobytes(), digest_size=8).digest()
        return self._digest

    def done(self, result: StepResult | ServeError) -> None:
        """The step has its result."""
        self.group.done(self.index, result)


def _short(request: str) -> bytes:
    return hashlib.blake2b(request.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _split(known: bytes) -> set[bytes]:
    return {known[at : at + 8] for at in range(0, len(known), 8)}
