"""Whatever the native module is given: an error or a right answer, never a crash."""

import numpy as np
import pytest
from reference import CELLS, Case, f32

import statewise as sw
from statewise import kernels
from statewise.runtime import Model


def misaligned(array):
    raw = np.zeros(array.nbytes + 1, np.uint8)[1:]
    view = raw.view(array.dtype).reshape(array.shape)
    view[:] = array
    return view


def spoiled(array):
    """What looks like this array and is not."""
    for bad in candidates(array):
        same = isinstance(bad, np.ndarray) and (bad.dtype, bad.shape) == (array.dtype, array.shape)
        if not (same and bad.flags.c_contiguous and bad.flags.aligned and bad.dtype.isnative):
            yield bad


def candidates(array):
    yield array.astype(np.float64)
    yield array[..., ::-1]
    yield np.asfortranarray(np.stack([array, array], -1))[..., 0]
    yield misaligned(array)
    yield array.astype(array.dtype.newbyteorder())
    yield array[:-1]
    yield array[..., :-1]
    yield array[None]
    yield array.astype(object)
    yield array.tolist()
    yield "text"


@pytest.mark.parametrize("name", CELLS)
def test_forward_refuses_what_does_not_fit(name):
    case = Case(CELLS[name](9), 3, 4, 5)
    layer, good = case.native(), case.call()
    for place, argument in enumerate(good):
        if argument is None:
            continue
        for bad in spoiled(argument):
            with pytest.raises((ValueError, TypeError)):
                layer.forward(*good[:place], bad, *good[place + 1 :], True)
    for lengths in ([5, 0, 0], [-1, 0, 0], [2**62, 0, 0]):
        with pytest.raises(ValueError, match="lengths"):
            layer.forward(*good[:-1], np.array(lengths), True)
    with pytest.raises(TypeError):
        layer.forward(good[0], None, *good[2:], True)


@pytest.mark.parametrize("name", CELLS)
def test_backward_refuses_what_does_not_fit(name):
    case = Case(CELLS[name](9), 3, 4, 5)
    y, _, _, gates, cells = case.forward()
    layer = case.native(backward=True)
    given = [*case.call(), y, gates, cells]
    given += [f32(case.dy), f32(case.dstate["h"]), f32(case.dstate.get("c"))]
    for place, argument in enumerate(given):
        if argument is None:
            continue
        for bad in spoiled(argument):
            with pytest.raises((ValueError, TypeError)):
                layer.backward(*given[:place], bad, *given[place + 1 :], True)
    with pytest.raises(ValueError, match="backward"):
        layer.forward(*case.call(), True)
    with pytest.raises(ValueError, match="forward"):
        case.native().backward(*given, True)


def test_read_only_inputs_are_fine():
    case = Case(CELLS["lstm"](9), 3, 4, 5)
    good = case.call()
    for array in good:
        array.flags.writeable = False
    np.testing.assert_array_equal(case.native().forward(*good, False)[0], case.forward()[0])


def test_weights_that_do_not_fit():
    W, R, b = np.zeros((8, 3), "f"), np.zeros((8, 2), "f"), np.zeros(8, "f")
    make = kernels.native.Layer
    make("lstm", 3, 2, W, R, b, None)
    for arguments in (
        ("lstm", 3, 2, W, R, b[:-1], None),
        ("lstm", 2, 2, W, R, b, None),
        ("lstm", 0, 2, W, R, b, None),
        ("lstm", 3, -2, W, R, b, None),
        ("lstm", 2**62, 2**62, W, R, b, None),
        ("gru_after", 3, 2, W[:6], R[:6], b[:6], None),
        ("other", 3, 2, W, R, b, None),
        ("lstm", 3, 2, None, R, b, None),
    ):
        with pytest.raises((ValueError, TypeError)):
            make(*arguments)


