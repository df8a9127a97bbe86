"""Fact 11: save, load, go on equals going on, across processes and executors."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import statewise as sw

from .executors import EXECUTORS
from .facts import close, close_state, incoming, over, resets, same_state, x_of
from .own import Counter, Leaky
from .zoo import CAUSAL, ZOO

GO_ON = """
import sys
from pathlib import Path
import numpy as np
from tests.conformance.own import Counter, Leaky
import statewise as sw

folder = Path(sys.argv[1])
for path in sorted(folder.glob("*.model.safetensors")):
    name = path.name.removesuffix(".model.safetensors")
    model = sw.load(path, cells=[Counter, Leaky])
    state = sw.State.load(folder / f"{name}.state.safetensors")
    y, state = model(np.load(folder / f"{name}.x.npy"), state)
    np.save(folder / f"{name}.y.npy", y)
    state.save(folder / f"{name}.end.safetensors")
assert "torch" not in sys.modules, "torch was imported"
"""


@over(CAUSAL)
def test_save_load_go_on(subject, opened, tmp_path):
    x, state = x_of(subject), incoming(subject)
    expected, last = subject(x, state)
    state.save(tmp_path / "s.safetensors")
    loaded = sw.State.load(tmp_path / "s.safetensors")
    same_state(loaded, state)
    for executor in EXECUTORS:
        y, end = opened(subject.name, executor, subject.dtype)(x, loaded)
        close(subject, y, expected)
        close_state(subject, end, last)


@over()
def test_a_reloaded_model_is_the_same_model(subject, tmp_path):
    subject.model.save(tmp_path / "m.safetensors")
    again = subject.open(tmp_path / "m.safetensors")
    assert again.architecture == subject.architecture
    assert again.model.fingerprint() == subject.model.fingerprint()
    x, reset = x_of(subject), resets()
    y, state = again(x, reset=reset)
    expected, end = subject(x, reset=reset)
    close(subject, y, expected)
    close_state(subject, state, end)


def test_another_process_without_torch_goes_on(opened, tmp_path):
    expected = {}
    for name in CAUSAL:
        subject = opened(name, "fused", "float32")
        x, state = x_of(subject), incoming(subject)
        subject.model.save(tmp_path / f"{name}.model.safetensors")
        state.save(tmp_path / f"{name}.state.safetensors")
        np.save(tmp_path / f"{name}.x.npy", x)
        expected[name] = subject, subject(x, state)
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", GO_ON, str(tmp_path)], check=True, cwd=root)
    for name, (subject, (y, end)) in expected.items():
        close(subject, np.load(tmp_path / f"{name}.y.npy"), y)
        last = sw.State.load(tmp_path / f"{name}.end.safetensors")
        close_state(subject, last, end)
        more, _ = subject(x_of(subject), last)  # and back into torch, without a warning
        close(subject, more, subject(x_of(subject), end)[0])


def test_ones_own_cells_travel_by_name(tmp_path):
    path = tmp_path / "m.safetensors"
    sw.nn.Model(ZOO["own"]).save(path)
    assert sw.load(path).architecture == ZOO["own"]
    code = "import sys, statewise as sw; sw.load(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], check=False, capture_output=True, text=True
    )
    assert "the model uses the cell 'Leaky' of the module" in done.stderr
    assert "cells=[Leaky]" in done.stderr
    assert sw.load(path, cells=[Counter, Leaky]).architecture == ZOO["own"]


@pytest.mark.parametrize("name", ["lstm", "inverse", "own"])
def test_files_hold_no_pickle(name, tmp_path):
    model = sw.nn.Model(ZOO[name])
    model.save(tmp_path / "m.safetensors")
    model.initial_state(2).save(tmp_path / "s.safetensors")
    for path in tmp_path.iterdir():
        raw = path.read_bytes()
        assert int.from_bytes(raw[:8], "little") < len(raw)
        assert raw[8:9] == b"{"
