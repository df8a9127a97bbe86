"""The engine: every session's answers are those of its own offline run, whatever happens beside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import statewise as sw
from statewise.serve import errors
from statewise.serve.engine import Engine
from statewise.serve.models import ServedModel
from statewise.serve.residence import Limits
from statewise.serve.session import StepRequest
from statewise.serve.stores.base import Store
from statewise.serve.stores.memory import MemoryStore
from statewise.serve.stores.sqlite import SqliteStore
from tests.serve.conftest import model, series

N = "n"


def run(work: Callable[[Engine], Coroutine[Any, Any, Any]], store: Store | None = None, **limits):
    """Some work on an engine of its own."""
    capacity = limits.pop("capacity", 8)

    async def main() -> Any:
        engine = Engine(
            [ServedModel("m", model(), capacity)], store or MemoryStore(), Limits(**limits)
        )
        async with engine:
            return await work(engine)

    return asyncio.run(main())


def offline(x: np.ndarray) -> np.ndarray:
    return model()(x[None])[0][0]


@pytest.mark.parametrize("durability", ["step", "interval", "none"])
@pytest.mark.parametrize("capacity", [2, 40])
def test_many_sessions_at_once_are_each_their_own(durability: str, capacity: int) -> None:
    x = series(6, rows=20)

    async def work(engine: Engine) -> np.ndarray:
        for row in range(20):
            await engine.create(N, "m", id=f"s{row}", durability=durability)

        async def follow(row: int) -> list[np.ndarray]:
            return [(await engine.step(N, f"s{row}", x[row, t].tolist())).outputs for t in range(6)]

        outputs = await asyncio.gather(*map(follow, range(20)))
        assert engine.stats.steps == 120
        assert (engine.stats.spills > 0) == (capacity == 2)
        return np.array(outputs)

    np.testing.assert_allclose(run(work, capacity=capacity), model()(x)[0], rtol=1e-5, atol=1e-6)


def test_chunks_of_different_lengths_go_together() -> None:
    x = series(9)[0]

    async def work(engine: Engine) -> list[Any]:
        for name in "abc":
            await engine.create(N, "m", id=name)
        asked = [StepRequest("a", x[:2]), StepRequest("b", x), StepRequest("c", x[0])]
        first = await engine.step_many(N, asked)
        rest = await engine.step(N, "a", x[2:])
        return [*first, rest]

    a, b, c, rest = run(work)
    want = offline(x)
    np.testing.assert_allclose(np.concatenate([a.outputs, rest.outputs]), want, atol=1e-6)
    np.testing.assert_allclose(b.outputs, want, atol=1e-6)
    np.testing.assert_allclose(c.outputs, want[0], atol=1e-6)
    assert (rest.step, b.step, c.step) == (9, 9, 1)


def test_one_request_may_step_a_session_twice_in_order() -> None:
    x = series(2)[0]

    async def work(engine: Engine) -> list[Any]:
        await engine.create(N, "m", id="a")
        return await engine.step_many(N, [StepRequest("a", x[0]), StepRequest("a", x[1])])

    first, second = run(work)
    np.testing.assert_allclose([first.outputs, second.outputs], offline(x), atol=1e-6)
    assert (first.step, second.step) == (1, 2)


def test_a_retry_gets_the_first_answer() -> None:
    x = series(3)[0]

    async def work(engine: Engine) -> None:
        await engine.create(N, "m", id="a")
        first = await engine.step(N, "a", x[0], request_id="r1")
        again = await engine.step(N, "a", x[0], request_id="r1")
        assert again.replay_inputs
        assert not first.replay_inputs
        assert again.step == first.step == 1
        np.testing.assert_array_equal(again.outputs, first.outputs)
        with pytest.raises(errors.Unprocessable, match="other inputs"):
            await engine.step(N, "a", x[1], request_id="r1")
        await engine.step(N, "a", x[1], step=1)
        late = await engine.step(N, "a", x[1], step=1)
        assert late.replay_inputs
        with pytest.raises(errors.WrongPosition) as wrong:
            await engine.step(N, "a", x[2], step=1)
        assert wrong.value.body()["error"]["step"] == 2
        with pytest.raises(errors.WrongPosition, match="applied before") as old:
            await engine.step(N, "a", x[0], request_id="r1")
        assert old.value.details["applied"]
        third = await engine.step(N, "a", x[2], step=2)
        np.testing.assert_allclose(third.outputs, offline(x)[2], atol=1e-6)

    run(work)


def test_duplicates_that_race_step_once() -> None:
    x = series(1)[0]

    async def work(engine: Engine) -> None:
        await engine.create(N, "m", id="a")
        results = await asyncio.gather(
            *[engine.step(N, "a", x[0], request_id="r") for _ in range(10)]
        )
        assert sum(result.replay_inputs for result in results) == 9
        assert {result.step for result in results} == {1}
        assert (await engine.info(N, "a")).step == 1

    run(work)


@pytest.mark.parametrize(
    ("inputs", "match"),
    [
        ([1.0, float("nan")], "finite"),
        ([1.0, float("inf")], "finite"),
        ([1.0, 1e300], "finite"),
        ([1.0], "list of 2 numbers"),
        ([[[1.0, 2.0]]], "list of 2 numbers"),
        ([[1.0, 2.0], [1.0]], "list of 2 numbers"),
        (["a", "b"], "list of 2 numbers"),
        ({"x": 1}, "list of 2 numbers"),
        (None, "list of 2 numbers"),
        ([], "list of 2 numbers"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs: Any, match: str) -> None:
    async def work(engine: Engine) -> None:
        await engine.create(N, "m", id="a")
        await engine.create(N, "m", id="b")
        with pytest.raises(errors.BadInput, match=match):
            await engine.step(N, "a", inputs)
        good, bad = await engine.step_many(
            N, [StepRequest("b", [1.0, 2.0]), StepRequest("a", inputs)]
        )
        assert good.step == 1
        assert isinstance(bad, errors.BadInput)
        assert (await engine.info(N, "a")).step == 0

    run(work)


def test_a_number_that_is_not_finite_leaves_the_state(tmp_path: Path) -> None:
    arch = sw.Architecture(sw.Vector(2), [sw.Elman(3, activation="relu")], sw.Linear(1))
    drawn = sw.nn.Model(arch, seed=0)
    arrays = {name: p.detach().numpy() * 1e25 for name, p in drawn.weights().items()}

    async def main() -> None:
        served = ServedModel("big", sw.runtime.Model(arch, arrays), 4)
        async with Engine([served], MemoryStore()) as engine:
            await engine.create(N, "big", id="a")
            await engine.create(N, "big", id="b")
            await engine.step(N, "b", [0.0, 0.0])
            before = await engine.read(N, "a")
            bad, good = await engine.step_many(
                N, [StepRequest("a", [1e30, -1e30]), StepRequest("b", [0.0, 0.0])]
            )
            assert isinstance(bad, errors.ModelFailed)
            assert good.step == 2
            after = await engine.read(N, "a")
            assert after.position[0] == 0
            np.testing.assert_array_equal(after["0.h"], before["0.h"])

    asyncio.run(main())


def test_fork_snapshot_and_rollback() -> None:
    x = series(6)[0]

    async def work(engine: Engine) -> None:
        await engine.create(N, "m", id="a")
        await engine.step(N, "a", x[:2])
        kept = await engine.snapshot(N, "a")
        branch = await engine.fork(N, "a", new_id="b")
        assert branch.step == 2
        a = (await engine.step(N, "a", x[2:])).outputs
        b = (await engine.step(N, "b", x[2:])).outputs
        np.testing.assert_array_equal(a, b)
        back = await engine.rollback(N, "a", kept)
        assert back.step == 2
        np.testing.assert_array_equal((await engine.step(N, "a", x[2:])).outputs, a)
        third = await engine.fork(N, "a", snapshot=kept)
        np.testing.assert_array_equal((await engine.step(N, third.id, x[2:])).outputs, a)
        fourth = await engine.create(N, "m", seed={"snapshot": kept})
        assert fourth.step == 2
        assert (await engine.info(N, "a")).snapshots == [kept]
        with pytest.raises(errors.Unprocessable, match="belongs to session"):
            await engine.rollback(N, "b", kept)
        with pytest.raises(errors.NotFound, match="no snapshot"):
            await engine.rollback(N, "a", "nothing")
        with pytest.raises(errors.NotFound, match="no snapshot"):
            await engine.create("other", "m", seed={"snapshot": kept})

    run(work)


def test_states_travel() -> None:
    x = series(5)[0]

    async def work(engine: Engine) -> None:
        await engine.create(N, "m", id="a", seed={"inputs": x[:3]})
        state = await engine.read(N, "a")
        assert state.position[0] == 3
        _, want = model()(x[None, :3])
        np.testing.assert_allclose(state["0.h"], want["0.h"], atol=1e-6)
        await engine.create(N, "m", id="b", seed={"state": state})
        await engine.create(N, "m", id="c")
        await engine.write(N, "c", state)
        for name in "abc":
            result = await engine.step(N, name, x[3:])
            np.testing.assert_allclose(result.outputs, offline(x)[3:], atol=1e-6)
        _, other = model(units=7)(x[None])
        with pytest.raises(errors.BadInput, match=r"other weights|architecture"):
            await engine.write(N, "c", other)
        broken = sw.State({k: v * np.float32("nan") for k, v in state.items()}, state.position)
        with pytest.raises(errors.BadInput, match="finite"):
            await engine.write(N, "c", broken)
        with pytest.raises(errors.BadInput, match=r"row|batch"):
            await engine.write(N, "c", sw.State.cat([state, state]))
        assert (await engine.info(N, "c")).step == 5

    run(work)


def test_names_that_are_not_there_or_there_already() -> None:
    async def work(engine: Engine) -> None:
        made = await engine.create(N, "m", id="a")
        assert len((await engine.create(N, "m")).id) >= 8
        with pytest.raises(errors.Exists):
            await engine.create(N, "m", id="a")
        with pytest.raises(errors.NotFound, match="no session"):
            await engine.step("other", "a", [1.0, 2.0])
        with pytest.raises(errors.NotFound, match="the server has m@"):
            await engine.create(N, "nothing")
        with pytest.raises(errors.NotFound):
            await engine.create(N, "m@0000")
        again = await engine.create(N, f"m@{made.version}")
        assert again.version == made.version
        for name in ("", "x" * 200, "a/b", "a\nb"):
            with pytest.raises(errors.Unprocessable, match="id has"):
                await engine.create(N, "m", id=name)
        for more in ({"ttl": -1.0}, {"durability": "often"}, {"seed": {"x": 1}}):
            with pytest.raises(errors.Unprocessable):
                await engine.create(N, "m", **more)
        last = await engine.delete(N, "a")
        with pytest.raises(errors.Gone, match="deleted") as gone:
            await engine.step(N, "a", [1.0, 2.0])
        assert gone.value.details["snapshot"] == last
        assert (await engine.create(N, "m", id="a", seed={"snapshot": last})).step == 0

    run(work)


def test_lists_have_pages() -> None:
    async def work(engine: Engine) -> None:
        for name in "dacb":
            await engine.create(N, "m", id=name, durability="none")
        await engine.step(N, "a", [1.0, 2.0])
        first, cursor = await engine.list(N, limit=3)
        assert [info.id for info in first] == ["a", "b", "c"]
        assert first[0].step == 1, "what is in memory is newer than the store"
        rest, end = await engine.list(N, cursor, limit=3)
        assert [info.id for info in rest] == ["d"]
        assert end is None

    run(work)


def test_rest_beyond_the_ttl_ends_a_session_and_keeps_its_state() -> None:
    async def work(engine: Engine) -> None:
        await engine.create(N, "m", id="a", ttl=0.3)
        await engine.create(N, "m", id="b", ttl=30)
        await engine.step(N, "a", [1.0, 2.0])
        await asyncio.sleep(1.6)
        with pytest.raises(errors.Gone, match="expired") as gone:
            await engine.step(N, "a", [1.0, 2.0])
        again = await engine.create(
            N, "m", id="a", seed={"snapshot": gone.value.details["snapshot"]}
        )
        assert again.step == 1
        assert engine.stats.expired == 1
        await engine.step(N, "b", [1.0, 2.0])

    run(work)


def test_stepping_puts_the_expiry_off() -> None:
    async def work(engine: Engine) -> None:
        await engine.create(N, "m", id="a", ttl=1.0, durability="none")
        for _ in range(8):
            await asyncio.sleep(0.3)
            await engine.step(N, "a", [1.0, 2.0])

    run(work)


def test_quotas_and_queues_are_bounded() -> None:
    async def work(engine: Engine) -> None:
        await engine.create(N, "m", id="a")
        await engine.create(N, "m", id="b")
        with pytest.raises(errors.TooBusy) as busy:
            await engine.create(N, "m", id="c")
        assert busy.value.details["retry_after"] > 0
        with pytest.raises(errors.TooBusy, match="at most 4"):
            await engine.step_many(N, [StepRequest("a", [1.0, 2.0])] * 5)
        await engine.step_many(N, [StepRequest("a", [1.0, 2.0])] * 4)

    run(work, quota=2, queue=4)


def test_new_weights_serve_beside_the_old() -> None:
    x = series(4)[0]

    async def work(engine: Engine) -> None:
        old = await engine.create(N, "m", id="a")
        await engine.step(N, "a", x[:2])
        await engine.create(N, "m", id="b", seed={"inputs": x[:2]})
        info = engine.load_model(ServedModel("m", model(seed=1), 8))
        assert info.version != old.version
        pinned = await engine.step(N, "a", x[2])
        np.testing.assert_allclose(pinned.outputs, offline(x)[2], atol=1e-6)
        assert (await engine.create(N, "m")).version == info.version
        moved = await engine.migrate(N, "a")
        assert (moved.version, moved.step) == (info.version, 3)
        _, state = model()(x[None, :3])
        carried = sw.State(dict(state), state.position)
        want = model(seed=1)(x[None, 3:], carried)[0][0]
        np.testing.assert_allclose((await engine.step(N, "a", x[3:])).outputs, want, atol=1e-6)
        with pytest.raises(errors.Unprocessable, match="no inputs"):
            await engine.migrate(N, "b", "replay")

    run(work)


def test_migration_may_replay() -> None:
    x = series(6)[0]

    async def work(engine: Engine) -> None:
        await engine.create(N, "m", id="a")
        for t in range(5):
            await engine.step(N, "a", x[t])
        engine.load_model(ServedModel("m", model(seed=1, units=7), 8))
        with pytest.raises(errors.Unprocessable, match="only replay"):
            await engine.migrate(N, "a")
        assert (await engine.migrate(N, "a", "replay")).step == 5
        want = model(seed=1, units=7)(x[None, 2:])[0][0, -1]
        np.testing.assert_allclose((await engine.step(N, "a", x[5])).outputs, want, atol=1e-6)

    run(work, keep_inputs=3)


@pytest.mark.parametrize("durability", ["step", "interval", "none"])
def test_a_server_that_ends_well_keeps_everything(tmp_path: Path, durability: str) -> None:
    x = series(8)[0]

    async def part(engine: Engine) -> np.ndarray:
        try:
            info = await engine.info(N, "a")
        except errors.NotFound:
            info = await engine.create(N, "m", id="a")
        results = [
            await engine.step(N, "a", x[t], request_id=str(t))
            for t in range(info.step, info.step + 4)
        ]
        return np.array([result.outputs for result in results])

    first = run(part, SqliteStore(tmp_path / "s.db"), durability=durability)
    second = run(part, SqliteStore(tmp_path / "s.db"), durability=durability)
    np.testing.assert_array_equal(np.concatenate([first, second]), offline_steps(x))

    async def retry(engine: Engine) -> None:
        again = await engine.step(N, "a", x[7], request_id="7")
        assert again.replay_inputs
        np.testing.assert_array_equal(again.outputs, second[-1])

    run(retry, SqliteStore(tmp_path / "s.db"), durability=durability)


def offline_steps(x: np.ndarray) -> np.ndarray:
    """Step by step, which is what the engine's table does."""
    state, outputs, whole = None, [], model()
    for t in range(len(x)):
        y, state = whole.step(x[None, t], state)
        outputs.append(y[0])
    return np.array(outputs)


