"""Files that are damaged, altered, or of another kind: each is refused by name."""

import json
import re

import numpy as np
import pytest
import torch

import statewise as sw
from statewise import checkpoint
from statewise.weights import read_model

ARCH = sw.Architecture(sw.Vector(2), [sw.GRU(3), sw.LSTM(2)], sw.Linear(1))


@pytest.fixture
def model_file(tmp_path):
    path = tmp_path / "m.safetensors"
    sw.nn.Model(ARCH).save(path)
    return path


@pytest.fixture
def state_file(tmp_path):
    path = tmp_path / "s.safetensors"
    sw.nn.Model(ARCH)(torch.randn(2, 3, 2))[1].save(path)
    return path


def header(path):
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8 : 8 + size]), raw[8 + size :]


def rewrite(path, change):
    """Change the header of a file and write it back, well formed."""
    head, data = header(path)
    change(head)
    text = json.dumps(head).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def metadata(path, **values):
    """Change the metadata: None takes a key out."""

    def change(head):
        for name, value in values.items():
            if value is None:
                head["__metadata__"].pop(name)
            else:
                head["__metadata__"][name] = value

    rewrite(path, change)


def load_all(path):
    """Every way to open a model file."""
    for load in (sw.load, sw.nn.load, read_model):
        with pytest.raises(sw.StatewiseError) as caught:
            load(path)
    return caught


def test_a_file_with_any_byte_changed_is_refused_or_the_same(model_file):
    """No change to a file goes unnoticed, but in the spaces that JSON does not mind."""
    raw = bytearray(model_file.read_bytes())
    arch, arrays = read_model(model_file)
    rng = np.random.default_rng(0)
    places = {*range(16), *rng.integers(0, len(raw), 300).tolist(), len(raw) - 1}
    for place in places:
        for bit in (1, 0x20):
            broken = bytearray(raw)
            broken[place] ^= bit
            model_file.write_bytes(broken)
            try:
                read, values = read_model(model_file)
            except sw.FileError:
                continue
            assert read == arch
            assert all(np.array_equal(values[name], arrays[name]) for name in arrays)


