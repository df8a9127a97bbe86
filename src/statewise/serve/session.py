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
    from statewise.serve.models import ServedModel

REMEMBERED = 8
"""How many request ids a session remembers."""


class StepRequest(msgspec.Struct, frozen=True):
    """One entry of a request for many sessions.

    Arguments:
        session: its id.
        inputs: one time step, (features,) or a token; or a chunk, (T, features) or (T,).
        step: the position at which the session is expected.
        request_id: an id of this step, so that it is applied once even if it is repeated.
    """

    session: str
    inputs: Any
    step: int | None = None
    request_id: str | None = None


class StepResult(msgspec.Struct, frozen=True):
    """The result of a step.

    Arguments:
        outputs: (O,) for a time step, (T, O) for a chunk.
        step: the position of the session.
        replayed: whether this is the first answer again, to a repeated request.
    """

    outputs: np.ndarray
    step: int
    replayed: bool = False


def join_key(key: Key) -> str:
    """Join a key to one string, which takes less memory; a namespace has no slash."""
    return f"{key[0]}/{key[1]}"


class Session:
    """A session in memory. `slot` is None once it has left. There may be very many, so its numbers
    are in columns beside the table.
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
        self, key: Key, served: ServedModel, slot: int, record: Record, fence: int, epoch: int
    ) -> None:
        self.place, self.served, self.fence, self.epoch = join_key(key), served, fence, epoch
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
        """When it expires without further requests."""
        return None if self.ttl is None else self.used + self.ttl

    def save_mark(self) -> tuple[Any, ...]:
        """Note where the session stands, for `restore_mark`."""
        return self.position, self.answer, self.known, self.inputs, self.dirty

    def restore_mark(self, mark: tuple[Any, ...]) -> None:
        """Undo what came after a mark; the caller restores the state in the table."""
        self.position, self.answer, self.known, self.inputs, self.dirty = mark

    def make_record(self, state: bytes) -> Record:
        """Make the record to store, with the state as bytes."""
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

    def enqueue(self, waiter: Job | asyncio.Future[None]) -> None:
        """Add to the session's queue."""
        if self.waiting is None:
            self.waiting = deque()
        self.waiting.append(waiter)

    def replay(self, job: Job) -> StepResult | None:
        """Find the first answer if this request was applied before; None if it is to be applied
        now.

        Raises:
            WrongPosition: the session is at another position than expected, or the request was
                applied before and its answer is no longer known.
            Unprocessable: a request id used again with other inputs.
        """
        last = self.answer
        if job.request is not None:
            if last is not None and last.request == job.request:
                if last.digest != job.digest:
                    raise Unprocessable(
                        f"request_id {job.request!r} was used before with other inputs; give each "
                        "step its own id"
                    )
                return self._repeat_answer(last)
            if _hash_request(job.request) in _split_hashes(self.known):
                raise WrongPosition(
                    f"request_id {job.request!r} was applied before, and others since; its answer "
                    "is no longer known",
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
            return self._repeat_answer(last)
        raise WrongPosition(
            f"the request expects the session at step {job.step}, and it is at step "
            f"{self.position}; read its state, or go on from there",
            step=self.position,
        )

    def advance(self, x: np.ndarray, keep: int) -> int:
        """Note that inputs (T, ...) were consumed; return the position."""
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
            self.known = (self.known + _hash_request(job.request))[-8 * REMEMBERED :]
        if job.request is not None or job.step is not None:
            self.answer = Answer(
                job.request, start, self.position, job.digest, outputs.tobytes(), job.single
            )
        return StepResult(outputs[0] if job.single else outputs, self.position)

    def _repeat_answer(self, answer: Answer) -> StepResult:
        width = self.served.model.architecture.width
        outputs = np.frombuffer(answer.outputs, self.served.dtype).reshape(-1, width)
        return StepResult(outputs[0] if answer.single else outputs, answer.end, replayed=True)


class Group:
    """The steps of one request: their results, and the future that is done with the last one."""

    __slots__ = ("future", "left", "results")

    def __init__(self, count: int, loop: asyncio.AbstractEventLoop) -> None:
        self.results: list[Any] = [None] * count
        self.left = count
        self.future: asyncio.Future[None] = loop.create_future()

    def finish(self, index: int, result: StepResult | ServeError) -> None:
        """Give one of them its result."""
        self.results[index] = result
        self.left -= 1
        if not self.left and not self.future.done():
            self.future.set_result(None)


class Job:
    """A waiting step: inputs (T, ...), and where its result goes."""

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
        """The digest of the inputs."""
        if self._digest is None:
            self._digest = hashlib.blake2b(self.x.tobytes(), digest_size=8).digest()
        return self._digest

    def finish(self, result: StepResult | ServeError) -> None:
        """Give the step its result."""
        self.group.finish(self.index, result)


def _hash_request(request: str) -> bytes:
    return hashlib.blake2b(request.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _split_hashes(known: bytes) -> set[bytes]:
    return {known[at : at + 8] for at in range(0, len(known), 8)}