def test_after_closing_nothing_is_taken() -> None:
    async def main() -> None:
        engine = Engine([ServedModel("m", model(), 2)], MemoryStore())
        async with engine:
            await engine.create(N, "m", id="a")
        with pytest.raises(errors.Stopping):
            await engine.step(N, "a", [1.0, 2.0])

    asyncio.run(main())


def test_a_full_disk_fails_the_step_and_changes_nothing(tmp_path: Path) -> None:
    x = series(40)[0]

    async def work(engine: Engine) -> None:
        await engine.create(N, "m", id="a")
        await engine.step(N, "a", x[0])
        store = engine._home.keeper.store
        before = store._db.execute("PRAGMA page_count").fetchone()[0]
        store._db.execute(f"PRAGMA max_page_count = {before}")

        async def fill() -> None:
            for row in range(200):
                await engine.create(N, "m", id=f"fill{row}", seed={"inputs": x})

        with pytest.raises(errors.StoreFailed, match="full"):
            await fill()
        assert not engine.ready
        stands = (await engine.info(N, "a")).step
        store._db.execute("PRAGMA max_page_count = 100000")
        for t in range(stands, 5):
            await engine.step(N, "a", x[t], step=t)
        assert engine.ready
        state = await engine.read(N, "a")
        np.testing.assert_allclose(state["0.h"], model()(x[None, :5])[1]["0.h"], atol=1e-6)

    run(work, SqliteStore(tmp_path / "s.db"))


