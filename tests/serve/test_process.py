"""Real servers, started as a user would: killed, paused, stopped, and asked by curl."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

import statewise as sw
from tests.serve.conftest import RedisServer, free_port, model, series

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("STATEWISE_KILLS", "3"))


class Process:
    """``statewise serve`` in a process of its own."""

    def __init__(self, folder: Path, *options: str, models: tuple[str, ...] = ("m.safetensors",)):
        self.folder, self.options, self.models = folder, options, models
        self.base = ""
        self.start()

    def start(self) -> None:
        command = "import sys; from statewise.cli import main; sys.exit(main())"
        self.process = subprocess.Popen(
            [sys.executable, "-c", command, "serve", *self.models, "--port", "0", *self.options],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("serving "), line
        self.base = line.split()[-1]

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        status = self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model().save(tmp_path / "m.safetensors")
    return tmp_path


@pytest.fixture
def serving(folder: Path) -> Iterator[Process]:
    process = Process(folder)
    yield process
    if process.process.poll() is None:
        process.end()


def post(base: str, path: str, body: dict) -> httpx.Response:
    return httpx.post(base + path, json=body, timeout=20)


def test_a_server_that_is_told_to_end_saves_all_and_exits_with_0(serving: Process) -> None:
    x = series(6)[0]
    post(serving.base, "/v1/sessions", {"model": "m", "id": "a", "durability": "none"})
    first = post(serving.base, "/v1/sessions/a/step", {"inputs": x[:3].tolist()}).json()
    assert serving.end() == 0
    serving.start()
    rest = post(serving.base, "/v1/sessions/a/step", {"inputs": x[3:].tolist(), "step": 3}).json()
    outputs = np.array(first["outputs"] + rest["outputs"])
    np.testing.assert_allclose(outputs, model()(x[None])[0][0], atol=1e-6)


class Load(threading.Thread):
    """A client that steps one session on and on, with positions and request ids, and repeats what
    it has no answer to.
    """

    def __init__(self, where: dict[str, str], name: str, x: np.ndarray) -> None:
        super().__init__(daemon=True)
        self.where, self.name_, self.x = where, name, x
        self.outputs: list[list[float]] = []
        self.wrong: list[str] = []

    def run(self) -> None:
        with httpx.Client(timeout=20) as client:
            self.follow(client)

    def follow(self, client: httpx.Client) -> None:
        for t in range(len(self.x)):
            body = {"inputs": self.x[t].tolist(), "step": t, "request_id": f"{self.name_}-{t}"}
            while True:
                try:
                    path = f"/v1/sessions/{self.name_}/step"
                    response = client.post(self.where["base"] + path, json=body)
                except httpx.HTTPError:
                    time.sleep(0.02)
                    continue
                if response.status_code == 503:
                    time.sleep(0.02)
                    continue
                if response.status_code != 200 or response.json()["step"] != t + 1:
                    self.wrong.append(response.text)
                    return
                self.outputs.append(response.json()["outputs"])
                break


def test_a_server_on_redis_goes_on_at_once_after_a_kill(
    folder: Path, redis_server: RedisServer
) -> None:
    server = Process(folder, "--store", redis_server.url, "--lease", "600")
    post(server.base, "/v1/sessions", {"model": "m", "id": "killed"})
    post(server.base, "/v1/sessions/killed/step", {"inputs": [0.5, 0.25]})
    server.end(signal.SIGKILL)
    server.start()
    rest = post(server.base, "/v1/sessions/killed/step", {"inputs": [0.5, 0.25], "step": 1})
    assert rest.json()["step"] == 2
    assert server.end() == 0


@pytest.mark.parametrize("clients", [1, 4])
def test_killed_at_random_moments_nothing_is_lost_or_done_twice(
    serving: Process, clients: int
) -> None:
    """Every acknowledged step is there, and going on equals the uninterrupted run: exactly, where
    a session is stepped alone; where many are stepped together, rows may round differently.
    """
    random = np.random.default_rng(0)
    x = series(200 * KILLS, rows=clients)
    where = {"base": serving.base}
    for row in range(clients):
        post(serving.base, "/v1/sessions", {"model": "m", "id": f"s{row}", "durability": "step"})
    loads = [Load(where, f"s{row}", x[row]) for row in range(clients)]
    for load in loads:
        load.start()
    for _ in range(KILLS):
        time.sleep(random.uniform(0.05, 0.4))
        serving.end(signal.SIGKILL)
        serving.start()
        where["base"] = serving.base
    for load in loads:
        load.join(120)
        assert not load.is_alive()
        assert load.wrong == []
    whole, state = model(), None
    for t in range(x.shape[1]):
        y, state = whole.step(x[:, t], state)
        got = np.array([load.outputs[t] for load in loads], np.float32)
        np.testing.assert_allclose(
            got, y, rtol=0 if clients == 1 else 1e-4, atol=1e-6 * (clients > 1)
        )


def test_a_paused_server_cannot_write_over_what_came_after(
    folder: Path, redis_server: RedisServer
) -> None:
    x = series(5)[0]
    options = ("--store", redis_server.url, "--lease", "1")
    first, second = Process(folder, *options), Process(folder, *options)
    try:
        post(first.base, "/v1/sessions", {"model": "m", "id": "pause"})
        post(first.base, "/v1/sessions/pause/step", {"inputs": x[0].tolist()})
        held = post(second.base, "/v1/sessions/pause/step", {"inputs": x[1].tolist()})
        assert held.status_code == 409
        assert held.json()["error"]["code"] == "owned_elsewhere"
        first.process.send_signal(signal.SIGSTOP)
        time.sleep(1.5)
        for t in (1, 2):
            done = post(second.base, "/v1/sessions/pause/step", {"inputs": x[t].tolist()})
            assert done.json()["step"] == t + 1
        first.process.send_signal(signal.SIGCONT)
        late = post(first.base, "/v1/sessions/pause/step", {"inputs": x[1].tolist(), "step": 1})
        assert late.status_code == 409
        last = post(second.base, "/v1/sessions/pause/step", {"inputs": x[3:].tolist(), "step": 3})
        want = model()(x[None])[0][0, 3:]
        np.testing.assert_allclose(last.json()["outputs"], want, atol=1e-6)
    finally:
        assert [first.end(), second.end()] == [0, 0]


def test_redis_that_goes_and_comes_back(folder: Path, tmp_path_factory) -> None:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    redis = RedisServer(tmp_path_factory.mktemp("another"))
    redis.start()
    x = series(4)[0]
    serving = Process(folder, "--store", redis.url)
    try:
        post(serving.base, "/v1/sessions", {"model": "m", "id": "a"})
        post(serving.base, "/v1/sessions/a/step", {"inputs": x[:2].tolist()})
        redis.stop()
        body = {"inputs": x[2].tolist(), "step": 2, "request_id": "r"}
        away = post(serving.base, "/v1/sessions/a/step", body)
        assert away.status_code == 503
        assert away.json()["error"]["code"] == "store_failed"
        assert away.headers["retry-after"]
        assert httpx.get(serving.base + "/readyz").status_code == 503
        redis.start()
        back = post(serving.base, "/v1/sessions/a/step", body).json()
        np.testing.assert_allclose(back["outputs"], model()(x[None])[0][0, 2], atol=1e-6)
        assert httpx.get(serving.base + "/readyz").status_code == 200
    finally:
        assert serving.end() == 0
        redis.stop()


def test_a_slow_client_holds_up_nobody(serving: Process) -> None:
    import socket

    post(serving.base, "/v1/sessions", {"model": "m", "id": "a"})
    host, port = serving.base.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as slow:
        slow.sendall(b"POST /v1/sessions/a/step HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{")
        for _ in range(5):
            body = {"inputs": [1.0, 2.0]}
            assert post(serving.base, "/v1/sessions/a/step", body).status_code == 200
    assert httpx.get(serving.base + "/v1/sessions/a").json()["step"] == 5


def test_a_forecaster_is_served_by_one_command_without_torch(tmp_path: Path) -> None:
    """What it answers is what the forecaster itself would."""
    series_ = np.sin(np.arange(60) / 3) * 10 + 50
    frame = {"ds": np.arange(60), "y": series_, "unique_id": ["one"] * 60}
    import pandas as pd

    forecaster = sw.Forecaster([sw.LSTM(4)], epochs=2).fit(pd.DataFrame(frame))
    forecaster.save(tmp_path / "run")
    want = forecaster.update(pd.DataFrame({"ds": [60], "y": [51.5], "unique_id": ["one"]})).predict(
        1
    )
    process = Process(tmp_path, models=("run",))
    try:
        maps = Path(f"/proc/{process.process.pid}/maps")
        if maps.exists():
            assert "libtorch" not in maps.read_text()
        info = httpx.get(process.base + "/v1/models").json()["models"][0]
        assert info["series"] == ["one"]
        post(process.base, "/v1/sessions", {"model": "run", "id": "s"})
        answer = post(process.base, "/v1/sessions/s/step", {"inputs": [51.5]}).json()
        assert answer["step"] == 61
        number = want.select_dtypes("number").iloc[0, -1]
        np.testing.assert_allclose(answer["outputs"], [number], rtol=1e-9)
    finally:
        assert process.end() == 0


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["nothing.safetensors"], "there is no model"),
        (["m.safetensors", "--store", "postgres://x"], "a store is"),
        (["m.safetensors", "--durability", "x"], "--durability must be"),
        (["m.safetensors", "--capacity", "0"], "--capacity must be at least 1"),
        (["m.safetensors", "--token-file", "none"], "cannot read the tokens"),
        (["m.safetensors", "--port", "99999"], "--port must be"),
        (["m.safetensors", "--ttl", "-1"], "--ttl must be"),
    ],
)
def test_a_wrong_command_is_one_line(folder: Path, arguments: list[str], match: str) -> None:
    command = "from statewise.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", command, "serve", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert match in done.stderr


def test_a_port_that_is_taken_is_one_line(serving: Process) -> None:
    port = serving.base.rsplit(":", 1)[1]
    command = "from statewise.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", command, "serve", "m.safetensors", "--port", port],
        cwd=serving.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "cannot listen on" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_readmes_curl_lines_work_as_written(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    text = (ROOT / "README.md").read_text()
    block = re.search(r"```console\n(\$ statewise forecast --out run\n.*?)```", text, re.DOTALL)
    assert block is not None
    port = str(free_port())
    lines = [line[2:] for line in block[1].splitlines() if line.startswith("$ ")]
    statewise = [sys.executable, "-c", "from statewise.cli import main; main()"]
    quick = ["forecast", "--out", "run", "--epochs", "2", "--repeats", "1"]
    subprocess.run([*statewise, *quick], cwd=tmp_path, check=True, capture_output=True)
    assert lines[1] == "statewise serve run &"
    server = subprocess.Popen(
        [*statewise, "serve", "run", "--port", port], cwd=tmp_path, stdout=subprocess.PIPE
    )
    assert server.stdout is not None
    server.stdout.readline()
    try:
        curls = [line for line in lines if line.startswith("curl ")]
        assert len(curls) >= 3
        for line in curls:
            done = subprocess.run(
                line.replace(":8000", f":{port}"),
                shell=True,
                cwd=tmp_path,
                check=True,
                capture_output=True,
                text=True,
            )
            assert '"error"' not in done.stdout, line
    finally:
        server.terminate()
        assert server.wait(20) == 0
        server.stdout.close()
