"""Speed of the server beside the servers that a user would write: ``make bench-serve``.

The same two-layer LSTM in every server, the same machine, the same requests from a generator in a
process of its own. Servers are measured in turn, round after round; the medians are printed.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

import statewise as sw

HERE = Path(__file__).parent
UNITS, FEATURES, CLIENTS, TOGETHER = 128, 8, 64, 256
JSON, MSGPACK = "application/json", "application/msgpack"


@dataclass
class Server:
    """A running server and where its routes are."""

    name: str
    port: int
    one: str
    many: str
    ours: bool

    def post(self, path: str, body: Any) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            json.dumps(body).encode(),
            {"Content-Type": JSON, "Accept": JSON},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(name: str, command: Sequence[str], port: int, ours: bool) -> Iterator[Server]:
    """A server from when it answers until the block ends."""
    prefix = "/v1" if ours else ""
    server = Server(name, port, prefix + "/sessions/{}/step", prefix + "/step", ours)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([sys.executable, *command], env=environment) as process:
        try:
            for _ in range(600):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/openapi.json", timeout=5)
                    break
                except (urllib.error.URLError, OSError):
                    if process.poll() is not None:
                        raise RuntimeError(f"{name} did not start") from None
                    time.sleep(0.1)
            yield server
        finally:
            process.terminate()


def servers(model: Path, folder: Path) -> list[tuple[str, list[str], int, bool]]:
    """Every server's name, command and port, and whether it is statewise's."""
    found = []
    for durability in ("none", "step"):
        port = free_port()
        store = f"sqlite:{folder / durability}.db"
        options = ["--port", str(port), "--durability", durability, "--store", store]
        command = ["-c", "from statewise.cli import main; main()", "serve", str(model), *options]
        found.append((f"statewise, durability {durability}", command, port, True))
    for kind in ("torch", "onnx"):
        port = free_port()
        command = [str(HERE / "serve_peers.py"), kind, str(model), str(port)]
        found.append((f"FastAPI + {kind}", command, port, False))
    return found


def load(server: Server, clients: list[list[tuple[str, str]]], seconds: float, kind: str) -> Any:
    """What the generator saw."""
    plan = {"port": server.port, "seconds": seconds, "clients": clients, "kind": kind}
    done = subprocess.run(
        [sys.executable, str(HERE / "serve_load.py")],
        input=json.dumps(plan),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{server.name}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def text(body: Any, kind: str) -> str:
    if kind == JSON:
        return json.dumps(body)
    return base64.b64encode(msgspec.msgpack.encode(body)).decode()


def single(server: Server, inputs: np.ndarray, kind: str) -> list[list[tuple[str, str]]]:
    """Clients that step a session each, one time step a request."""
    return [
        [(server.one.format(f"one-{i}"), text({"inputs": x.tolist()}, kind)) for x in inputs[i]]
        for i in range(CLIENTS)
    ]


def together(server: Server, inputs: np.ndarray, kind: str) -> list[list[tuple[str, str]]]:
    """Two clients that step 256 sessions of their own in each request."""
    bodies = [
        [
            {"steps": [{"session": f"{who}-{i}", "inputs": x.tolist()} for i, x in enumerate(row)]}
            for row in inputs.swapaxes(0, 1)[:8]
        ]
        for who in ("a", "b")
    ]
    return [[(server.many, text(body, kind)) for body in client] for client in bodies]


def prepare(server: Server, model: str, inputs: np.ndarray) -> np.ndarray:
    """Make the sessions, and a first step of one: its outputs must agree between servers."""
    if server.ours:
        names = ["check", *(f"one-{i}" for i in range(CLIENTS))]
        names += [f"{who}-{i}" for who in "ab" for i in range(TOGETHER)]
        for name in names:
            server.post("/v1/sessions", {"model": model, "id": name})
    path = server.one.format("check")
    return np.array([server.post(path, {"inputs": x.tolist()})["outputs"] for x in inputs[0, :3]])


def report(title: str, rows: dict[str, list[Any]], steps: int, baseline: str) -> None:
    """Medians over the rounds, and the median of each round's ratio to a peer."""
    print(
        f"\n{title}\n{'':<34}{'steps/s':>10}{'p50 ms':>9}{'p99 ms':>9}{'ratio':>8}{'generator':>11}"
    )
    for name, seen in rows.items():
        rate, p50, p99, cpu = (
            statistics.median(one[part] for one in seen) for part in ("rate", "p50", "p99", "cpu")
        )
        ratios = [
            one["rate"] / base["rate"] for one, base in zip(seen, rows[baseline], strict=True)
        ]
        print(
            f"{name:<34}{rate * steps:>10,.0f}{1e3 * p50:>9.2f}{1e3 * p99:>9.2f}"
            f"{statistics.median(ratios):>8.2f}{cpu:>10.0%}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    arch = sw.Architecture(
        sw.Vector(FEATURES), [sw.LSTM(UNITS), sw.LSTM(UNITS)], outputs=sw.Linear(1)
    )
    inputs = np.random.default_rng(0).standard_normal((TOGETHER, 32, FEATURES)).astype(np.float32)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        model = Path(name) / "bench.safetensors"
        sw.nn.Model(arch, seed=0).save(model)
        alive = [stack.enter_context(running(*one)) for one in servers(model, Path(name))]
        answers = [prepare(server, "bench", inputs) for server in alive]
        for server, answer in zip(alive, answers, strict=True):
            np.testing.assert_allclose(answer, answers[0], atol=1e-5, err_msg=server.name)
        peer = alive[-2].name
        for title, plan, steps in (
            (f"Single steps, {CLIENTS} clients", single, 1),
            (f"{TOGETHER} sessions a request, 2 clients", together, TOGETHER),
        ):
            rows: dict[str, list[Any]] = {}
            for turn in range(options.rounds + 1):  # the first warms up
                for server in alive:
                    for kind in (JSON, MSGPACK) if server.ours else (JSON,):
                        label = server.name + (", MessagePack" if kind == MSGPACK else "")
                        seconds = options.seconds if turn else 0.5
                        seen = load(server, plan(server, inputs, kind), seconds, kind)
                        if turn:
                            rows.setdefault(label, []).append(seen)
            report(title, rows, steps, peer)


if __name__ == "__main__":
    main()