class Failing(MemoryStore):
    """A store that can be told to fail."""

    broken = False

    def save(self, writes, sync=True):
        if self.broken:
            raise OSError("the store is away")
        return super().save(writes, sync)


def test_what_cannot_be_written_has_not_happened() -> None:
    x = series(3)[0]
    store = Failing()

    async def work(engine: Engine) -> None:
        await engine.create(N, "m", id="a")
        await engine.step(N, "a", x[0])
        store.broken = True
        with pytest.raises(errors.StoreFailed, match="away"):
            await engine.step(N, "a", x[1], request_id="r")
        assert not engine.ready
        assert (await engine.info(N, "a")).step == 1
        store.broken = False
        second = await engine.step(N, "a", x[1], request_id="r")
        assert not second.replay_inputs
        np.testing.assert_allclose(second.outputs, offline(x)[1], atol=1e-6)
        assert engine.ready

    run(work, store)


def test_a_server_that_lost_its_lease_cannot_write(new_store: Callable[[], Store]) -> None:
    """One server is silent for longer than its lease; another goes on; the first comes back."""
    x = series(4)[0]

    async def main() -> None:
        limits = Limits(lease=0.5)
        first = Engine([ServedModel("m", model(), 4)], new_store(), limits)
        second = Engine([ServedModel("m", model(), 4)], new_store(), limits)
        await first.start()
        await second.start()
        await first.create(N, "m", id="a")
        await first.step(N, "a", x[0])
        with pytest.raises(errors.OwnedElsewhere):
            await second.step(N, "a", x[1])
        for chore in first._home._chores:
            chore.cancel()  # as a process that is paused
        await asyncio.sleep(0.7)
        await second.step(N, "a", x[1])
        with pytest.raises(errors.OwnedElsewhere):
            await first.step(N, "a", x[2], step=1)
        result = await second.step(N, "a", x[2], step=2)
        np.testing.assert_allclose(result.outputs, offline(x)[2], atol=1e-6)
        second.stopping = True
        await second._home.close()
        late = await first.step(N, "a", x[3], step=3)
        np.testing.assert_allclose(late.outputs, offline(x)[3], atol=1e-6)

    asyncio.run(main())


def test_a_client_that_goes_away_leaves_a_whole_number_of_steps() -> None:
    x = series(30)[0]

    async def work(engine: Engine) -> None:
        await engine.create(N, "m", id="a")
        tasks = [
            asyncio.create_task(engine.step(N, "a", x[t], request_id=str(t))) for t in range(30)
        ]
        await asyncio.sleep(0)
        for task in tasks[3::2]:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        positions = [result.step for result in done if not isinstance(result, BaseException)]
        assert positions == sorted(positions)
        final = (await engine.info(N, "a")).step
        assert positions[-1] <= final <= 30
        assert engine.waiting == 0

    run(work)


def test_a_closed_engine_says_so() -> None:
    async def main() -> None:
        engine = Engine([ServedModel("m", model(), 8)], MemoryStore())
        async with engine:
            await engine.create(N, "m", id="a")
        for asked in (engine.info(N, "a"), engine.list(N), engine.step(N, "a", [0.0, 0.0])):
            with pytest.raises(errors.Stopping):
                await asked

    asyncio.run(main())
