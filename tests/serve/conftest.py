"""Models that are served, and stores of every kind."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import statewise as sw
from statewise.serve.models import ServedModel
from statewise.serve.stores.base import Store
from statewise.serve.stores.memory import MemoryStore
from statewise.serve.stores.sqlite import SqliteStore


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def model(seed: int = 0, units: int = 5, cell: type = sw.LSTM) -> sw.runtime.Model:
    """A small model: vectors of 2 in, 3 out."""
    layers = [cell(units), sw.GRU(4)]
    drawn = sw.nn.Model(sw.Architecture(sw.Vector(2), layers, sw.Linear(3)), seed=seed)
    arrays = {name: p.detach().numpy() for name, p in drawn.weights().items()}
    return sw.runtime.Model(drawn.architecture, arrays)


def series(steps: int, seed: int = 0, rows: int = 1) -> np.ndarray:
    """Inputs (rows, steps, 2)."""
    drawn = np.random.default_rng(seed).normal(size=(rows, steps, 2))
    return drawn.astype(np.float32)


class RedisServer:
    """A Redis of our own, which can be stopped and come back."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        import redis

        self.process = subprocess.Popen(
            [
                "redis-server",
                *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)),
                *("--save", "", "--appendonly", "yes", "--appendfsync", "always"),
            ],
            stdout=subprocess.DEVNULL,
        )
        client = redis.Redis(port=self.port)
        until = time.monotonic() + 20
        while True:
            try:
                client.ping()
                break
            except redis.RedisError:
                assert time.monotonic() < until, "redis-server did not start"
                time.sleep(0.05)
        client.close()

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    if shutil.which("redis-server") is None:
        if os.environ.get("STATEWISE_REQUIRE_SERVERS") == "1":
            raise RuntimeError("install Debian's package redis-server")
        pytest.skip("redis-server is not installed")
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=["memory", "sqlite", "redis"])
def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    """Opens the same store again and again, as several servers would; memory is one object."""
    opened: list[Store] = []
    if request.param == "memory":
        single = MemoryStore()
        make: Callable[[], Store] = lambda: single  # noqa: E731
    elif request.param == "sqlite":
        make = lambda: SqliteStore(tmp_path / "s.db")  # noqa: E731
    else:
        from statewise.serve.stores.redis import RedisStore

        server = request.getfixturevalue("redis_server")
        make = lambda: RedisStore(server.url, f"{tmp_path.name}:")  # noqa: E731

    def new() -> Store:
        opened.append(make())
        return opened[-1]

    yield new
    for store in opened:
        store.close()


@pytest.fixture
def served() -> ServedModel:
    return ServedModel("m", model(), 8)
