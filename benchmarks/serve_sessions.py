"""Many sessions in one server: right after spills, their memory, and what a step costs.

``python benchmarks/serve_sessions.py`` makes 100,000 sessions with inputs of their own in a table
for 10,000 and compares every answer with a run of the model alone; then it holds all in memory.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

import statewise as sw
from statewise.serve import Engine
from statewise.serve.models import ServedModel
from statewise.serve.residence import Limits
from statewise.serve.session import StepRequest, StepResult
from statewise.serve.stores.sqlite import SqliteStore

UNITS, FEATURES, STEPS, GROUP = 128, 3, 2, 256


def resident() -> int:
    """Bytes of memory that this process has."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Rss"))


def engine(model: sw.runtime.Model, capacity: int, store: Path) -> Engine:
    """A server's engine without its protocols; states reach the disk when they leave memory."""
    return Engine(
        [ServedModel("m", model, capacity)],
        SqliteStore(store),
        Limits(durability="none", quota=None),
    )


async def canaries(model: sw.runtime.Model, sessions: int, capacity: int, folder: Path) -> None:
    """Every session gets inputs of its own, in a random order, and is compared."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((sessions, STEPS, FEATURES)).astype(np.float32)
    want, _ = model(x)
    wrong, worst = 0, 0.0
    async with engine(model, capacity, folder / "canaries.db") as one:
        for i in range(sessions):
            await one.create("n", "m", id=f"s{i}")
            if i == capacity:
                gc.collect()
                full = resident()
        started = time.perf_counter()
        for t in range(STEPS):
            order = rng.permutation(sessions)
            for start in range(0, sessions, GROUP):
                rows = order[start : start + GROUP].tolist()
                asked = [StepRequest(f"s{i}", x[i, t].tolist()) for i in rows]
                for i, result in zip(rows, await one.step_many("n", asked), strict=True):
                    fits = isinstance(result, StepResult) and result.step == t + 1
                    off = float(np.abs(result.outputs - want[i, t]).max()) if fits else np.inf
                    wrong += off > 1e-5
                    worst = max(worst, off)
        took = time.perf_counter() - started
        gc.collect()
        print(
            f"{sessions:,} sessions, table of {capacity:,}: {wrong} of {sessions * STEPS:,} "
            f"answers wrong (largest difference {worst:.1e})\n  {one.stats.spills:,} spills, "
            f"{one.stats.loads:,} loads, {sessions * STEPS / took:,.0f} steps a second\n"
            f"  memory grew by {(resident() - full) / 2**20:.0f} MiB since the table was full"
        )


async def held(model: sw.runtime.Model, sessions: int, folder: Path) -> None:
    """All of them in memory."""
    state = sum(array.nbytes for array in model.initial_state(1).values())
    rng = np.random.default_rng(0)
    async with engine(model, sessions + 1000, folder / "held.db") as one:
        count = 0

        async def grow(to: int) -> None:
            nonlocal count
            for i in range(count, to):
                await one.create("n", "m", id=f"session-{i}")
            for start in range(count, to, GROUP):
                names = range(start, min(start + GROUP, to))
                await one.step_many("n", [StepRequest(f"session-{i}", [0.1] * 3) for i in names])
            count = to

        async def seconds(among: int) -> float:
            rows = rng.choice(among, GROUP, replace=False)
            asked = [StepRequest(f"session-{i}", [0.1, 0.2, 0.3]) for i in rows]
            began = time.perf_counter()
            await one.step_many("n", asked)
            return (time.perf_counter() - began) / GROUP

        await grow(1000)
        gc.collect()
        before = resident()
        young = statistics.median([await seconds(count) for _ in range(60)])
        await grow(sessions)
        gc.collect()
        each = (resident() - before) / (sessions - 1000)
        print(f"{each:,.0f} bytes a session, of which the state has {state:,}")
        for _ in range(2000):
            await one.step_many("n", [StepRequest(f"session-{i}", [0.1] * 3) for i in range(GROUP)])
        print(f"a step, {GROUP} sessions at random: {1e6 * young:.1f} us with 1,000 held")
        turns = [[await seconds(among) for among in (GROUP, 1000, sessions)] for _ in range(60)]
        old, few, all_ = (1e6 * statistics.median(column) for column in zip(*turns, strict=True))
        print(
            f"  with {sessions:,} held, in turn: {all_:.1f} us among all, {few:.1f} us among "
            f"1,000, {old:.1f} us among those 2,000 steps old"
        )
        for word, work in (
            ("snapshot", lambda i: one.snapshot("n", f"session-{i}")),
            ("fork", lambda i: one.fork("n", f"session-{i}")),
        ):
            took = []
            for i in range(300):
                began = time.perf_counter()
                await work(i)
                took.append(time.perf_counter() - began)
            print(f"{word}: {1e3 * statistics.median(took):.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--capacity", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "m.safetensors"
        arch = sw.Architecture(sw.Vector(FEATURES), [sw.LSTM(UNITS)] * 2, sw.Linear(1))
        sw.nn.Model(arch, seed=0).save(path)
        model = sw.load(path)
        asyncio.run(canaries(model, options.sessions, options.capacity, Path(name)))
        asyncio.run(held(model, options.sessions, Path(name)))


if __name__ == "__main__":
    main()
