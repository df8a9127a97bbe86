"""The recipes of CONTRIBUTING.md: their code does what they say, and what they name exists."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import statewise as sw

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text()


@pytest.fixture(scope="module")
def names():
    """What the code of the recipes defines, run from top to bottom."""
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(blocks) == 3
    defined = {"__name__": "tests.recipes"}
    for block in blocks:
        exec(compile(block, "CONTRIBUTING.md", "exec"), defined)
    return defined


def test_the_cell_trains_carries_travels_and_is_edited(names, tmp_path):
    cell = names["UpdateGate"]
    arch = sw.Architecture(sw.Vector(2), [cell(4)], sw.Linear(1))
    model = sw.nn.Model(arch, seed=0)
    x = torch.randn(3, 10, 2, generator=torch.Generator().manual_seed(0))
    y, state = model(x)
    first, half = model(x[:, :4])
    rest, end = model(x[:, 4:], half)
    assert torch.allclose(torch.cat([first, rest], 1), y, atol=1e-6)
    assert end.allclose(state, atol=1e-6)
    y.square().mean().backward()
    assert all(weight.grad.abs().sum() > 0 for weight in model.parameters())
    model.save(tmp_path / "m")
    light = sw.load(tmp_path / "m", cells=[cell])
    np.testing.assert_allclose(light(x.numpy())[0], y.detach(), atol=1e-6)
    assert list(sw.inspect.record(light, x.numpy(), names="*")) == ["0.z", "0.n", "0.h"]
    with sw.inspect.edit(light, {"0.z": 1.0}):
        kept = light(x.numpy())[1]
    assert not np.asarray(kept["0.h"]).any(), "with z = 1 the state stays what it was: zero"


def test_the_cell_is_the_equations_of_its_docstring(names):
    arch = sw.Architecture(sw.Vector(2), [names["UpdateGate"](3)])
    p = {name: np.random.default_rng(0).normal(size=a.shape) for name, a in arch.draw(0).items()}
    x = np.random.default_rng(1).normal(size=(1, 5, 2))
    h = np.zeros(3)
    for t in range(5):
        sums = p["0.W"] @ x[0, t] + p["0.R"] @ h + p["0.b"]
        z, n = 1 / (1 + np.exp(-sums[:3])), np.tanh(sums[3:])
        h = z * h + (1 - z) * n
    y, _ = sw.runtime.Model(arch, p)(x)
    np.testing.assert_allclose(y[0, -1], h, rtol=1e-12)


def test_the_transform_goes_there_and_back(names):
    ratio = names["Ratio"]()
    x = np.random.default_rng(0).uniform(1, 2, (2, 8, 1))
    identity = {"outputs.W": np.ones((1, 1)), "outputs.b": np.zeros(1)}
    arch = sw.Architecture(sw.Vector(1), [ratio], sw.Linear(1))
    y, _, seen = sw.runtime.Model(arch, identity).trace(x)
    np.testing.assert_allclose(y[:, 1:], x[:, 1:] / x[:, :-1], rtol=1e-12)
    values = {"base": seen["0.base"]}
    np.testing.assert_allclose(ratio.inverse(ratio.forward(x, values), values), x, rtol=1e-12)
    back = sw.Architecture(sw.Vector(1), [ratio], sw.Linear(1, inverse=True))
    same = {"outputs.W": np.zeros((1, 1)), "outputs.b": np.ones(1)}
    np.testing.assert_allclose(sw.runtime.Model(back, same)(x)[0], x, rtol=1e-12)


def test_the_framework_gets_a_report(names):
    answers = {row.fact: row.answer for row in names["report"].rows}
    assert answers["carry.call"] == "reset"
    assert answers["chunks"] == answers["steps"] == "same"
    assert answers["layout"] == "first"
    assert names["report"].framework == "plain NumPy"


def test_paths_that_are_named_exist():
    paths = re.findall(r"`((?:src|tests|native|docs|tools)/[\w./-]+)`", TEXT)
    assert len(paths) > 25
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_fixtures_and_tables_that_are_named_exist():
    for word, path in {
        "ZOO": "tests/conformance/zoo.py",
        "EXECUTORS": "tests/conformance/executors.py",
        "TRANSFORMS": "tests/transforms/test_transforms.py",
        "new_store": "tests/serve/conftest.py",
        "open_store": "src/statewise/serve/stores/opening.py",
        "native_kernel": "src/statewise/cell.py",
        "keep_gates": "src/statewise/cell.py",
        "Kernels": "native/kernels.h",
        "CellLayout": "native/cells.h",
    }.items():
        assert word in (ROOT / path).read_text(), f"{path} has no {word}"
        assert word in TEXT, word


def test_make_targets_that_are_named_exist():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"^make ([\w-]+)", TEXT, re.MULTILINE))
    assert len(named) > 10
    assert named <= targets
