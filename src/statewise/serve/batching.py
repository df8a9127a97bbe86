"""`Batcher`: who waits for a model is stepped together.

A session has at most one step in flight and a queue of its own behind it. Steps whose turn it is
meet in one batch; while a large batch computes in its thread the next one gathers.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from statewise.errors import StatewiseError
from statewise.serve.errors import ModelFailed, OwnedElsewhere, ServeError, StoreFailed
from statewise.serve.keeper import Keeper
from statewise.serve.models import Served
from statewise.serve.records import packed_rows
from statewise.serve.session import Job, Session, StepResult
from statewise.serve.stats import Stats
from statewise.state import State

INLINE = 0.003
"""Seconds up to which the event loop computes a batch itself: a thread costs more."""
CROWD = 32
"""Plain steps in one request from which on they are a batch of their own."""
FAILURES = (StatewiseError, ValueError, ArithmeticError, MemoryError)
"""What a model may raise in a step."""
T = TypeVar("T")

Durable = tuple[Job, StepResult, tuple[Any, ...], int]


class Batcher:
    """The steps that wait for one model.

    Arguments:
        served: the model and its table.
        keeper: where durable states go before their answers leave.
        stats: what is counted.
        max_batch: sessions stepped together at most.
        max_wait: seconds that a step may wait for company.
        keep: inputs kept for a replay.
        lost: called with a session that another server has taken.
    """

    def __init__(
        self,
        served: Served,
        keeper: Keeper,
        stats: Stats,
        *,
        max_batch: int,
        max_wait: float,
        keep: int,
        lost: Callable[[Session], None],
    ) -> None:
        self.served, self.keeper, self.stats = served, keeper, stats
        self.max_batch, self.max_wait, self.keep, self.lost = max_batch, max_wait, keep, lost
        self.waiting = 0
        self._ready: deque[Job] = deque()
        self._scheduled = False
        self._pace = 1e-4  # seconds that a session step takes, as seen of late
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="statewise-step")
        self._tasks: set[asyncio.Task[Any]] = set()

    def enqueue(self, session: Session, job: Job) -> None:
        """A step, behind those that wait for its session already."""
        self.waiting += 1
        if session.busy:
            session.wait(job)
        else:
            self._begin(session, job)

    async def crowd(self, sessions: list[Session], x: np.ndarray) -> list[StepResult | ServeError]:
        """One step each of many sessions that are marked as busy: a batch of their own, which is
        finished also if whoever asked goes away. x (N, ...) -> results in the same order.
        """
        self.waiting += len(sessions)
        return await asyncio.shield(self._spawn(self._crowd(sessions, x)))

    async def _crowd(self, sessions: list[Session], x: np.ndarray) -> list[StepResult | ServeError]:
        loop, step = asyncio.get_running_loop(), self.served.step_once
        slots = np.array([session.slot for session in sessions], np.int64)
        results: list[StepResult | ServeError] = []
        try:
            if self._long(len(sessions)):
                aside = loop.run_in_executor(self._thread, self._timed, len(x), step, slots, x)
                y, bad, _, _ = await aside
            else:
                y, bad, _, _ = self._timed(len(x), step, slots, x)
        except FAILURES as error:
            results = [_failed(error) for _ in sessions]
        else:
            self._count(slots & 0xFFFFFFFF, len(sessions))
            for row, session in enumerate(sessions):
                if bad[row]:
                    results.append(_not_a_number(session))
                else:
                    position = session.advance(x[row : row + 1], self.keep)
                    results.append(StepResult(y[row], position))
        self.waiting -= len(sessions)
        for session in sessions:
            self.release(session)
        return results

    def release(self, session: Session) -> None:
        """A session is free again: the next in its queue."""
        session.busy = False
        while session.waiting:
            waiter = session.waiting.popleft()
            if not isinstance(waiter, Job):
                if not waiter.done():
                    session.busy = True
                    waiter.set_result(None)
                    return
            elif self._begin(session, waiter):
                return
        session.waiting = None

    def end(self, job: Job, result: StepResult | ServeError) -> None:
        """A step has its result."""
        self.waiting -= 1
        job.done(result)

    def close(self) -> None:
        """Let go of the thread."""
        self._thread.shutdown()

    def _begin(self, session: Session, job: Job) -> bool:
        """Take a step into the next batch, unless its answer is known already."""
        if job.group.future.done():  # whoever asked has gone
            self.waiting -= 1
            return False
        try:
            again = session.replay(job)
        except ServeError as error:
            self.end(job, error)
            return False
        if again is not None:
            self.stats.replays += 1
            self.end(job, again)
            return False
        session.busy = True
        self._ready.append(job)
        self._schedule()
        return True

    def _schedule(self) -> None:
        if self._scheduled:
            return
        self._scheduled = True
        loop = asyncio.get_running_loop()
        if self.max_wait:
            loop.call_later(self.max_wait, self._go)
        else:
            loop.call_soon(self._go)

    def _go(self) -> None:
        """Step one batch. `_scheduled` stays set while it computes, so the next one gathers."""
        jobs = [self._ready.popleft() for _ in range(min(len(self._ready), self.max_batch))]
        steps = sum(job.steps for job in jobs)
        if self._long(steps):
            self._spawn(self._aside(jobs, steps))
            return
        try:
            self._settle(jobs, *self._timed(steps, self.served.step, jobs))
        except FAILURES as error:
            self._fail(jobs, error)
        self._scheduled = False
        if self._ready:
            self._schedule()

    async def _aside(self, jobs: list[Job], steps: int) -> None:
        loop, work = asyncio.get_running_loop(), self.served.step
        try:
            done = await loop.run_in_executor(self._thread, self._timed, steps, work, jobs)
            self._settle(jobs, *done)
        except FAILURES as error:
            self._fail(jobs, error)
        self._scheduled = False
        if self._ready:
            self._schedule()

    def _fail(self, jobs: Sequence[Job], error: Exception) -> None:
        for job in jobs:
            self.end(job, _failed(error))
            self.release(job.session)

    def _settle(
        self, jobs: list[Job], outputs: list[np.ndarray | None], before: State, after: State
    ) -> None:
        durable: list[Durable] = []
        self._count([job.session.index for job in jobs], sum(job.steps for job in jobs))
        for row, (job, y) in enumerate(zip(jobs, outputs, strict=True)):
            session = job.session
            if y is None:
                self.end(job, _not_a_number(session))
                self.release(session)
            elif session.durability == "step":
                mark = session.mark()
                durable.append((job, session.apply(job, y, self.keep), mark, row))
            else:
                self.end(job, session.apply(job, y, self.keep))
                self.release(session)
        if durable:
            self._spawn(self._write(durable, before, after))

    def _long(self, steps: int) -> bool:
        return steps * self._pace > INLINE

    def _timed(self, steps: int, work: Callable[..., T], *given: Any) -> T:
        began = time.perf_counter()
        done = work(*given)
        self._pace += 0.2 * ((time.perf_counter() - began) / max(steps, 1) - self._pace)
        return done

    def _count(self, rows: Any, steps: int) -> None:
        self.served.used[rows] = time.time()
        self.stats.batches.see(len(rows))
        self.stats.steps += steps

    async def _write(self, durable: list[Durable], before: State, after: State) -> None:
        """Answer only what is on disk; what cannot be written has not happened."""
        try:
            states = packed_rows(after)
            done = await self.keeper.save(
                [(job.session, states[row]) for job, _, _, row in durable]
            )
        except StoreFailed as error:
            rows = [row for *_, row in durable]
            slots = [job.session.slot for job, *_ in durable]
            self.served.table.scatter(np.array(slots, np.int64), before.rows(rows))
            for job, _, mark, _ in durable:
                job.session.back(mark)
                self.end(job, error)
                self.release(job.session)
            return
        self.stats.writes += len(durable)
        for (job, result, _, _), kept in zip(durable, done, strict=True):
            if kept:
                self.end(job, result)
                self.release(job.session)
            else:
                self.end(job, taken(job.session))
                self.lost(job.session)

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _failed(error: Exception) -> ModelFailed:
    return ModelFailed(f"the model could not take this step: {error}")


def _not_a_number(session: Session) -> ModelFailed:
    message = "the model gave a number that is not finite; the session stands as before"
    return ModelFailed(message, step=session.position)


def taken(session: Session) -> OwnedElsewhere:
    """What is said of a session that another server has."""
    return OwnedElsewhere(
        f"session {session.key[1]!r} is another server's now; nothing was changed, ask again",
        retry_after=1,
    )