def test_a_file_cut_short_is_refused(model_file):
    raw = model_file.read_bytes()
    head = 8 + int.from_bytes(raw[:8], "little")
    for length in (0, 1, 7, 8, 9, head // 2, head - 1, head, head + 1, len(raw) - 1):
        model_file.write_bytes(raw[:length])
        error = load_all(model_file)
        assert error.type is sw.FileError
        assert re.search("not a readable safetensors file .*truncated, copy it", str(error.value))
    model_file.write_bytes(raw + b"\0")
    assert load_all(model_file).type is sw.FileError


# Violations of a model file


def test_data_that_was_altered(model_file):
    raw = bytearray(model_file.read_bytes())
    raw[-1] ^= 1
    model_file.write_bytes(raw)
    assert "do not match the SHA-256 it states: it was altered" in str(load_all(model_file).value)


def test_metadata_that_was_altered(model_file):
    other = sw.Architecture(sw.Vector(2), [sw.GRU(3, activation="relu"), sw.LSTM(2)], sw.Linear(1))
    metadata(model_file, architecture=other.to_json())
    assert "do not match the SHA-256" in str(load_all(model_file).value)


def test_metadata_that_was_altered_beside_no_weights(tmp_path):
    path = tmp_path / "m"
    sw.runtime.Model(sw.Architecture(sw.Vector(1), [sw.Difference(2)]), {}).save(path)
    other = sw.Architecture(sw.Vector(1), [sw.Difference(3)])
    metadata(path, architecture=other.to_json())
    assert "do not match the SHA-256" in str(load_all(path).value)


@pytest.mark.parametrize("key", ["sha256", "architecture", "fingerprint", "weights"])
def test_metadata_that_is_missing(model_file, key):
    metadata(model_file, **{key: None})
    assert load_all(model_file).type is sw.FileError


def test_no_architecture(tmp_path):
    checkpoint.write(tmp_path / "m", "statewise.model", {}, {})
    assert "states no architecture; it is not a whole model file" in str(
        load_all(tmp_path / "m").value
    )


def test_no_format(model_file):
    metadata(model_file, format=None)
    assert "is not a statewise file; expected a statewise.model file" in str(
        load_all(model_file).value
    )


def test_safetensors_of_someone_else(tmp_path):
    from safetensors.numpy import save_file

    save_file({"w": np.zeros(2)}, tmp_path / "m.safetensors")
    assert "is not a statewise file" in str(load_all(tmp_path / "m.safetensors").value)


def test_a_newer_version(model_file):
    metadata(model_file, version="2")
    assert "has version 2 of the statewise.model format; this statewise reads version 1" in str(
        load_all(model_file).value
    )


def test_another_kind(model_file, state_file):
    assert "is a statewise.state file; expected a statewise.model file" in str(
        load_all(state_file).value
    )
    with pytest.raises(
        sw.FileError, match=r"is a statewise.model file; expected a statewise.state"
    ):
        sw.State.load(model_file)


def test_no_file_at_all(tmp_path):
    for load in (sw.load, sw.nn.load, sw.State.load):
        with pytest.raises(sw.FileError, match=r"does not exist; expected a statewise"):
            load(tmp_path / "none")
        with pytest.raises(sw.FileError, match=r"is a folder, not a file; expected a statewise"):
            load(str(tmp_path))
        (tmp_path / "junk").write_bytes(b"this is not a model, it is a line of text")
        with pytest.raises(sw.FileError, match=r"not a readable safetensors file"):
            load(tmp_path / "junk")


def test_an_architecture_of_a_newer_statewise(tmp_path):
    text = ARCH.to_json().replace('"statewise":1', '"statewise":2')
    checkpoint.write(tmp_path / "m", "statewise.model", {}, {"architecture": text})
    error = load_all(tmp_path / "m")
    assert error.type is sw.ArchitectureError
    assert "format 2; this statewise reads format 1" in str(error.value)


def written(path, arrays):
    checkpoint.write(path, "statewise.model", arrays, {"architecture": ARCH.to_json()})


def test_weights_that_do_not_fit_the_architecture(tmp_path):
    path, arrays = tmp_path / "m", ARCH.draw(0)
    written(path, {name: a for name, a in arrays.items() if name != "0.R"})
    assert "'0.R' is missing, expected (9, 3)" in str(load_all(path).value)
    written(path, {**arrays, "9.W": np.zeros(2)})
    assert "'9.W' is (2,), expected nothing" in str(load_all(path).value)
    written(path, {**arrays, "0.b": np.zeros(8)})
    assert "'0.b' is (8,), expected (9,)" in str(load_all(path).value)
    written(path, {**arrays, "0.b": np.zeros(9, dtype="float32")})
    assert "must have one floating dtype, got float32, float64" in str(load_all(path).value)
    written(path, {name: a.astype(int) for name, a in arrays.items()})
    assert "must have one floating dtype, got int64" in str(load_all(path).value)


# Violations of a state file


def test_a_state_file_without_a_position(tmp_path):
    checkpoint.write(tmp_path / "s", "statewise.state", {"0.h": np.zeros((2, 3))}, {})
    with pytest.raises(sw.FileError, match=r"holds no position; it is not a state file"):
        sw.State.load(tmp_path / "s")


def test_a_state_file_that_was_altered(state_file):
    metadata(state_file, weights="0" * 16)
    with pytest.raises(sw.FileError, match=r"do not match the SHA-256"):
        sw.State.load(state_file)


@pytest.mark.parametrize("fields", ['["0.z"]', "[]", "{", "3", '{"0.h": 1}'])
def test_a_state_file_whose_fields_are_others(tmp_path, fields):
    arrays = {"0.h": np.zeros((2, 3)), "position": np.zeros(2, dtype=np.int64)}
    checkpoint.write(tmp_path / "s", "statewise.state", arrays, {"fields": fields})
    with pytest.raises(sw.FileError, match=r"fields"):
        sw.State.load(tmp_path / "s")


def test_a_state_file_whose_arrays_disagree(tmp_path):
    arrays = {"0.h": np.zeros((3, 3)), "position": np.zeros(2, dtype=np.int64)}
    checkpoint.write(tmp_path / "s", "statewise.state", arrays, {"fields": '["0.h"]'})
    with pytest.raises(sw.StatewiseError, match=r"'0.h' has shape .3, 3.; every array"):
        sw.State.load(tmp_path / "s")
