"""Requests of many plain steps, which are a batch of their own: the same as one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from statewise.serve import batching
from statewise.serve.engine import Engine
from statewise.serve.errors import BadInput, ModelFailed
from statewise.serve.models import ServedModel
from statewise.serve.records import pack_rows, pack_state
from statewise.serve.residence import Limits
from statewise.serve.session import StepRequest
from statewise.serve.stores.memory import MemoryStore
from tests.serve.conftest import model, series

N, MANY = "n", 50


def run(work: Callable[[Engine], Coroutine[Any, Any, Any]], **limits: Any) -> Any:
    """Some work on an engine with sessions ``s0`` to ``s49``."""

    async def main() -> Any:
        served = ServedModel("m", model(), 100)
        async with Engine([served], MemoryStore(), Limits(durability="none", **limits)) as engine:
            for row in range(MANY):
                await engine.create(N, "m", id=f"s{row}")
            return await work(engine)

    return asyncio.run(main())


def asked(x: np.ndarray) -> list[StepRequest]:
    return [StepRequest(f"s{row}", inputs) for row, inputs in enumerate(x.tolist())]


@pytest.fixture(params=["in the loop", "in a thread"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(batching, "INLINE", 10.0 if request.param == "in the loop" else 0.0)
    return str(request.param)


@pytest.mark.usefixtures("place")
def test_a_crowd_is_stepped_as_each_alone() -> None:
    x = series(5, rows=MANY)

    async def work(engine: Engine) -> Any:
        outputs = []
        for t in range(5):
            results = await engine.step_many(N, asked(x[:, t]))
            assert [result.step for result in results] == [t + 1] * MANY
            outputs.append([result.outputs for result in results])
        assert engine.stats.batches.counts[-1] == 0
        assert sum(engine.stats.batches.counts) == 5  # one batch a request
        return np.array(outputs).swapaxes(0, 1), await engine.read(N, "s7")

    outputs, state = run(work)
    want, after = model()(x)
    np.testing.assert_allclose(outputs, want, rtol=1e-5, atol=1e-6)
    assert state.position.tolist() == [5]
    for name, array in state.items():
        np.testing.assert_allclose(array[0], after[name][7], rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("place")
def test_requests_that_overlap_keep_every_order() -> None:
    x = series(6, rows=MANY)

    async def work(engine: Engine) -> Any:
        crowd = engine.step_many(N, asked(x[:, 0]))
        alone = [engine.step(N, f"s{row}", x[row, 1:].tolist()) for row in range(0, MANY, 7)]
        first, *rest = await asyncio.gather(crowd, *alone)
        assert all(result.step == 1 for result in first)
        return [result.outputs for result in rest]

    want, _ = model()(x)
    np.testing.assert_allclose(run(work), want[::7, 1:], rtol=1e-5, atol=1e-6)


def test_what_is_not_plain_is_looked_at_one_by_one() -> None:
    x = series(1, rows=MANY)[:, 0]

    async def work(engine: Engine) -> None:
        requests = asked(x)
        requests[3] = StepRequest("s3", x[3].tolist(), request_id="a")
        requests[4] = StepRequest("nobody", x[4].tolist())
        requests[5] = StepRequest("s5", [1.0])
        requests[6] = StepRequest("s7", x[6].tolist())  # a second step of the same session
        results = await engine.step_many(N, requests)
        assert isinstance(results[5], BadInput)
        assert type(results[4]).__name__ == "NotFound"
        assert sorted((results[6].step, results[7].step)) == [1, 2]
        again = await engine.step_many(N, requests[3:4])
        assert again[0].replayed
        assert again[0].step == 1
        assert (await engine.info(N, "s0")).step == 1

    run(work)


@pytest.mark.usefixtures("place")
def test_a_number_that_is_not_finite_moves_nobody_else() -> None:
    async def work(engine: Engine) -> None:
        x = series(1, rows=MANY)[:, 0]
        await engine.step_many(N, asked(x))
        served = engine.model("m")
        broken = engine._home.here((N, "s9"))
        assert broken is not None
        column = next(iter(served.table._fields.values()))
        column[broken.index] = np.nan
        results = await engine.step_many(N, asked(x))
        assert isinstance(results[9], ModelFailed)
        assert [result.step for row, result in enumerate(results) if row != 9] == [2] * (MANY - 1)
        assert broken.position == 1
        assert not broken.busy

    run(work)


@pytest.mark.usefixtures("place")
def test_who_goes_away_leaves_nothing_half_done() -> None:
    x = series(2, rows=MANY)

    async def work(engine: Engine) -> Any:
        task = asyncio.create_task(engine.step_many(N, asked(x[:, 0])))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        results = await engine.step_many(N, asked(x[:, 1]))
        assert engine.waiting == 0
        return [(result.step, result.outputs) for result in results]

    results = run(work)
    want, _ = model()(x)
    fresh, _ = model()(x[:, 1:])
    for row, (step, outputs) in enumerate(results):
        expected = want[row, 1] if step == 2 else fresh[row, 0]
        np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)


def test_rows_are_packed_as_each_alone() -> None:
    _, state = model()(series(3, rows=4))
    assert pack_rows(state) == [pack_state(state, row) for row in range(4)]
