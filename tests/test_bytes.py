"""States as bytes: the file without a file."""

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import statewise as sw
from statewise import checkpoint

STATE = sw.State({"0.h": np.arange(6.0).reshape(2, 3), "0.n": np.array([[1], [2]])}, [4, 5])


def test_bytes_and_file_are_one_format(tmp_path):
    STATE.save(tmp_path / "file.safetensors", extra={"note": "here"})
    assert sw.State.from_bytes((tmp_path / "file.safetensors").read_bytes()) == STATE
    (tmp_path / "bytes.safetensors").write_bytes(STATE.to_bytes(extra={"note": "here"}))
    assert sw.State.load(tmp_path / "bytes.safetensors") == STATE
    metadata = checkpoint.read_metadata(tmp_path / "bytes.safetensors", "statewise.state")
    assert metadata == checkpoint.read_metadata(tmp_path / "file.safetensors", "statewise.state")


def test_field_order_origin_and_bfloat16_survive():
    model = sw.nn.Model(
        sw.Architecture(sw.Vector(1), [sw.LSTM(2), sw.GRU(2)]), dtype=torch.bfloat16
    )
    _, state = model(torch.ones(3, 4, 1, dtype=torch.bfloat16))
    again = sw.State.from_bytes(state.to_bytes())
    assert again == state
    assert list(again) == list(state)
    assert again.origin.architecture == model.architecture.fingerprint
    assert again.origin.weights() == model.fingerprint()
    model(torch.ones(3, 4, 1, dtype=torch.bfloat16), again)


@given(arrays.arrays(np.float32, st.tuples(st.integers(0, 3), st.integers(0, 3))))
def test_any_array_survives(array):
    state = sw.State({"0.h": array}, np.zeros(len(array), np.int64))
    assert sw.State.from_bytes(state.to_bytes()) == state


@given(st.data())
def test_altered_or_truncated_bytes_are_refused(data):
    good = STATE.to_bytes()
    cut = data.draw(st.integers(0, len(good) - 1))
    with pytest.raises(sw.FileError, match="the data"):
        sw.State.from_bytes(good[:cut])
    place = data.draw(st.integers(0, len(good) - 1))
    other = bytearray(good)
    other[place] ^= 1 << data.draw(st.integers(0, 7))
    try:
        assert sw.State.from_bytes(bytes(other)) == STATE  # what stands in no digest is harmless
    except sw.FileError as error:
        assert "the data" in str(error)  # noqa: PT017


def test_bytes_of_another_kind_are_refused():
    with pytest.raises(sw.FileError, match="the data is not a readable safetensors file"):
        sw.State.from_bytes(b"")
    arch = sw.Architecture(sw.Vector(1), [sw.LSTM(2)])
    other = checkpoint.dumps("statewise.model", arch.draw(0), {})
    with pytest.raises(sw.FileError, match=r"the data is a statewise\.model file; expected a stat"):
        sw.State.from_bytes(other)
