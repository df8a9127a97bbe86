"""A user's own cell: what it may leave out, and what it is told when it breaks the contract."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

import statewise as sw


@dataclass(frozen=True)
class Base(sw.Cell):
    units: int = 2

    def state(self, inputs):
        return {"h": (self.units,)}

    def parameters(self, inputs):
        return {"W": ((self.units, inputs), sw.Glorot())}

    def step(self, p, x, s):
        h = s["h"] + x @ p["W"].T
        return h, {"h": h}, {}


class Stateless(Base):
    def state(self, inputs):
        return {}

    def step(self, p, x, s):
        return x @ p["W"].T, {}, {}


def broken(**methods):
    """A `Base` with some of its methods replaced."""
    return type("Broken", (Base,), {"__module__": __name__, **methods})()


def run(cell, torchwise):
    arch = sw.Architecture(sw.Vector(3), [cell])
    if torchwise:
        return sw.nn.Model(arch)(torch.zeros(2, 4, 3))
    arrays = {name: a.astype("float32") for name, a in arch.draw(0).items()}
    return sw.runtime.Model(arch, arrays)(np.zeros((2, 4, 3), dtype="float32"))


BROKEN = {
    "Broken.step must return three things.*got 2 values": broken(
        step=lambda self, p, x, s: (s["h"], s)
    ),
    "Broken.step must return three things.*got NoneType": broken(step=lambda self, p, x, s: None),
    "Broken.step must return its state as a dict of names to arrays, got": broken(
        step=lambda self, p, x, s: (s["h"], s["h"], {})
    ),
    r"given \{'h': \(2, 2\)\}, returned \{'c': \(2, 2\)\}": broken(
        step=lambda self, p, x, s: (s["h"], {"c": s["h"]}, {})
    ),
    r"given \{'h': \(2, 2\)\}, returned \{'h': \(2, 1\)\}": broken(
        step=lambda self, p, x, s: (s["h"], {"h": s["h"][:, :1]}, {})
    ),
    r"given \{'h': \(2, 2\)\}, returned \{'h': \(2, 2\), 'c'": broken(
        step=lambda self, p, x, s: (s["h"], {"h": s["h"], "c": s["h"]}, {})
    ),
    r"given \{'h': \(2, 2\)\}, returned \{'h': 'float'\}": broken(
        step=lambda self, p, x, s: (s["h"], {"h": 0.0}, {})
    ),
    r"Broken returned an output of \(2, 4, 3\), expected \(2, 4, 2\); give the width": broken(
        step=lambda self, p, x, s: (x, s, {})
    ),
    r"layer 0: Broken gives 'h' the shape 2; a shape is a tuple": broken(
        state=lambda self, inputs: {"h": 2}
    ),
    r"layer 0: Broken: parameters gives 'W' as \(2, 3, 4\); give a shape and an init": broken(
        parameters=lambda self, inputs: {"W": (2, 3, 4)}
    ),
    r"layer 0: a parameter needs an initialiser such as sw.Glorot\(\), got <class": broken(
        parameters=lambda self, inputs: {"W": ((2, 3), sw.Glorot)}
    ),
}


@pytest.mark.parametrize("torchwise", [False, True])
@pytest.mark.parametrize("message", BROKEN)
def test_a_cell_that_breaks_its_contract_is_told_how(message, torchwise):
    with pytest.raises(sw.ArchitectureError, match=message):
        run(BROKEN[message], torchwise)


def test_a_cell_without_a_step():
    @dataclass(frozen=True)
    class Idle(sw.Cell):
        pass

    with pytest.raises(sw.CellError, match=r"Idle has no step\(p, x, s\)"):
        run(Idle(), torchwise=True)


@pytest.mark.parametrize("torchwise", [False, True])
def test_a_cell_may_remember_nothing(torchwise):
    y, state = run(Stateless(), torchwise)
    assert tuple(y.shape) == (2, 4, 2)
    assert list(state) == []


def test_a_cell_must_be_a_frozen_dataclass():
    class Plain(sw.Cell):
        pass

    @dataclass
    class Soft(sw.Cell):
        pass

    for cell in (Plain(), Soft()):
        with pytest.raises(sw.ArchitectureError, match=r"write @dataclass\(frozen=True\) above"):
            sw.Architecture(sw.Vector(1), [cell])


def test_a_cell_that_is_not_causal_must_be_bidirectional():
    with pytest.raises(
        sw.CellError, match="wrap a causal cell in Bidirectional, or override unroll"
    ):
        run(broken(causal=False), torchwise=True)


def test_a_cell_may_have_any_parameter_names():
    names = ["W.a", "W__b", "_c", "d e"]
    cell = broken(
        parameters=lambda self, inputs: {name: ((2, inputs), sw.Glorot()) for name in names},
        step=lambda self, p, x, s: (s["h"] + sum(x @ p[n].T for n in names), s, {}),
    )
    model = sw.nn.Model(sw.Architecture(sw.Vector(3), [cell]))
    assert list(model.weights()) == [f"0.{name}" for name in names]
    model(torch.zeros(2, 4, 3))


def test_a_cell_within_a_function_is_found_by_its_name(tmp_path):
    def make():
        @dataclass(frozen=True)
        class Local(Base):
            scale: float = 2.0

        return Local

    first = make()
    model = sw.nn.Model(sw.Architecture(sw.Vector(3), [first()]))
    model.save(tmp_path / "m.safetensors")
    second = make()
    loaded = sw.load(tmp_path / "m.safetensors", cells=[second])
    assert isinstance(loaded.architecture.layers[0], second)


def test_an_unknown_cell_says_what_to_import(tmp_path):
    text = sw.Architecture(sw.Vector(3), [Base()]).to_json().replace("Base", "Gone")
    with pytest.raises(sw.ArchitectureError, match=r"uses the cell 'Gone'.*cells=\[Gone\]"):
        sw.Architecture.from_json(text)


def test_a_cell_whose_hyperparameters_changed():
    text = sw.Architecture(sw.Vector(3), [Base(4)]).to_json().replace('"units"', '"width"')
    with pytest.raises(sw.ArchitectureError, match="does not take what the file gives it"):
        sw.Architecture.from_json(text)


def test_an_accumulator_of_ones_own_stays_wide():
    cell = broken(state=lambda self, inputs: {"h": sw.Field((2,), "accumulator", 1.5)})
    model = sw.nn.Model(sw.Architecture(sw.Vector(3), [cell]), dtype=torch.float16)
    _, state = model(torch.zeros(2, 4, 3, dtype=torch.float16))
    assert state["0.h"].dtype == torch.float32
    assert state["0.h"].tolist() == [[1.5, 1.5]] * 2
