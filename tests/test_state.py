"""State: a value with rows."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch.utils import _pytree

import statewise as sw

H = np.arange(12, dtype=np.float32).reshape(4, 3)
N = np.array([[1], [2], [3], [4]])


def numpy_state():
    return sw.State({"0.h": H.copy(), "1.n": N.copy()}, np.array([5, 6, 7, 8]))


def torch_state():
    return numpy_state().map(torch.tensor)


@pytest.fixture(params=["numpy", "torch"])
def state(request):
    return numpy_state() if request.param == "numpy" else torch_state()


ARCH = sw.Architecture(sw.Vector(2), [sw.LSTM(3), sw.Dropout(0.3)], sw.Linear(1))


@pytest.fixture
def model():
    return sw.nn.Model(ARCH)


# Mapping


def test_a_state_is_a_mapping(state):
    assert list(state) == ["0.h", "1.n"]
    assert len(state) == 2
    assert "0.h" in state
    assert "2.h" not in state
    assert dict(state)["0.h"] is state["0.h"]
    assert state.batch == 4
    assert state.position.tolist() == [5, 6, 7, 8]
    with pytest.raises(KeyError, match=r"this state has no '0.c'; it has 0.h, 1.n"):
        state["0.c"]


def test_the_position_is_zero_where_it_is_not_given():
    assert sw.State({"0.h": H}).position.tolist() == [0, 0, 0, 0]
    given = sw.State({"0.h": torch.zeros(2, 1)}).position
    assert given.dtype == torch.int64
    assert sw.State({"0.h": torch.zeros(2, 1)}, [3, 4]).position.tolist() == [3, 4]
    assert isinstance(sw.State({"0.h": torch.zeros(2, 1)}, [3, 4]).position, torch.Tensor)


WRONG = {
    "a state is made from a mapping of names to arrays, got list": ([H],),
    "'0.h' has shape .*3, 3.*; every array of a state is batch first.* 4 rows": (
        {"0.h": H[:3], "0.c": H},
        np.zeros(4, dtype=np.int64),
    ),
    "'0.h' has shape \\(\\); every array": ({"0.h": np.float32(1.0)}, [0]),
    "a state holds NumPy arrays or torch tensors, got list": ({"0.h": [1.0, 2.0]},),
    "position must be .B,. int64, got .4,. int32": ({"0.h": H}, np.zeros(4, dtype=np.int32)),
    "position must be .B,. int64, got .4, 1. int64": ({"0.h": H}, np.zeros((4, 1), dtype=int)),
    "position must be .B,. int64, got .4,. float64": ({"0.h": H}, [0.5, 1, 2, 3]),
    "without fields needs a position, to say how many rows": ({},),
    "either NumPy arrays or torch tensors, not both: '0.c' is a Tensor": (
        {"0.h": H, "0.c": torch.zeros(4, 3)},
        np.zeros(4, dtype=np.int64),
    ),
    "position is not a field: write sw.State.arrays, position.": ({"position": N[:, 0]},),
}


@pytest.mark.parametrize("message", WRONG)
def test_what_no_state_can_be_made_of(message):
    with pytest.raises(sw.StateError, match=message):
        sw.State(*WRONG[message])


def test_a_numpy_state_cannot_be_written_to():
    state = numpy_state()
    for array in (*state.values(), state.position):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    with pytest.raises(TypeError):
        state["0.h"] = H
    with pytest.raises(AttributeError):
        state.position = state.position


def test_repr(state):
    text = repr(state)
    assert "State(batch=4, position=[5, 6, 7, 8]" in text
    assert "0.h: 4x3 float32" in text
    assert "1.n: 4x1 int64" in text
    many = sw.State({}, np.arange(100))
    assert "position=[0, 1, 2, 3, 4, 5, ...]" in repr(many)
    assert "bfloat16" in repr(sw.State({"0.h": torch.zeros(1, 1, dtype=torch.bfloat16)}))


# Rows

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
def test_rows_that_are_not_there(state, index):
    with pytest.raises(sw.StateError, match=r"row numbers below 4 or a mask of \(4,\) bool, got"):
        state.rows(index)


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
        with pytest.raises(sw.StateError, match=r"'0.h' is .*float32.* in one and .*float64"):
            join(ours, ours.to("float64"))
        first = sw.nn.Model(ARCH).initial_state(4)
        second = sw.nn.Model(sw.Architecture(sw.Vector(3), ARCH.layers)).initial_state(4)
        with pytest.raises(sw.StateError, match=r"different architectures: .* and "):
            join(first, second)


def test_states_of_other_weights_are_flagged_when_put_together(model):
    other = sw.nn.Model(ARCH, seed=1)
    x = torch.zeros(1, 2, 2)
    with pytest.warns(sw.WeightsChangedWarning, match="made with different weights") as caught:
        sw.State.cat([model(x)[1], other(x)[1]])
    assert caught[0].filename == __file__
    sw.State.cat([model(x)[1], model(x)[1]])


# Values


def test_replace(state):
    changed = state.replace({"0.h": state["0.h"] + 1})
    assert changed["0.h"].tolist() == (H + 1).tolist()
    assert changed["1.n"] is not None
    assert changed.position.tolist() == [5, 6, 7, 8]
    assert state.replace({}, position=state.position * 0).position.tolist() == [0] * 4
    with pytest.raises(sw.StateError, match=r"no '0.c' to replace; it has 0.h, 1.n"):
        state.replace({"0.c": state["0.h"]})
    with pytest.raises(sw.StateError, match=r"'0.h' must be \(4, 3\) float32, got \(3, 3\) float"):
        state.replace({"0.h": state["0.h"][:3]})
    with pytest.raises(sw.StateError, match="got list"):
        state.replace({"0.h": [1, 2, 3]})


def test_to():
    for state in (numpy_state(), torch_state()):
        for target in ("float64", np.float64, np.dtype("float64"), torch.float64):
            wide = state.to(target)
            assert str(wide["0.h"].dtype).endswith("float64")
            assert str(wide["1.n"].dtype).endswith("int64")
            assert str(wide.position.dtype).endswith("int64")
        assert str(state.to("cpu", "float16")["0.h"].dtype).endswith("float16")
        for wrong in (torch.int64, np.int32, bool):
            with pytest.raises(sw.StateError, match="goes to a device or to one of float16"):
                state.to(wrong)
    assert torch_state().to(torch.device("cpu")) == torch_state()
    assert torch_state().to(torch.bfloat16)["0.h"].dtype == torch.bfloat16
    with pytest.raises(sw.StateError, match="cannot go to 'cuda'; give it to a torch model as it"):
        numpy_state().to("cuda")
    with pytest.raises(sw.StateError, match="NumPy has no bfloat16"):
        numpy_state().to("bfloat16")


def test_numpy():
    back = torch_state().numpy()
    assert isinstance(back["0.h"], np.ndarray)
    assert back == numpy_state()
    assert numpy_state().numpy() == numpy_state()
    leaf = sw.State({"0.h": torch.zeros(1, 1, requires_grad=True)})
    assert leaf.numpy()["0.h"].shape == (1, 1)
    with pytest.raises(sw.StateError, match=r"no bfloat16; convert first: state.to\(torch.float32"):
        torch_state().to(torch.bfloat16).numpy()


def test_detach_and_clone():
    leaf = torch.zeros(2, 1, requires_grad=True)
    state = sw.State({"0.h": leaf})
    assert state["0.h"].requires_grad
    assert not state.detach()["0.h"].requires_grad
    assert state.detach()["0.h"].data_ptr() == leaf.data_ptr()
    assert state.clone()["0.h"].requires_grad
    assert state.clone()["0.h"].data_ptr() != leaf.data_ptr()
    ours = numpy_state()
    assert ours.detach() == ours
    assert not np.shares_memory(ours.clone()["0.h"], ours["0.h"])


def test_equality(state):
    assert state == state.clone()
    assert numpy_state() == torch_state()
    assert state != "a state"
    assert state != state.rows([0, 1, 2])
    assert state != state.replace({}, position=state.position + 1)
    near = state.replace({"0.h": state["0.h"] * (1 + 1e-6)})
    assert state != near
    assert state.allclose(near)
    assert not state.allclose(near, rtol=1e-9, atol=0.0)
    assert not state.allclose(state.replace({"1.n": state["1.n"] + 1}), atol=10.0), "integers count"
    nan = state.replace({"0.h": state["0.h"] * np.nan})
    assert nan == nan.clone()
    assert nan != state
    assert not state.allclose(sw.State({"0.h": state["0.h"]}))
    with pytest.raises(TypeError, match="unhashable"):
        hash(state)


def test_large_integers_are_told_apart():
    a = sw.State({"0.n": np.array([[2**53]])})
    assert a != sw.State({"0.n": np.array([[2**53 + 1]])})


# Copies


@pytest.mark.parametrize("numpy", [False, True])
def test_copy_and_pickle(model, numpy):
    _, state = model(torch.randn(2, 3, 2))
    state = state.numpy() if numpy else state
    assert copy.copy(state) is state
    deep = copy.deepcopy({"a": state})["a"]
    assert deep == state
    assert deep.origin is state.origin
    if numpy:
        assert not np.shares_memory(deep["0.h"], state["0.h"])
        assert not deep["0.h"].flags.writeable
    back = pickle.loads(pickle.dumps(state))
    assert back == state
    assert back.origin.architecture == ARCH.fingerprint
    assert back.origin.weights() == model.fingerprint()
    model(torch.randn(2, 3, 2), back)
    plain = pickle.loads(pickle.dumps(numpy_state()))
    assert plain == numpy_state()
    assert plain.origin is None
    with pytest.raises(ValueError, match="read-only"):
        plain["0.h"][0] = 1


def test_torch_sees_its_tensors(model):
    _, state = model(torch.randn(2, 3, 2))
    leaves, spec = _pytree.tree_flatten({"s": state})
    assert len(leaves) == 4
    back = _pytree.tree_unflatten(leaves, spec)["s"]
    assert back == state
    assert back.origin is state.origin
    cut = _pytree.tree_map(torch.detach, state)
    assert isinstance(cut, sw.State)
    assert not cut["0.h"].requires_grad


# Files


def test_save_and_load(state, tmp_path):
    path = tmp_path / "s.safetensors"
    state.save(path)
    loaded = sw.State.load(path)
    assert loaded == state
    assert list(loaded) == list(state)
    assert isinstance(loaded["0.h"], np.ndarray)
    assert loaded.origin.architecture is None
    assert loaded.origin.weights() is None


def test_fields_keep_their_order(tmp_path):
    names = ["10.h", "2.h", "outputs.y", "0.c"]
    sw.State(dict.fromkeys(names, H)).save(tmp_path / "s")
    assert list(sw.State.load(tmp_path / "s")) == names


def test_bfloat16_comes_back_as_torch(tmp_path):
    state = torch_state().to(torch.bfloat16)
    state.save(tmp_path / "s")
    loaded = sw.State.load(tmp_path / "s")
    assert loaded["0.h"].dtype == torch.bfloat16
    assert loaded == state


def test_states_without_rows_or_fields_are_saved_too(tmp_path):
    for state in (sw.State({}, [1, 2]), numpy_state().rows([])):
        state.save(tmp_path / "s")
        assert sw.State.load(tmp_path / "s") == state


def test_the_origin_is_saved(model, tmp_path):
    _, state = model(torch.randn(2, 3, 2))
    state.save(tmp_path / "s", extra={"note": "of a winter's day"})
    loaded = sw.State.load(tmp_path / "s")
    assert loaded.origin.architecture == ARCH.fingerprint
    assert loaded.origin.weights() == model.fingerprint()


def test_a_state_that_needs_gradients_is_saved_without_them(model, tmp_path):
    _, state = model(torch.randn(2, 3, 2))
    assert state["0.h"].requires_grad
    state.save(tmp_path / "s")
    assert sw.State.load(tmp_path / "s") == state
