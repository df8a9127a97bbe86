"""Random joins, steps, chunks, duplicates, forks, rollbacks, cancellations, restarts: every session
is where its own offline run would be.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

import statewise as sw
from statewise.serve import errors
from statewise.serve.engine import Engine
from statewise.serve.models import ServedModel
from statewise.serve.residence import Limits
from statewise.serve.session import StepRequest
from statewise.serve.stores.sqlite import SqliteStore
from tests.serve.conftest import model

MODEL = model()
steps = st.integers(1, 4)
durabilities = st.sampled_from(["step", "interval", "none"])


def close(a: sw.State, b: sw.State) -> None:
    assert int(a.position[0]) == int(b.position[0])
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=1e-4, atol=1e-5)


class Sessions(RuleBasedStateMachine):
    """What the server has, beside what it should have: a state a session, moved on offline."""

    names = Bundle("names")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.loop = asyncio.new_event_loop()
        self.random = np.random.default_rng(0)
        self.want: dict[str, sw.State] = {}
        self.snapshots: dict[str, tuple[str, sw.State]] = {}
        self.last: dict[str, tuple[StepRequest, Any]] = {}
        self.count = 0
        self._open()

    def _open(self) -> None:
        store = SqliteStore(Path(self.folder.name) / "s.db")
        self.engine = Engine([ServedModel("m", MODEL, 3)], store, Limits(interval=0.01))
        self.run(self.engine.start())

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        self.run(self.engine.close())
        self.loop.close()
        self.folder.cleanup()

    def draw(self, count: int) -> np.ndarray:
        return self.random.normal(size=(count, 2)).astype(np.float32)

    def name(self) -> str:
        self.count += 1
        return f"s{self.count}"

    @rule(target=names, durability=durabilities, seeded=st.integers(0, 3))
    def join(self, durability: str, seeded: int) -> str:
        name, x = self.name(), self.draw(seeded)
        seed = {"inputs": x} if seeded else None
        self.run(self.engine.create("n", "m", name, seed, durability=durability))
        self.want[name] = MODEL(x[None])[1] if seeded else MODEL.initial_state(1)
        return name

    @rule(asked=st.lists(st.tuples(names, steps), min_size=1, max_size=6))
    def step_together(self, asked: list[tuple[str, int]]) -> None:
        """Some sessions more than once in one request; answers are the offline run's."""
        requests = [
            StepRequest(name, self.draw(count), request_id=f"r{self.count}-{index}")
            for index, (name, count) in enumerate(asked)
        ]
        self.count += 1
        results = self.run(self.engine.step_many("n", requests))
        for request, result in zip(requests, results, strict=True):
            self.check(request, result)

    def check(self, request: StepRequest, result: Any) -> None:
        if request.session not in self.want:
            assert isinstance(result, (errors.Gone, errors.NotFound))
            return
        y, self.want[request.session] = MODEL(request.inputs[None], self.want[request.session])
        np.testing.assert_allclose(result.outputs, y[0], rtol=1e-4, atol=1e-5)
        assert not result.replayed
        self.last[request.session] = request, result

    @rule(name=names)
    def ask_again(self, name: str) -> None:
        """The last request once more gives the first answer and steps nothing."""
        if name in self.last and name in self.want:
            request, first = self.last[name]
            again = self.run(self.engine.step_many("n", [request]))[0]
            assert again.replayed
            np.testing.assert_array_equal(again.outputs, first.outputs)

    @rule(name=names, off=st.integers(-2, 2).filter(bool))
    def expect_wrongly(self, name: str, off: int) -> None:
        if name in self.want:
            at = int(self.want[name].position[0])
            request = StepRequest(name, self.draw(1), step=at + off)
            result = self.run(self.engine.step_many("n", [request]))[0]
            assert isinstance(result, errors.WrongPosition)
            assert result.details["step"] == at

    @rule(name=names)
    def give_up(self, name: str) -> None:
        """A client that goes away before its answer: the step happened whole, or not at all."""
        if name not in self.want:
            return
        x = self.draw(2)

        async def leave() -> None:
            task = asyncio.ensure_future(self.engine.step("n", name, x))
            for _ in range(int(self.random.integers(3))):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self.run(leave())
        state = self.run(self.engine.read("n", name))
        self.last.pop(name, None)
        if int(state.position[0]) != int(self.want[name].position[0]):
            _, self.want[name] = MODEL(x[None], self.want[name])
        close(state, self.want[name])

    @rule(target=names, name=names)
    def fork(self, name: str) -> str:
        branch = self.name()
        if name in self.want:
            self.run(self.engine.fork("n", name, new_id=branch))
            self.want[branch] = self.want[name]
        return branch

    @rule(name=names)
    def keep(self, name: str) -> None:
        if name in self.want:
            self.snapshots[name] = self.run(self.engine.snapshot("n", name)), self.want[name]

    @rule(name=names)
    def roll_back(self, name: str) -> None:
        if name in self.want and name in self.snapshots:
            kept, state = self.snapshots[name]
            self.run(self.engine.rollback("n", name, kept))
            self.want[name] = state
            self.last.pop(name, None)

    @rule(name=consumes(names))
    def leave(self, name: str) -> None:
        if name in self.want:
            self.run(self.engine.delete("n", name))
            del self.want[name]

    @rule()
    def restart(self) -> None:
        self.run(self.engine.close())
        self._open()

    @invariant()
    def every_session_is_where_it_should_be(self) -> None:
        for name, state in self.want.items():
            close(self.run(self.engine.read("n", name)), state)
        assert self.engine.waiting == 0


TestSessions = Sessions.TestCase
TestSessions.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
