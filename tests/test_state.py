"""State: a value with rows."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch.utils import _pytree

import statewise as sw

from .states import ARCH, H, N, in_both, numpy_state, torch_state

# Mapping


@in_both
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
    "either NumPy arrays or torch tensors, not both: '0.h' is a ndarray and its pos": (
        {"0.h": H},
        torch.zeros(4, dtype=torch.int64),
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


@in_both
def test_repr(state):
    text = repr(state)
    assert "State(batch=4, position=[5, 6, 7, 8]" in text
    assert "0.h: 4x3 float32" in text
    assert "1.n: 4x1 int64" in text
    many = sw.State({}, np.arange(100))
    assert "position=[0, 1, 2, 3, 4, 5, ...]" in repr(many)
    assert "position=[0, 1, 2, 3, 4, 5]" in repr(sw.State({}, np.arange(6)))
    assert "bfloat16" in repr(sw.State({"0.h": torch.zeros(1, 1, dtype=torch.bfloat16)}))


# Values


@in_both
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


@in_both
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
    less = sw.State({"0.h": state["0.h"]}, state.position)
    assert not state.allclose(less)
    assert not less.allclose(state)
    assert not state.rows([0]).allclose(state)
    assert not state.allclose(state.replace({}, position=state.position + 1), atol=10.0)
    wide = sw.State({"0.h": state["0.h"][:, :2], "1.n": state["1.n"]}, state.position)
    assert not state.allclose(wide)
    assert not wide.allclose(state)
    with pytest.raises(TypeError, match="unhashable"):
        hash(state)


def test_large_integers_are_told_apart():
    a = sw.State({"0.n": np.array([[2**53]])})
    assert a != sw.State({"0.n": np.array([[2**53 + 1]])})


# Copies


@pytest.mark.parametrize("numpy", [False, True])
def test_copy_and_pickle(numpy):
    model = sw.nn.Model(ARCH)
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


def test_torch_sees_its_tensors():
    model = sw.nn.Model(ARCH)
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


@in_both
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


def test_the_origin_is_saved(tmp_path):
    model = sw.nn.Model(ARCH)
    _, state = model(torch.randn(2, 3, 2))
    state.save(tmp_path / "s", extra={"note": "of a winter's day"})
    loaded = sw.State.load(tmp_path / "s")
    assert loaded.origin.architecture == ARCH.fingerprint
    assert loaded.origin.weights() == model.fingerprint()


def test_a_state_that_needs_gradients_is_saved_without_them(tmp_path):
    model = sw.nn.Model(ARCH)
    _, state = model(torch.randn(2, 3, 2))
    assert state["0.h"].requires_grad
    state.save(tmp_path / "s")
    assert sw.State.load(tmp_path / "s") == state
