"""The door to the kernels: what it reports, how it is forced, and that all works without it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import statewise as sw
from statewise import kernels

SAVE = """
import sys
if {blocked}:
    sys.modules["statewise._native"] = None
import numpy as np
import statewise as sw
from statewise import kernels
"""


def run(code, blocked=False, **environment):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SAVE.format(blocked=blocked) + code],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def saved(tmp_path):
    arch = sw.Architecture(sw.Vector(3), [sw.LSTM(8), sw.Residual(sw.GRU(8))], sw.Linear(2))
    model = sw.runtime.Model(arch, {k: v.astype("f") for k, v in arch.draw(0).items()})
    model.save(tmp_path / "m.safetensors")
    return tmp_path / "m.safetensors", model


def test_the_report_is_true():
    report = kernels.describe()
    assert report["available"]
    assert report["isa"] in report["isas"]
    assert report["threads"] >= 1
    assert report["reason"] is None


def test_an_environment_variable_forces_an_instruction_set():
    for name in kernels.list_isas():
        assert run("print(kernels.get_isa())", STATEWISE_ISA=name) == name
    out = run("print(kernels.is_available(), kernels.describe()['reason'])", STATEWISE_ISA="mmx")
    assert out.startswith("False")
    assert "mmx" in out


def test_threads_are_set_and_reset():
    kernels.set_threads(0)
    default = kernels.get_threads()
    kernels.set_threads(3)
    assert kernels.get_threads() == 3
    kernels.set_threads(0)
    assert kernels.get_threads() == default


USE = """
m = sw.load({path!r})
x = np.linspace(-1, 1, 30, dtype=np.float32).reshape(2, 5, 3)
y, s = m(x, reset=np.eye(2, 5, 1, dtype=bool), lengths=[5, 3])
y_t, s = m.step(x[:, 0], s)
table = sw.SlotTable(m, 4)
slot = table.open(s.rows(0))
table.step([slot], x[:1, 1])
assert "torch" not in sys.modules
h = table.read(slot)["0.h"]
print(m.executor, np.concatenate([y.ravel(), y_t.ravel(), h.ravel()]).tolist())
"""


def test_the_same_answers_with_and_without_kernels_and_no_torch(saved):
    path, _ = saved
    code = USE.format(path=str(path))
    native, _, numbers = run(code).partition(" ")
    pure, _, others = run(code, blocked=True).partition(" ")
    assert (native, pure) == ("native", "reference")
    np.testing.assert_allclose(eval(numbers), eval(others), atol=1e-6)


@pytest.mark.pure
def test_without_kernels_the_door_says_so():
    code = """
assert not kernels.is_available() and kernels.get_isa() is None and kernels.list_isas() == []
assert kernels.get_threads() == 1 and kernels.describe()["reason"]
kernels.set_threads(2)
kernels.select_isa("avx2")
"""
    run(code, blocked=True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_threads_of_its_own(saved):
    code = """
import os
arch = sw.Architecture(sw.Vector(300), [sw.LSTM(300)])
m = sw.runtime.Model(arch, {k: v.astype("f") for k, v in arch.draw(0).items()})
kernels.set_threads(2)
x = np.ones((2, 20, 300), np.float32)
y, _ = m(x)
child = os.fork()
if child == 0:
    again, _ = m(x)
    os._exit(0 if np.array_equal(again, y) else 3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
m(x)
"""
    run(code)


def test_the_kernels_know_no_python_and_no_torch():
    folder = Path(__file__).parents[2] / "native"
    parts = [
        "vector-inl.h",
        "activations-inl.h",
        "tile-inl.h",
        "gemm-inl.h",
        "forward-inl.h",
        "backward-inl.h",
    ]
    for name in [*parts, "kernels.h", "kernels.cpp", "layer.cpp", "sequence.cpp", "gradients.cpp"]:
        text = (folder / name).read_text()
        assert "Python.h" not in text
        assert "nanobind" not in text
        assert "torch" not in text
