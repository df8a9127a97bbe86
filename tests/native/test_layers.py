"""Every kernel against the reference: outputs, final states and all gradients."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference import CELLS, Case, close, f32

from statewise import kernels

UNITS = [1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 100, 127, 129, 513]
GATED = ["lstm", "lstm_peepholes", "gru_after", "gru_before"]
SHAPES = [(0, 2), (1, 0), (1, 1), (2, 9), (5, 2), (17, 9)]


def check(case):
    y, state, gradients = case.expected()
    found, h, c, gates, cells = case.forward()
    close(found, y, "y")
    close(h, state["h"], "h")
    if c is not None:
        close(c, state["c"], "c")
    plain = case.forward(save=False)
    close(plain[0], y, "y without saving")
    close(plain[1], state["h"], "h without saving")
    if c is not None:
        close(plain[2], state["c"], "c without saving")
    if getattr(case.cell, "activation", "") == "relu" and ((y > 0) != (found > 0)).any():
        # a sum is zero but for rounding, and either side's gradients are right: off the kink
        case.p["b"] = case.p["b"] + 1e-3
        check(case)
        return
    for name, value in case.backward(found, gates, cells).items():
        if value is not None:
            close(value, gradients[name], f"d{name}")


@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("name", CELLS)
def test_agrees_with_the_reference(isa, name, units):
    for rows, steps in SHAPES if units < 100 else [(2, 9), (17, 2)]:
        check(Case(CELLS[name](units), rows, steps, inputs=1 + (units * 7 + rows) % 19))


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("units", [64, 300])
def test_agrees_on_several_threads(name, units, threads):
    for rows in (1, 3, 40, 101):
        check(Case(CELLS[name](units), rows, 12, inputs=units))


@pytest.mark.parametrize("name", CELLS)
def test_a_deep_product_is_done_in_blocks(isa, name):
    check(Case(CELLS[name](20), 3, 2, inputs=1100))


@pytest.mark.parametrize("name", CELLS)
def test_many_rows_are_done_in_pieces(isa, name):
    check(Case(CELLS[name](20), 77, 4, inputs=6))


@pytest.mark.parametrize("name", CELLS)
def test_a_long_sequence_goes_back_in_blocks_of_steps(name, threads):
    check(Case(CELLS[name](200), 24, 130, inputs=9))


@pytest.mark.parametrize("name", CELLS)
def test_without_masks(isa, name):
    check(Case(CELLS[name](33), 9, 5, inputs=4, resets=False, lengths=False))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    name=st.sampled_from(sorted(CELLS)),
    units=st.integers(1, 70),
    rows=st.integers(0, 20),
    steps=st.integers(0, 12),
    inputs=st.integers(1, 40),
    seed=st.integers(0, 10**6),
    resets=st.booleans(),
    lengths=st.booleans(),
)
def test_any_shape(isa, name, units, rows, steps, inputs, seed, resets, lengths):
    check(Case(CELLS[name](units), rows, steps, inputs, seed, resets, lengths))


def test_a_sum_at_the_kink_of_relu(isa):
    check(Case(CELLS["elman_relu"](48), 15, 8, 19, seed=6282, lengths=False))


@pytest.mark.parametrize("name", CELLS)
def test_a_row_of_no_steps_returns_its_state_exactly(isa, name):
    case = Case(CELLS[name](17), 4, 3, 5)
    case.length = np.zeros(4, np.int64)
    y, h, c, _, _ = case.forward()
    assert not y.any()
    np.testing.assert_array_equal(h, case.call()[1])
    if c is not None:
        np.testing.assert_array_equal(c, case.call()[2])


@pytest.mark.parametrize("name", CELLS)
def test_nan_in_padding_or_before_a_reset_does_not_survive(isa, name):
    case = Case(CELLS[name](19), 3, 4, 5, lengths=False)
    case.length = np.array([4, 2, 0])
    case.reset = np.zeros((3, 4), bool)
    case.reset[0, 0] = True
    clean = case.forward()
    case.x[1, 2:] = np.nan
    case.x[2] = np.nan
    for value in case.state.values():
        value[0] = np.nan
    dirty = case.forward()
    np.testing.assert_array_equal(dirty[0], clean[0])
    gradients = case.backward(dirty[0], dirty[3], dirty[4])
    for name_, value in gradients.items():
        if value is not None:
            assert np.isfinite(value).all(), name_


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", CELLS)
def test_not_finite_inputs_behave_as_in_the_reference(isa, name, bad):
    case = Case(CELLS[name](18), 3, 4, 5, resets=False, lengths=False)
    case.x[1, 1, 2] = bad
    case.state["h"][2, 3] = bad
    y, state, _ = case.expected(gradients=False)
    found, h, *_ = case.forward()
    np.testing.assert_array_equal(np.isnan(found), np.isnan(y))
    np.testing.assert_array_equal(np.isnan(h), np.isnan(state["h"]))
    good = np.isfinite(y)
    np.testing.assert_allclose(found[good], y[good], atol=1e-5)


@pytest.mark.parametrize("reach", [5, 39, 41, 120])
@pytest.mark.parametrize("name", GATED)
def test_gates_are_right_wherever_their_sums_lie(isa, name, reach):
    """Each lane of a vector by itself, also where its neighbours overflow or are not numbers."""
    case = Case(CELLS[name](37), 5, 1, 1, resets=False, lengths=False)
    case.p = {key: np.zeros_like(value) for key, value in case.p.items()}
    shape = case.p["b"].shape
    sums = np.random.default_rng(reach).uniform(-reach, reach, shape).astype(np.float32)
    sums[[0, 5, 40, 80]] = np.nan, np.inf, -np.inf, np.nan  # of units 0, 3, 5, and 6
    case.p["b"] = sums.astype(np.float64)
    y, _, _, gates, cells = case.forward()
    np.testing.assert_array_equal(case.forward(save=False)[0], y)
    values = kernels.view_intermediates(case.cell, y, gates, cells)
    # with peepholes o reads c, which is not a number where g is not
    gates_at_once = {"lstm": "ifgo", "lstm_peepholes": "ifg"}.get(name, "rz")
    for key, z in zip(gates_at_once, sums.reshape(-1, 37), strict=False):
        z = z.astype(np.float64)
        sigmoid = np.exp(np.minimum(z, 0)) / (1 + np.exp(-np.abs(z)))
        for row in values[key][:, 0]:
            np.testing.assert_allclose(
                row, np.tanh(z) if key == "g" else sigmoid, rtol=1e-6, atol=3e-45, err_msg=key
            )


@pytest.mark.parametrize("name", GATED)
def test_an_open_gate_keeps_a_value_exactly(isa, name):
    case = Case(CELLS[name](37), 5, 200, 3, resets=False, lengths=False)
    case.p = {key: np.zeros_like(value) for key, value in case.p.items()}
    case.p["b"][37:74] = 30.0  # LSTM's forget gate, GRU's update gate
    case.p["b"][:37] = -90.0  # LSTM's input gate, GRU's reset gate
    _, h, c, _, _ = case.forward()
    kept = h if c is None else c
    np.testing.assert_array_equal(kept, case.call()[1 if c is None else 2])


def test_lstm_is_never_beyond_one(isa):
    """tanh(c) times an open gate, for every c on the way to 1."""
    case = Case(CELLS["lstm"](64), 500, 1, 1, resets=False, lengths=False)
    case.p = {key: np.zeros_like(value) for key, value in case.p.items()}
    case.p["b"][64:128] = case.p["b"][192:] = 30.0  # forget and output gates are 1
    case.state["c"] = np.linspace(0, 20, 500 * 64).reshape(500, 64)
    y = case.forward(save=False)[0]
    assert y.max() == 1.0
    np.testing.assert_allclose(y[:, 0], np.tanh(case.state["c"]), rtol=1e-6)


@pytest.mark.parametrize("name", CELLS)
def test_denormals(isa, name):
    case = Case(CELLS[name](18), 2, 3, 5, resets=False, lengths=False)
    case.x *= 1e-40
    case.state = {key: value * 1e-40 for key, value in case.state.items()}
    close(case.forward()[0], case.expected(gradients=False)[0])


@pytest.mark.parametrize("name", CELLS)
def test_rows_are_independent(isa, name):
    case = Case(CELLS[name](33), 17, 6, 7)
    y = case.forward()[0]
    order = np.random.default_rng(1).permutation(17)
    case.x, case.reset, case.length = case.x[order], case.reset[order], case.length[order]
    case.state = {key: value[order] for key, value in case.state.items()}
    case.fresh = {key: value[order] for key, value in case.fresh.items()}
    close(case.forward()[0], y[order])


@pytest.mark.parametrize("name", CELLS)
def test_bfloat16_weights_are_the_rounded_ones(isa, name):
    case = Case(CELLS[name](37), 9, 5, inputs=11)
    rounded_weights = case.forward(bf16=True)[0]
    for key in ("W", "R"):
        bits = case.p[key].astype(np.float32).view(np.uint32)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
        case.p[key] = rounded.astype(np.uint32).view(np.float32).astype(np.float64)
    close(rounded_weights, case.expected(gradients=False)[0])


@pytest.mark.parametrize("name", ["lstm", "lstm_peepholes"])
def test_gradients_do_not_depend_on_the_instruction_set(name):
    case = Case(CELLS[name](40), 5, 7, 6)
    found = {}
    before = kernels.get_isa()
    for isa in kernels.list_isas():
        kernels.select_isa(isa)
        y, _, _, gates, cells = case.forward()
        found[isa] = case.backward(y, gates, cells)
    kernels.select_isa(before)
    first = found.popitem()[1]
    for other in found.values():
        for name, value in other.items():
            if value is not None:
                close(value, first[name], name)


def test_peepholes_of_zero_change_nothing(isa):
    case = Case(CELLS["lstm_peepholes"](21), 6, 9, 5)
    case.p["p"] = np.zeros_like(case.p["p"])
    plain = Case(CELLS["lstm"](21), 6, 9, 5)
    plain.p = {key: case.p[key] for key in ("W", "R", "b")}
    plain.state, plain.fresh, plain.x = case.state, case.fresh, case.x
    plain.reset, plain.length = case.reset, case.length
    for found, expected in zip(case.forward()[:3], plain.forward()[:3], strict=True):
        close(found, expected)


@pytest.mark.parametrize("name", CELLS)
def test_intermediates_are_those_of_the_reference_by_name(isa, name):
    case = Case(CELLS[name](18), 4, 5, 3, resets=False, lengths=False)
    y, _, _, gates, cells = case.forward()
    found = kernels.view_intermediates(case.cell, y, gates, cells)
    p = {key: f32(value) for key, value in case.p.items()}
    s = {key: f32(value) for key, value in case.state.items()}
    for t in range(case.steps):
        _, s, expected = case.cell.step(p, f32(case.x[:, t]), s)
        assert set(found) == set(expected)
        for key, value in expected.items():
            close(found[key][:, t], value, key)
