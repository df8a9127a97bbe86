"""`Batcher`: steps that wait for a model are run as one batch.

A session has at most one step in flight; further steps wait in its queue. The first steps of all
queues form a batch. While a large batch runs in its thread, the next one forms.
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
from statewise.serve.models import ServedModel
from statewise.serve.records import pack_rows
from statewise.serve.session import Job, Session, StepResult
from statewise.serve.stats import Stats
from statewise.state import State

INLINE = 0.003
"""Seconds up to which the event loop runs a batch itself: handing it to a thread costs more."""
MIN_BATCH = 32
"""How many plain steps in one request form a batch of their own."""
FAILURES = (StatewiseError, ValueError, ArithmeticError, MemoryError)
"""What a model may raise in a step."""
T = TypeVar("T")

Durable = tuple[Job, StepResult, tuple[Any, ...], int]


class Batcher:
    """The steps that wait for one model.

    Arguments:
        served: the model and its table.
        keeper: writes durable states before their answers are sent.
        stats: counters.
        max_batch: how many sessions to step together at most.
        max_wait: seconds to wait to form a batch.
        keep: how many inputs of a session to save for a replay.
        on_takeover: called with a session that another server has taken over.
    """

    def __init__(
        self,
        served: ServedModel,
        keeper: Keeper,
        stats: Stats,
        *,
        max_batch: int,
        max_wait: float,
        keep: int,
        on_takeover: Callable[[Session], None],
    ) -> None:
        self.served, self.keeper, self.stats = served, keeper, stats
        self.max_batch, self.max_wait, self.keep, self.on_takeover = (
            max_batch,
            max_wait,
            keep,
            on_takeover,
        )
        self.waiting = 0
        self._ready: deque[Job] = deque()
        self._scheduled = False
        self._pace = 1e-4  # seconds a session step takes, a running average
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="statewise-step")
        self._tasks: set[asyncio.Task[Any]] = set()

    def enqueue(self, session: Session, job: Job) -> None:
        """Add a step behind those that wait for its session."""
        self.waiting += 1
        if session.busy:
            session.enqueue(job)
        else:
            self._start(session, job)

    async def step_batch(
        self, sessions: list[Session], x: np.ndarray
    ) -> list[StepResult | ServeError]:
        """Step many sessions once, as a batch of their own: they are marked as busy. The batch is
        finished even if the request is cancelled. x (N, ...) -> results in the same order.
        """
        self.waiting += len(sessions)
        return await asyncio.shield(self._spawn(self._step_batch(sessions, x)))

    async def _step_batch(
        self, sessions: list[Session], x: np.ndarray
    ) -> list[StepResult | ServeError]:
        loop, step = asyncio.get_running_loop(), self.served.step_once
        slots = np.array([session.slot for session in sessions], np.int64)
        results: list[StepResult | ServeError] = []
        try:
            if self._is_long(len(sessions)):
                aside = loop.run_in_executor(self._thread, self._measure, len(x), step, slots, x)
                y, bad, _, _ = await aside
            else:
                y, bad, _, _ = self._measure(len(x), step, slots, x)
        except FAILURES as error:
            results = [_explain_failure(error) for _ in sessions]
        else:
            self._count(slots & 0xFFFFFFFF, len(sessions))
            for row, session in enumerate(sessions):
                if bad[row]:
                    results.append(_explain_not_finite(session))
                else:
                    position = session.advance(x[row : row + 1], self.keep)
                    results.append(StepResult(y[row], position))
        self.waiting -= len(sessions)
        for session in sessions:
            self.release(session)
        return results

    def release(self, session: Session) -> None:
        """Free a session, and start the next step in its queue."""
        session.busy = False
        while session.waiting:
            waiter = session.waiting.popleft()
            if not isinstance(waiter, Job):
                if not waiter.done():
                    session.busy = True
                    waiter.set_result(None)
                    return
            elif self._start(session, waiter):
                return
        session.waiting = None

    def finish(self, job: Job, result: StepResult | ServeError) -> None:
        """Give a step its result."""
        self.waiting -= 1
        job.finish(result)

    def close(self) -> None:
        """Stop the thread."""
        self._thread.shutdown()

    def _start(self, session: Session, job: Job) -> bool:
        """Add a step to the next batch, unless its answer is known."""
        if job.group.future.done():  # the request was cancelled
            self.waiting -= 1
            return False
        try:
            again = session.replay(job)
        except ServeError as error:
            self.finish(job, error)
            return False
        if again is not None:
            self.stats.replays += 1
            self.finish(job, again)
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
            loop.call_later(self.max_wait, self._step_ready)
        else:
            loop.call_soon(self._step_ready)

    def _step_ready(self) -> None:
        """Run one batch. `_scheduled` stays set meanwhile, so that the next one forms."""
        jobs = [self._ready.popleft() for _ in range(min(len(self._ready), self.max_batch))]
        steps = sum(job.steps for job in jobs)
        if self._is_long(steps):
            self._spawn(self._step_in_thread(jobs, steps))
            return
        try:
            self._finish(jobs, *self._measure(steps, self.served.step, jobs))
        except FAILURES as error:
            self._fail(jobs, error)
        self._scheduled = False
        if self._ready:
            self._schedule()

    async def _step_in_thread(self, jobs: list[Job], steps: int) -> None:
        loop, work = asyncio.get_running_loop(), self.served.step
        try:
            done = await loop.run_in_executor(self._thread, self._measure, steps, work, jobs)
            self._finish(jobs, *done)
        except FAILURES as error:
            self._fail(jobs, error)
        self._scheduled = False
        if self._ready:
            self._schedule()

    def _fail(self, jobs: Sequence[Job], error: Exception) -> None:
        for job in jobs:
            self.finish(job, _explain_failure(error))
            self.release(job.session)

    def _finish(
        self, jobs: list[Job], outputs: list[np.ndarray | None], before: State, after: State
    ) -> None:
        durable: list[Durable] = []
        self._count([job.session.index for job in jobs], sum(job.steps for job in jobs))
        for row, (job, y) in enumerate(zip(jobs, outputs, strict=True)):
            session = job.session
            if y is None:
                self.finish(job, _explain_not_finite(session))
                self.release(session)
            elif session.durability == "step":
                mark = session.save_mark()
                durable.append((job, session.apply(job, y, self.keep), mark, row))
            else:
                self.finish(job, session.apply(job, y, self.keep))
                self.release(session)
        if durable:
            self._spawn(self._write(durable, before, after))

    def _is_long(self, steps: int) -> bool:
        return steps * self._pace > INLINE

    def _measure(self, steps: int, work: Callable[..., T], *given: Any) -> T:
        began = time.perf_counter()
        done = work(*given)
        self._pace += 0.2 * ((time.perf_counter() - began) / max(steps, 1) - self._pace)
        return done

    def _count(self, rows: Any, steps: int) -> None:
        self.served.used[rows] = time.time()
        self.stats.batches.observe(len(rows))
        self.stats.steps += steps

    async def _write(self, durable: list[Durable], before: State, after: State) -> None:
        """Answer what is on disk; what cannot be written is undone."""
        try:
            states = pack_rows(after)
            done = await self.keeper.save(
                [(job.session, states[row]) for job, _, _, row in durable]
            )
        except StoreFailed as error:
            rows = [row for *_, row in durable]
            slots = [job.session.slot for job, *_ in durable]
            self.served.table.scatter(np.array(slots, np.int64), before.rows(rows))
            for job, _, mark, _ in durable:
                job.session.restore_mark(mark)
                self.finish(job, error)
                self.release(job.session)
            return
        self.stats.writes += len(durable)
        for (job, result, _, _), kept in zip(durable, done, strict=True):
            if kept:
                self.finish(job, result)
                self.release(job.session)
            else:
                self.finish(job, explain_takeover(job.session))
                self.on_takeover(job.session)

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _explain_failure(error: Exception) -> ModelFailed:
    return ModelFailed(f"the model failed at this step: {error}")


def _explain_not_finite(session: Session) -> ModelFailed:
    message = "the model gave a number that is not finite; the session is unchanged"
    return ModelFailed(message, step=session.position)


def explain_takeover(session: Session) -> OwnedElsewhere:
    """Make the error for a session that another server has taken over."""
    return OwnedElsewhere(
        f"another server has taken over session {session.key[1]!r}; nothing was changed, try again",
        retry_after=1,
    )
