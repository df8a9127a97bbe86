"""Commands and training leave what was asked for, and no other file anywhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import statewise as sw

POSIX = pytest.mark.skipif(os.name != "posix", reason="signals are sent to another process")

TRAINS = """
import os, signal, statewise as sw, torch
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
def interrupt(prediction, target):
    global calls
    calls += 1
    if calls in (3, 4) and calls < TIMES + 3:
        os.kill(os.getpid(), signal.SIGINT)
    return (prediction - target) ** 2
calls, TIMES = 0, %d
model = sw.nn.Model(sw.Architecture(sw.Vector(1), [sw.GRU(2)], sw.Linear(1)))
streams = sw.Streams(torch.randn(50, 1), lanes=1, chunk=10)
sw.fit(model, streams, loss=interrupt, checkpoint="run.safetensors", every=1)
"""


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """A working folder, a home and a place for temporary files, all empty."""
    made = {name: tmp_path / name for name in ("work", "home", "temporary")}
    for path in made.values():
        path.mkdir()
    return made


def start(places: dict[str, Path], *words: str) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    return subprocess.Popen(
        [sys.executable, "-B", *words],
        cwd=places["work"],
        env={**kept, "HOME": str(places["home"]), "TMPDIR": str(places["temporary"])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def list_files(places: dict[str, Path]) -> list[str]:
    """Every file, and every folder, but the places themselves."""
    root = places["work"].parent
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.parent != root)


@POSIX
@pytest.mark.parametrize("times", [1, 2])
def test_training_that_is_interrupted_leaves_its_checkpoint_alone(places, times):
    process = start(places, "-c", TRAINS % times)
    _, errors = process.communicate(timeout=120)
    assert "KeyboardInterrupt" in errors
    assert list_files(places) == ["work/run.safetensors"]


def test_a_checkpoint_whose_writing_is_interrupted_leaves_no_part(places, monkeypatch):
    path = places["work"] / "run.safetensors"

    def interrupt(temporary, data):
        temporary.touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupt)
    with pytest.raises(KeyboardInterrupt):
        sw.fit(
            sw.nn.Model(sw.Architecture(sw.Vector(1), [sw.GRU(2)], sw.Linear(1))),
            sw.Streams(torch.randn(9, 1)),
            checkpoint=path,
        )
    assert list_files(places) == []


@pytest.mark.parametrize("words", [["doctor"], ["doctor", "--json"], ["state", "s.safetensors"]])
def test_commands_that_show_something_write_nothing(places, words):
    sw.State({"h": np.zeros((1, 2))}).save(places["work"] / "s.safetensors")
    process = start(places, "-m", "statewise", *words)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert list_files(places) == ["work/s.safetensors"]


def test_an_exam_writes_nothing(places):
    words = ["exam", "anbn", "--cells", "gru", "--seeds", "1", "--seconds", "0.2", "--jobs", "1"]
    process = start(places, "-m", "statewise", *words)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert list_files(places) == []


@POSIX
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("store", ["sqlite:sessions.db", "memory"])
def test_a_server_that_ends_leaves_its_store_alone(places, store, number):
    model = sw.nn.Model(sw.Architecture(sw.Vector(1), [sw.GRU(2)], sw.Linear(1)))
    model.save(places["work"] / "m.safetensors")
    words = ["serve", "m.safetensors", "--port", "0", "--store", store]
    process = start(places, "-m", "statewise", *words)
    address = process.stdout.readline().split()[-1]
    with sw.serve.Client(address) as client:
        client.step(client.create("m").id, [1.0])
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    expected = ["work/m.safetensors", "work/sessions.db"]
    assert list_files(places) == expected[: 1 + store.startswith("sqlite")]
