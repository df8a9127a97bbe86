"""However a call is divided among threads, and whosever they are, the result is the same."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from reference import CELLS, Case, close

import statewise as sw
from statewise import kernels
from statewise.runtime import Model

UNITS = 400  # so large that few rows are divided by units


def weights(architecture):
    rng = np.random.default_rng(0)
    shapes = {name: value.shape for name, value in architecture.parameters.items()}
    return {n: rng.normal(0, 0.05, shape).astype(np.float32) for n, shape in shapes.items()}


@pytest.fixture
def crowd():
    """More threads than there are cores, so that some are late and some lose their core."""
    kernels.set_threads(8)
    yield
    kernels.set_threads(0)


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("name", CELLS)
def test_a_crowd_computes_what_one_thread_does(crowd, name, rows):
    case = Case(CELLS[name](UNITS), rows, 12, inputs=UNITS)
    crowded = case.forward()
    gradients = case.backward(crowded[0], *crowded[3:])
    kernels.set_threads(1)
    alone = case.forward()
    for found, expected in zip(crowded[:3], alone[:3], strict=True):
        np.testing.assert_array_equal(found, expected)
    for key, expected in case.backward(alone[0], *alone[3:]).items():
        if expected is not None:
            close(gradients[key], expected, f"d{key}")


def test_a_whole_model_in_a_crowd(crowd):
    layers = [sw.LSTM(UNITS), sw.LayerNorm(), sw.Residual(sw.GRU(UNITS, reset="before"))]
    architecture = sw.Architecture(sw.Tokens(30, 8), layers, sw.Linear(500))
    model, x = Model(architecture, weights(architecture)), np.arange(60).reshape(2, 30) % 30
    crowded, state = model(x)
    stepped, after = model.step(x[:, 0], state)
    kernels.set_threads(1)
    alone, other = model(x)
    close(crowded, alone)  # the linear output's rows are taken in other groups
    for name, value in state.items():
        np.testing.assert_array_equal(value, other[name])
    again, expected = model.step(x[:, 0], state)
    np.testing.assert_array_equal(stepped, again)
    for name, value in after.items():
        np.testing.assert_array_equal(value, expected[name])


@pytest.mark.parametrize("pause", [0, 1e-4])
def test_a_stream_of_brief_steps(pause):
    """Threads that are awake take part in some of them, which changes nothing."""
    layers = [sw.LSTM(128), sw.Residual(sw.GRU(128)), sw.GRU(96, reset="before")]
    architecture = sw.Architecture(sw.Vector(128), layers, sw.Linear(20))
    model = Model(architecture, weights(architecture))
    x = np.random.default_rng(0).standard_normal((700, 1, 128)).astype(np.float32)
    found = []
    for count in (1, 2, 3):
        kernels.set_threads(count)
        try:
            outputs, state = [], None
            for t in range(len(x)):
                y, state = model.step(x[t], state)
                outputs.append(y)
                time.sleep(pause and pause * (t % 100 == 0))
        finally:
            kernels.set_threads(0)
        found.append((np.stack(outputs), state))
    (alone, last), *others = found
    for outputs, state in others:
        np.testing.assert_array_equal(outputs, alone)
        for field, value in state.items():
            np.testing.assert_array_equal(value, last[field])


def test_callers_that_share_a_model_and_the_threads():
    architecture = sw.Architecture(sw.Vector(128), [sw.LSTM(128)])
    model = Model(architecture, weights(architecture))
    x = np.random.default_rng(0).standard_normal((1, 128)).astype(np.float32)

    def run(_=None):
        state = None
        for _ in range(1500):
            y, state = model.step(x, state)
        return y

    kernels.set_threads(1)
    alone = run()
    kernels.set_threads(2)
    try:
        with ThreadPoolExecutor(3) as pool:
            for y in pool.map(run, range(3)):
                np.testing.assert_array_equal(y, alone)
    finally:
        kernels.set_threads(0)


@pytest.mark.parametrize("lent", [1, 2, 5])
def test_threads_of_torch(lent):
    architecture = sw.Architecture(sw.Vector(UNITS), [sw.LSTM(UNITS), sw.GRU(UNITS)])
    model = sw.nn.Model(architecture, weights=weights(architecture))
    x = torch.randn(2, 12, UNITS, generator=torch.Generator().manual_seed(0))
    found = []
    for count in (1, 3):
        kernels.set_threads(count)
        torch.set_num_threads(lent)
        try:
            model.zero_grad()
            model(x)[0].square().sum().backward()
        finally:
            kernels.set_threads(0)
            torch.set_num_threads(1)
        found.append([weight.grad.clone() for weight in model.parameters()])
    for alone, together in zip(*found, strict=True):
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


FORKS = """
import os, numpy as np, torch
from statewise import kernels
kernels.set_threads(2)
torch.set_num_threads(2)
n = 300
W, b, x = np.ones((4 * n, n), "f") / n, np.zeros(4 * n, "f"), np.ones((1, 20, n), "f")
layer = kernels.native.Layer("lstm", n, n, W, W, b, None, borrow=True)
start = np.zeros((1, n), "f")
def run():
    return layer.forward(x, start, start, None, None, None, None, False)[0]
y = run()
child = os.fork()
if child == 0:
    os._exit(0 if np.array_equal(run(), y) else 3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_wait_for_threads_of_torch():
    command = [sys.executable, "-W", "ignore", "-c", FORKS]
    subprocess.run(command, check=True, timeout=60)


CORES = """
import os, sys, time, numpy as np
from statewise import kernels
allowed = set(map(int, sys.argv[1].split(",")))
os.sched_setaffinity(0, allowed)
kernels.set_threads(3)
n = 300
W, b, x = np.ones((4 * n, n), "f") / n, np.zeros(4 * n, "f"), np.ones((1, 20, n), "f")
layer = kernels.native.Layer("lstm", n, n, W, W, b, None)
start = np.zeros((1, n), "f")
def run():
    return layer.forward(x, start, start, None, None, None, None, False)[0]
y = run()
for _ in range(3):
    time.sleep(0.01)  # the threads fall asleep
    assert np.array_equal(run(), y)
tasks = list(map(int, os.listdir("/proc/self/task")))
assert len(tasks) >= 3
assert all(os.sched_getaffinity(task) <= allowed for task in tasks)
assert os.sched_getaffinity(0) == allowed
"""


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs affinity of threads")
@pytest.mark.parametrize("count", [1, 2])
def test_threads_keep_to_the_cores_that_the_process_has(count):
    cores = sorted(os.sched_getaffinity(0))[:count]
    command = [sys.executable, "-c", CORES, ",".join(map(str, cores))]
    subprocess.run(command, check=True, timeout=60, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})
