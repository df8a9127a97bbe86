"""How a cell's step and scan are called, and what `capture` does."""

from dataclasses import dataclass

import numpy as np
import pytest

import statewise as sw
from statewise.capture import Capture
from statewise.stepping import run_scan, run_step, takes_capture

X = np.array([[1.0], [2.0]])
S = {"h": np.array([[0.5], [0.0]])}


@dataclass(frozen=True)
class Plain(sw.Cell):
    def state(self, inputs):
        return {"h": (1,)}

    def step(self, p, x, s):
        h = s["h"] + x
        return h, {"h": h}, {"sum": h}


class Tapped(Plain):
    def step(self, p, x, s, capture):
        h = capture("sum", s["h"] + x)
        return 2 * h, {"h": h}


class Both(Plain):
    def step(self, p, x, s, capture):
        h = capture("sum", s["h"] + x)
        return h, {"h": h}, {"shown": x}


class Scanned(Plain):
    def scan(self, p, x, s, capture):
        h = capture("sum", s["h"][:, None] + x.cumsum(axis=1))
        return h, {"h": h[:, -1]}


def test_a_step_with_capture_goes_on_with_what_comes_back():
    y, new, values = run_step(Tapped(), {}, X, S, Capture(lambda name, v: v + 1))
    assert y.tolist() == [[5.0], [6.0]]
    assert new["h"].tolist() == values["sum"].tolist() == [[2.5], [3.0]]


def test_a_step_without_capture_can_only_be_recorded():
    y, _, values = run_step(Plain(), {}, X, S, Capture(lambda name, v: v + 1))
    assert y.tolist() == values["sum"].tolist() == [[1.5], [2.0]]


def test_a_step_may_return_further_intermediates():
    _, _, values = run_step(Both(), {}, X, S)
    assert list(values) == ["sum", "shown"]


def test_whether_a_step_takes_capture_is_told_by_its_arguments():
    assert [takes_capture(cell()) for cell in (Plain, Tapped, Both)] == [False, True, True]
    assert takes_capture(sw.LSTM(2))
    assert takes_capture(Scanned(), "scan")


def test_what_is_returned_must_be_as_declared():
    two = type("Two", (Plain,), {"step": lambda self, p, x, s: (x, s)})()
    one = type("One", (Plain,), {"step": lambda self, p, x, s, capture: x})()
    with pytest.raises(sw.CellError, match=r"Two\.step must return three things.*got 2 values"):
        run_step(two, {}, X, S)
    with pytest.raises(sw.CellError, match=r"One\.step must return two things.*got ndarray"):
        run_step(one, {}, X, S)


def test_a_scan_is_asked_only_of_cells_that_have_one():
    assert run_scan(Plain(), {}, X[:, None], S) is None
    x = np.ones((2, 3, 1))
    y, new, values = run_scan(Scanned(), {}, x, S)
    assert y[:, -1].tolist() == new["h"].tolist() == [[3.5], [3.0]]
    assert values["sum"].shape == (2, 3, 1)


def test_every_built_in_cell_steps_alone_and_shows_its_intermediates():
    cell = sw.LSTM(2)
    p = {name: np.ones(value.shape) for name, value in cell.parameters(1).items()}
    s = {"h": np.zeros((1, 2)), "c": np.zeros((1, 2))}
    y, new, values = cell.step(p, np.ones((1, 1)), s)
    assert list(values) == ["i", "f", "g", "o", "c", "h"]
    assert (values["h"] == y).all()
    assert (values["c"] == new["c"]).all()


def test_a_cell_inside_another_leaves_out_what_the_outer_one_gives():
    capture = Capture(lambda name, v: v + 1)
    inner = capture.excluding(("y",))
    assert inner("y", 1) == 1
    assert inner("h", 1) == 2
    inner.record({"y": 5, "g": 7})
    assert capture.values == {"h": 2, "g": 7}
    assert capture.after(lambda name, v: 10 * v)("h", 1) == 11