def test_a_step_from_any_state_is_right_or_refused():
    architecture = sw.Architecture(sw.Vector(3), [sw.LSTM(9)])
    model = Model(architecture, {k: v.astype("f") for k, v in architecture.draw(0).items()})
    x = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)
    _, state = model.step(x)
    y, _ = model.step(x, state)
    for same in (x[:, ::-1].copy()[:, ::-1], np.asfortranarray(x), misaligned(x)):
        np.testing.assert_array_equal(model.step(same, state)[0], y)
    for bad in (x.astype(np.float64), x[:1], x[:, :2], x[None], x.tolist(), None):
        with pytest.raises(sw.StatewiseError):
            model.step(bad, state)
    for bad in ((1, 2), {"0.h": state["0.h"]}, state.rows([0]), state.to(np.float64)):
        with pytest.raises(sw.StateError):
            model.step(x, bad)
    spoilt = sw.State(
        {"0.h": np.asfortranarray(state["0.h"]), "0.c": misaligned(state["0.c"])}, state.position
    )
    np.testing.assert_array_equal(model.step(x, spoilt)[0], y)


def test_tokens_out_of_range():
    architecture = sw.Architecture(sw.Tokens(5, 4), [sw.GRU(3)])
    model = Model(architecture, {k: v.astype("f") for k, v in architecture.draw(0).items()})
    state = model.initial_state(2)
    for bad in ([0, 5], [-1, 0], [2**40, 0]):
        with pytest.raises(sw.InputError, match="tokens"):
            model.step(np.array(bad), state)
        with pytest.raises(sw.InputError, match="tokens"):
            model(np.array([bad]))
        with pytest.raises(ValueError, match="tokens"):
            model._packed.call(np.array([bad]), dict(model.initial_state(1)), None, None, None)
    y, _ = model.step(np.array([1, 4], np.uint8), state)
    np.testing.assert_array_equal(y, model.step(np.array([1, 4]), state)[0])


def test_programs_that_do_not_fit():
    native = kernels.native
    W, R, b = np.zeros((8, 3), "f"), np.zeros((8, 2), "f"), np.zeros(8, "f")
    with pytest.raises(ValueError, match="inputs"):
        native.Program(0)
    program = native.Program(3)
    with pytest.raises(ValueError, match="W"):
        program.add_layer("lstm", 3, 0, False, "0.h", "0.c", W, R, b)
    for c, cell in ((None, "lstm"), ("0.c", "elman_tanh")):
        with pytest.raises(ValueError, match="name of c"):
            program.add_layer(
                cell, 2, 0, False, "0.h", c, *(W[:2], R[:2], b[:2]) if c else (W, R, b)
            )
    program.add_layer("lstm", 2, 0, False, "0.h", "0.c", W, R, b)
    with pytest.raises(ValueError, match="must be a contiguous"):
        program.add_norm(b, b, 1e-5, 0)
    with pytest.raises(ValueError, match="W"):
        program.set_linear(W, b, False)
    x, position = np.zeros((1, 3), "f"), np.zeros(1, np.int64)
    state = {"0.h": np.zeros((1, 2), "f"), "0.c": np.zeros((1, 2), "f")}
    assert program.step(x, state, position) is not None
    for bad in ({}, {"0.h": state["0.h"]}, {"0.h": 1, "0.c": 2}, None, [1], state | {"1.h": x}):
        assert program.step(x, bad, position) is None
    assert program.step(x, state, position[:0]) is None
    assert program.step(None, state, position) is None
    assert program.step(x, state, None) is None


def test_an_unknown_instruction_set_or_function():
    with pytest.raises(ValueError, match="no instruction set"):
        kernels.select_isa("mmx")
    with pytest.raises(ValueError, match="no function"):
        kernels.native.apply_function("sin", np.zeros(3, "f"))
    for count in (-1, 10**6):
        with pytest.raises(ValueError, match="threads"):
            kernels.set_threads(count)


def test_a_state_that_was_never_filled():
    architecture = sw.Architecture(sw.Vector(2), [sw.LSTM(3)])
    model = Model(architecture, {k: v.astype("f") for k, v in architecture.draw(0).items()})
    x = np.zeros((1, 2), "f")
    _, real = model.step(x)
    empty, partial = sw.State.__new__(sw.State), sw.State.__new__(sw.State)
    partial.origin = real.origin
    for state in (empty, partial):
        with pytest.raises(AttributeError):
            model.step(x, state)
        with pytest.raises(AttributeError):
            model(x[:, None], state)
