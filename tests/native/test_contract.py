"""What Python and the native module know of one another: states, layouts of cells, signatures."""

from pathlib import Path

import numpy as np
import pytest
from reference import CELLS

import statewise as sw
from statewise import kernels
from statewise.cell import declared_parameters
from statewise.runtime import Model


def model(cell=None):
    architecture = sw.Architecture(sw.Vector(3), [cell or sw.LSTM(5), sw.Dropout(0.1), sw.GRU(4)])
    return Model(architecture, {k: v.astype("f") for k, v in architecture.draw(0).items()})


# States: see `statewise.state.State.__slots__` and native/named_program.h


def test_a_state_has_the_slots_that_the_kernels_fill_and_no_other():
    assert list(sw.State.__slots__) == kernels.native.list_state_slots()
    assert all("__dict__" not in vars(base) for base in sw.State.__mro__)


@pytest.mark.parametrize("sequence", [False, True])
def test_a_state_made_natively_holds_what_the_constructor_would(sequence):
    native = model()
    x = np.random.default_rng(0).standard_normal((2, 6, 3)).astype(np.float32)
    state = native(x)[1] if sequence else native.step(x[:, 0])[1]
    assert type(state) is sw.State
    assert type(state._arrays) is dict
    assert list(state._arrays) == list(native.architecture.fields)
    built = sw.State(dict(state._arrays), state._position, origin=native.origin)
    assert built == state
    for name in (*built._arrays, "position"):
        mine, its = (s._position if name == "position" else s._arrays[name] for s in (state, built))
        assert (mine.dtype, mine.shape, mine.flags.writeable) == (its.dtype, its.shape, False)
    assert state._position.tolist() == [6 if sequence else 1] * 2
    assert state.origin is native.origin
    assert state.rows(0).origin is native.origin


def states(*slots, base=object):
    return type("States", (base,), {"__slots__": slots})


@pytest.mark.parametrize(
    "kind",
    [
        states("_arrays", "_position"),
        states("_arrays", "_position", "source"),
        states("_arrays", "_position", "origin", "device"),
        states("_arrays", "_position", "origin", "__dict__"),
        states("_position", "origin", base=states("_arrays")),
        type("States", (), {"_arrays": None, "_position": None, "origin": None}),
        sw.State.__class__,
    ],
)
def test_a_class_with_other_slots_is_refused(kind):
    program = kernels.native.Program(3)
    program.make_states(sw.State, object())
    with pytest.raises(ValueError, match="_arrays, _position and origin"):
        program.make_states(kind, object())


# Layouts: see native/cells.h


@pytest.mark.parametrize("name", CELLS)
def test_a_layout_names_the_parameters_and_gates_of_its_cell(name):
    cell = CELLS[name](5)
    assert kernels.kernel_name(cell) == name
    layout = kernels.native.cell_layout(name)
    assert list(layout.parameters) == list(declared_parameters(cell, 3))
    assert layout.has_c == ("c" in cell.state(3))
    gates = layout.gates
    assert list(layout.gate_slots) == list(gates)
    assert sorted(layout.gate_slots.values()) == list(range(len(gates)))
    assert layout.slot_count >= len(gates)
    shape = declared_parameters(cell, 3)["W"].shape
    assert shape == (len(gates) * cell.units, 3)
    if isinstance(cell, sw.LSTM):
        assert gates == cell.gates


def test_only_the_kernels_cells_have_layouts():
    with pytest.raises(ValueError, match="no kernels for a cell called 'lstm_coupled'"):
        kernels.native.cell_layout("lstm_coupled")


# Signatures


def test_the_stub_is_the_one_that_nanobind_writes():
    stubgen = pytest.importorskip("nanobind.stubgen")
    written = stubgen.StubGen(kernels.native)
    written.put(kernels.native)
    stub = Path(kernels.__file__).with_name("_native.pyi").read_text()
    assert written.get() == stub, "write it again: make stub"
