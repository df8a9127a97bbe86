"""Files: whole or not at all, and every violation of the format named."""

import json
import os
import re
import stat
import sys

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


# Round trips


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_models_come_back_as_they_were(tmp_path, dtype):
    path = tmp_path / "m.safetensors"
    model = sw.nn.Model(ARCH, seed=3, dtype=dtype)
    model.save(path)
    again = sw.nn.load(path)
    assert again.architecture == ARCH
    assert again.fingerprint() == model.fingerprint()
    assert not again.training
    for name, value in model.weights().items():
        assert again.weights()[name].dtype == dtype
        assert torch.equal(again.weights()[name], value)
    if dtype == torch.bfloat16:
        with pytest.raises(
            sw.FileError, match=r"bfloat16 weights, which NumPy lacks; use sw.nn.lo"
        ):
            sw.load(path)
    else:
        light = sw.load(path)
        assert light.fingerprint() == model.fingerprint()
        light.save(tmp_path / "again.safetensors")
        again = sw.load(tmp_path / "again.safetensors")
        assert again.fingerprint() == model.fingerprint()


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "int8", "uint8", "int64", "bool"]
)
def test_arrays_come_back_bit_for_bit(tmp_path, dtype):
    array = np.arange(-3, 3).reshape(2, 3).astype(dtype)
    arrays = {
        "a": array,
        "none": array[:0],
        "one": array[0, 0],
        "turned": array.T,
        "b": array[::-1],
    }
    checkpoint.write(tmp_path / "f", "statewise.test", arrays, {"note": "Größe ü 中"})
    back, meta = checkpoint.read(tmp_path / "f", "statewise.test")
    assert meta["note"] == "Größe ü 中"
    assert meta["format"] == "statewise.test"
    assert meta["version"] == "1"
    for name, value in arrays.items():
        assert back[name].dtype == value.dtype
        np.testing.assert_array_equal(back[name], value)


def test_special_values_come_back(tmp_path):
    array = np.array([np.nan, np.inf, -np.inf, -0.0, 5e-324])
    checkpoint.write(tmp_path / "f", "k", {"a": array}, {})
    assert checkpoint.read(tmp_path / "f", "k")[0]["a"].tobytes() == array.tobytes()


def test_a_dtype_that_has_no_place_in_a_file(tmp_path):
    for array in (np.zeros(2, dtype=complex), np.zeros(2, dtype=">f4"), torch.zeros(2).cfloat()):
        with pytest.raises(sw.FileError, match=r"'a' has dtype .* not among those that are saved"):
            checkpoint.write(tmp_path / "f", "k", {"a": array}, {})
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_plain_safetensors(model_file):
    from safetensors.numpy import load_file

    assert set(load_file(model_file)) == set(ARCH.parameters)
    head, _ = header(model_file)
    assert set(head["__metadata__"]) == {
        "format",
        "version",
        "sha256",
        "architecture",
        "fingerprint",
        "weights",
    }
    assert head["__metadata__"]["architecture"] == ARCH.to_json()
    assert head["__metadata__"]["fingerprint"] == ARCH.fingerprint


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


# Writing


def test_an_interrupted_write_leaves_the_old_file(model_file, monkeypatch):
    before = model_file.read_bytes()
    full = checkpoint.Path.write_bytes

    def interrupted(path, data):
        full(path, data[: len(data) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sw.nn.Model(ARCH, seed=1).save(model_file)
    assert model_file.read_bytes() == before
    assert list(model_file.parent.iterdir()) == [model_file]


def test_a_full_disk_is_told_and_leaves_the_old_file(model_file, monkeypatch):
    before = model_file.read_bytes()

    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.Path, "write_bytes", full)
    with pytest.raises(
        sw.FileError, match=r"cannot write .*m.safetensors: No space left on device"
    ):
        sw.nn.Model(ARCH, seed=1).save(model_file)
    assert model_file.read_bytes() == before
    assert list(model_file.parent.iterdir()) == [model_file]


def test_places_that_cannot_be_written(tmp_path, model_file):
    state = sw.State({"0.h": np.zeros((1, 1))})
    for save in (sw.nn.Model(ARCH).save, sw.load(model_file).save, state.save):
        with pytest.raises(
            sw.FileError, match=r"cannot write .*: it is a folder; name a file in it"
        ):
            save(tmp_path)
        with pytest.raises(sw.FileError, match=r"cannot write .*: there is no folder .*gone"):
            save(tmp_path / "gone" / "m.safetensors")
        with pytest.raises(sw.FileError, match=r"cannot write .*: File name too long"):
            save(tmp_path / ("m" * 300))
    assert list(tmp_path.iterdir()) == [model_file]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="every folder can be written")
def test_a_folder_without_permission(tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    with pytest.raises(sw.FileError, match=r"cannot write .*: Permission denied"):
        sw.nn.Model(ARCH).save(locked / "m.safetensors")


def test_who_reads_the_old_file_goes_on_reading_it(model_file):
    before = model_file.read_bytes()
    with model_file.open("rb", buffering=0) as reader:
        first = reader.read(10)
        sw.nn.Model(ARCH, seed=1).save(model_file)
        assert first + reader.read() == before


def test_what_is_written_replaces_what_was_there(model_file):
    model = sw.nn.Model(ARCH, seed=1)
    model.save(model_file)
    assert sw.load(model_file).fingerprint() == model.fingerprint()
    assert list(model_file.parent.iterdir()) == [model_file]


@pytest.mark.skipif(sys.platform == "win32", reason="no umask")
def test_files_have_the_permissions_of_any_new_file(tmp_path):
    previous = os.umask(0o027)
    try:
        sw.nn.Model(ARCH).save(tmp_path / "m")
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "m").stat().st_mode) == 0o640


def test_paths_may_be_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sw.nn.Model(ARCH).save("m.safetensors")
    assert sw.load("m.safetensors").architecture == ARCH


# Fingerprints


def test_fingerprints_of_weights():
    a = {"x": np.zeros((2, 3), dtype="float32"), "y": np.ones(2)}
    assert checkpoint.fingerprint(a) == checkpoint.fingerprint(dict(reversed(a.items())))
    assert checkpoint.fingerprint(a) == checkpoint.fingerprint(
        {name: torch.as_tensor(value) for name, value in a.items()}
    )
    others = [
        {"x": a["x"]},
        {"x": a["x"], "z": a["y"]},
        {"x": a["x"].reshape(3, 2), "y": a["y"]},
        {"x": a["x"].astype("float64"), "y": a["y"]},
        {"x": a["x"] - 0.0 * -1, "y": a["y"] + 1e-15},
    ]
    prints = {checkpoint.fingerprint(each) for each in (a, *others)}
    assert len(prints) == 1 + len(others)


def test_the_fingerprint_is_golden():
    """As docs/formats.md says how to compute it."""
    arrays = {"b": np.array([1.0, -2.0], dtype="<f4"), "a": np.array([[3]], dtype="<i8")}
    import hashlib

    text = b"a int64 [1, 1]\n" + b"\x03" + b"\0" * 7
    text += b"b float32 [2]\n" + b"\x00\x00\x80\x3f" + b"\x00\x00\x00\xc0"
    assert checkpoint.fingerprint(arrays) == hashlib.sha256(text).hexdigest()[:16]


def test_reading_metadata_alone(model_file):
    meta = checkpoint.read_metadata(model_file, "statewise.model")
    assert meta["fingerprint"] == ARCH.fingerprint
    with pytest.raises(sw.FileError, match=r"is a statewise.model file"):
        checkpoint.read_metadata(model_file, "statewise.state")
