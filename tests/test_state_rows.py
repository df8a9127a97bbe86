"""Rows of states: chosen, put together, and mixed."""

import numpy as np
import pytest
import torch

import statewise as sw

from .states import ARCH, H, N, in_both, numpy_state, torch_state

INDICES = {
    "number": (2, [2]),
    "numpy number": (np.int32(2), [2]),
    "negative": (-1, [3]),
    "list": ([3, 0, 3], [3, 0, 3]),
    "negative list": ([-1, 0], [3, 0]),
    "tuple": ((1, 2), [1, 2]),
    "range": (range(2), [0, 1]),
    "empty": ([], []),
    "slice": (slice(1, 3), [1, 2]),
    "slice step": (slice(None, None, 2), [0, 2]),
    "slice back": (slice(None, None, -1), [3, 2, 1, 0]),
    "mask": ([True, False, False, True], [0, 3]),
    "numpy mask": (np.array([False, True, True, False]), [1, 2]),
    "numpy": (np.array([2, 1]), [2, 1]),
    "uint8": (np.array([2, 1, 0], dtype=np.uint8), [2, 1, 0]),
    "int8": (np.array([-1], dtype=np.int8), [3]),
    "torch": (torch.tensor([2, 1]), [2, 1]),
    "torch uint8": (torch.tensor([1, 0, 1], dtype=torch.uint8), [1, 0, 1]),
    "torch mask": (torch.tensor([True, True, False, False]), [0, 1]),
}


@in_both
@pytest.mark.parametrize("name", INDICES)
def test_rows(state, name):
    index, expected = INDICES[name]
    chosen = state.rows(index)
    assert chosen.batch == len(expected)
    assert chosen.position.tolist() == [5 + row for row in expected]
    assert chosen["0.h"].tolist() == H[expected].tolist()
    assert chosen["1.n"].tolist() == N[expected].tolist()


@pytest.mark.parametrize(
    "index",
    [
        4,
        -5,
        [0, 4],
        [True, False],
        1.0,
        [0.5],
        "0",
        None,
        [[0, 1]],
        [[0], [1, 2]],
        True,
        torch.tensor([True]),
        np.array([2**64 - 1], dtype=np.uint64) // 2,
    ],
)
@in_both
def test_rows_that_are_not_there(state, index):
    with pytest.raises(sw.StateError, match=r"row numbers below 4 or a mask of \(4,\) bool, got"):
        state.rows(index)


@in_both
def test_cat(state):
    whole = sw.State.cat([state.rows([1, 0]), state.rows(3), state.rows([])])
    assert whole == state.rows([1, 0, 3])
    assert sw.State.cat(part for part in [state]) == state
    with pytest.raises(sw.StateError, match="at least one state"):
        sw.State.cat([])
    with pytest.raises(sw.StateError, match=r"different fields.*\['0.h', '1.n'\] and \['0.h'\]"):
        sw.State.cat([state, sw.State({"0.h": state["0.h"]})])
    with pytest.raises(sw.StateError, match="expected a statewise State, got dict"):
        sw.State.cat([state, dict(state)])


@in_both
def test_where(state):
    other = state.map(lambda array: array + 10)
    for mask in (
        [True, False, False, True],
        np.array([True, False, False, True]),
        torch.tensor([True, False, False, True]),
    ):
        mixed = state.where(mask, other)
        assert mixed.position.tolist() == [5, 16, 17, 8]
        assert mixed.rows([0, 3]) == state.rows([0, 3])
        assert mixed.rows([1, 2]) == other.rows([1, 2])
    for mask in ([True], [1, 0, 0, 1], [[True], [False], [False], [True]]):
        with pytest.raises(sw.StateError, match=r"where takes a mask of \(4,\) bool, got"):
            state.where(mask, other)
    with pytest.raises(sw.StateError, match="two states of as many rows, got 4 and 3"):
        state.where([True] * 4, other.rows([0, 1, 2]))


def test_states_that_cannot_stand_in_one():
    ours, theirs = numpy_state(), torch_state()
    for join in (lambda a, b: sw.State.cat([a, b]), lambda a, b: a.where([True] * 4, b)):
        with pytest.raises(sw.StateError, match=r"torch on cpu.* state.to\(...\) or state.numpy\("):
            join(ours, theirs)
        with pytest.raises(sw.StateError, match=r"numpy in one|numpy in the other"):
            join(theirs, ours)
        with pytest.raises(sw.StateError, match=r"'0.h' is .*float32.* in one and .*float64"):
            join(ours, ours.to("float64"))
        with pytest.raises(sw.StateError, match=r"'0.h' is .*float64.* in one and .*float32"):
            join(ours.to("float64"), ours)
        with pytest.raises(sw.StateError, match=r"states with different fields"):
            join(ours, sw.State({"0.h": H}, ours.position))
        with pytest.raises(sw.StateError, match=r"states with different fields"):
            join(sw.State({"0.h": H}, ours.position), ours)
        with pytest.raises(sw.StateError, match=r"expected a statewise State, got dict"):
            join(ours, dict(ours))
        first = sw.nn.Model(ARCH).initial_state(4)
        second = sw.nn.Model(sw.Architecture(sw.Vector(3), ARCH.layers)).initial_state(4)
        with pytest.raises(sw.StateError, match=r"different architectures: .* and "):
            join(first, second)


def test_states_of_other_weights_are_flagged_when_put_together():
    model = sw.nn.Model(ARCH)
    other = sw.nn.Model(ARCH, seed=1)
    x = torch.zeros(1, 2, 2)
    with pytest.warns(sw.WeightsChangedWarning, match="made with different weights") as caught:
        sw.State.cat([model(x)[1], other(x)[1]])
    assert caught[0].filename == __file__
    sw.State.cat([model(x)[1], model(x)[1]])
